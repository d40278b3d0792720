"""Notebooks of files and tables into the database, once: each whole or not at all, and the same again changes nothing.

Legacy notebooks have an id for ever: ours is it if it is a uuid, else made from it; what is here under it is compared
with the source. Other files are known by their content and owner. Sources are import_sources.py's and dynamodb.py's,
whose a notebook is import_owners.py's, comparing verifying.py's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.conf import settings

from notebooks_app import import_connections, verifying
from notebooks_app.errors import BadRequest
from notebooks_app.exporting import import_facts
from notebooks_app.formats.base import OURS, ImportedNotebook
from notebooks_app.import_owners import PREFIXES, Owners, user_id_of
from notebooks_app.import_rows import as_uuid
from notebooks_app.import_sources import Loaded, Source
from notebooks_app.models import Notebook
from notebooks_app.notebooks import import_notebook, replace_imported
from notebooks_app.services import analyse_pending

# Ids that are no uuids map to uuids in this namespace: never change it.
NAMESPACE = uuid.UUID("5f0c7c2e-3f0e-5d2b-9c46-0d8f3c5b7a11")


class Imported(StrEnum):
    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DIFFERS = "differs from what is here, which is kept"
    IN_BIN = "in the bin, and kept there"
    WOULD_IMPORT = "would be imported"
    WOULD_UPDATE = "would be updated"


@dataclass
class Options:
    """`update` takes a changed source for a notebook that nobody has changed or run here since its import."""

    owners: Owners
    dry_run: bool = False
    update: bool = False
    verify: bool = False


@dataclass
class Result:
    """What became of a source. `differences` (verify) are what is not here as the source has it; `notes` are hints."""

    outcome: Imported
    notebook: Notebook | None = None
    warnings: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_source(source: Source, options: Options) -> Result:
    """Import one source, and compare it with what is here if so asked.

    Raises NotANotebook, FormatError, BadRequest, TooLarge, Unavailable, OSError, DatabaseError: nothing was stored.
    """
    loaded = source.load(settings.NOTEBOOK_MAX_CELLS)
    found = loaded.notebook
    owner = options.owners.owner_of(user_id_of(found.id, found.user_id))
    known = _known(loaded, owner)
    result = _take(source, loaded, owner, known, options)
    result.warnings = found.warnings
    if options.verify:
        result.differences, result.notes = verifying.compare(found, result.notebook, is_legacy=loaded.is_legacy)
    return result


def notebook_id(old_id: str) -> uuid.UUID:
    """The id that a notebook of this old id has for ever."""
    return as_uuid(old_id) or uuid.uuid5(NAMESPACE, old_id)


def _known(loaded: Loaded, owner: Any) -> Notebook | None:
    """The notebook that is here for this source. Raises BadRequest where it is somebody else's."""
    notebooks = Notebook.objects.select_related("owner", "connection")
    if not loaded.is_legacy:
        return notebooks.alive().filter(owner=owner, metadata__rillbook__import__sha256=loaded.sha256).first()
    known = notebooks.filter(pk=notebook_id(loaded.notebook.id)).first()
    if known is not None and known.owner_id != owner.pk:
        raise BadRequest(f"It is here already as {known.pk}, and belongs to another account.")
    return known


def _take(source: Source, loaded: Loaded, owner: Any, known: Notebook | None, options: Options) -> Result:
    if known is None:
        return _import(source, loaded, owner, options)
    if known.deleted_at is not None:
        return Result(Imported.IN_BIN, known)
    if _is_same(loaded, known):
        import_connections.settle(loaded.notebook, known.connection)
        if not options.dry_run:
            analyse_pending(known.pk)  # an import that was killed may have left this to do
        return Result(Imported.UNCHANGED, known)
    if not options.update or known.seq != import_facts(known).get("seq"):
        return Result(Imported.DIFFERS, known)
    if options.dry_run:
        return Result(Imported.WOULD_UPDATE, known)
    return _update(source, loaded, known)


def _is_same(loaded: Loaded, known: Notebook) -> bool:
    return import_facts(known).get("sha256") == loaded.sha256 and import_connections.is_same(loaded.notebook, known)


def _import(source: Source, loaded: Loaded, owner: Any, options: Options) -> Result:
    found = loaded.notebook
    if options.dry_run:
        import_connections.check(found)
        return Result(Imported.WOULD_IMPORT)
    chosen = import_connections.choose(found, owner)
    fields: dict[str, Any] = {"connection": chosen.notebook, "revision": found.revision, "seq": found.revision}
    if loaded.is_legacy:
        pk = notebook_id(found.id)
        fields |= {"id": pk, "kind": _kind(found.id, owner)}
        fields["external_id"] = found.id[:200] if found.id != str(pk) else ""
    noted = _with_origin(source, loaded, seq=found.revision)
    made = import_notebook(owner, noted, keep_ids=True, connections=chosen.cells, **fields)
    return Result(Imported.IMPORTED, _again(made.pk))


def _update(source: Source, loaded: Loaded, known: Notebook) -> Result:
    found = loaded.notebook
    seq = max(known.seq, found.revision) + 1
    chosen = import_connections.choose(found, known.owner)
    noted = _with_origin(source, loaded, seq=seq)
    replace_imported(
        known, noted, connections=chosen.cells, connection=chosen.notebook, revision=found.revision, seq=seq
    )
    return Result(Imported.UPDATED, _again(known.pk))


def _again(pk: uuid.UUID) -> Notebook:
    return Notebook.objects.select_related("owner", "connection").get(pk=pk)


def _with_origin(source: Source, loaded: Loaded, *, seq: int) -> ImportedNotebook:
    """The notebook with what is noted of where it came from (never what a DSN says), and with the time its file was
    written where it says none: never one in the future.
    """
    found = loaded.notebook
    noted: dict[str, Any] = {"path": source.name.replace("\\", "/").rsplit("/", 1)[-1], "sha256": loaded.sha256}
    noted["seq"] = seq
    if loaded.is_legacy:
        noted |= {"id": found.id, "user_id": found.user_id}
    ours = found.metadata.get(OURS)
    metadata = found.metadata | {OURS: {**(ours if isinstance(ours, Mapping) else {}), "import": noted}}
    written = min(loaded.modified, datetime.now(UTC)) if loaded.modified else None
    updated = found.updated_at or written
    return replace(found, metadata=metadata, updated_at=updated, created_at=found.created_at or updated)


def _kind(old_id: str, owner: Any) -> str:
    """A user's own Demo or Blank stays that where they have none yet, not even in the bin; else it is a normal one."""
    for prefix, kind in zip(PREFIXES, (Notebook.Kind.DEMO, Notebook.Kind.BLANK), strict=True):
        if old_id.startswith(prefix) and not Notebook.objects.filter(owner=owner, kind=kind).exists():
            return kind
    return Notebook.Kind.NORMAL
