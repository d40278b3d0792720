"""A daphne that ends without taking anybody's request along: what SIGTERM starts, in order.

No new connections (a proxy asks the next process), runs get their time (lifecycle.py), sockets are closed so that
browsers come back elsewhere, requests under way are answered. daphne itself cancels all of them at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from twisted.internet.defer import Deferred

from kernels_app import lifecycle
from kernels_app.pushback import PushbackServer

log = logging.getLogger("rillbook.ending")

SERVER_ENDS = 4503  # a socket's close code: come back, another process answers
# Behind a proxy, how long a connection may be idle: longer than any proxy keeps one (Terraform's idle_timeout, nginx's
# keepalive_timeout), or now and then one is closed just as a request comes on it, which the proxy answers with 502.
KEPT_S = 460
GRACE_S = 1.0  # for requests on connections that a proxy keeps open
REQUESTS_S = 20.0  # for requests under way; the manager's SIGKILL comes after 60 s (compose.yaml, Terraform)
SOCKETS_S = 6.0  # for the last commands of sockets
FLUSH_S = 0.1
LOOK_S = 0.05


class GracefulServer(PushbackServer):
    """daphne's server with an end of its own."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._ports: list[Any] = []
        self._is_ending = False

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)
        if settings.BEHIND_PROXY:
            self.http_factory.timeOut = KEPT_S

    def kill_all_applications(self) -> Deferred[None]:
        """daphne's hook: the reactor waits for what it returns before it closes all connections."""
        return Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        if self._is_ending and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            if protocol.channel is not None:
                protocol.channel.persistent = False
        await super().handle_reply(protocol, message)

    async def _end(self) -> None:
        self._is_ending = True
        started = time.monotonic()
        for port in self._ports:
            port.stopListening()
        try:
            await lifecycle.stop()
        except Exception:
            log.exception("the kernels' host did not end in order")
        await self._wait(WebSocketProtocol, SOCKETS_S)
        if settings.BEHIND_PROXY:
            await asyncio.sleep(max(0.0, started + GRACE_S - time.monotonic()))
        await self._wait(object, REQUESTS_S)
        await asyncio.sleep(FLUSH_S)
        left = self._under_way(object)
        if left:
            log.warning("%s requests were not answered when the server ended", len(left))
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _wait(self, kind: type, limit_s: float) -> None:
        until = time.monotonic() + limit_s
        while self._under_way(kind) and time.monotonic() < until:
            self._close_sockets()
            await asyncio.sleep(LOOK_S)

    def _close_sockets(self) -> None:
        """Also those that were about to open."""
        for each in list(self.connections):
            if isinstance(each, WebSocketProtocol) and each.state == each.STATE_OPEN:
                each.serverClose(code=SERVER_ENDS)

    def _under_way(self, kind: type) -> list[asyncio.Future[Any]]:
        """What serves the connections of a kind."""
        served = [each for protocol, each in self.connections.items() if isinstance(protocol, kind)]
        found = [each.get("application_instance") for each in served]
        return [task for task in found if task is not None and not task.done()]
