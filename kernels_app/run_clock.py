"""For how long the running cell has run. What waits for an answer does not run, as long as it computes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

BUSY = 0.2  # processors that a kernel takes at least that computes beside its question


class RunClock:
    """Counts in steps, one for each `tick`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin()

    def begin(self, *, grace_s: float = 0.0) -> None:
        """Another cell runs, or the same one is given so much longer."""
        self._ran_s, self._at, self._cpu_s = -grace_s, self._clock(), 0.0

    def tick(self, cpu_s: float, *, waits: bool) -> float:
        """Seconds that the cell has run. `cpu_s`: processor time of the kernel's processes, all told; `waits`: for an
        answer."""
        now = self._clock()
        passed_s, spent_s = now - self._at, cpu_s - self._cpu_s
        if not waits or (self._cpu_s and spent_s > BUSY * passed_s):
            self._ran_s += passed_s
        self._at, self._cpu_s = now, cpu_s
        return self._ran_s
