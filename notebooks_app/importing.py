"""Notebooks of files and tables into the database, once: each whole or not at all, and the same again changes nothing.

Legacy notebooks have an id for ever: ours is it if it is a uuid, else made from it; what is here under it is compared
with the source. In DynamoDB two users may have notebooks of one id: the second gets an id made from both. Other files
are known by their content and owner. Sources are import_sources.py's and dynamodb.py's, whose a notebook is
import_owners.py's, comparing verifying.py's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db.models import F

from notebooks_app import import_connections, import_rows, verifying
from notebooks_app.errors import BadRequest
from notebooks_app.formats.base import OURS, ImportedNotebook
from notebooks_app.import_owners import PREFIXES, Owners, user_id_of
from notebooks_app.import_rows import file_id, notebook_id, second_id
from notebooks_app.import_sources import Loaded, Source
from notebooks_app.models import Notebook
from notebooks_app.notebooks import import_notebook, replace_imported
from notebooks_app.text import replace_surrogates


class Imported(StrEnum):
    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DIFFERS = "differs from what is here, which is kept"
    EDITED = "differs from what was edited or run here since its import, which is kept"
    IN_BIN = "in the bin, and kept there"
    WOULD_IMPORT = "would be imported"
    WOULD_UPDATE = "would be updated"


@dataclass
class Options:
    """What an import does. `update` takes a changed source for a notebook that nobody has changed or run here since
    its import; `overwrite` also for one that somebody has, whose changes are then lost.

    Lives as long as one run, and remembers what that has seen.
    """

    owners: Owners
    dry_run: bool = False
    update: bool = False
    overwrite: bool = False
    verify: bool = False
    # By notebook: its source, its digest, its old user.
    _sources: dict[uuid.UUID, tuple[str, str, str]] = field(default_factory=dict)
    _files: dict[Any, dict[str, uuid.UUID]] = field(default_factory=dict)  # by owner: notebooks of files by digest

    def claim(self, pk: uuid.UUID, source: Source, loaded: Loaded) -> None:
        """Note that the run has a source for this notebook. Raises BadRequest if it has another one already."""
        claimed = (source.name, loaded.sha256, loaded.notebook.user_id)
        first, digest, _ = self._sources.setdefault(pk, claimed)
        if first != source.name and digest != loaded.sha256:
            raise BadRequest(f"It has the same id as {first}, but says something else: which of them is right?")

    def user_of(self, pk: uuid.UUID) -> str:
        """The old user of the source that the run has for this notebook; "" without one."""
        return self._sources[pk][2] if pk in self._sources else ""

    def files_of(self, owner: Any) -> dict[str, uuid.UUID]:
        """The notebooks that came from files without ids, by the digest of their content; one in the bin where no
        other is left. Read once an owner.
        """
        if owner.pk not in self._files:
            facts = Notebook.objects.filter(owner=owner, metadata__rillbook__import__sha256__isnull=False)
            in_order = facts.order_by(F("deleted_at").asc(nulls_last=True), "created_at")
            found = in_order.values_list("metadata__rillbook__import__sha256", "pk")
            self._files[owner.pk] = {digest: pk for digest, pk in found if isinstance(digest, str)}
        return self._files[owner.pk]


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

    Raises NotANotebook, FormatError, BadRequest (UnknownUser), TooLarge, Conflict, Unavailable, TableError, OSError,
    DatabaseError: nothing was stored.
    """
    loaded = source.load(settings.NOTEBOOK_MAX_CELLS)
    found = loaded.notebook
    owner = options.owners.owner_of(user_id_of(found.id, found.user_id))
    import_rows.check(found)
    pk = _id_of(loaded, options) if loaded.is_legacy else None
    if pk is not None:
        options.claim(pk, source, loaded)
    known = _known(loaded, owner, pk, options)
    result = _take(source, loaded, owner, pk, known, options)
    result.warnings = found.warnings
    if options.verify:
        result.differences, result.notes = verifying.compare(loaded, result.notebook)
    return result


def _id_of(loaded: Loaded, options: Options) -> uuid.UUID:
    """The id that a legacy notebook has here: its second one where that is here or another user's has the first."""
    found = loaded.notebook
    first = notebook_id(found.id)
    if not loaded.by_user:
        return first
    second = second_id(found.id, found.user_id)
    here = Notebook.objects.only("metadata").in_bulk([first, second])
    facts = here[first].import_facts() if first in here else {}
    holder = (facts.get("user_id") if facts.get("id") == found.id else "") or options.user_of(first)
    if second not in here and holder in ("", found.user_id):
        return first
    found.warnings.append("A notebook of another user has the same id: this one has an id of its own here.")
    return second


def _known(loaded: Loaded, owner: Any, pk: uuid.UUID | None, options: Options) -> Notebook | None:
    """The notebook that is here for this source. Raises BadRequest where it is somebody else's."""
    notebooks = Notebook.objects.select_related("owner", "connection")
    if pk is None:
        made = file_id(owner.pk, loaded.sha256)
        noted = options.files_of(owner).get(loaded.sha256, made)
        here = notebooks.filter(owner=owner).in_bulk([noted, made])
        return here.get(noted) or here.get(made)  # which another import has made since the digests were read
    known = notebooks.filter(pk=pk).first()
    if known is not None and known.owner_id != owner.pk:
        raise BadRequest(f"It is here already as {known.pk}, and belongs to another account.")
    return known


def _take(
    source: Source, loaded: Loaded, owner: Any, pk: uuid.UUID | None, known: Notebook | None, options: Options
) -> Result:
    if known is None:
        return _import(source, loaded, owner, pk, options)
    if known.deleted_at is not None:
        return Result(Imported.IN_BIN, known)
    if _is_same(loaded, known):
        import_connections.check(loaded.notebook)
        return Result(Imported.UNCHANGED, known)
    is_edited = known.seq != known.import_facts().get("seq")
    if not (options.overwrite or (options.update and not is_edited)):
        return Result(Imported.EDITED if options.update else Imported.DIFFERS, known)
    if options.dry_run:
        return Result(Imported.WOULD_UPDATE, known)
    return _update(source, loaded, known)


def _is_same(loaded: Loaded, known: Notebook) -> bool:
    is_content = known.import_facts().get("sha256") in (loaded.sha256, loaded.earlier)
    return is_content and import_connections.is_same(loaded.notebook, known)


def _import(source: Source, loaded: Loaded, owner: Any, pk: uuid.UUID | None, options: Options) -> Result:
    found = loaded.notebook
    if options.dry_run:
        import_connections.check(found)
        return Result(Imported.WOULD_IMPORT)
    chosen = import_connections.choose(found, owner)
    fields: dict[str, Any] = {"connection": chosen.notebook, "revision": found.revision}
    if pk is not None:
        fields |= {"id": pk, "kind": _kind(found.id, owner), "external_id": _external_id(found, pk)}
    elif not Notebook.objects.filter(pk=(made_id := file_id(owner.pk, loaded.sha256))).exists():
        fields["id"] = made_id  # else it was given to another account
    noted = _with_origin(source, loaded, seq=0, revision=found.revision)
    made = import_notebook(owner, noted, keep_ids=True, connections=chosen.cells, new=chosen.new, **fields)
    if pk is None:
        options.files_of(owner)[loaded.sha256] = made.pk
    return Result(Imported.IMPORTED, _again(made.pk))


def _update(source: Source, loaded: Loaded, known: Notebook) -> Result:
    found = loaded.notebook
    seq = known.seq + 1
    # Never back, and never the same number for another content: what was read before is guarded by it.
    revision = max(known.revision + 1, found.revision)
    chosen = import_connections.choose(found, known.owner)
    noted = _with_origin(source, loaded, seq=seq, revision=revision)
    fields: dict[str, Any] = {"connection": chosen.notebook, "revision": revision, "seq": seq}
    if loaded.is_legacy:
        fields["external_id"] = _external_id(found, known.pk)
    replace_imported(known, noted, connections=chosen.cells, new=chosen.new, **fields)
    return Result(Imported.UPDATED, _again(known.pk))


def _external_id(found: ImportedNotebook, pk: uuid.UUID) -> str:
    return found.id[:200] if found.id != str(pk) else ""


def _again(pk: uuid.UUID) -> Notebook:
    return Notebook.objects.select_related("owner", "connection").get(pk=pk)


def _with_origin(source: Source, loaded: Loaded, *, seq: int, revision: int) -> ImportedNotebook:
    """The notebook with what is noted of where it came from (never what a DSN says) and of its numbers as it came,
    and with the time its file was written where it says none: never one in the future.
    """
    found = loaded.notebook
    path = replace_surrogates(source.name.replace("\\", "/").rsplit("/", 1)[-1])
    noted: dict[str, Any] = {"path": path, "sha256": loaded.sha256, "seq": seq}
    if loaded.is_legacy:
        noted |= {"id": found.id, "user_id": found.user_id}
    if found.revision != revision:
        noted |= {"source_revision": found.revision, "revision": revision}
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
