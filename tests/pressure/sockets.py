"""Sockets as daphne serves them, without what they lead to: the browser, the database and the feed are made up."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from kernels_app import consumers, inbox
from kernels_app.consumers import NotebookConsumer
from kernels_app.pushback import PushbackQueue
from notebooks_app.access import Role
from tests.pressure.test_pushback import Transport

WAIT_S = 20.0


class Feed:
    """Also the feeds and the host: counts who is in it, and how often it was released."""

    def __init__(self) -> None:
        self.seq = self.released = self.moves = self.greetings = 0
        self.subscribers: set[Any] = set()
        self.feeds = self
        self._kept: set[asyncio.Task[Any]] = set()

    async def open(self, notebook_id: uuid.UUID) -> Feed:
        return self

    def add(self, subscriber: Any) -> None:
        self.subscribers.add(subscriber)

    def remove(self, subscriber: Any) -> None:
        self.subscribers.discard(subscriber)

    def announce_move(self, subscriber: Any) -> None:
        self.moves += 1

    async def greet(self, subscriber: Any, cursor: int | None) -> int:
        """As if the notebook were 16 MiB."""
        self.greetings += 1
        return 1 << 24

    async def release(self, feed: Feed) -> None:
        await asyncio.sleep(0)
        self.released += 1

    def keep(self, work: Any) -> None:
        self._kept.add(asyncio.ensure_future(work))

    async def settled(self) -> None:
        await asyncio.gather(*self._kept)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    made = Feed()
    notebook = SimpleNamespace(revision=1)
    access = SimpleNamespace(role=Role.EDITOR, notebook=notebook, require=lambda role, what: None)

    async def read(function: Any) -> Any:
        return function()

    async def read_access(self: Any) -> Any:
        return access

    seat = SimpleNamespace(session_key="s", is_held=lambda: True)
    monkeypatch.setattr(consumers, "get_host", lambda: made)
    monkeypatch.setattr(consumers.db, "read", read)
    monkeypatch.setattr(consumers.sharing, "person_of", lambda user, session: SimpleNamespace(pk=7))
    monkeypatch.setattr(consumers, "Seat", SimpleNamespace(of=lambda *_: seat))
    monkeypatch.setattr(consumers, "Author", SimpleNamespace(of=lambda user: SimpleNamespace(name="Ana")))
    monkeypatch.setattr(NotebookConsumer, "_read_access", read_access)
    monkeypatch.setattr("channels.consumer.aclose_old_connections", lambda: asyncio.sleep(0))
    monkeypatch.setattr("channels.generic.websocket.aclose_old_connections", lambda: asyncio.sleep(0))
    monkeypatch.setattr(consumers, "PACES", inbox.Paces())
    return made


class Browser:
    """One socket as daphne serves it."""

    def __init__(self) -> None:
        self._transport = Transport()
        self._queue = PushbackQueue(self._transport)
        scope = {"type": "websocket", "user": None, "session": None}
        scope |= {"url_route": {"kwargs": {"notebook_id": uuid.uuid4()}}}
        self.replies: dict[Any, dict[str, Any]] = {}
        self.task = asyncio.ensure_future(NotebookConsumer.as_asgi()(scope, self._queue.get, self._send))
        self._queue.put_nowait({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        frame = json.loads(message.get("text") or "{}")
        if frame.get("type") == "reply":
            self.replies[frame["id"]] = frame

    def say(self, text: str) -> None:
        self._queue.put_nowait({"type": "websocket.receive", "text": text})

    async def flood(self, text: str) -> None:
        """Until nothing more is taken in."""
        still = 0
        while still < 5:
            still += 1
            while self._transport.said[-1:] != ["pause"]:
                self.say(text)
                still = 0
            await asyncio.sleep(0.001)

    async def reply(self, command_id: Any) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            while command_id not in self.replies:
                await asyncio.sleep(0.001)
        return self.replies[command_id]

    def go(self) -> None:
        self._queue.put_nowait({"type": "websocket.disconnect", "code": 1006})


async def are_in(feed: Feed, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(feed.subscribers) < count:
            await asyncio.sleep(0.001)
