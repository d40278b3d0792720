"""daphne's largest message, for what comes in only. Imported where a daphne runs: it installs daphne's reactor.

autobahn holds what we send to the same bound (1 MiB) and drops what is larger: a snapshot or a cell's outputs would
never arrive, and nobody would be told.
"""

from __future__ import annotations

from typing import Any

from daphne.server import WebSocketFactory
from daphne.ws_protocol import WebSocketProtocol


class AnySizeOut(WebSocketProtocol):
    maxMessagePayloadSize: int

    def sendMessage(self, *args: Any, **more: Any) -> None:  # noqa: N802  autobahn's name
        bound, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **more)
        finally:
            self.maxMessagePayloadSize = bound


def install() -> None:
    """Let sockets of daphnes in this process send messages of any size."""
    WebSocketFactory.protocol = AnySizeOut
