"""A browser without its page: opens the socket, acknowledges, keeps what it is told, and counts the bytes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import websockets

from benchmarks.client import sign_in
from notebooks_app.output_ops import apply
from tests.servers import LiveServer

WAIT_S = 90


class Watcher:
    """Greetings and replies are kept whole; of events, the operations of `outputs` (by cell) and ends of runs."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.received = 0
        self.largest = 0
        self.outputs: dict[str, list[dict[str, Any]]] = {}
        self.finished: dict[str, str] = {}
        self._acknowledged = 0

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"id": 1, **message}))

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            text = await self.socket.recv()
        size = len(text.encode())
        self.received += size
        self.largest = max(self.largest, size)
        if self.received - self._acknowledged > 65536:
            self._acknowledged = self.received
            await self.socket.send(json.dumps({"type": "ack", "bytes": self.received}))
        frame = json.loads(text)
        for event in frame.get("events", ()):
            if event["type"] == "output.ops":
                self.outputs[event["cell"]] = apply(self.outputs.get(event["cell"], []), event["ops"])
            elif event["type"] == "run.finished":
                self.finished[event["run"]] = event["outcome"]
        return frame

    async def until(self, *kinds: str) -> dict[str, Any]:
        while (frame := await self.frame())["type"] not in kinds:
            pass
        return frame

    async def hello(self, cursor: int | None = None) -> dict[str, Any]:
        """The greeting with all its parts. Fails if the server asks for another hello."""
        await self.send(type="hello", cursor=cursor)
        greeting = await self.until("snapshot", "catch_up", "resync")
        assert greeting["type"] != "resync"
        for _ in range(greeting.get("more", 0)):
            part = await self.until("part", "resync")
            assert part["type"] == "part"
            greeting["cells"] += part.get("cells", [])
            greeting.setdefault("states", {}).update(part.get("states", {}))
        await self.until("reply")
        return greeting

    async def ask(self, **message: Any) -> dict[str, Any]:
        await self.send(**message)
        return await self.until("reply")

    async def run_all(self) -> str:
        """Run everything; how it ended."""
        run = (await self.ask(type="run_all"))["run"]
        while run not in self.finished:
            await self.frame()
        return self.finished[run]


def connect(server: LiveServer, notebook: str) -> Any:
    url = f"{server.url.replace('http', 'ws')}/ws/notebooks/{notebook}/"
    headers = {"Cookie": sign_in(server)}
    return websockets.connect(url, origin=server.url, additional_headers=headers, max_size=None)
