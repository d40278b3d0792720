"""How daphne's sockets send, whatever the application. Imported where a daphne runs: it installs daphne's reactor.

autobahn holds what we send to the bound of what comes in (1 MiB) and drops what is larger: a snapshot or a cell's
outputs would never arrive, and nobody would be told. It answers each ping whether or not its pongs are read, and waits
for ever for who does not read what was sent before the end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.server import WebSocketFactory
from daphne.ws_protocol import WebSocketProtocol

from kernels_app import pushback

UNSENT_BYTES = 64 * 1024  # of a browser that does not read: no pong is put behind them (a later one does: RFC 6455)


class OwnSocket(WebSocketProtocol):
    maxMessagePayloadSize: int
    transport: Any

    def sendMessage(self, *args: Any, **more: Any) -> None:  # noqa: N802  autobahn's names
        bound, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **more)
        finally:
            self.maxMessagePayloadSize = bound

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        if pushback.unsent(self.transport) < UNSENT_BYTES:
            super().onPing(payload)

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        super()._closeConnection(abort)
        if not abort and pushback.unsent(self.transport):
            asyncio.get_running_loop().call_later(pushback.UNREAD_S, self.transport.abortConnection)


def install() -> None:
    """Let sockets of daphnes in this process be such."""
    WebSocketFactory.protocol = OwnSocket
