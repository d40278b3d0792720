"""What a kernel has said and the server has not read: last words of one that is gone, early ones of one held up.

The server makes the file, keeps it open, and reads it from there: what user code does with its name leads nowhere. It
can write anything into it; so what it holds is checked like any message of a kernel (kernel.py, messages.py).
inside/journal.py writes it and says how.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from kernels_app.inside.journal import BEGUN, HALF, HEAD, LENGTH, NAME
from kernels_app.throttle import cost

log = logging.getLogger("rillbook.kernel")


FRAMES_AHEAD = 50_000  # a kernel holds 1 MB unsent; a record of a later frame is none of ours


class Record(NamedTuple):
    frame: int
    entry: dict[str, Any] | None  # None: here are others, too large to be kept or written over
    size: int  # what it costs (throttle.py)


class Journal:
    """The file of one kernel: `make` it before the kernel starts, `close` it when the kernel's folders go."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._begun = 1  # the half that is read
        self._at = BEGUN.size  # the place in it
        self._is_torn = False  # something was written over before it was read

    @classmethod
    def make(cls, run: Path) -> Journal:
        """A new file in the folder of the kernel's sockets. Without room for it there is none, and the log says so."""
        path = run / NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _take_room(descriptor)
            except OSError:
                os.close(descriptor)
                path.unlink()
                raise
        except OSError as error:
            log.warning("A kernel has no journal: %s", error)
            return cls(None)
        return cls(descriptor)

    def more(self, start: int) -> list[Record]:
        """The records from frame `start` on that were not read before, in order.

        Blocks, for no longer than some system calls where nothing is new. Raises nothing.
        """
        if self._descriptor is None:
            return []
        try:
            return self._more(self._descriptor, start)
        except OSError:
            return []

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _more(self, descriptor: int, start: int) -> list[Record]:
        found: list[Record] = []
        halves = self._halves(descriptor)
        self._is_torn |= bool(halves) and halves[0] != self._begun
        for begun in halves:
            if begun != self._begun:
                self._begun, self._at = begun, BEGUN.size
            found += self._read_half(descriptor, start)
        if found and self._is_torn:
            self._is_torn = False
            found.insert(0, Record(found[0].frame, None, 0))
        return found

    def _halves(self, descriptor: int) -> list[int]:
        """Which halves there are to read: the one that was read last, if it is still there, and later ones."""
        begun = (_begun(descriptor, place) for place in (0, HALF))
        return sorted(number for number in begun if number >= self._begun)

    def _read_half(self, descriptor: int, start: int) -> list[Record]:
        """Read on in this half; nothing if it is begun anew meanwhile."""
        place = HALF * ((self._begun - 1) % 2)
        if not any(os.pread(descriptor, LENGTH.size, place + self._at)):
            return []
        half = os.pread(descriptor, HALF - self._at, place + self._at)
        if _begun(descriptor, place) != self._begun:
            return []
        found, at = [], 0
        while at + HEAD.size <= len(half):
            length, frame = HEAD.unpack_from(half, at)
            end = at + HEAD.size + length
            if length == 0 or end > len(half):
                break
            if start <= frame <= start + FRAMES_AHEAD and (record := _record(frame, half[at + HEAD.size : end])):
                found.append(record)
            at = end
        self._at += at
        return found


def _record(frame: int, data: bytes) -> Record | None:
    """None where it is no entry."""
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        return None
    is_entry = entry is None or isinstance(entry, dict)
    return Record(frame, entry, cost(len(data), entry or {})) if is_entry else None


def _begun(descriptor: int, place: int) -> int:
    head = os.pread(descriptor, BEGUN.size, place)
    return int(BEGUN.unpack(head)[0]) if len(head) == BEGUN.size else 0


def _take_room(descriptor: int) -> None:
    """Give the file its size and its blocks: where a mapped file gets none, who writes to it is ended."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, 2 * HALF)
    else:
        os.ftruncate(descriptor, 2 * HALF)
