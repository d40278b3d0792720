"""Large items of outputs: bytes under `<notebook>/<sha256>` in the `outputs` storage, or held in the database.

A row is written before its bytes and marked ready after. Where the storage does not take them they are held in pieces,
up to a cap a notebook, and moved later; whoever reads asks `open_file` and never notices. How the storage is reached is
storage_line.py's, answers over HTTP are file_answers.py's, deleting is file_collector.py's; what a kernel left is
checked in kernels_app/spill.py.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import uuid
from datetime import timedelta
from typing import IO, BinaryIO, Protocol

from django.conf import settings
from django.core.files.storage import storages
from django.db.models import Max, Q, QuerySet, Sum
from django.utils import timezone

from notebooks_app import metrics
from notebooks_app.models import HeldPart, OutputFile
from notebooks_app.storage_line import StorageFailed, line

log = logging.getLogger("rillbook.outputs")

HELD_PART_BYTES = 1024 * 1024
MIB = 1024 * 1024
COLLECT_AFTER = timedelta(minutes=5)  # what no output shows for so long, where there is no room
# The MIME type of a row whose object is being deleted (file_collector.py): no real one lacks a slash.
COLLECTING = "collecting"


class NotKept(Exception):
    """Bytes that neither the storage nor the database took; the message is for the cell's reader."""


class HeldDamaged(Exception):
    """The held parts of a file are not what was kept."""


# --- Keeping -----------------------------------------------------------------------------------------------------


def keep_bytes(notebook_id: uuid.UUID, mime: str, data: bytes) -> OutputFile:
    """Keep bytes; the row, whose `as_json` is what an output's `files` hold. Blocks. Raises NotKept."""
    with tempfile.TemporaryFile() as copy:
        copy.write(data)
        return keep_hashed(notebook_id, mime, copy, hashlib.sha256(data).hexdigest(), len(data))


def keep_file(notebook_id: uuid.UUID, mime: str, file: IO[bytes]) -> OutputFile:
    """Keep a real file that a kernel's output became, from its start. Blocks. Raises NotKept."""
    file.flush()
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    make_room(notebook_id, digest, file.tell())
    return keep_hashed(notebook_id, mime, file, digest, file.tell())


def keep_hashed(notebook_id: uuid.UUID, mime: str, file: IO[bytes], sha256: str, size_bytes: int) -> OutputFile:
    """Keep a real file whose hash and size the server itself has measured. Blocks. Raises NotKept."""
    file.flush()
    row = OutputFile.objects.create(
        notebook_id=notebook_id, sha256=sha256, mime_type=mime[:100], size_bytes=size_bytes
    )
    if line().is_open and not _is_being_deleted(row):
        try:
            _upload(row, file)  # type: ignore[arg-type]
            return row
        except StorageFailed as error:
            log.warning("the storage did not take output file %s: %s; holding it", row.pk, str(error))
    try:
        _hold(row, file)
    except BaseException:
        row.delete()
        raise
    return row


def _upload(row: OutputFile, file: BinaryIO) -> None:
    """Also where the storage has it already: the object's new time keeps it from being collected."""
    line().put(row.key, file, row.size_bytes)
    OutputFile.objects.filter(pk=row.pk).exclude(mime_type=COLLECTING).update(is_ready=True)
    row.is_ready = True
    metrics.spilled(row.size_bytes)


def _is_being_deleted(row: OutputFile) -> bool:
    """Asked after the row is there: either we see who deletes the object, or they see our row (file_collector.py)."""
    return OutputFile.objects.filter(
        notebook_id=row.notebook_id, sha256=row.sha256, mime_type=COLLECTING
    ).exists()


def make_room(notebook_id: uuid.UUID, sha256: str, more_bytes: int) -> None:
    """Raise NotKept if the notebook's files would be more than OUTPUT_NOTEBOOK_MAX_BYTES, even without those that no
    output shows any more. Asked of what kernels show: what people import is kept whole. Blocks."""
    if _has_room(notebook_id, sha256, more_bytes):
        return
    from notebooks_app import file_collector  # which needs this module

    result = file_collector.Collected()
    before = timezone.now() - COLLECT_AFTER
    for _ in file_collector.collect_rows(before, notebook_id=notebook_id, dry_run=False, result=result):
        pass
    if not _has_room(notebook_id, sha256, more_bytes):
        cap = settings.OUTPUT_NOTEBOOK_MAX_BYTES
        raise NotKept(
            f"This output of {more_bytes / MIB:,.1f} MiB was not kept: the large outputs of a notebook may hold "
            f"{cap / MIB:,.0f} MiB. Clear or delete cells that show large outputs; what was replaced is removed a few "
            f"minutes later."
        )


def _has_room(notebook_id: uuid.UUID, sha256: str, more_bytes: int) -> bool:
    """Counts objects once, however many outputs show the same."""
    rows = OutputFile.objects.filter(notebook_id=notebook_id).exclude(mime_type=COLLECTING)
    sizes = rows.exclude(sha256=sha256).values("sha256").annotate(size=Max("size_bytes"))
    total = sizes.aggregate(total=Sum("size"))["total"] or 0
    return total + more_bytes <= settings.OUTPUT_NOTEBOOK_MAX_BYTES


# --- Holding -----------------------------------------------------------------------------------------------------


def held_files() -> QuerySet[OutputFile]:
    """Files that are held whole and not yet in the storage. Part 0 is written last: a file that has it is whole."""
    return OutputFile.objects.filter(is_ready=False, held_parts__index=0)


def _hold(row: OutputFile, file: IO[bytes]) -> None:
    """Write the bytes as parts, each in a transaction of its own, so that other writers wait for one part only."""
    _check_room(row, row.size_bytes)
    for index in reversed(range(max(1, -(-row.size_bytes // HELD_PART_BYTES)))):
        file.seek(index * HELD_PART_BYTES)
        HeldPart.objects.create(file=row, index=index, data=file.read(HELD_PART_BYTES))
    _check_room(row, 0)  # others may have held files of this notebook meanwhile


def _check_room(row: OutputFile, more_bytes: int) -> None:
    held = held_files().filter(notebook_id=row.notebook_id).aggregate(total=Sum("size_bytes"))["total"] or 0
    cap = settings.OUTPUT_HELD_MAX_BYTES
    if held + more_bytes > cap:
        raise NotKept(
            f"This output of {row.size_bytes / MIB:,.1f} MiB was not kept: the storage for large outputs does not "
            f"take files now, and this notebook may hold {cap / MIB:,.0f} MiB until it does. Run the cell again later."
        )


def held_ids() -> list[uuid.UUID]:
    """The held files, first held first; no more than one round of moving takes."""
    return list(held_files().order_by("created_at").values_list("pk", flat=True)[:1000])


def try_to_move(file_id: uuid.UUID) -> bool:
    """`move_held` for the server, which tries again later: nothing while the storage is known not to answer."""
    if not line().is_open:
        return False
    try:
        return move_held(file_id)
    except (StorageFailed, HeldDamaged) as error:
        log.warning("held output file %s was not moved: %s", file_id, str(error))
        return False


def move_held(file_id: uuid.UUID) -> bool:
    """Move a held file to the storage; False if it was not held any more. Blocks. Moving twice changes nothing.

    Raises StorageFailed (all stays as it is), HeldDamaged.
    """
    row = held_files().filter(pk=file_id).first()
    if row is None or _is_being_deleted(row):
        return False
    with tempfile.TemporaryFile() as copy:
        if not _copy_held(row, copy):
            if not held_files().filter(pk=file_id).exists():
                return False  # another process moved it meanwhile
            raise HeldDamaged(f"The held parts of output file {row.pk} do not add up to what was kept.")
        copy.flush()
        _upload(row, copy)  # type: ignore[arg-type]
    HeldPart.objects.filter(file_id=file_id).delete()
    return True


def _copy_held(row: OutputFile, copy: IO[bytes]) -> bool:
    """Write the held bytes into `copy`; whether they are the ones that were kept."""
    digest, size, index = hashlib.sha256(), 0, 0
    while size < row.size_bytes:
        part = _part(row, index)
        if not part:
            return False
        digest.update(part)
        copy.write(part)
        size, index = size + len(part), index + 1
    return size == row.size_bytes and digest.hexdigest() == row.sha256


def is_held_whole(row: OutputFile) -> bool:
    """Whether the held parts of a file are the bytes that were kept. Blocks."""
    with open(os.devnull, "wb") as nowhere:
        return _copy_held(row, nowhere)


def _part(row: OutputFile, index: int) -> bytes | None:
    data = HeldPart.objects.filter(file_id=row.pk, index=index).values_list("data", flat=True).first()
    return None if data is None else bytes(data)


# --- Reading -----------------------------------------------------------------------------------------------------


class Reader(Protocol):
    """Bytes of a file. `uses_database`: reading belongs into a thread that may ask it."""

    uses_database: bool

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> None: ...


def servable(notebook_id: uuid.UUID, file_id: uuid.UUID) -> OutputFile | None:
    """The row of a file whose bytes are in the storage or held whole; None else."""
    found = OutputFile.objects.filter(Q(is_ready=True) | Q(held_parts__index=0), pk=file_id, notebook_id=notebook_id)
    return found.exclude(mime_type=COLLECTING).first()


def open_file(row: OutputFile) -> Reader:
    """A reader of `row`'s bytes. Raises FileNotFoundError, OSError and the storage's errors."""
    return StoredReader(row) if row.is_ready else HeldReader(row)


class StoredReader:
    uses_database = False

    def __init__(self, row: OutputFile) -> None:
        self._file = storages["outputs"].open(row.key)

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()


class HeldReader:
    """At most one part at a time is in memory. Goes on in the storage where the parts are moved while it reads."""

    uses_database = True

    def __init__(self, row: OutputFile) -> None:
        self._row = row
        self._stored: StoredReader | None = None
        self._index, self._data = -1, b""

    def read(self, offset: int, length: int) -> bytes:
        """At most to the end of the part that `offset` is in."""
        if self._stored is None and length:
            index, start = divmod(offset, HELD_PART_BYTES)
            if index == self._index:
                return self._data[start : start + length]
            data = _part(self._row, index)
            if data is not None:
                self._index, self._data = index, data
                return data[start : start + length]
            self._stored = StoredReader(self._row)
        return self._stored.read(offset, length) if self._stored and length else b""

    def close(self) -> None:
        if self._stored is not None:
            self._stored.close()
