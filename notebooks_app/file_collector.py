"""Removing output files that nothing refers to any more: their rows, and their objects in the storage.

Safe beside running servers. A row is young until the grace is over, whatever it lacks; an output that still streams
refers to its files in chunks. An object goes only while a row marks it: whoever keeps the same bytes meanwhile writes
their row first and then looks for the mark (files.keep_hashed), and we look for their row after the mark is there, so
that one of us sees the other. Objects of the storage without rows are what deleted notebooks and killed servers leave.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.files.storage import Storage, storages
from django.db import IntegrityError
from django.db.models import Max, QuerySet

from notebooks_app.files import COLLECTING
from notebooks_app.models import Notebook, OutputFile, StreamChunk
from notebooks_app.output_folder import PART

BATCH = 500

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_PART_OF_FILE = re.compile(rf"[0-9a-f]{{64}}\.\w+{re.escape(PART)}\Z")


@dataclass(slots=True)
class Collected:
    """What was removed, or in a dry run would be."""

    rows: int = 0
    objects: int = 0
    freed_bytes: int = 0  # of objects that had rows
    orphans: int = 0  # of `objects`: those that no row named
    young: int = 0  # without a row, too young to be removed
    foreign: list[str] = field(default_factory=list)  # not ours: never touched
    failures: list[str] = field(default_factory=list)


# --- Rows nothing refers to --------------------------------------------------------------------------------------


def collect_rows(
    before: datetime, *, dry_run: bool, result: Collected, notebook_id: uuid.UUID | None = None
) -> Iterator[str]:
    """Remove what no output (of one notebook, or of all) refers to and was made before `before`; says each key."""
    found = _unreferenced(before).order_by().values_list("notebook_id", flat=True).distinct()
    notebook_ids = list(found if notebook_id is None else found.filter(notebook_id=notebook_id))
    for notebook_id in notebook_ids:
        in_chunks = _files_in_chunks(notebook_id)
        rows = _unreferenced(before).filter(notebook_id=notebook_id).exclude(pk__in=in_chunks)
        for sha256 in list(rows.order_by("sha256").values_list("sha256", flat=True).distinct()):
            ids = list(rows.filter(sha256=sha256).values_list("pk", flat=True))
            yield from _collect_key(notebook_id, sha256, ids, dry_run=dry_run, result=result)


def _unreferenced(before: datetime) -> QuerySet[OutputFile]:
    return OutputFile.objects.filter(output=None, created_at__lt=before)


def _files_in_chunks(notebook_id: uuid.UUID) -> set[uuid.UUID]:
    """The files of outputs that are still in chunks: their attempts run, or ended with their server."""
    chunks = StreamChunk.objects.filter(cell__notebook_id=notebook_id).values_list("ops", flat=True)
    found: set[uuid.UUID] = set()
    for ops in chunks.iterator(chunk_size=50):
        for op in ops:
            found.update(_ids_of((op.get("output") or {}).get("files") or {}))
    return found


def _ids_of(files: dict[str, Any]) -> Iterable[uuid.UUID]:
    return (uuid.UUID(str(file["url"]).rstrip("/").rsplit("/", 1)[-1]) for file in files.values())


def _collect_key(
    notebook_id: uuid.UUID, sha256: str, ids: list[uuid.UUID], *, dry_run: bool, result: Collected
) -> Iterator[str]:
    """Rows of one key, and its object if they are all there are."""
    same = OutputFile.objects.filter(notebook_id=notebook_id, sha256=sha256)
    size = same.filter(pk__in=ids).aggregate(size=Max("size_bytes"))["size"]
    if size is None:
        return
    if dry_run:
        count, is_last = len(ids), not same.exclude(pk__in=ids).exclude(mime_type=COLLECTING).exists()
    else:
        # Conditional: an output may have taken a row since. A row that is marked is not served any more.
        same.filter(pk__in=ids, output=None).update(mime_type=COLLECTING, is_ready=False)
        doomed = list(same.filter(pk__in=ids, mime_type=COLLECTING).values_list("pk", flat=True))
        count, is_last = len(doomed), _delete_object(notebook_id, sha256, result)
        OutputFile.objects.filter(pk__in=doomed).delete()
    result.rows += count
    if is_last:
        result.objects += 1
        result.freed_bytes += size
    yield f"{notebook_id}/{sha256}: {_counted(count, 'row')}{', object' if is_last else ''}"


def _delete_object(notebook_id: uuid.UUID, name: str, result: Collected) -> bool:
    """Delete an object that no row but marked ones names, under a mark of our own; whether it is gone.

    Whoever keeps the same bytes now sees our mark and holds them, or was seen by us. Of a deleted notebook there is
    nobody: its id never comes back.
    """
    key = f"{notebook_id}/{name}"
    try:
        mark = OutputFile.objects.create(notebook_id=notebook_id, sha256=name, mime_type=COLLECTING, size_bytes=0)
    except IntegrityError:
        return _delete(key, result)
    try:
        others = OutputFile.objects.filter(notebook_id=notebook_id, sha256=name).exclude(mime_type=COLLECTING)
        return not others.exists() and _delete(key, result)
    finally:
        mark.delete()


# --- Objects without rows ----------------------------------------------------------------------------------------


def collect_orphans(before: datetime, *, dry_run: bool, result: Collected) -> Iterator[str]:
    """Remove objects of ours that no row names and that were written before `before`; says each key as it is done.

    Raises what the storage raises when it cannot be listed.
    """
    storage = storages["outputs"]
    folders, loose = _list(storage, "")
    result.foreign += sorted(loose)
    for folder in sorted(folders):
        notebook_id = _uuid(folder)
        if notebook_id is None:
            result.foreign.append(f"{folder}/")
            continue
        deeper, names = _list(storage, folder)
        result.foreign += [f"{folder}/{name}/" for name in deeper]
        for name in _without_rows(notebook_id, names):
            key = f"{folder}/{name}"
            if not (_HASH.match(name) or _PART_OF_FILE.match(name)):
                result.foreign.append(key)
            else:
                yield from _collect_orphan(storage, notebook_id, name, before, dry_run=dry_run, result=result)


def _collect_orphan(
    storage: Storage, notebook_id: uuid.UUID, name: str, before: datetime, *, dry_run: bool, result: Collected
) -> Iterator[str]:
    key = f"{notebook_id}/{name}"
    try:
        if storage.get_modified_time(key) >= before:
            result.young += 1
            return
    except Exception as error:
        result.failures.append(f"{key}: {type(error).__name__}")
        return
    if not dry_run:
        exists = _HASH.match(name) and Notebook.objects.filter(pk=notebook_id).exists()
        if not (_delete_object(notebook_id, name, result) if exists else _delete(key, result)):
            return
    result.objects += 1
    result.orphans += 1
    yield f"{key}: object without a row"


def _without_rows(notebook_id: uuid.UUID, names: list[str]) -> Iterator[str]:
    for start in range(0, len(names), BATCH):
        some = sorted(names)[start : start + BATCH]
        known = OutputFile.objects.filter(notebook_id=notebook_id, sha256__in=some).values_list("sha256", flat=True)
        yield from sorted(set(some) - set(known))


def _list(storage: Storage, folder: str) -> tuple[list[str], list[str]]:
    try:
        return storage.listdir(folder)
    except FileNotFoundError:  # nothing was ever kept
        return [], []


def _delete(key: str, result: Collected) -> bool:
    try:
        storages["outputs"].delete(key)
    except Exception as error:  # storages raise what their libraries raise
        result.failures.append(f"{key}: {type(error).__name__}")
        return False
    return True


def _uuid(text: str) -> uuid.UUID | None:
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
