"""A daphne that does not read a socket faster than its messages are taken, nor answers faster than it is read.

daphne itself puts whatever arrives into a queue without an end. Here a connection whose queue is full is not read any
more, so that TCP holds its browser back; what memory it takes is bounded, and so is the time it takes from others.
An answer that is made piece by piece (files) waits for whom it is sent to, where daphne would hold all of it in memory.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Protocol

from daphne.server import Server

FULL = 32  # messages that wait: reading pauses
FULL_BYTES = 4 * 1024 * 1024
EMPTY = 8  # and goes on
READ_BYTES = 4096  # at a time: what is read is looked at as a whole, and may be a thousand small messages
UNREAD_S = 60.0  # who takes nothing of an answer for so long is gone


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


class Valve:
    """Twisted's push producer: shut while as much is on its way to a browser as may be."""

    def __init__(self) -> None:
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
        """Return when more may be sent. Raises TimeoutError after UNREAD_S."""
        await asyncio.wait_for(self._opened.wait(), UNREAD_S)


class PushbackServer(Server):
    """daphne's server, with such a queue for each WebSocket, and a valve for each answer in pieces."""

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        known = self.connections.get(protocol)
        if message["type"] != "http.response.body" or known is None or protocol.channel is None:
            await super().handle_reply(protocol, message)
            return
        if message.get("more_body") and "valve" not in known:
            known["valve"] = Valve()
            protocol.registerProducer(known["valve"], streaming=True)
        valve: Valve | None = known.get("valve")
        if valve is not None and not message.get("more_body"):
            protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if valve is not None and message.get("more_body"):
            try:
                await valve.opened()
            except TimeoutError:
                if protocol.channel is not None:
                    protocol.channel.transport.abortConnection()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """As daphne's own (4.2), but for the queue. Returns the queue, or None for a connection that is gone."""
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        if protocol not in self.connections:
            return None
        protocol.transport.bufferSize = READ_BYTES
        queue = PushbackQueue(protocol.transport)
        scope.setdefault("asgi", {"version": "3.0"})
        application = self.application(scope, queue.get, partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(application)
        return queue


def _size(item: dict[str, Any]) -> int:
    return len(item.get("text") or "") + len(item.get("bytes") or b"")
