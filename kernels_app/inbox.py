"""What a socket was sent and has not been looked at: bounded, and taken out at a person's pace.

Acknowledgements must not wait behind commands, so that a socket is read ahead of its work, but only so far. A person's
pace is one for all their sockets. How a browser is held back by TCP is pushback.py's.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

PER_SECOND = 40.0  # commands of one person, for long
BURST = 200.0  # and at once
BYTES_A_COMMAND = 64 * 1024  # a longer message counts as several
CHARS_AN_ANSWER = 16 * 1024  # an answer counts as so many more commands as it has such parts
MOST_AN_ANSWER = 100.0  # but not more: who opens the largest notebook twice can go on
MAX_WAITING = 64
MAX_WAITING_BYTES = 4 * 1024 * 1024
MAX_PACES = 10_000


class Pace:
    """A token bucket: `wait_s(cost)` takes the tokens and says how long to wait until they were there."""

    def __init__(self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left, self._at = burst, clock()

    def wait_s(self, cost: float) -> float:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - cost
        self._at = now
        return max(0.0, -self._left / self._per_second)


class Paces:
    """The paces of the people who were here last: a new socket does not bring a new burst."""

    def __init__(self) -> None:
        self._paces: OrderedDict[int | str, Pace] = OrderedDict()

    def of(self, user_id: int | str) -> Pace:
        pace = self._paces.setdefault(user_id, Pace(per_second=PER_SECOND, burst=BURST))
        self._paces.move_to_end(user_id)
        if len(self._paces) > MAX_PACES:
            self._paces.popitem(last=False)
        return pace


PACES = Paces()


class Inbox:
    """First in, first out, one reader, one writer."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self._is_closed = False
        self._changed = asyncio.Event()

    async def put(self, text: str) -> None:
        """Keep a message for the reader, once there is room for it; nothing once it is closed."""
        while self._is_full(text) and not self._is_closed:
            await self._change()
        if not self._is_closed:
            self._waiting.append(text)
            self._bytes += len(text)
            self._changed.set()

    def close(self, is_wanted: Callable[[str], bool]) -> None:
        """Nothing comes any more, and of what waits only some is wanted."""
        self._is_closed = True
        self._waiting = deque(filter(is_wanted, self._waiting))
        self._changed.set()

    async def take(self) -> str | None:
        """The next message, once there is one and the person's pace allows it; None: all were taken."""
        while not self._waiting:
            if self._is_closed:
                return None
            await self._change()
        text = self._waiting.popleft()
        wait_s = self._pace.wait_s(1 + len(text) // BYTES_A_COMMAND)
        if wait_s:
            await asyncio.sleep(wait_s)
        self._bytes -= len(text)
        self._changed.set()
        return text

    def charge(self, answer_chars: int) -> None:
        """What was asked for took work as its answer is long: the person's next message waits for it."""
        self._pace.wait_s(min(MOST_AN_ANSWER, answer_chars // CHARS_AN_ANSWER))

    def _is_full(self, text: str) -> bool:
        is_large = self._bytes + len(text) > MAX_WAITING_BYTES
        return bool(self._waiting) and (len(self._waiting) >= MAX_WAITING or is_large)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
