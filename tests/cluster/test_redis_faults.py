"""Redis goes away, freezes, refuses: nobody notices but by a second's delay, and all is as before when it is back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
import redis

from benchmarks.browser import agree
from tests.cluster.conftest import Team
from tests.cluster.test_rolling_deploy import Typist

BACK_S = 10.0
SHORT_S, LONG_S, LONGER_S = 4.0, 20.0, 60.0
long = pytest.mark.soak


@contextmanager
def cut(team: Team) -> Iterator[None]:
    """Connections are reset and new ones refused, as of a Redis that was stopped, and comes back empty."""
    team.redis.cut()
    try:
        yield
    finally:
        team.redis.mend()


@contextmanager
def frozen(team: Team) -> Iterator[None]:
    """Connections stay, and nothing comes back."""
    team.redis.freeze()
    try:
        yield
    finally:
        team.redis.thaw()


@contextmanager
def stopped(team: Team) -> Iterator[None]:
    """The process itself, by SIGSTOP."""
    with redis.Redis.from_url(team.redis_url) as client:
        pid = int(client.info()["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (cut, SHORT_S), (frozen, SHORT_S),
        pytest.param(cut, LONG_S, marks=long), pytest.param(frozen, LONG_S, marks=long),
        pytest.param(stopped, LONG_S, marks=long), pytest.param(cut, LONGER_S, marks=long),
        pytest.param(frozen, LONGER_S, marks=long),
    ],
)  # fmt: skip
def test_edits_go_on_without_redis_and_all_see_the_same_soon_after(team: Team, fault: Any, seconds: float) -> None:
    notebook, cells = team.notebook("shared = 0", *(f"own{n} = 0" for n in range(4)))

    async def work() -> None:
        async with AsyncExitStack() as stack:
            browsers = [await stack.enter_async_context(team.browser(notebook, n % 2)) for n in range(4)]
            typists = [Typist(each, cells[1 + n], f"o{n}.") for n, each in enumerate(browsers)]
            typists += [Typist(each, cells[0], f"s{n}.") for n, each in enumerate(browsers[:2])]
            async with asyncio.TaskGroup() as group:
                for typist in typists:
                    group.create_task(typist.work())
                await asyncio.sleep(0.5)
                with fault(team):
                    end = time.monotonic() + seconds
                    before = [len(typist.acknowledged) for typist in typists]
                    await says(team.urls[0], "unavailable")
                    async with asyncio.timeout(20):  # who opens the notebook meanwhile gets in
                        late = await stack.enter_async_context(team.browser(notebook, 1))
                    await asyncio.sleep(max(0.0, end - time.monotonic()))
                    after = [len(typist.acknowledged) for typist in typists]
                for typist in typists:
                    typist.is_done = True
            made = [end - start for start, end in zip(before, after, strict=True)]
            assert min(made[:4]) > 2 * seconds and min(made[4:]) > 0, (made, [each.gaps for each in browsers])
            document = await agree([*browsers, late], BACK_S)
            check(document, typists)
            everybody = {each.window for each in (*browsers, late)}
            for each in (*browsers, late):
                assert (each.refusals, each.connections) == ([], 1)
                await each.until(lambda each=each: each.windows() == everybody, BACK_S)
            for url in team.urls:
                await says(url, "ok")

    asyncio.run(asyncio.wait_for(work(), seconds + 100))


def check(document: dict[str, Any], typists: list[Typist]) -> None:
    """Each acknowledged mark is there, once."""
    text = "".join(source for _, source in document["cells"])
    for typist in typists:
        assert typist.acknowledged
        assert [mark for mark in typist.acknowledged if text.count(mark) != 1] == []
    assert text.count("#") == sum(len(typist.acknowledged) for typist in typists)


async def says(url: str, word: str) -> None:
    """Wait until `/ready` says this of the channel layer; the process is in use all the time."""
    async with asyncio.timeout(BACK_S):
        while (await asyncio.to_thread(ready, url))["channel_layer"] != word:
            await asyncio.sleep(0.2)


def ready(url: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{url}/ready", timeout=10) as answer:
        assert answer.status == 200
        return json.loads(answer.read())


def test_a_process_does_not_start_without_redis_and_the_others_go_on(team: Team) -> None:
    notebook, cells = team.notebook("x = 0")
    web = team.cluster.webs[0]
    web.stop()

    async def work() -> None:
        with cut(team):
            with pytest.raises(RuntimeError, match="REDIS_URL .*nothing listens"):
                await asyncio.to_thread(web.start)
            other = team.browser(notebook, 1)
            await asyncio.wait_for(other.__aenter__(), 20)
            await other.edit(cells[0], lambda _: "x = 1")
        await asyncio.to_thread(web.start)
        browser = team.browser(notebook, 0)
        await asyncio.wait_for(browser.__aenter__(), 20)
        for one in (browser, other):
            await one.until(lambda one=one: one.windows() == {browser.window, other.window}, BACK_S)
        await browser.edit(cells[0], lambda _: "x = 2")
        await agree([browser, other], BACK_S)
        for one in (browser, other):
            await one.__aexit__()

    asyncio.run(asyncio.wait_for(work(), 100))
