"""A daphne that does not read a socket faster than its messages are taken, nor answers faster than it is read.

daphne itself puts whatever arrives into a queue without an end. Here a connection whose queue is full is not read any
more, so that TCP holds its browser back; what memory it takes is bounded, and so is the time it takes from others.
What is sent in pieces (files, a socket's messages) waits for whom it is sent to, where daphne would hold all of it in
memory: what a browser says that it has read is its word, what TCP could not hand on is a fact. The body of a request is
taken from where it was put (incoming.py), a piece at a time.
"""

from __future__ import annotations

import asyncio
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, Protocol

from daphne.server import Server

FULL = 32  # messages that wait: reading pauses
FULL_BYTES = 4 * 1024 * 1024
EMPTY = 8  # and goes on
READ_BYTES = 4096  # at a time: what is read is looked at as a whole, and may be a thousand small messages
UNREAD_S = 60.0  # who takes nothing of what is sent for so long is gone
BODY_BYTES = 64 * 1024  # of a request's body at a time


class Transport(Protocol):
    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class PushbackQueue(asyncio.Queue[dict[str, Any]]):
    """A queue that pauses the transport it is filled from while it is full."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport
        self._bytes = 0
        self._is_paused = False

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self._bytes += _size(item)
        if not self._is_paused and (self.qsize() >= FULL or self._bytes >= FULL_BYTES):
            self._is_paused = True
            self._transport.pauseProducing()

    def _get(self) -> dict[str, Any]:
        item: dict[str, Any] = super()._get()
        self._bytes -= _size(item)
        if self._is_paused and self.qsize() <= EMPTY and self._bytes < FULL_BYTES:
            self._is_paused = False
            self._transport.resumeProducing()
        return item


class BodyQueue(asyncio.Queue[dict[str, Any]]):
    """What an application receives of a request: the body, read when it asks, then what daphne says (it is gone)."""

    def __init__(self, content: BinaryIO) -> None:
        super().__init__()
        self._content = content

    def _put(self, item: dict[str, Any]) -> None:
        if item["type"] != "http.request":  # daphne's, of the content that it was left with
            super()._put(item)

    async def get(self) -> dict[str, Any]:
        if self._content.closed or not self.empty():
            return await super().get()
        body = self._content.read(BODY_BYTES)
        more = len(body) == BODY_BYTES
        if not more:
            self._content.close()
        await asyncio.sleep(0)  # others have their turn between two pieces
        return {"type": "http.request", "body": body, "more_body": more}


class Valve:
    """Twisted's push producer: shut while as much is on its way to a browser as may be."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._opened = asyncio.Event()
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._opened.clear()

    def resumeProducing(self) -> None:
        self._opened.set()

    def stopProducing(self) -> None:
        """The connection is lost: nobody waits for it."""
        self._opened.set()

    async def opened(self) -> None:
        """Return when more may be sent. The connection of who takes nothing for UNREAD_S is cut off."""
        before = unsent(self._transport)
        while before and not self._opened.is_set():
            try:
                await asyncio.wait_for(self._opened.wait(), UNREAD_S)
            except TimeoutError:
                left = unsent(self._transport)
                if left >= before:
                    self._transport.abortConnection()
                    return
                before = left


class PushbackServer(Server):
    """daphne's server, with such queues, and a valve for each WebSocket and each answer in pieces."""

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """As daphne's own, but what is sent in pieces returns when the next may be sent."""
        known = self.connections.get(protocol)
        if known is None:
            return
        more = message["type"] == "http.response.body" and message.get("more_body") and protocol.channel is not None
        if more and "valve" not in known:
            known["valve"] = Valve(protocol.channel.transport)
            protocol.registerProducer(known["valve"], streaming=True)
        valve: Valve | None = known.get("valve")
        if valve is not None and message["type"] == "http.response.body" and not more and protocol.channel is not None:
            protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if valve is not None and (more or message["type"] == "websocket.send"):
            await valve.opened()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """As daphne's own (4.2), but for the queue. Returns the queue, or None for a connection that is gone."""
        known = self.connections.get(protocol)
        if known is None:
            return None
        queue: PushbackQueue | BodyQueue
        if scope["type"] == "websocket":
            protocol.transport.bufferSize = READ_BYTES
            queue = PushbackQueue(protocol.transport)
            protocol.transport.unregisterProducer()  # of the request that this was
            known["valve"] = Valve(protocol.transport)
            protocol.registerProducer(known["valve"], streaming=True)
        else:
            queue = BodyQueue(protocol.content)
            protocol.content = BytesIO()  # for daphne, which would read all of it at once
        scope.setdefault("asgi", {"version": "3.0"})
        application = self.application(scope, queue.get, partial(self.handle_reply, protocol))
        known["application_instance"] = asyncio.ensure_future(application)
        return queue


def unsent(transport: Any) -> int:
    """Bytes that were written to a connection and that its socket (Twisted's, 26) did not take yet."""
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)


def _size(item: dict[str, Any]) -> int:
    return len(item.get("text") or "") + len(item.get("bytes") or b"")
