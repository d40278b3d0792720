"""Large MIME items on their way from a kernel to the outputs storage.

The server copies, hashes and measures; it believes nothing the kernel says of a file (spool.py). A row is written
before the bytes are uploaded and marked ready after, so that a collector never takes what is on its way.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import uuid
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages

from kernels_app.spool import copy_spooled
from notebooks_app.models import OutputFile

log = logging.getLogger("rillbook.outputs")


def keep_spooled(notebook_id: uuid.UUID, work: Path, name: str, mime: str) -> dict[str, Any]:
    """Copy a file that a kernel left into the storage; its url and size. Blocks.

    Raises SpoolError for a file that is not to be trusted, OSError and storage errors.
    """
    with tempfile.TemporaryFile() as copy:
        copied = copy_spooled(work, name, settings.OUTPUT_CELL_MAX_BYTES, copy.write)
        return _store(notebook_id, copy, mime, copied.sha256, copied.size_bytes)


def keep_bytes(notebook_id: uuid.UUID, mime: str, data: bytes) -> dict[str, Any]:
    """Store bytes that came in a message; url and size. Blocks."""
    with tempfile.TemporaryFile() as copy:
        copy.write(data)
        return _store(notebook_id, copy, mime, hashlib.sha256(data).hexdigest(), len(data))


def keep_file(notebook_id: uuid.UUID, mime: str, file: IO[bytes]) -> dict[str, Any]:
    """Store an open file of ours, from its start; url and size. Blocks."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return _store(notebook_id, file, mime, digest, file.tell())


def _store(notebook_id: uuid.UUID, file: IO[bytes], mime: str, sha256: str, size: int) -> dict[str, Any]:
    row = OutputFile.objects.create(notebook_id=notebook_id, sha256=sha256, mime_type=mime[:100], size_bytes=size)
    storage = storages["outputs"]
    if not storage.exists(row.key):
        file.seek(0)
        storage.save(row.key, File(file))
    OutputFile.objects.filter(pk=row.pk).update(is_ready=True)
    return row.as_json()
