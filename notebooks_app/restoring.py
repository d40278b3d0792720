"""Bringing a named version back: one accepted change, the fewest edits that make the cells what they were.

Naming and comparing versions is versions.py's; where cells stand is placing.py's. Inside services.accept, as every
change.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from django.conf import settings
from django.utils import timezone

from notebooks_app import changeset, differences, events, placing, services, versions
from notebooks_app.errors import Conflict, TooLarge
from notebooks_app.models import Cell, Change, Connection, Notebook, Version, VersionCell
from notebooks_app.services import Accepted, Author

type Event = events.Event

BATCH = 100
FIELDS = ("type", "result_name", "connection_id", "disabled", "code_hidden")
STEPS_CHARACTERS_AT_MOST = 4_000_000


def restore_version(
    notebook_id: uuid.UUID, version_id: uuid.UUID, *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Make the cells what they were in a version; undo brings back what was there before.

    Cells that were deleted since come back, with the outputs they had, or are made anew with the same id; cells made
    since go to the bin; others are edited. A connection comes back where the cell has it still or `author` may use it.
    Raises NotFound, TooLarge, or Conflict where nothing differs.
    """

    def change() -> tuple[None, Event, dict[str, Any]]:
        version = versions.version_of(notebook_id, version_id)
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

    asked = services.Asked.of("notebook.restored", [version_id])
    return services.accept(notebook_id, operation_id, author, asked, change)


def _kept_before(notebook_id: uuid.UUID, version: Version, author: Author) -> uuid.UUID:
    """A version of what is there now: one of the same revision where there is one, else a new one."""
    notebook = Notebook.objects.only("seq", "revision", "metadata").get(pk=notebook_id)
    seq, revision = notebook.seq - 1, notebook.revision - 1  # the change under way has taken its numbers
    # Before an import took the notebook's place, a revision of this number was another content.
    here = {"notebook_id": notebook_id, "revision": revision, "seq__gte": notebook.import_facts().get("seq", 0)}
    same = Version.objects.filter(**here).values_list("pk", flat=True).first()
    if same is not None:
        return same
    last = Change.objects.filter(**here, kind="notebook.restored").first()
    if last is not None and Version.objects.filter(pk=last.event["restored"]["id"]).exists():
        return uuid.UUID(last.event["restored"]["id"])
    name = version.name if version.name.startswith("Before restoring ") else f"Before restoring “{version.name}”"
    return versions.keep(notebook_id, name[: versions.NAME_MAX_LENGTH], author, seq=seq, revision=revision).pk


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
        wanted = list(VersionCell.objects.filter(version=version).defer("source", "metadata").order_by("position"))
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
        edits = self._edits()
        texts = {step["cell"] for step in edits if step["type"] == "cell.edited"}
        changed = [self.present[cell] for cell in self.difference.changed]
        self._save([cell for cell in coming.values() if not cell._state.adding], with_text=True)
        self._save([cell for cell in changed if str(cell.pk) in texts], with_text=True)
        self._save([cell for cell in changed if str(cell.pk) not in texts], with_text=False)
        Cell.objects.bulk_create([cell for cell in coming.values() if cell._state.adding], batch_size=BATCH)
        deleted = [{"type": "cell.deleted", "cells": [str(cell.pk) for cell in gone], **self.who}] if gone else []
        return deleted + edits + self._placed(order, coming)

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
        old = [versions.side(row.cell_id, row) for row in self.wanted.values()]
        new = [versions.side(cell.pk, cell) for cell in self.present.values()]
        found = differences.compare(old, new)
        doubtful = [cell for cell in found.changed if self._fields_agree(cell)]
        if not doubtful:
            return found
        before = versions.sources_of_version(self.version, doubtful)
        after = versions.sources(self.notebook_id, doubtful)
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
        sources = versions.sources_of_version(self.version, ids)
        found = {}
        anew = self._made_anew([cell_id for cell_id in ids if cell_id not in binned])
        for cell_id in ids:
            row, cell = self.wanted[cell_id], binned.get(cell_id) or anew[cell_id]
            old = (cell.source, *(getattr(cell, name) for name in FIELDS))
            self._set_fields(cell, row, sources[cell_id])
            if not cell._state.adding and old != (cell.source, *(getattr(cell, name) for name in FIELDS)):
                cell.version += 1
            found[cell_id] = cell
        return found

    def _made_anew(self, ids: list[uuid.UUID]) -> dict[uuid.UUID, Cell]:
        """Cells that are not even in the bin: what people cannot change of a cell is as it was."""
        rows = VersionCell.objects.filter(version=self.version, cell_id__in=ids)
        return {
            cell_id: Cell(id=cell_id, notebook_id=self.notebook_id, external_id=external_id, metadata=metadata)
            for cell_id, external_id, metadata in rows.values_list("cell_id", "external_id", "metadata")
        }

    def _set_fields(self, cell: Cell, row: VersionCell, source: str) -> None:
        cell.source = source
        for name in FIELDS:
            setattr(cell, name, getattr(row, name))
        services.derive(cell)

    def _edits(self) -> list[Event]:
        """Bring texts and fields of cells that stayed back; each edit is a new version of its cell."""
        ids = self.difference.changed
        before, after = versions.sources(self.notebook_id, ids), versions.sources_of_version(self.version, ids)
        steps: list[Event] = []
        for cell in (self.present[cell] for cell in ids):
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

    def _save(self, cells: list[Cell], *, with_text: bool) -> None:
        names = {"source_hash", "version", "updated_at", *FIELDS, *(["source"] if with_text else [])}
        names |= {"analysis_hash", "definitions", "references", "builtins_used", "analysis_errors"}
        now = timezone.now()
        for cell in cells:
            cell.updated_at = now
        if cells:
            fields = sorted(name.removesuffix("_id") for name in names)
            Cell.objects.bulk_update(cells, fields, batch_size=BATCH)

    def _placed(self, order: list[Cell], coming: Mapping[uuid.UUID, Cell]) -> list[Event]:
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

