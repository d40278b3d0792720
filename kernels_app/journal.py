"""The last words of a kernel that is gone: entries it had made and not sent, read from its work folder.

User code can write anything there: the file is opened as spool.py opens files, and what it holds is checked like any
message of a kernel (kernel.py, messages.py). inside/journal.py says how it is written.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from kernels_app.spool import SpoolError, open_spooled

NAME = "journal"
SIZE = 256 * 1024
END = struct.Struct("<Q")
RECORD = struct.Struct("<QI")


def last_frames(work: Path) -> list[dict[str, Any]]:
    """Frames (`frame`, `entries`) in order, as a kernel would have sent them. Blocks; raises nothing."""
    try:
        with open_spooled(work, NAME, SIZE) as file:
            data = file.read(SIZE) or b""
    except (SpoolError, OSError):
        return []
    records = groupby(_records(data), key=lambda record: record[0])
    return [{"frame": frame, "entries": [entry for _, entry in group]} for frame, group in records]


def _records(data: bytes) -> Iterator[tuple[int, Any]]:
    """(frame, entry) of each record that is whole."""
    if len(data) < END.size:
        return
    end = min(END.unpack_from(data)[0], len(data))
    at = END.size
    while at + RECORD.size <= end:
        frame, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length > end:
            return
        try:
            yield frame, json.loads(data[at : at + length])
        except (ValueError, RecursionError):
            return
        at += length
