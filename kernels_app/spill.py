"""Large MIME items on their way from a kernel to the outputs storage.

The server copies, hashes and measures; it believes nothing the kernel says of a file (spool.py). Where the bytes are
kept is notebooks_app/files.py's.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from pathlib import Path
from typing import IO, Any

from kernels_app.spool import SpoolError, copy_spooled, open_spooled
from notebooks_app import files


def keep_spooled(notebook_id: uuid.UUID, work: Path, name: str, mime: str, cap_bytes: int) -> dict[str, Any]:
    """Keep a file of at most `cap_bytes` that a kernel left; its url and size. Blocks.

    Raises SpoolError for a file that is not to be trusted, files.NotKept, OSError.
    """
    with tempfile.TemporaryFile() as copy:
        copied = copy_spooled(work, name, cap_bytes, copy.write)
        files.make_room(notebook_id, copied.sha256, copied.size_bytes)
        return files.keep_hashed(notebook_id, mime, copy, copied.sha256, copied.size_bytes).as_json()


def drop_spooled(work: Path, name: str) -> None:
    """Delete a file that a kernel left, unread. Blocks; raises nothing but OSError."""
    with contextlib.suppress(SpoolError), open_spooled(work, name, 0):
        pass


def keep_file(notebook_id: uuid.UUID, mime: str, file: IO[bytes]) -> dict[str, Any]:
    """Keep an open file of ours, from its start; url and size. Blocks. Raises files.NotKept, OSError."""
    return files.keep_file(notebook_id, mime, file).as_json()
