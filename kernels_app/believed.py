"""Which attempts a kernel may speak of: those it was given to run, of each cell the last, and some before them.

A thread goes on printing when its cell has run again: that is left out by who shows it (attempts.py), and is no forgery
to be told. A kernel that runs for weeks was given millions, so that old ones are forgotten.
"""

from __future__ import annotations

from collections import deque

SUPERSEDED = 1_000  # attempts beside the last of each cell
MOST = 50_000


class Believed:
    def __init__(self) -> None:
        self._cells: dict[str, str] = {}  # attempt -> cell
        self._last: dict[str, str] = {}  # cell -> its last attempt
        self._order: deque[str] = deque()  # the oldest first; a last one that was passed over is as if it were new

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._cells

    def __len__(self) -> int:
        return len(self._cells)

    def add(self, attempt: str, cell: str) -> None:
        """The kernel is to run this attempt of a cell."""
        if attempt in self._cells:
            return
        self._cells[attempt], self._last[cell] = cell, attempt
        self._order.append(attempt)
        while len(self._order) > min(len(self._last) + SUPERSEDED, MOST):
            self._forget_one()

    def _forget_one(self) -> None:
        """The oldest that is not the last of its cell; with more cells than attempts are kept, the oldest."""
        while True:
            oldest = self._order.popleft()
            cell = self._cells[oldest]
            is_last = self._last.get(cell) == oldest
            if not is_last or len(self._last) > MOST:
                break
            self._order.append(oldest)
        del self._cells[oldest]
        if is_last:
            del self._last[cell]
