"""What a very long text costs those who watch: counted in bytes on the real server's socket."""

from __future__ import annotations

import pytest

from tests.live.watching import Watcher, connect
from tests.servers import LiveServer

pytestmark = pytest.mark.asyncio

LINE = "y" * 99 + "\n"
LINES = 1_000_000  # 100 MB
SOURCE = f"line = 'y' * 99 + chr(10)\nfor _ in range({LINES // 1000}): print(line * 1000, end='')"


async def test_a_text_of_100_mb_costs_a_reader_a_few_megabytes_and_the_end_is_whole(live_server: LiveServer):
    api = live_server.api()
    notebook = api("POST", "notebooks/", {"name": "Long text"})[1]["id"]
    api("POST", f"notebooks/{notebook}/cells/", {"type": "python", "source": SOURCE})
    async with connect(live_server, notebook) as socket:
        watcher = Watcher(socket)
        await watcher.hello()
        before = watcher.received
        assert await watcher.run_all() == "ok"
        cost = watcher.received - before
    ((stream,),) = watcher.outputs.values()
    shown = len(stream["text"]) + len(stream["cut"]["tail"])
    assert stream["cut"]["omitted_bytes"] + shown == LINES * 100
    assert stream["cut"]["tail"].endswith(LINE * 600)
    assert cost < 8_000_000, cost
