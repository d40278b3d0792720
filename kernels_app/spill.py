"""Large MIME items on their way from a kernel to the outputs storage.

The server copies, hashes and measures; it believes nothing the kernel says of a file (spool.py). Where the bytes are
kept is notebooks_app/files.py's.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.db import OperationalError

from kernels_app.spool import Copied, SpoolError, open_spooled
from notebooks_app import files
from notebooks_app.errors import is_disk_full

_FULL = "This output is large, and the server's disk is full."


def keep_copy(notebook_id: uuid.UUID, mime: str, copy: IO[bytes], copied: Copied) -> dict[str, Any]:
    """Keep the copy of a file that a kernel left; its url and size. Blocks.

    Raises files.NotKept, OSError, and what a database that is away does: then it may be tried again.
    """
    with _no_room_is_said():
        files.make_room(notebook_id, copied.sha256, copied.size_bytes)
        return files.keep_hashed(notebook_id, mime, copy, copied.sha256, copied.size_bytes).as_json()


def drop_spooled(work: Path, name: str) -> None:
    """Delete a file that a kernel left, unread. Blocks; raises nothing but OSError."""
    with contextlib.suppress(SpoolError), open_spooled(work, name, 0):
        pass


def keep_file(notebook_id: uuid.UUID, mime: str, file: IO[bytes]) -> dict[str, Any]:
    """Keep an open file of ours, from its start; url and size. Blocks. Raises as `keep_copy`."""
    with _no_room_is_said():
        return files.keep_file(notebook_id, mime, file).as_json()


@contextlib.contextmanager
def _no_room_is_said() -> Iterator[None]:
    """A database without room does not take the file later either: nobody waits for it."""
    try:
        yield
    except OperationalError as error:
        if is_disk_full(error):
            raise files.NotKept(_FULL) from error
        raise
