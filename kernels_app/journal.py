"""The last words of a kernel that is gone: entries that it had made and that the server had not read.

The server makes the file, keeps it open, and reads it from there: what user code does with its name leads nowhere. It
can write anything into it; so what it holds is checked like any message of a kernel (kernel.py, messages.py).
inside/journal.py writes it and says how.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernels_app.inside.journal import BEGUN, HALF, HEAD, NAME

log = logging.getLogger("rillbook.kernel")


class Journal:
    """The file of one kernel: `make` it before the kernel starts, `close` it when the kernel's folders go."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

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

    def since(self, start: int) -> tuple[range, list[Any]]:
        """The frames from number `start` on, and their entries in order. Blocks; raises nothing."""
        if self._descriptor is None:
            return range(0), []
        try:
            halves = [os.pread(self._descriptor, HALF, place) for place in (0, HALF)]
        except OSError:
            return range(0), []
        written = [half for half in halves if len(half) >= BEGUN.size]
        written.sort(key=lambda half: BEGUN.unpack_from(half)[0])
        found = [record for half in written for record in _records(half) if record[0] >= start]
        if not found:
            return range(0), []
        return range(found[0][0], max(frame for frame, _ in found) + 1), [entry for _, entry in found]

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _take_room(descriptor: int) -> None:
    """Give the file its size and its blocks: where a mapped file gets none, who writes to it is ended."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, 2 * HALF)
    else:
        os.ftruncate(descriptor, 2 * HALF)


def _records(half: bytes) -> Iterator[tuple[int, Any]]:
    """(frame, entry) of each record that is whole and JSON."""
    at = BEGUN.size
    while at + HEAD.size <= len(half):
        length, frame = HEAD.unpack_from(half, at)
        at += HEAD.size
        if length == 0 or at + length > len(half):
            return
        with contextlib.suppress(ValueError, RecursionError):
            yield frame, json.loads(half[at : at + length])
        at += length
