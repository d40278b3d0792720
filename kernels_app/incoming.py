"""daphne's requests with an end: who sends more than its address takes (notebooks_app/bodies.py) is told so at once.

Twisted writes a body of any length into the folder for temporary files before anything of ours is asked. Here the
length that a request says is looked at first, and what arrives is counted: of each, and of all that have not ended.
Who is slow is cut off. A browser hears the refusal only if what it still sends is taken off its hands: that is read for
a while, and kept nowhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any, ClassVar

from daphne import http_protocol
from daphne.http_protocol import WebRequest
from django.conf import settings

from notebooks_app import bodies
from notebooks_app.errors import RillbookError, TooLarge, Unavailable

log = logging.getLogger("rillbook.bodies")

DRAIN_BYTES = 128 * 1024 * 1024  # read after a refusal, in all
DRAIN_S = 30.0
LOOK_S = 30.0  # a body ends within this time, or brings PACE_BYTES in each
PACE_BYTES = 1024 * 1024


class TooSlow(RillbookError):
    code = "too_slow"
    status = 408


class BoundedRequest(WebRequest):
    channel: Any
    content: Any
    _unfinished: ClassVar[int] = 0  # bytes of all bodies that have not ended
    _limit = _received = _kept = _seen = 0
    _is_refused = False
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._parsePOSTFormSubmission = False  # Django does; Twisted would do it in memory

    def gotLength(self, length: int | None) -> None:  # noqa: N802  Twisted's names
        """All headers are here. `length`: what they say, None in chunks."""
        self._limit = bodies.limit_of(self._address(), is_nameless=self._is_nameless())
        is_over = length is not None and length > self._limit
        super().gotLength(0 if is_over else length)
        if is_over:
            self._refuse(TooLarge(bodies.refusal_of(self._limit)))
        elif length != 0:
            self._later(LOOK_S, self._look)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        if self._is_refused:
            if self._received > self._limit + DRAIN_BYTES:
                self.channel.loseConnection()
        elif self._received > self._limit:
            self._refuse(TooLarge(bodies.refusal_of(self._limit)))
        elif BoundedRequest._unfinished + len(data) > bodies.unfinished_bytes():
            self._refuse(Unavailable("The server is reading as much as it can at once; nothing was done. Try again."))
        else:
            BoundedRequest._unfinished += len(data)
            self._kept += len(data)
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """All of the body is here."""
        if self._is_refused:
            self.channel.loseConnection()
        else:
            self._end()
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._end()
        super().connectionLost(reason)

    def _address(self) -> str:
        return str(self.channel._path, "ascii", "replace")

    def _is_nameless(self) -> bool:
        session = settings.SESSION_COOKIE_NAME.encode() + b"="
        cookies = self.requestHeaders.getRawHeaders(b"Cookie", [])
        return not self.requestHeaders.hasHeader(b"Authorization") and not any(session in line for line in cookies)

    def _look(self) -> None:
        """Refuse who sends a byte now and then: the file that the body lies in would be kept for as long."""
        if self._received - self._seen < PACE_BYTES:
            self._refuse(TooSlow("The body came too slowly: it was not read to its end."))
            self.channel.loseConnection()
        else:
            self._seen = self._received
            self._later(LOOK_S, self._look)

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, act)

    def _end(self) -> None:
        """The body has ended, in one way or another."""
        BoundedRequest._unfinished -= self._kept
        self._kept = 0
        if self._timer is not None:
            self._timer.cancel()

    def _refuse(self, error: RillbookError) -> None:
        self._end()
        self._is_refused = True
        log.info("a body was refused after %s bytes: %s", self._received, error.code)
        self.content.close()
        self.content = BytesIO()
        self.channel.transport.write(_answer(error, is_api=bodies.is_api(self._address())))
        self._later(DRAIN_S, self.channel.transport.abortConnection)
        if self.requestHeaders.hasHeader(b"Expect"):  # it waits for our word: nothing is on its way
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.loseConnection()


def _answer(error: RillbookError, *, is_api: bool) -> bytes:
    text = json.dumps({"error": error.as_json()}) if is_api else error.message
    kind = "application/json" if is_api else "text/plain; charset=utf-8"
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", f"Content-Type: {kind}",
        f"Content-Length: {len(text)}", "Connection: close", "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", text]).encode()


def install() -> None:
    """Let requests of daphnes in this process be such."""
    http_protocol.WebRequest = BoundedRequest
