"""When the kernels' host starts and closes: one place for every ASGI server.

daphne has no lifespan: the host starts with the first request and closes on the reactor's shutdown event. Servers with
a lifespan say both themselves.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from kernels_app.hosts import get_host
from notebooks_app import events

log = logging.getLogger("rillbook.lifecycle")

_closing: asyncio.Future[None] | None = None
_ending: list[bool] = []  # filled once the reactor of this process shuts down


def with_host(application: Any) -> Any:
    """The application, its host started before the first request; answers the lifespan protocol where there is one."""

    async def run(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await start()
        await application(scope, receive, send)

    return run


async def start() -> None:
    """Start the host of this process; later calls return at once."""
    host = get_host()
    if not host.is_started and not _ending:
        events.use_loop(asyncio.get_running_loop())
        await host.start()
        _close_with_reactor(host)


async def stop() -> None:
    """Close the host; whoever asks while it closes waits for the same end."""
    global _closing
    host = get_host()
    if host.is_started and (_closing is None or _closing.done()):  # asked twice at once, it closes once
        _closing = asyncio.ensure_future(host.close())
    if _closing is not None and not _closing.done():
        await asyncio.shield(_closing)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _close_with_reactor(host: Any) -> None:
    """Under daphne, hold the reactor's shutdown until the host has closed."""
    try:
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
    except ImportError:
        return
    if not getattr(reactor, "running", False):
        return

    def closing() -> Deferred[None]:
        _ending.append(True)  # a request that comes while runs are given their time starts no second host
        return Deferred.fromFuture(asyncio.ensure_future(stop()))

    reactor.addSystemEventTrigger("before", "shutdown", closing)  # type: ignore
