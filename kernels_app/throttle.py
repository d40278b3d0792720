"""How fast a kernel may publish for long: one that floods must not take the server from others.

The server reads no faster than this, and so the kernel waits (zmtp.py reads nothing ahead). Who says that it bit is
kernel.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from kernels_app.inbox import Pace

BURST_S = 8  # seconds' worth that may come at once
AHEAD_S = 4  # and, while a cell is stopped, before it is made good: its end is behind it (kernel.LAST_FRAMES_S is more)
MESSAGE_BYTES, VALUE_BYTES = 512, 64  # what a message, and each value of its JSON, costs beside its bytes


def cost(size: int, content: Any) -> int:
    """In bytes, what it takes to read and keep this content of a message of so many bytes."""
    values, inner = 1, [content]
    while inner:
        one = inner.pop()
        values += len(one)
        inner += [value for value in (one.values() if isinstance(one, dict) else one) if isinstance(value, dict | list)]
    return MESSAGE_BYTES + size + VALUE_BYTES * values


class Throttle:
    """`after(published)` is what to wait for before more is read, or None. `on_slow` is called where that bites."""

    def __init__(self, bytes_a_second: int, on_slow: Callable[[], None]) -> None:
        self._pace = Pace(per_second=bytes_a_second, burst=bytes_a_second * BURST_S) if bytes_a_second else None
        self._on_slow = on_slow
        self._counted = 0
        self._open = asyncio.Event()

    def after(self, published: int) -> Awaitable[None] | None:
        """`published`: the total so far."""
        new, self._counted = published - self._counted, published
        self.charge(new)
        return self.wait()

    def charge(self, size_bytes: int) -> None:
        """What came made the server do so much more."""
        if self._pace is not None:
            self._pace.wait_s(size_bytes)

    def wait(self) -> Awaitable[None] | None:
        """Until what was counted so far is made good."""
        is_open = self._open.is_set()
        wait_s = self._pace.wait_s(0) if self._pace is not None else 0.0
        wait_s -= AHEAD_S if is_open else 0
        if wait_s <= 0:
            return None
        self._on_slow()
        return asyncio.sleep(wait_s) if is_open else self._wait(wait_s)

    def let_go(self) -> None:
        """What is on its way is read at once, if it is no flood: the cell was interrupted, and its end is behind it."""
        self._open.set()

    def hold(self) -> None:
        """The plan has ended."""
        self._open.clear()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._open.wait(), seconds)
