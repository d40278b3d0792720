"""Copies of output files for backups, and the proof that storage and database belong together.

An object is named by its hash and never changes. So a folder of copies serves every backup of the database that was
made before the copying, and copying twice copies what is new. The database's own backup is PostgreSQL's work
(docs/operations.md, Backup and restore).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from pathlib import Path
from typing import IO
from uuid import UUID

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db.models import Exists, OuterRef, QuerySet

from notebooks_app.files import COLLECTING, held_files, is_held_whole
from notebooks_app.models import HeldPart, OutputFile
from notebooks_app.storage_line import words_of

AT_ONCE = 8
BATCH = 400
READ_BYTES = 1024 * 1024


class Wrong(Exception):
    """What is wrong with one object, in words for the operator."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of the storage, as the database names it."""

    notebook_id: UUID
    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        return f"{self.notebook_id}/{self.sha256}"


@dataclass(slots=True)
class Tally:
    """What was done, and what was found wrong: one line each."""

    seen: int = 0
    done: int = 0
    done_bytes: int = 0
    failures: list[str] = field(default_factory=list)


type Work = Callable[[Stored], bool]  # whether there was anything to do; raises Wrong or what the storage raises


# --- The three works -------------------------------------------------------------------------------------------------


def copy_out(folder: Path) -> Iterator[Tally]:
    """Copy every object that the folder lacks into it, its hash checked; the tally after each batch."""
    yield from _each(partial(_copy_out, storages["outputs"], folder))


def copy_in(folder: Path) -> Iterator[Tally]:
    """Give the storage every object that it lacks, from such a folder; the tally after each batch."""
    yield from _each(partial(_copy_in, storages["outputs"], folder))


def verify(*, is_quick: bool) -> Iterator[Tally]:
    """Whether the storage has every object whole; `is_quick` asks for its size and reads nothing. Then what is held."""
    tally = Tally()
    yield from _each(partial(_verify, storages["outputs"], is_quick), tally)
    tally.failures += unwritten()
    for row in held_files().order_by("pk").iterator(chunk_size=BATCH):
        tally.seen += 1
        if not is_held_whole(row) and held_files().filter(pk=row.pk).exists():
            tally.failures.append(f"{row.key}: what the database holds of it is not what was kept")
    yield tally


def stored() -> QuerySet[OutputFile]:
    """Rows whose bytes must be in the storage."""
    return OutputFile.objects.filter(is_ready=True).exclude(mime_type=COLLECTING)


def unwritten() -> list[str]:
    """Files that an output shows and that neither the storage nor the database was given whole."""
    held = HeldPart.objects.filter(file=OuterRef("pk"), index=0)
    rows = OutputFile.objects.filter(~Exists(held), is_ready=False, output__isnull=False)
    return [f"{row.key}: was never kept whole" for row in rows.exclude(mime_type=COLLECTING)[:BATCH]]


# --- One object ------------------------------------------------------------------------------------------------------


def _copy_out(storage: Storage, folder: Path, item: Stored) -> bool:
    path = folder / item.key
    if path.exists() and path.stat().st_size == item.size_bytes:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with _opened(storage, item) as source, part.open("wb") as target:
            _copy_hashed(source, target, item)
            target.flush()
            os.fsync(target.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def _copy_in(storage: Storage, folder: Path, item: Stored) -> bool:
    if storage.exists(item.key) and storage.size(item.key) == item.size_bytes:
        return False
    path = folder / item.key
    if not path.exists():
        raise Wrong("is neither in the storage nor in the folder")
    with path.open("rb") as source:
        _hash(source, item)
        source.seek(0)
        saved = storage.save(item.key, File(source))
    if saved != item.key:
        storage.delete(saved)
        raise Wrong("another file is in its place in the storage")
    return True


def _verify(storage: Storage, is_quick: bool, item: Stored) -> bool:
    if is_quick:
        if not storage.exists(item.key):
            raise Wrong("is not in the storage")
        if (size := storage.size(item.key)) != item.size_bytes:
            raise Wrong(f"has {size:,} bytes and not {item.size_bytes:,}")
        return True
    with _opened(storage, item) as source:
        _hash(source, item)
    return True


def _opened(storage: Storage, item: Stored) -> IO[bytes]:
    try:
        return storage.open(item.key)
    except FileNotFoundError:
        raise Wrong("is not in the storage") from None


def _hash(source: IO[bytes], item: Stored) -> None:
    with open(os.devnull, "wb") as nowhere:
        _copy_hashed(source, nowhere, item)


def _copy_hashed(source: IO[bytes], target: IO[bytes], item: Stored) -> None:
    """Raises Wrong where the bytes are not those of the name."""
    digest, size = hashlib.sha256(), 0
    while data := source.read(READ_BYTES):
        digest.update(data)
        target.write(data)
        size += len(data)
    if size != item.size_bytes:
        raise Wrong(f"has {size:,} bytes and not {item.size_bytes:,}")
    if digest.hexdigest() != item.sha256:
        raise Wrong("holds other bytes than those that were kept")


# --- All of them -----------------------------------------------------------------------------------------------------


def _each(work: Work, tally: Tally | None = None) -> Iterator[Tally]:
    """Do the work for every object that the database names, some at once; the tally after each batch."""
    tally = tally or Tally()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="outputs") as threads:
        for items in batched(_named(), BATCH):
            for item, (done, failure) in zip(items, threads.map(partial(_try, work), items), strict=True):
                tally.seen += 1
                tally.done += done
                tally.done_bytes += item.size_bytes * done
                if failure and _is_named(item):  # else its cell ran again meanwhile
                    tally.failures.append(f"{item.key}: {failure}")
            yield tally
    yield tally


def _named() -> Iterable[Stored]:
    rows = stored().order_by("notebook_id", "sha256").values_list("notebook_id", "sha256", "size_bytes").distinct()
    return (Stored(*row) for row in rows.iterator(chunk_size=BATCH))


def _is_named(item: Stored) -> bool:
    return stored().filter(notebook_id=item.notebook_id, sha256=item.sha256).exists()


def _try(work: Work, item: Stored) -> tuple[bool, str]:
    try:
        return work(item), ""
    except Wrong as wrong:
        return False, str(wrong)
    except Exception as error:  # storages raise what their libraries raise
        return False, words_of(error)
