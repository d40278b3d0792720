"""Named versions of a notebook: naming what is there now, comparing it with now, bringing it back.

A version keeps cells, not outputs. Bringing one back is one accepted change (services.accept): the fewest edits that
make the cells what they were, in one event; what was there before is named first, so that nothing is lost by it.
What texts differ in is differences.py's; who may do it is the caller's to ask (access.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Substr
from django.utils import timezone

from notebooks_app import changeset, differences, events, placing, services
from notebooks_app.differences import CellSide
from notebooks_app.errors import Conflict, NotFound, TooLarge
from notebooks_app.models import Cell, Change, Connection, Notebook, Version, VersionCell
from notebooks_app.services import Accepted, Author
from notebooks_app.text import clean_name

type Document = dict[str, Any]
type Event = events.Event

VERSIONS_AT_MOST = 500  # of a notebook; then some must be deleted first
NAME_MAX_LENGTH = 200
BATCH = 100
COPIED = ("position", "type", "source", "source_hash", "result_name", "connection_id", "disabled", "code_hidden")
FIELDS = ("type", "result_name", "connection_id", "disabled", "code_hidden")
SIDE = ("type", "source_hash", "result_name", "connection_id", "disabled", "code_hidden")
# Of a difference: beyond, cells are named and their texts left out.
DIFFS_AT_MOST = 200
DIFFS_BYTES_AT_MOST = 1024 * 1024
HEADS_AT_MOST = 500
STEPS_CHARACTERS_AT_MOST = 4_000_000
HEAD_AT_MOST = 200  # characters of a cell's first line
BEGINNING = Substr("source", 1, 2 * HEAD_AT_MOST)

# --- Naming ----------------------------------------------------------------------------------------------------------


def name_version(notebook_id: uuid.UUID, name: str, *, author: Author) -> Version:
    """Keep the notebook's cells as they are now, in a fixed number of statements; no change, so it takes no number.

    Raises BadRequest (the name), NotFound, TooLarge (too many versions).
    """
    name = clean_name(name, max_length=NAME_MAX_LENGTH)
    with transaction.atomic():
        # The row's lock: cells and numbers are of one moment.
        notebook = Notebook.objects.select_for_update().filter(pk=notebook_id).only("seq", "revision").first()
        if notebook is None:
            raise NotFound("There is no such notebook.")
        if Version.objects.filter(notebook_id=notebook_id).count() >= VERSIONS_AT_MOST:
            raise TooLarge(f"A notebook may have {VERSIONS_AT_MOST} versions; delete one first.")
        return _keep(notebook_id, name, author, seq=notebook.seq, revision=notebook.revision)


def _keep(notebook_id: uuid.UUID, name: str, author: Author, *, seq: int, revision: int) -> Version:
    version = Version.objects.create(
        notebook_id=notebook_id, name=name, seq=seq, revision=revision, author_id=author.user_id
    )
    _copy_cells(notebook_id, version)
    return version


def _copy_cells(notebook_id: uuid.UUID, version: Version) -> None:
    """One INSERT … SELECT: sources never travel to the server."""
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, COPIED))
    version_pk = Version._meta.pk.get_db_prep_value(version.pk, connection)
    notebook_pk = Notebook._meta.pk.get_db_prep_value(notebook_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(VersionCell._meta.db_table)} (version_id, cell_id, {columns}) "
            f"SELECT %s, id, {columns} FROM {quote(Cell._meta.db_table)} "
            "WHERE notebook_id = %s AND deleted_at IS NULL",
            [version_pk, notebook_pk],
        )


# --- Reading ---------------------------------------------------------------------------------------------------------


def versions_of(notebook_id: uuid.UUID) -> QuerySet[Version]:
    """Newest first, with author and `cell_count`: one query."""
    found = Version.objects.filter(notebook_id=notebook_id).select_related("author")
    return found.annotate(cell_count=Count("cells")).order_by("-created_at", "-seq")


def version_of(notebook_id: uuid.UUID, version_id: uuid.UUID) -> Version:
    version = versions_of(notebook_id).filter(pk=version_id).first()
    if version is None:
        raise NotFound("There is no such version of this notebook.")
    return version


def delete_version(notebook_id: uuid.UUID, version_id: uuid.UUID) -> None:
    version_of(notebook_id, version_id).delete()


def version_document(version: Any) -> Document:
    """A version of `versions_of`."""
    author = version.author
    return {
        "id": str(version.pk),
        "name": version.name,
        "seq": version.seq,
        "revision": version.revision,
        "author": (author.get_full_name() or author.get_username()) if author else None,
        "created_at": version.created_at.isoformat(),
        "cell_count": version.cell_count,
    }


def version_cells(version: Version) -> list[Document]:
    """The cells as they were, in order."""
    return [
        {
            "id": str(cell.cell_id),
            "number": number,
            "type": cell.type,
            "source": cell.source,
            "result_name": cell.result_name,
            "connection": str(cell.connection_id) if cell.connection_id else None,
            "disabled": cell.disabled,
            "code_hidden": cell.code_hidden,
        }
        for number, cell in enumerate(VersionCell.objects.filter(version=version).order_by("position"), start=1)
    ]


# --- Comparing with now ----------------------------------------------------------------------------------------------


def difference_to_now(version: Version) -> Document:
    """What changed since the version, by cells, with a unified diff of each changed text, within bounds."""
    old = _sides(VersionCell.objects.filter(version=version).order_by("position"), "cell_id")
    new = _sides(Cell.objects.alive().filter(notebook_id=version.notebook_id).in_order(), "pk")
    found = differences.compare(old, new)
    olds, news = {cell.id: cell for cell in old}, {cell.id: cell for cell in new}
    old_numbers = {cell.id: number for number, cell in enumerate(old, start=1)}
    numbers = {cell.id: number for number, cell in enumerate(new, start=1)}
    compared = found.changed[:DIFFS_AT_MOST]
    before, after = _version_sources(version, compared), _sources(version.notebook_id, compared)
    old_heads, new_heads = _heads_of_version(version, found.removed), _heads(version.notebook_id, found)

    def about(cell: uuid.UUID) -> Document:
        return {
            "id": str(cell),
            "number": numbers[cell],
            "type": news[cell].type,
            "head": _head(after.get(cell) or new_heads.get(cell, "")),
        }

    def about_old(cell: uuid.UUID) -> Document:
        head = _head(old_heads.get(cell, ""))
        return {"id": str(cell), "number": old_numbers[cell], "type": olds[cell].type, "head": head}

    budget = _Budget()
    return {
        "added": [about(cell) for cell in found.added],
        "removed": [about_old(cell) for cell in found.removed],
        "moved": [about(cell) | {"old_number": old_numbers[cell]} for cell in found.moved],
        "changed": [
            about(cell)
            | {"fields": _changed_fields(olds[cell], news[cell])}
            | budget.difference(before.get(cell), after.get(cell))
            for cell in found.changed
        ],
    }


class _Budget:
    """Texts are compared while there is room for what they differ in."""

    def __init__(self) -> None:
        self.cells, self.characters = DIFFS_AT_MOST, DIFFS_BYTES_AT_MOST

    def difference(self, old: str | None, new: str | None) -> Document:
        if old is None or new is None or not self.cells or self.characters <= 0:
            return {"diff": None, "lines_added": 0, "lines_removed": 0, "is_cut": True}
        found = differences.text_difference(old, new)
        self.cells -= 1
        self.characters -= len(found.text or "")
        counts = {"lines_added": found.added, "lines_removed": found.removed}
        return {"diff": found.text, **counts, "is_cut": found.is_cut or found.text is None}


def _sides(rows: QuerySet[Any], id_field: str) -> list[CellSide]:
    """Rows of cells or of a version's cells, without their texts."""
    return [CellSide(*row) for row in rows.values_list(id_field, *SIDE)]


def _changed_fields(old: CellSide, new: CellSide) -> Document:
    """Old and new value of each field that differs, by its name in the API."""
    names = ("type", "result_name", "connection", "disabled", "code_hidden")
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
    return {name: [_plain(before), _plain(after)] for name, (before, after) in pairs.items() if before != after}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, uuid.UUID) else value


def _head(source: str) -> str:
    first = next((line for line in source.split("\n") if line.strip()), "")
    return first.strip()[:HEAD_AT_MOST]


def _heads_of_version(version: Version, cells: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    rows = VersionCell.objects.filter(version=version, cell_id__in=cells[:HEADS_AT_MOST])
    return dict(rows.annotate(beginning=BEGINNING).values_list("cell_id", "beginning"))


def _heads(notebook_id: uuid.UUID, found: differences.Difference) -> dict[uuid.UUID, str]:
    cells = [*found.added[:HEADS_AT_MOST], *found.moved[:HEADS_AT_MOST], *found.changed[DIFFS_AT_MOST:HEADS_AT_MOST]]
    rows = Cell.objects.filter(notebook_id=notebook_id, pk__in=cells)
    return dict(rows.annotate(beginning=BEGINNING).values_list("pk", "beginning"))


def _version_sources(version: Version, cell_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    cells = VersionCell.objects.filter(version=version, cell_id__in=list(cell_ids))
    return dict(cells.values_list("cell_id", "source"))


def _sources(notebook_id: uuid.UUID, cell_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    return dict(Cell.objects.filter(notebook_id=notebook_id, pk__in=list(cell_ids)).values_list("pk", "source"))


# --- Bringing back ---------------------------------------------------------------------------------------------------


def restore_version(
    notebook_id: uuid.UUID, version_id: uuid.UUID, *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Make the cells what they were in a version; undo brings back what was there before.

    Cells that were deleted since come back, with the outputs they had, or are made anew with the same id; cells made
    since go to the bin; others are edited. A connection comes back where the cell has it still or `author` may use it.
    Raises NotFound, TooLarge, or Conflict where nothing differs.
    """
    version = version_of(notebook_id, version_id)

    def change() -> tuple[None, Event, dict[str, Any]]:
        plan = _Restoring(version, author, operation_id)
        if plan.changes_nothing:
            raise Conflict("The notebook is the same as in this version; there is nothing to bring back.")
        before = _kept_before(notebook_id, version, author)
        steps = plan.carry_out()
        event = {
            "type": "notebook.restored",
            "restored": {"id": str(version.pk), "name": version.name},
            # More than a socket takes at once: pages read the notebook anew.
            "steps": steps if _characters(steps) <= STEPS_CHARACTERS_AT_MOST else None,
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return None, event, {"version": str(before)}

    return services.accept(notebook_id, operation_id, author, change)


def _kept_before(notebook_id: uuid.UUID, version: Version, author: Author) -> uuid.UUID:
    """A version of what is there now: one of the same revision where there is one, else a new one."""
    seq, revision = Notebook.objects.values_list("seq", "revision").get(pk=notebook_id)
    seq, revision = seq - 1, revision - 1  # the change under way has taken its numbers
    same = Version.objects.filter(notebook_id=notebook_id, revision=revision).values_list("pk", flat=True).first()
    if same is not None:
        return same
    last = Change.objects.filter(notebook_id=notebook_id, revision=revision, kind="notebook.restored").first()
    if last is not None and Version.objects.filter(pk=last.event["restored"]["id"]).exists():
        return uuid.UUID(last.event["restored"]["id"])
    name = version.name if version.name.startswith("Before restoring ") else f"Before restoring “{version.name}”"
    return _keep(notebook_id, name[:NAME_MAX_LENGTH], author, seq=seq, revision=revision).pk


def _characters(steps: list[Event]) -> int:
    """How much text steps carry."""
    inserted = sum(len(step["cell"]["source"]) for step in steps if step["type"] == "cell.inserted")
    sections = (section for step in steps for section in step.get("changes") or () if isinstance(section, list))
    return inserted + sum(len(line) for section in sections for line in section[1:])


class _Restoring:
    """The way from the cells of now to those of a version. Inside the accepted change's transaction."""

    def __init__(self, version: Version, author: Author, operation_id: uuid.UUID) -> None:
        self.version, self.notebook_id = version, version.notebook_id
        self.author, self.operation_id = author, operation_id
        self.who = {"author": author.name, "operation_id": str(operation_id)}
        present = Cell.objects.alive().filter(notebook_id=self.notebook_id).defer("source", "metadata")
        self.present = {cell.pk: cell for cell in present.in_order()}
        wanted = list(VersionCell.objects.filter(version=version).defer("source").order_by("position"))
        self._check_room(len(wanted))
        usable = self._usable_connections(wanted)
        for row in wanted:
            now = self.present.get(row.cell_id)
            if row.connection_id not in usable and (now is None or now.connection_id != row.connection_id):
                row.connection_id = None
        self.wanted = {row.cell_id: row for row in wanted}
        self.difference = self._compare()

    @property
    def changes_nothing(self) -> bool:
        return not self.difference

    def carry_out(self) -> list[Event]:
        """Write what differs; the events of it, which a page applies one after the other."""
        gone = [self.present[cell] for cell in self.difference.added]
        if gone:
            placing.bin_cells(self.notebook_id, gone)
        coming = self._returning_cells()
        order = [coming.get(cell) or self.present[cell] for cell in self.wanted]
        staying = self.present.keys() - set(self.difference.moved) - {cell.pk for cell in gone}
        placing.arrange(self.notebook_id, order, staying=staying)
        made = [cell for cell in coming.values() if cell._state.adding]
        returned = [cell for cell in coming.values() if not cell._state.adding]
        steps = [{"type": "cell.deleted", "cells": [str(cell.pk) for cell in gone], **self.who}] if gone else []
        steps += self._edits()
        self._save([*returned, *self._edited])
        Cell.objects.bulk_create(made, batch_size=BATCH)
        return steps + self._placed(order, coming)

    def _check_room(self, count: int) -> None:
        if count > settings.NOTEBOOK_MAX_CELLS:
            raise TooLarge(f"A notebook may have {settings.NOTEBOOK_MAX_CELLS:,} cells; the version has {count:,}.")

    def _usable_connections(self, wanted: list[VersionCell]) -> set[uuid.UUID | None]:
        named = {row.connection_id for row in wanted if row.connection_id}
        found = Connection.objects.filter(pk__in=named) if named else Connection.objects.none()
        owners = (None, self.author.user_id)
        return {None, *(pk for pk, owner in found.values_list("pk", "owner_id") if owner in owners)}

    def _compare(self) -> differences.Difference:
        """From the version to now: `added` must go, `removed` must come back.

        A hash covers the connection; where that could not be kept, the same text has another one.
        """
        old = [_side(row.cell_id, row) for row in self.wanted.values()]
        new = [_side(cell.pk, cell) for cell in self.present.values()]
        found = differences.compare(old, new)
        doubtful = [cell for cell in found.changed if self._fields_agree(cell)]
        if not doubtful:
            return found
        before, after = _version_sources(self.version, doubtful), _sources(self.notebook_id, doubtful)
        same = {cell for cell in doubtful if before[cell] == after[cell]}
        return replace(found, changed=tuple(cell for cell in found.changed if cell not in same))

    def _fields_agree(self, cell: uuid.UUID) -> bool:
        return all(getattr(self.wanted[cell], name) == getattr(self.present[cell], name) for name in FIELDS)

    def _returning_cells(self) -> dict[uuid.UUID, Cell]:
        """Cells that are not in the notebook now: from the bin, or new ones with the old id."""
        ids = self.difference.removed
        binned = {cell.pk: cell for cell in Cell.objects.filter(pk__in=ids)} if ids else {}
        if any(cell.notebook_id != self.notebook_id for cell in binned.values()):
            raise Conflict("A cell of this version is in another notebook now.")
        sources = _version_sources(self.version, ids)
        found = {}
        for cell_id in ids:
            row, cell = self.wanted[cell_id], binned.get(cell_id) or Cell(id=cell_id, notebook_id=self.notebook_id)
            old = (cell.source, *(getattr(cell, name) for name in FIELDS))
            self._set_fields(cell, row, sources[cell_id])
            if not cell._state.adding and old != (cell.source, *(getattr(cell, name) for name in FIELDS)):
                cell.version += 1
            found[cell_id] = cell
        return found

    def _set_fields(self, cell: Cell, row: VersionCell, source: str) -> None:
        cell.source = source
        for name in FIELDS:
            setattr(cell, name, getattr(row, name))
        services.derive(cell)

    def _edits(self) -> list[Event]:
        """Bring texts and fields of cells that stayed back; each edit is a new version of its cell."""
        ids = self.difference.changed
        before, after = _sources(self.notebook_id, ids), _version_sources(self.version, ids)
        self._edited = [self.present[cell] for cell in ids]
        steps: list[Event] = []
        for cell in self._edited:
            row = self.wanted[cell.pk]
            old_fields = {name: services.json_field(cell, name) for name in services.UPDATABLE}
            self._set_fields(cell, row, after[cell.pk])
            fields = {name: services.json_field(cell, name) for name in services.UPDATABLE}
            changed = {name: value for name, value in sorted(fields.items()) if value != old_fields[name]}
            if before[cell.pk] != after[cell.pk]:
                cell.version += 1
                changes = changeset.replace_all(before[cell.pk], after[cell.pk])
                steps.append(self._step("cell.edited", cell, changes=changes, source=None))
            if changed:
                cell.version += 1
                steps.append(self._step("cell.updated", cell, fields=changed))
        return steps

    def _step(self, kind: str, cell: Cell, **more: Any) -> Event:
        return {"type": kind, "cell": str(cell.pk), "version": cell.version, **more, **self.who}

    def _save(self, cells: list[Cell]) -> None:
        names = {"source", "source_hash", "version", "updated_at", *FIELDS}
        names |= {"analysis_hash", "definitions", "references", "builtins_used", "analysis_errors"}
        now = timezone.now()
        for cell in cells:
            cell.updated_at = now
        if cells:
            fields = sorted(name.removesuffix("_id") for name in names)
            Cell.objects.bulk_update(cells, fields, batch_size=BATCH)

    def _placed(self, order: list[Cell], coming: dict[uuid.UUID, Cell]) -> list[Event]:
        """Insertions and moves, from the first cell to the last: each stands right after the one before it."""
        moved = set(self.difference.moved)
        before: uuid.UUID | None = None
        steps: list[Event] = []
        for is_moved, run in groupby(order, key=lambda cell: cell.pk in moved):
            cells = list(run)
            if is_moved:
                steps.append(services.moved_event(cells, before, self.author, self.operation_id))
            for cell in cells:
                if cell.pk in coming:
                    steps.append(services.inserted_event(cell, before, self.author, self.operation_id))
                before = cell.pk
        return steps


def _side(cell_id: uuid.UUID, row: Any) -> CellSide:
    return CellSide(cell_id, *(getattr(row, name) for name in SIDE))
