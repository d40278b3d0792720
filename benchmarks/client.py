"""A notebook's page without the page: signs in, opens the socket, runs, and says when results arrived."""

from __future__ import annotations

import http.cookiejar
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

import websockets

from tests.servers import LiveServer


@dataclass
class Result:
    result_ms: float
    done_ms: float
    frames: int


class NotebookClient:
    def __init__(self, server: LiveServer, notebook: str) -> None:
        self._server, self._notebook = server, notebook
        self._socket: Any = None
        self._next = 0
        self._received = 0
        self._cells: list[dict[str, Any]] = []

    async def __aenter__(self) -> NotebookClient:
        url = f"{self._server.url.replace('http', 'ws')}/ws/notebooks/{self._notebook}/"
        self._socket = await websockets.connect(
            url, origin=self._server.url, additional_headers={"Cookie": sign_in(self._server)}, max_size=None
        )
        await self._send({"type": "hello", "cursor": None})
        while (frame := await self._receive())["type"] != "snapshot":
            pass
        self._cells = frame["cells"]
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._socket.close()

    async def run(self) -> Result:
        """Run everything (one cell: that cell) and wait for the last cell's result and the end of the run."""
        last = self._cells[-1]["id"]
        first = self._cells[0]
        started = time.perf_counter()
        await self._send({"type": "run", "cells": [{"cell": first["id"], "version": first["version"]}]})
        result_ms, frames, wanted, finished = 0.0, 0, "", set[str]()
        while not wanted or wanted not in finished:
            frame = await self._receive()
            frames += 1
            if frame["type"] == "reply" and frame["id"] == self._next:
                wanted = frame["run"]
            for event in frame.get("events", ()):
                if event["type"] == "output.ops" and event["cell"] == last:
                    result_ms = (time.perf_counter() - started) * 1000
                if event["type"] == "run.finished":  # told twice: live, and numbered when it is saved
                    finished.add(event["run"])
        return Result(result_ms, (time.perf_counter() - started) * 1000, frames)

    async def _send(self, message: dict[str, Any]) -> None:
        self._next += 1
        await self._socket.send(json.dumps({"id": self._next, **message}))

    async def _receive(self) -> dict[str, Any]:
        text = await self._socket.recv()
        self._received += len(text.encode())
        if self._received % (1 << 20) < len(text):
            await self._socket.send(json.dumps({"type": "ack", "bytes": self._received}))
        return json.loads(text)


def sign_in(server: LiveServer) -> str:
    """The Cookie header of the first user's session."""
    jar = http.cookiejar.CookieJar()
    urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)).open(server.login_url).read()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
