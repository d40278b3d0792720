"""A database, a storage or a broker that is away for a moment: what was begun is carried on or says why not, and
whatever looks after others goes on with them."""

from __future__ import annotations

import asyncio
import threading
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from kernels_app import feed as feeds
from kernels_app import queries, runtime, spill
from kernels_app.deaths import KernelSilent
from kernels_app.feed import NotebookFeed
from kernels_app.hosts import local
from kernels_app.hosts.local import LocalKernelHost
from notebooks_app import files
from notebooks_app.facts import Outcome
from tests.runtime.lab import WAIT_S, Lab
from tests.runtime.test_connections import on_connection
from tests.runtime.test_deaths import ENDINGS

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

LARGE = "from IPython.display import HTML\ndisplay(HTML('<p>' + 'x' * 500_000 + '</p>'))"
AWAY = "connection refused"


class Failing:
    """Raises so many times; then does what it stands for."""

    def __init__(self, times: int, real: Any, error: Exception | None = None) -> None:
        self.left, self.calls = times, 0
        self._real, self._error = real, error or OperationalError(AWAY)

    def __call__(self, *args: Any, **more: Any) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self._error
        return self._real(*args, **more)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "RETRY_S", 0.01)


async def test_large_outputs_of_an_outage_are_kept_when_it_is_over(lab: Lab, quick: None, monkeypatch: Any):
    make_room = Failing(3, files.make_room)
    monkeypatch.setattr(files, "make_room", make_room)
    await lab.add(a=LARGE, b="for _n in range(8000): print(_n, 'y' * 20)")
    await lab.run("a")
    (output,) = await lab.outputs("a")
    assert output["files"]["text/html"]["size_bytes"] == 500_007 and make_room.left == 0
    make_room.left = 3
    await lab.run("b")
    await (await lab.runtime()).keep_files()
    (output,) = await lab.outputs("b")
    assert "text/plain" in output["files"] and make_room.left == 0


async def test_a_large_output_that_a_full_disk_does_not_take_is_said(lab: Lab, quick: None, monkeypatch: Any):
    full = Failing(1, files.make_room, OperationalError("database or disk is full"))
    monkeypatch.setattr(files, "make_room", full)
    await lab.add(a=LARGE)
    await lab.run("a")
    assert full.calls == 1 and "disk is full" in str(await lab.outputs("a"))


async def test_a_death_is_told_before_what_the_kernel_said_last_is_kept(lab: Lab, monkeypatch: Any):
    may, keep_copy = threading.Event(), spill.keep_copy

    def frozen(*args: Any) -> Any:
        assert may.wait(2 * WAIT_S)
        return keep_copy(*args)

    monkeypatch.setattr(spill, "keep_copy", frozen)
    await lab.add(a=LARGE, b=ENDINGS["kill"])
    listener = await lab.listen()
    running = asyncio.create_task(lab.run())
    try:
        async with asyncio.timeout(WAIT_S):
            while not (dead := [each for each in listener.events("kernel.changed") if each["state"] == "dead"]):
                await asyncio.sleep(0.01)
        assert dead[0]["detail"].endswith(" It ended while cell 2 ran.") and not running.done()
    finally:
        may.set()
    assert await running == ["a", "b"]
    states = await lab.states()
    assert [states[name]["outcome"] for name in "ab"] == ["ok", "died"]
    assert (await lab.outputs("a"))[0]["files"]["text/html"]["size_bytes"] == 500_007


# --- Looking after many ----------------------------------------------------------------------------------------------


async def test_an_idle_stop_that_fails_keeps_no_other_from_being_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "IDLE_LOOK_S", 0.001)
    host = LocalKernelHost()
    kernels = [SimpleNamespace(notebook_id=uuid.uuid4(), has_kernel=True, idle_limit_s=1) for _ in range(2)]
    ended: list[int] = []
    for kernel in kernels:
        kernel.idle_s = lambda: 100.0
        host._runtimes[kernel.notebook_id] = kernel  # type: ignore[assignment]

    async def end(kernel: Any, detail: str) -> None:
        ended.append(kernels.index(kernel))
        if len(ended) == 1:
            raise OperationalError(AWAY)
        del host._runtimes[kernel.notebook_id]

    monkeypatch.setattr(host, "_end", end)
    watching = asyncio.create_task(host._stop_idle())
    async with asyncio.timeout(WAIT_S):
        while host._runtimes:
            await asyncio.sleep(0.001)
    assert ended == [0, 1, 0] and not watching.done()
    watching.cancel()


async def test_a_notebook_that_cannot_be_looked_at_keeps_no_other_from_it(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feeds, "POLL_S", 0.01)
    await lab.add(a="a = 1")
    feed = await lab.host.feeds.open(lab.notebook.id)
    look = Failing(2, feed.see_session, ValueError("a row that nobody expected"))
    monkeypatch.setattr(feed, "see_session", look)
    poll = Failing(2, feed.poll, ValueError("a change that nobody expected"))
    monkeypatch.setattr(feed, "poll", poll)
    async with asyncio.timeout(WAIT_S):
        while poll.calls < 4:
            await asyncio.sleep(0.01)
    assert look.calls >= 6


async def test_a_message_that_cannot_be_heard_keeps_no_other_from_it(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="a = 1")
    listener = await lab.listen()
    feed = await lab.host.feeds.open(lab.notebook.id)
    await feeds.get_channel_layer().group_send(feed._groups[0], {"type": "notebook.presence"})
    await lab.edit("a", "a = 2")
    async with asyncio.timeout(WAIT_S):
        while not listener.events("cell.edited"):
            await asyncio.sleep(0.01)
    assert feed._listener is not None and not feed._listener.done()


# --- Openings --------------------------------------------------------------------------------------------------------


async def test_an_opening_that_fails_leaves_no_runtime_in_the_feed(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="print('there')")
    refresh = Failing(1, NotebookFeed.refresh)
    monkeypatch.setattr(NotebookFeed, "refresh", lambda self: refresh(self))
    with pytest.raises(OperationalError):
        await lab.runtime()
    assert (lab.host.feeds.count, lab.host._runtimes) == (0, {})
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("deliveries")]
    assert await lab.run() == ["a"]  # at once: the lease was given back
    assert (await lab.runtime()).epoch == 2


async def test_an_opening_that_fails_while_the_database_is_away_says_why(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="a = 1")
    listener = await lab.listen()
    feed = await lab.host.feeds.open(lab.notebook.id)
    monkeypatch.setattr(feed, "refresh", Failing(1, feed.refresh, ValueError("first")))
    monkeypatch.setattr(local.saver, "session_ended", Failing(1, local.saver.session_ended))
    with pytest.raises(ValueError, match="first"):
        await lab.runtime()
    assert feed.runtime is None and feed.subscribers == [listener]


# --- Queries ---------------------------------------------------------------------------------------------------------


async def test_a_query_of_an_outage_reads_its_connection_when_it_is_over(lab: Lab, quick: None, monkeypatch: Any):
    read = Failing(3, queries._connection)
    monkeypatch.setattr(queries, "_connection", read)
    await on_connection(lab, "postgresql://nobody@127.0.0.1:1/none", q="SELECT 1 AS n")
    await lab.run()
    assert read.calls == 4
    assert (await lab.states())["q"]["outcome"] == "error"
    assert (await lab.outputs("q"))[0]["ename"] != "Interrupted"


async def test_an_error_of_the_server_in_a_query_is_said_in_the_cell(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(runtime, "run_query", broken)
    await on_connection(lab, "postgresql://nobody@127.0.0.1:1/none", q="SELECT 1 AS n")
    await lab.run()
    (output,) = await lab.outputs("q")
    assert output["evalue"] == runtime.QUERY_FAILED_WORDS
    assert (await lab.states())["q"]["outcome"] == "error"


@pytest.mark.parametrize("where", ["values", "load", "broker"])
async def test_a_kernel_that_does_not_answer_or_a_broker_that_does_not_start_is_said(where: str, tmp_path: Any):
    async def stored(read: Any) -> Any:
        return SimpleNamespace(name="shop", usable_dsn=lambda: "postgresql://127.0.0.1/shop")

    async def call(what: str, **_: Any) -> Any:
        if what == where:
            raise KernelSilent(what)
        return {"values": {}}

    async def run(*_: Any, **__: Any) -> Any:
        if where == "broker":
            raise BlockingIOError("no process can be started")
        return SimpleNamespace(path="there")

    kernel: Any = SimpleNamespace(call=call, work=tmp_path, notebook_id=str(uuid.uuid4()))
    item: Any = SimpleNamespace(attempt="a", cell="c")
    code: Any = SimpleNamespace(source="SELECT 1", result_name="r", connection_id=uuid.uuid4())
    broker: Any = SimpleNamespace(run_query=run)
    done = await queries.run_query(broker, kernel, item, code, number=1, stored=stored)
    words = queries.NOT_STARTED if where == "broker" else queries.SILENT
    assert (done.outcome, done.entries[0]["evalue"]) == (Outcome.ERROR, words)
