"""What waits to be sent, where it outlives the process: entries of frames in a file mapped into memory.

A cell may end its process at any moment, and with it the open frame. The server then reads what this file still
holds (kernels_app/journal.py) and knows which cells had ended and which one ran. Writing costs one copy in memory.

    bytes 0 to 7   where the records end
    a record       frame number (8 bytes), length (4 bytes), the entry as JSON; little-endian
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterable

NAME = "journal"
SIZE = 256 * 1024
TEXT_LIMIT = SIZE // 2  # the rest is for what says which cell runs
END = struct.Struct("<Q")
RECORD = struct.Struct("<QI")


class Journal:
    """Closed until `open`; what does not fit is left out. Callers hold the frame writer's lock."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._end = END.size

    def open(self, folder: str) -> None:
        """Begin in this folder; where that is not possible there is no journal."""
        if self._map is not None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(os.path.join(folder, NAME), flags, 0o600)
            try:
                os.ftruncate(file, SIZE)
                self._map = mmap.mmap(file, SIZE)
            finally:
                os.close(file)
            self._put_end(END.size)

    def add(self, frame: int, entry: bytes, *, limit: int = SIZE) -> None:
        """Note an entry, if the file then ends within `limit` bytes."""
        end = self._end + RECORD.size + len(entry)
        if self._map is None or end > limit:
            return
        RECORD.pack_into(self._map, self._end, frame, len(entry))
        self._map[self._end + RECORD.size : end] = entry
        self._put_end(end)

    def restart(self, frame: int, entries: Iterable[bytes]) -> None:
        """All that came before these entries has been sent."""
        if self._map is None or self._end == END.size:
            return
        self._put_end(END.size)
        for entry in entries:
            self.add(frame, entry)

    def _put_end(self, end: int) -> None:
        assert self._map is not None
        self._end = end
        END.pack_into(self._map, 0, end)
