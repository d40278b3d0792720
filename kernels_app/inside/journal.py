"""What was said last, where it outlives the process: the latest entries, in a file mapped into memory.

A cell may end its process at any moment, and with it the open frame and the frames that ZeroMQ still holds. The server
then reads this file (kernels_app/journal.py) and knows which cells had ended, which one ran and what it had printed.
The server makes the file; adding to it is a copy in memory and no system call.

The file is two halves, written in turn, so that the last HALF bytes are always there and nothing has to be known of
what the server has read: it leaves out the frames it has. All numbers are as the machine has them.

    a half     how often a half was begun (8 bytes; 0: never), then records
    a record   length (4 bytes; 0: no further record), frame number (8 bytes), the entry as JSON
               (null where one was left out)

A record's length is written last: one that was being written when the process ended is not there.
"""

from __future__ import annotations

import mmap
import os
import struct

NAME = "journal"
HALF = 1024 * 1024
BEGUN = struct.Struct("=Q")
LENGTH = struct.Struct("=I")
HEAD = struct.Struct("=IQ")
NO_MORE = LENGTH.pack(0)
LEFT_OUT = b"null"


class Journal:
    """Entries as they were made. Callers hold the frame writer's lock."""

    def __init__(self, file: mmap.mmap) -> None:
        self._map: mmap.mmap | None = file
        self._begun = self._at = self._end = 0
        self._is_adding = False
        self._begin_half()
        os.register_at_fork(after_in_child=self._leave)

    def add(self, frame: int, entry: bytes) -> None:
        """Note an entry of this frame; of one that would take most of a half, that there was one."""
        if self._map is None or self._is_adding:  # a finalizer may print while an entry is being added
            return
        self._is_adding = True
        try:
            self._put(frame, entry)
        finally:
            self._is_adding = False

    def _put(self, frame: int, entry: bytes) -> None:
        assert self._map is not None
        size = HEAD.size + len(entry)
        if self._at + size + LENGTH.size > self._end:
            if size > HALF // 2:
                return self._put(frame, LEFT_OUT)
            self._begin_half()
        start, end = self._at, self._at + size
        self._map[start : end + LENGTH.size] = b"".join((HEAD.pack(0, frame), entry, NO_MORE))
        LENGTH.pack_into(self._map, start, len(entry))
        self._at = end

    def _begin_half(self) -> None:
        assert self._map is not None
        start = HALF * (self._begun % 2)
        self._begun += 1
        self._at, self._end = start + BEGUN.size, start + HALF
        LENGTH.pack_into(self._map, self._at, 0)
        BEGUN.pack_into(self._map, start, self._begun)

    def _leave(self) -> None:
        """In a forked child the file is the parent's."""
        self._map = None


def open_beside(connection_file: str) -> Journal | None:
    """The journal in the folder of the connection file; None if the server has made none there."""
    path = os.path.join(os.path.dirname(os.path.abspath(connection_file)), NAME)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Journal(mmap.mmap(descriptor, 2 * HALF))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
