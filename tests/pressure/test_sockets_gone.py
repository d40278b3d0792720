"""Sockets whose browsers are gone leave nothing behind: also those that flooded, which daphne cancels in the end.

Only the far sides are made up: the browser, the database and the feed.
"""

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

pytestmark = pytest.mark.asyncio

PRESENCE = json.dumps({"type": "presence", "id": 1, "cell": None})
VARIABLES = json.dumps({"type": "variables", "id": 1})
MANY = 20
WAIT_S = 20.0


class Feed:
    """Also the feeds and the host: counts who is in it, and how often it was released."""

    def __init__(self) -> None:
        self.seq = self.released = self.moves = 0
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
    access = SimpleNamespace(role=Role.EDITOR, require=lambda role, what: None)

    async def read(function: Any) -> Any:
        return function()

    async def read_access(self: Any) -> Any:
        return access

    seat = SimpleNamespace(session_key="s")
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
        self.task = asyncio.ensure_future(NotebookConsumer.as_asgi()(scope, self._queue.get, self._send))
        self._queue.put_nowait({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        pass

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

    def go(self) -> None:
        self._queue.put_nowait({"type": "websocket.disconnect", "code": 1006})


def tasks_of_sockets() -> int:
    return sum("of a socket" in task.get_name() for task in asyncio.all_tasks())


async def are_in(feed: Feed, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(feed.subscribers) < count:
            await asyncio.sleep(0.001)


async def test_sockets_that_flood_and_go_leave_nothing_when_daphne_ends_them(feed: Feed):
    browsers = [Browser() for _ in range(MANY)]
    await are_in(feed, MANY)
    await asyncio.gather(*(browser.flood(PRESENCE) for browser in browsers))
    for browser in browsers:
        browser.go()
    for browser in browsers:  # as daphne does after 10 s, wherever they are
        browser.task.cancel()
    await asyncio.wait([browser.task for browser in browsers], timeout=WAIT_S)
    await feed.settled()
    assert (len(feed.subscribers), feed.released) == (0, MANY)
    await asyncio.sleep(0)
    assert tasks_of_sockets() == 0


async def test_a_socket_that_is_ended_while_it_carries_out_its_last_commands_leaves_nothing(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "PER_SECOND", 0.01)
    monkeypatch.setattr(inbox, "BURST", 1)
    browser = Browser()
    await are_in(feed, 1)
    for _ in range(3):
        browser.say(json.dumps({"type": "stop", "id": 1}))
    browser.go()
    async with asyncio.timeout(WAIT_S):
        while feed.subscribers:  # it says goodbye, and waits for them
            await asyncio.sleep(0.001)
    browser.task.cancel()
    await asyncio.wait([browser.task], timeout=WAIT_S)
    await feed.settled()
    assert feed.released == 1
    await asyncio.sleep(0)
    assert tasks_of_sockets() == 0


async def test_who_is_gone_is_not_answered(feed: Feed, monkeypatch: pytest.MonkeyPatch):
    """The last commands are waited for, but not what only asks or says where a caret is."""
    monkeypatch.setattr(inbox, "PER_SECOND", 1)
    monkeypatch.setattr(inbox, "BURST", 1)
    monkeypatch.setattr(consumers, "LAST_COMMANDS_S", 60.0)
    browser = Browser()
    await are_in(feed, 1)
    for _ in range(inbox.MAX_WAITING // 2):
        browser.say(PRESENCE)
        browser.say(VARIABLES)
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    await feed.settled()
    assert feed.moves <= 2 and feed.released == 1


async def test_a_socket_that_was_ended_hears_goodbye_though_its_inbox_was_full(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "PER_SECOND", 0.01)
    monkeypatch.setattr(inbox, "BURST", 1)
    browser = Browser()
    await are_in(feed, 1)
    (socket,) = feed.subscribers
    await browser.flood(PRESENCE)
    socket.access_is(None)
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    await feed.settled()
    assert (len(feed.subscribers), feed.released) == (0, 1)
