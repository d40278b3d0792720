"""daphne's requests with an end: who sends more than its address takes (notebooks_app/bodies.py) is told so at once.

Twisted writes a body of any length into the folder for temporary files before anything of ours is asked. Here the
length that a request says is looked at first, and what arrives is counted. A browser hears the refusal only if what it
still sends is taken off its hands: that is read for a while, and kept nowhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
from io import BytesIO
from typing import Any

from daphne import http_protocol
from daphne.http_protocol import WebRequest

from notebooks_app import bodies
from notebooks_app.errors import TooLarge

log = logging.getLogger("rillbook.bodies")

DRAIN_BYTES = 128 * 1024 * 1024  # read after a refusal, in all
DRAIN_S = 30.0


class BoundedRequest(WebRequest):
    channel: Any
    content: Any
    _limit = _received = 0
    _is_refused = False
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._parsePOSTFormSubmission = False  # Django does; Twisted would do it in memory

    def gotLength(self, length: int | None) -> None:  # noqa: N802  Twisted's names
        """All headers are here. `length`: what they say, None in chunks."""
        self._limit = bodies.limit_of(self._address())
        is_over = length is not None and length > self._limit
        super().gotLength(0 if is_over else length)
        if is_over:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        if self._is_refused:
            if self._received > self._limit + DRAIN_BYTES:
                self.channel.loseConnection()
        elif self._received > self._limit:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """All of the body is here."""
        if self._is_refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        if self._timer is not None:
            self._timer.cancel()
        super().connectionLost(reason)

    def _address(self) -> str:
        return str(self.channel._path, "ascii", "replace")

    def _refuse(self) -> None:
        self._is_refused = True
        log.info("a body of more than %s bytes was refused", self._limit)
        self.content.close()
        self.content = BytesIO()
        self.channel.transport.write(_answer(self._limit, is_api=bodies.is_api(self._address())))
        self._timer = asyncio.get_running_loop().call_later(DRAIN_S, self.channel.transport.abortConnection)
        if self.requestHeaders.hasHeader(b"Expect"):  # it waits for our word: nothing is on its way
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.loseConnection()


def _answer(limit: int, *, is_api: bool) -> bytes:
    error = TooLarge(bodies.refusal_of(limit))
    text = json.dumps({"error": error.as_json()}) if is_api else error.message
    kind = "application/json" if is_api else "text/plain; charset=utf-8"
    lines = [
        "HTTP/1.1 413 Content Too Large", f"Content-Type: {kind}", f"Content-Length: {len(text)}",
        "Connection: close", "Cache-Control: no-store", "X-Content-Type-Options: nosniff",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", text]).encode()


def install() -> None:
    """Let requests of daphnes in this process be such."""
    http_protocol.WebRequest = BoundedRequest
