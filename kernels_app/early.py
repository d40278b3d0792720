"""What a kernel says while nothing of it comes: read from its journal, and left out of the frames that bring it again.

A long call into C may keep Python's interpreter lock, and with it the kernel's thread that sends frames: the start of
the cell and the ends of cells just before it would be seen when the call ends. The journal has them at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kernels_app.journal import Journal, Record

FIRST_S, MOST_S = 0.1, 1.0  # of silence, before the first look and between looks
MOST_BYTES = 4 * 1024 * 1024  # taken ahead: a kernel holds about one unsent, so a cell writes what is beyond it


class Early:
    """Reads the journal of one kernel. `next_frame` says which frame is to come next."""

    def __init__(self, journal: Journal, next_frame: Callable[[], int]) -> None:
        self._journal = journal
        self.read_bytes = 0  # of entries, which is what they cost
        self._next_frame = next_frame
        self._lock = asyncio.Lock()
        self._taken: dict[int, list[Any]] = {}  # by the frame in which they will come
        self._size = 0  # bytes of them, and of those that wait
        self._waiting: list[Record] = []  # behind entries that only their frames have
        self._forgot = 0  # what came before this frame

    async def take(self) -> list[Any]:
        """Entries of frames that have not come; each is given once."""
        async with self._lock:
            if not self._waiting and self._size <= MOST_BYTES:
                self._waiting = await self._read()
        self._forget()
        holes = (at for at, record in enumerate(self._waiting) if record.entry is None)
        end = next(holes, len(self._waiting))
        taken, self._waiting = self._waiting[:end], self._waiting[end:]
        for record in taken:
            self._taken.setdefault(record.frame, []).append(record.entry)
        return [record.entry for record in taken]

    async def last(self) -> tuple[int, list[Any]]:
        """The kernel is gone: how many frames are missing, and the entries that were not taken before."""
        async with self._lock:
            self._waiting += await self._read()
        self._forget()
        records, self._waiting = self._waiting, []
        if not records:
            return 0, []
        known = max([self._next_frame(), *(frame + 1 for frame in self._taken)])
        return max(0, records[0].frame - known), [record.entry for record in records if record.entry is not None]

    def rest(self, frame: Any, entries: Any) -> Any:
        """The entries of a frame that came, without those that were taken ahead."""
        taken = self._taken.pop(frame, None)
        return _without(entries, taken) if taken and isinstance(entries, list) else entries

    async def _read(self) -> list[Record]:
        records = await asyncio.to_thread(self._journal.more, self._next_frame())
        size = sum(record.size for record in records)
        self._size += size
        self.read_bytes += size
        return records

    def _forget(self) -> None:
        """Let go of what came in its frame."""
        start = self._next_frame()
        if start == self._forgot:
            return
        self._forgot = start
        self._taken = {frame: taken for frame, taken in self._taken.items() if frame >= start}
        self._waiting = [record for record in self._waiting if record.frame >= start]
        if not self._taken and not self._waiting:
            self._size = 0


def _without(entries: list[Any], taken: list[Any]) -> list[Any]:
    """Text that is one entry of a frame is several pieces in the journal."""
    left, at = [], 0
    for entry in entries:
        if at < len(taken) and entry == taken[at]:
            at += 1
            continue
        known = 0  # characters
        while at < len(taken) and _goes_on(entry, known, taken[at]):
            known += len(taken[at]["text"])
            at += 1
        if not known:
            left.append(entry)
        elif known < len(entry["text"]):
            left.append({**entry, "text": entry["text"][known:]})
    return left


def _goes_on(entry: Any, known: int, piece: dict[str, Any]) -> bool:
    """Whether the text of this entry goes on with this piece of it."""
    if not (isinstance(entry, dict) and _has_text(entry) and _has_text(piece)):
        return False
    is_of_it = all(entry.get(name) == piece.get(name) for name in ("attempt", "name"))
    return is_of_it and known < len(entry["text"]) and entry["text"].startswith(piece["text"], known)


def _has_text(entry: dict[str, Any]) -> bool:
    return entry.get("t") == "stream" and isinstance(entry.get("text"), str)
