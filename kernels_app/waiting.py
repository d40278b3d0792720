"""Requests of this process that wait for a notebook's runtime, and with it perhaps for a place in the cluster.

Nothing of them has been decided: Stop takes them back, and what else is asked for goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from notebooks_app.errors import Conflict

if TYPE_CHECKING:
    from kernels_app.hosts.base import KernelHost, RuntimeHandle

TAKEN_BACK = "This was stopped before it began."
LONG_S = 1.0  # who waited for so long for a runtime may not be allowed any more

_asked: dict[uuid.UUID, set[asyncio.Task[RuntimeHandle]]] = {}


@asynccontextmanager
async def runtime_of(
    host: KernelHost, notebook_id: uuid.UUID, turn: asyncio.Lock, check: Callable[[], Awaitable[Any]]
) -> AsyncIterator[RuntimeHandle]:
    """The notebook's runtime, for what is decided in turn. Raises Conflict if it was taken back, and as `ensure`.

    `check` raises if the person may not have it done any more; asked of those who waited for long.
    """
    began = time.monotonic()
    asked = asyncio.create_task(host.ensure(notebook_id), name=f"runtime of {notebook_id}")
    _asked.setdefault(notebook_id, set()).add(asked)
    try:
        async with turn:
            await asyncio.wait([asked])
            _forget(notebook_id, asked)
            if asked.cancelled():
                raise Conflict(TAKEN_BACK)
            runtime = asked.result()
            if time.monotonic() - began > LONG_S:
                await check()
            yield runtime
    finally:
        _forget(notebook_id, asked)
        asked.cancel()


def take_back(notebook_id: uuid.UUID) -> bool:
    """End the waits for a notebook's runtime; whether there were any."""
    waits = [asked.cancel() for asked in _asked.get(notebook_id, ())]
    return any(waits)


def _forget(notebook_id: uuid.UUID, asked: asyncio.Task[RuntimeHandle]) -> None:
    waiting = _asked.get(notebook_id, set())
    waiting.discard(asked)
    if not waiting:
        _asked.pop(notebook_id, None)
