"""What browsers see of a run that happens on a node, through web servers that do not run it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from benchmarks.browser import Browser
from tests.cluster.rays import RayCluster
from tests.faults.test_processes import cells_of, make, text, until
from tests.servers import LiveServer

LINES = 400
PRINTS = f"import time\nfor i in range({LINES}):\n    print('line', i)\n    time.sleep(0.004)"
EXPECTED = "".join(f"line {i}\n" for i in range(LINES))
WAIT_S = 60


@pytest.fixture(scope="module")
def webs(rays: RayCluster) -> Iterator[list[LiveServer]]:
    servers = [rays.server(), rays.server()]
    yield servers
    for server in servers:
        server.stop()


class Watch:
    """A browser that checks at each event that what it shows is the beginning of what is printed."""

    def __init__(self, browser: Browser, cell: str, expected: str = EXPECTED) -> None:
        self.browser, self.cell, self.expected = browser, cell, expected
        self.kinds: Counter[str] = Counter()
        browser.listeners.append(self.look)

    def look(self, event: dict) -> None:
        self.kinds[event["type"]] += 1
        shown = self.shown
        assert self.expected.startswith(shown), f"after {event['type']}: …{shown[-80:]!r}"

    @property
    def shown(self) -> str:
        return "".join(output.get("text", "") for output in self.browser.outputs.get(self.cell, []))

    def state(self) -> tuple[str, str | None]:
        state = self.browser.states.get(self.cell, {})
        return state.get("status", "idle"), state.get("outcome")


def browser(server: LiveServer, path: str) -> Browser:
    cookie = "; ".join(f"{name}={value}" for name, value in server.session_cookies().items())
    return Browser(server.url, path.split("/")[1], cookie, origin=server.url)


@pytest.mark.asyncio
async def test_lines_come_once_and_in_order_wherever_one_watches(webs: list[LiveServer]):
    path, cells = await asyncio.to_thread(make, webs[0].api(), PRINTS, "print('after')")
    browsers = await asyncio.to_thread(lambda: [browser(web, path) for web in (*webs, *webs)])
    async with AsyncExitStack() as stack:
        early = [Watch(await stack.enter_async_context(each), cells[0]) for each in browsers[:2]]
        run = (await early[0].browser.ask("run_all"))["run"]
        await early[1].browser.until(lambda: "line 20\n" in early[1].shown, WAIT_S)
        assert early[1].state()[0] == "running"
        late = [Watch(await stack.enter_async_context(each), cells[0]) for each in browsers[2:]]
        for watch in (*early, *late):
            await watch.browser.until(lambda watch=watch: watch.browser.finished.get(run) == "ok", WAIT_S)
            await watch.browser.until(lambda watch=watch: watch.shown == EXPECTED, WAIT_S)
            await watch.browser.until(lambda watch=watch: watch.state() == ("idle", "ok"), WAIT_S)
        # They were told as it was printed: outputs were not read again with each of the some 40 saves.
        for watch in early:
            assert watch.kinds["output.ops"] > 20, watch.kinds
            assert watch.kinds["cell.refreshed"] <= 6, watch.kinds
    api = webs[1].api()
    await asyncio.to_thread(until, lambda: text(cells_of(api, path)[0]) == EXPECTED)


@pytest.mark.asyncio
async def test_states_follow_an_edit_that_another_server_took(webs: list[LiveServer]):
    path, cells = await asyncio.to_thread(make, webs[0].api(), "a = 1", "b = a + 1")
    browsers = await asyncio.to_thread(lambda: [browser(web, path) for web in webs])
    async with browsers[0] as here, browsers[1] as there:
        run = (await here.ask("run_all"))["run"]
        for each in (here, there):
            await each.until(lambda each=each: each.finished.get(run) == "ok", WAIT_S)
            await each.until(lambda each=each: each.states[cells[1]]["freshness"] == "current", WAIT_S)
        await there.change("edit", cell=cells[0], version=1, source="a = 2")
        for each in (here, there):
            await each.until(lambda each=each: each.states[cells[1]]["freshness"] == "stale", WAIT_S)
        assert here.states == there.states
