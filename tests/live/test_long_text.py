"""What a very long text costs those who watch: counted in bytes on the real server's socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets

from benchmarks.client import sign_in
from notebooks_app.output_ops import apply
from tests.servers import LiveServer

pytestmark = pytest.mark.asyncio

WAIT_S = 120
LINE = "y" * 99 + "\n"
LINES = 1_000_000  # 100 MB
SOURCE = f"line = 'y' * 99 + chr(10)\nfor _ in range({LINES // 1000}): print(line * 1000, end='')"


class Watcher:
    """A browser without its page: keeps one cell's outputs as the operations say, and counts what it received."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.received = 0
        self.outputs: list[dict[str, Any]] = []
        self.finished: dict[str, str] = {}
        self._acknowledged = 0

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"id": 1, **message}))

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            text = await self.socket.recv()
        self.received += len(text.encode())
        if self.received - self._acknowledged > 1 << 20:
            self._acknowledged = self.received
            await self.socket.send(json.dumps({"type": "ack", "bytes": self.received}))
        frame = json.loads(text)
        for event in frame.get("events", ()):
            if event["type"] == "output.ops":
                self.outputs = apply(self.outputs, event["ops"])
            elif event["type"] == "run.finished":
                self.finished[event["run"]] = event["outcome"]
        return frame

    async def until(self, kind: str) -> dict[str, Any]:
        while (frame := await self.frame())["type"] != kind:
            pass
        return frame


def connect(server: LiveServer, notebook: str) -> Any:
    url = f"{server.url.replace('http', 'ws')}/ws/notebooks/{notebook}/"
    headers = {"Cookie": sign_in(server)}
    return websockets.connect(url, origin=server.url, additional_headers=headers, max_size=None)


async def test_a_text_of_100_mb_costs_a_reader_a_few_megabytes_and_the_end_is_whole(live_server: LiveServer):
    api = live_server.api()
    notebook = api("POST", "notebooks/", {"name": "Long text"})[1]["id"]
    api("POST", f"notebooks/{notebook}/cells/", {"type": "python", "source": SOURCE})
    async with connect(live_server, notebook) as socket:
        watcher = Watcher(socket)
        await watcher.send(type="hello", cursor=None)
        await watcher.until("reply")
        before = watcher.received
        await watcher.send(type="run_all")
        run = (await watcher.until("reply"))["run"]
        while run not in watcher.finished:
            await watcher.frame()
        cost = watcher.received - before
    assert watcher.finished[run] == "ok"
    (stream,) = watcher.outputs
    shown = len(stream["text"]) + len(stream["cut"]["tail"])
    assert stream["cut"]["omitted_bytes"] + shown == LINES * 100
    assert stream["cut"]["tail"].endswith(LINE * 600)
    assert cost < 8_000_000, cost
