"""Every accepted change of a notebook, by whichever way it came: page, socket, API, admin, command.

Each function is one transaction: it takes the notebook's next `seq` (the row lock is the one order), writes the rows of
the cell concerned, logs the change and announces it on commit. Permission is the caller's (access.py). A retry with a
known operation id writes nothing and returns the first answer; with the id of another change it raises OperationReused.

Creating, importing and deleting whole notebooks is in notebooks.py; what is read is in reading.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from notebooks_app import changeset, events, placing, sliders
from notebooks_app.analysis import Analysis
from notebooks_app.analysis.worker import AnalysisPool
from notebooks_app.errors import BadRequest, Conflict, NotFound, OperationReused, TooLarge
from notebooks_app.facts import ErrorKind
from notebooks_app.models import Cell, Change, Connection, Notebook
from notebooks_app.text import clean_name, clean_source

type Event = events.Event

RESULT_NAME_MAX_LENGTH = 100
SINCE_AT_MOST = 500  # events that a conflict carries
UNREADABLE = frozenset({ErrorKind.SYNTAX, ErrorKind.TOO_LARGE})
UPDATABLE = frozenset({"type", "result_name", "connection", "disabled", "code_hidden"})


@dataclass(frozen=True)
class Author:
    """Who makes a change: the user's id and the name that others see."""

    user_id: int | None
    name: str

    @classmethod
    def of(cls, user: Any) -> Author:
        return cls(user.pk, user.get_full_name() or user.get_username())


@dataclass(frozen=True)
class Accepted:
    """A change as it stands in the log."""

    seq: int
    revision: int
    event: Event
    inverse: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, change: Change) -> Accepted:
        return cls(change.seq, change.revision, change.event, change.inverse)

    @property
    def version(self) -> int | None:
        return self.event.get("version")


@dataclass(frozen=True)
class Asked:
    """What a change is asked to be, which a retry asks again: its kind, and what it is about.

    Not the text of an edit: an editor rebases what it has not heard of before it sends it again.
    """

    kind: str
    about: frozenset[str] | None  # None: whatever the first one was about

    @classmethod
    def of(cls, kind: str, about: Iterable[object] | None) -> Asked:
        return cls(kind, None if about is None else frozenset(map(str, about)))

    def check(self, first: Change) -> None:
        """Raises OperationReused where the change in the log is another one."""
        if first.kind != self.kind or self.about not in (None, _about(first.event)):
            raise OperationReused


# --- Cells -----------------------------------------------------------------------------------------------------------


def edit_cell(
    notebook_id: uuid.UUID,
    cell_id: uuid.UUID,
    *,
    version: int,
    author: Author,
    operation_id: uuid.UUID,
    changes: Any = None,
    source: str | None = None,
    undoable: bool = False,
) -> Accepted:
    """Change a cell's source, by a change set on `version` or as a whole.

    `undoable`: part of a change of structure (split, merge), which `undo` takes back; typing is undone in its editor.
    Raises Conflict with what has happened since if `version` is not the cell's, BadRequest, TooLarge, NotFound.
    """

    def change() -> tuple[uuid.UUID, Event, dict[str, Any]]:
        cell = _cell(notebook_id, cell_id)
        _check_version(cell, version)
        before = cell.source
        new_source, applied = _edited(before, changes, source)
        _save(cell, source=new_source)
        event = {
            "type": "cell.edited",
            "cell": str(cell.id),
            "version": cell.version,
            "changes": applied,
            "source": None,
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return cell.id, event, {"source": before, "of": cell.version} if undoable else {}

    return accept(notebook_id, operation_id, author, Asked.of("cell.edited", [cell_id]), change)


def turn_slider(
    notebook_id: uuid.UUID,
    cell_id: uuid.UUID,
    name: str,
    value: str,
    *,
    version: int,
    author: Author,
    operation_id: uuid.UUID,
) -> Accepted:
    """Put another number in place of a slider's literal (sliders.py). Raises Conflict, BadRequest, NotFound."""
    with transaction.atomic():
        if first := first_answer(notebook_id, operation_id, Asked.of("cell.edited", [cell_id])):
            return first
        cell = _cell(notebook_id, cell_id)
        _check_version(cell, version)
        source = sliders.with_value(cell.source, name, value) if cell.type == Cell.Type.PYTHON else None
        if source is None:
            raise BadRequest(f"value: {name} is no slider of this cell, or does not reach {value[:40]}.")
        return edit_cell(
            notebook_id, cell_id, version=version, author=author, operation_id=operation_id, source=source
        )


def insert_cell(
    notebook_id: uuid.UUID,
    cell_id: uuid.UUID,
    *,
    after: uuid.UUID | None,
    cell_type: str,
    author: Author,
    operation_id: uuid.UUID,
    source: str = "",
    result_name: str = "",
    connection: uuid.UUID | None = None,
) -> Accepted:
    """Put a new cell after another one, or first. Raises BadRequest, NotFound, TooLarge, or Conflict (id taken)."""

    def change() -> tuple[uuid.UUID, Event, dict[str, Any]]:
        if Cell.objects.filter(pk=cell_id).exists():
            raise Conflict("A cell with this id exists already.")
        _check_room(notebook_id, 1)
        cell = Cell(
            id=cell_id,
            notebook_id=notebook_id,
            position=placing.after(notebook_id, after, 1)[0],
            type=_type(cell_type),
            source=clean_source(source, max_bytes=settings.SOURCE_MAX_BYTES),
            result_name=_result_name(result_name),
            connection=_connection(connection, author),
        )
        derive(cell)
        cell.save(force_insert=True)
        return cell.id, inserted_event(cell, after, author, operation_id), {"delete": [str(cell.id)]}

    return accept(notebook_id, operation_id, author, Asked.of("cell.inserted", [cell_id]), change)


def delete_cells(
    notebook_id: uuid.UUID, cell_ids: Sequence[uuid.UUID], *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Move cells to the bin. Unknown ones raise NotFound and nothing is deleted."""

    def change() -> tuple[uuid.UUID | None, Event, dict[str, Any]]:
        cells = _cells(notebook_id, cell_ids)
        places = [[str(cell.id), cell.position] for cell in cells]
        placing.bin_cells(notebook_id, cells)
        event = {
            "type": "cell.deleted",
            "cells": [str(cell.id) for cell in cells],
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return cells[0].id, event, {"restore": places}

    return accept(notebook_id, operation_id, author, Asked.of("cell.deleted", cell_ids), change)


def move_cells(
    notebook_id: uuid.UUID,
    cell_ids: Sequence[uuid.UUID],
    *,
    after: uuid.UUID | None,
    author: Author,
    operation_id: uuid.UUID,
) -> Accepted:
    """Put cells, in their present order, after another one or first. Raises NotFound, BadRequest."""

    def change() -> tuple[uuid.UUID | None, Event, dict[str, Any]]:
        cells = _cells(notebook_id, cell_ids)
        if after in {cell.id for cell in cells}:
            raise BadRequest("after: a cell cannot be moved behind itself.")
        places = [[str(cell.id), cell.position] for cell in cells]
        placing.move(notebook_id, cells, after)
        return cells[0].id, moved_event(cells, after, author, operation_id), {"place": places}

    return accept(notebook_id, operation_id, author, Asked.of("cell.moved", cell_ids), change)


def update_cell(
    notebook_id: uuid.UUID,
    cell_id: uuid.UUID,
    fields: dict[str, Any],
    *,
    author: Author,
    operation_id: uuid.UUID,
    version: int | None = None,
) -> Accepted:
    """Set fields of UPDATABLE. Raises BadRequest naming the field, Conflict, NotFound."""
    unknown = sorted(set(fields) - UPDATABLE)
    if unknown or not fields:
        raise BadRequest(f"fields: {', '.join(unknown) or 'none given'}; known are {', '.join(sorted(UPDATABLE))}.")

    def change() -> tuple[uuid.UUID, Event, dict[str, Any]]:
        cell = _cell(notebook_id, cell_id)
        if version is not None:
            _check_version(cell, version)
        old = {name: json_field(cell, name) for name in fields}
        _save(cell, **_checked(fields, author))
        event = {
            "type": "cell.updated",
            "cell": str(cell.id),
            "version": cell.version,
            "fields": {name: json_field(cell, name) for name in fields},
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return cell.id, event, {"update": old}

    return accept(notebook_id, operation_id, author, Asked.of("cell.updated", [cell_id, *fields]), change)


def undo(notebook_id: uuid.UUID, operation_id: uuid.UUID, *, new_operation_id: uuid.UUID, author: Author) -> Accepted:
    """Take a structural change back (undoing an undo is redo). Raises NotFound, or Conflict where it no longer fits."""
    with transaction.atomic():
        if first := _answered(notebook_id, new_operation_id):
            if first.inverse.get("undoes") != str(operation_id):
                raise OperationReused
            return Accepted.of(first)
        undone = Change.objects.filter(notebook_id=notebook_id, operation_id=operation_id).first()
        if undone is None or not undone.inverse:
            raise NotFound("There is no such change to take back.")
        try:
            accepted = _take_back(undone, author=author, operation_id=new_operation_id)
        except NotFound as error:
            raise Conflict("The cells have changed since; this cannot be taken back.") from error
        # So that a page that was loaded anew knows what can be undone and redone (history.py).
        inverse = accepted.inverse | {"undoes": str(operation_id)}
        Change.objects.filter(notebook_id=notebook_id, seq=accepted.seq).update(inverse=inverse)
        return accepted


def _take_back(undone: Change, **who: Any) -> Accepted:
    notebook_id, inverse = undone.notebook_id, undone.inverse
    if "delete" in inverse:
        return delete_cells(notebook_id, [uuid.UUID(cell) for cell in inverse["delete"]], **who)
    if "source" in inverse and undone.cell_id:
        if _cell(notebook_id, undone.cell_id).version != inverse["of"]:
            raise Conflict("The cell's text has changed since; this cannot be taken back.")
        text = {"version": inverse["of"], "source": inverse["source"], "undoable": True}
        return edit_cell(notebook_id, undone.cell_id, **text, **who)
    if "update" in inverse and undone.cell_id:
        return update_cell(notebook_id, undone.cell_id, inverse["update"], **who)
    if "restore" in inverse:
        return restore_cells(notebook_id, inverse["restore"], **who)
    if "version" in inverse:
        from notebooks_app import restoring  # which is built on this module

        return restoring.restore_version(notebook_id, uuid.UUID(inverse["version"]), **who)
    return _place_cells(notebook_id, inverse["place"], **who)


def restore_cells(
    notebook_id: uuid.UUID, places: Sequence[Sequence[Any]], *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Bring cells back from the bin; `places` are pairs of an id (text) and the position where it stood.

    Raises NotFound for cells that are not in the bin (any more), TooLarge.
    """

    def change() -> tuple[uuid.UUID | None, Event, dict[str, Any]]:
        ids = [uuid.UUID(cell) for cell, _ in places]
        cells = {
            cell.id: cell for cell in Cell.objects.filter(notebook_id=notebook_id, pk__in=ids).exclude(deleted_at=None)
        }
        if len(cells) < len(ids):
            raise NotFound("These cells are no longer in the bin.")
        _check_room(notebook_id, len(ids))
        befores = placing.put_back(notebook_id, [cells[cell_id] for cell_id in ids], [place for _, place in places])
        inserted = [
            inserted_event(cells[cell_id], after, author, operation_id)
            for cell_id, after in zip(ids, befores, strict=True)
        ]
        event = {
            "type": "cells.restored",
            "inserted": inserted,
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return ids[0], event, {"delete": [str(cell_id) for cell_id in ids]}

    return accept(notebook_id, operation_id, author, Asked.of("cells.restored", [cell for cell, _ in places]), change)


def _place_cells(
    notebook_id: uuid.UUID, places: list[list[Any]], *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    def change() -> tuple[uuid.UUID | None, Event, dict[str, Any]]:
        cells = _cells(notebook_id, [uuid.UUID(cell) for cell, _ in places])
        by_id = {str(cell.id): cell for cell in cells}
        now = [[str(cell.id), cell.position] for cell in cells]
        moving = [by_id[cell_id] for cell_id, _ in places]
        befores = placing.put_back(notebook_id, moving, [place for _, place in places])
        moves = [
            moved_event([cell], after, author, operation_id) for cell, after in zip(moving, befores, strict=True)
        ]
        event = {"type": "cells.placed", "moves": moves, "author": author.name, "operation_id": str(operation_id)}
        return cells[0].id, event, {"place": now}

    return accept(notebook_id, operation_id, author, Asked.of("cells.placed", [cell for cell, _ in places]), change)


# --- The notebook itself ---------------------------------------------------------------------------------------------


def rename_notebook(notebook_id: uuid.UUID, name: str, *, author: Author, operation_id: uuid.UUID) -> Accepted:
    name = clean_name(name, max_length=settings.NAME_MAX_LENGTH)

    def change() -> tuple[None, Event, dict[str, Any]]:
        Notebook.objects.filter(pk=notebook_id).update(name=name)
        event = {"type": "notebook.renamed", "name": name, "author": author.name, "operation_id": str(operation_id)}
        return None, event, {}

    return accept(notebook_id, operation_id, author, Asked.of("notebook.renamed", [name]), change)


def update_notebook(
    notebook_id: uuid.UUID, fields: dict[str, Any], *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Set run_mode or the notebook's default connection. Raises BadRequest naming the field."""
    unknown = sorted(set(fields) - {"run_mode", "connection"})
    if unknown or not fields:
        raise BadRequest(f"fields: {', '.join(unknown) or 'none given'}; known are connection, run_mode.")
    values = dict(fields)
    if "run_mode" in values and values["run_mode"] not in Notebook.RunMode.values:
        raise BadRequest(f"run_mode: must be one of {', '.join(Notebook.RunMode.values)}.")

    def change() -> tuple[None, Event, dict[str, Any]]:
        if "connection" in values:
            values["connection"] = _connection(values["connection"], author)
        Notebook.objects.filter(pk=notebook_id).update(**values)
        event = {
            "type": "notebook.updated",
            "fields": fields,
            "author": author.name,
            "operation_id": str(operation_id),
        }
        return None, event, {}

    return accept(notebook_id, operation_id, author, Asked.of("notebook.updated", fields), change)


# --- Connections -----------------------------------------------------------------------------------------------------


def delete_connection(connection: Connection, *, author: Author) -> None:
    """Delete a connection; notebooks and cells that use it are changed first, so that they read as edited."""
    with transaction.atomic():
        _detach(Cell.objects.filter(connection=connection), Notebook.objects.filter(connection=connection), author)
        connection.delete()


def detach_connections(notebook_id: uuid.UUID, owners: Collection[int]) -> None:
    """Take people's connections out of a notebook and its cells, each as an edit of theirs."""
    with transaction.atomic():
        cells = Cell.objects.filter(notebook_id=notebook_id, connection__owner__in=owners)
        notebooks = Notebook.objects.filter(pk=notebook_id, connection__owner__in=owners)
        lent = {owner for rows in (cells, notebooks) for owner in rows.values_list("connection__owner", flat=True)}
        for owner in get_user_model().objects.filter(pk__in=lent):
            theirs = {"connection__owner": owner}
            _detach(cells.filter(**theirs), notebooks.filter(**theirs), Author.of(owner))


def _detach(cells: QuerySet[Cell], notebooks: QuerySet[Notebook], author: Author) -> None:
    for cell in cells.filter(deleted_at=None).only("id", "notebook_id"):
        update_cell(cell.notebook_id, cell.id, {"connection": None}, author=author, operation_id=uuid.uuid4())
    for notebook_id in notebooks.values_list("pk", flat=True):
        update_notebook(notebook_id, {"connection": None}, author=author, operation_id=uuid.uuid4())
    for cell in cells.all():  # in the bin: nobody is told
        cell.connection = None
        Cell.objects.filter(pk=cell.pk).update(connection=None, **derive(cell))


# --- Analysis --------------------------------------------------------------------------------------------------------


def analyse_pending(notebook_id: uuid.UUID) -> list[Event]:
    """Bring definitions and references up to their sources; the `cell.analysed` events of those that were behind.

    Reads only the sources concerned and takes no number: what is derived is not a change. Asynchronous callers do the
    three steps themselves (kernels_app/feed.py), so that a slow analysis holds no writer.
    """
    # Each kept as soon as it is found: who asks meanwhile, or again, does not begin anew.
    return [event for cell in pending_analysis(notebook_id) for event in save_analyses([(cell, analysis_of(cell))])]


def pending_analysis(notebook_id: uuid.UUID) -> list[Cell]:
    """Cells whose names are of an older source, with their sources."""
    cells = Cell.objects.alive().filter(notebook_id=notebook_id).exclude(analysis_hash=F("source_hash"))
    small = ("id", "type", "source_hash", "version", "result_name", "connection_id", "definitions", "references")
    return list(cells.only("source", *small))


def analysis_of(cell: Cell) -> Analysis:
    """What the cell's source defines and uses, within the limits of the worker."""
    return _analysis_pool().analyse_sync(cell.type, cell.source, **_analysis_options(cell))


async def analyse(cells: list[Cell]) -> list[tuple[Cell, Analysis]]:
    """The same of several cells, one after the other, so that those of other notebooks have their turns between."""
    pool = _analysis_pool()
    return [(cell, await pool.analyse(cell.type, cell.source, **_analysis_options(cell))) for cell in cells]


def _analysis_options(cell: Cell) -> dict[str, Any]:
    return {"result_name": cell.result_name, "on_connection": cell.connection_id is not None}


def save_analyses(found: list[tuple[Cell, Analysis]]) -> list[Event]:
    """Keep what was found where the source is still the one analysed."""
    return [event for cell, analysis in found if (event := _save_analysis(cell, analysis))]


def _save_analysis(cell: Cell, found: Analysis) -> Event | None:
    fields = analysed_fields(cell, found)
    saved = Cell.objects.filter(pk=cell.pk, source_hash=cell.source_hash).update(**fields)
    if not saved:  # edited again meanwhile: the next analysis is on its way
        return None
    return {
        "type": "cell.analysed",
        "cell": str(cell.pk),
        "version": cell.version,
        "definitions": fields.get("definitions", cell.definitions),
        "references": fields.get("references", cell.references),
    }


def analysed_fields(cell: Cell, found: Analysis) -> dict[str, Any]:
    """What an analysis says of the cell's row.

    A source that cannot be read has no names of its own: the cell keeps those it had, so that what needs them is
    blocked by this cell and does not run without them.
    """
    fields = {"analysis_errors": [error.as_json() for error in found.errors], "analysis_hash": cell.source_hash}
    if cell.type == Cell.Type.PYTHON and any(error.kind in UNREADABLE for error in found.errors):
        return fields
    return fields | {
        "definitions": sorted(found.definitions - found.futures),
        "references": sorted(found.references),
        "builtins_used": sorted(found.builtins),
    }


@cache
def _analysis_pool() -> AnalysisPool:
    return AnalysisPool(max_bytes=settings.ANALYSIS_MAX_BYTES)


# --- The one way in --------------------------------------------------------------------------------------------------


def accept(
    notebook_id: uuid.UUID,
    operation_id: uuid.UUID,
    author: Author,
    asked: Asked,
    change: Callable[[], tuple[uuid.UUID | None, Event, dict[str, Any]]],
) -> Accepted:
    """Number, carry out, log and announce one change; a known operation id gets its first answer and writes nothing.

    Raises OperationReused where that was another change than `asked`.
    """
    try:
        with transaction.atomic():
            return _accept_new(notebook_id, operation_id, author, change)
    except _KnownOperation as known:
        asked.check(known.change)
        return Accepted.of(known.change)


def first_answer(notebook_id: uuid.UUID, operation_id: uuid.UUID, asked: Asked) -> Accepted | None:
    """The answer to an operation that is in the log, None for a new one. Raises OperationReused.

    For what looks at the cells before `accept` does: a retry finds them as its first sending left them. Inside a
    transaction: it takes the notebook's row, so that a retry which overtook its first sending waits for that.
    """
    first = _answered(notebook_id, operation_id)
    if first is None:
        return None
    asked.check(first)
    return Accepted.of(first)


def known_operations(notebook_id: uuid.UUID, operation_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those that are in the log. Inside a transaction, as `first_answer`."""
    _lock(notebook_id)
    known = Change.objects.filter(notebook_id=notebook_id, operation_id__in=operation_ids)
    return set(known.values_list("operation_id", flat=True))


def _answered(notebook_id: uuid.UUID, operation_id: uuid.UUID) -> Change | None:
    _lock(notebook_id)
    return Change.objects.filter(notebook_id=notebook_id, operation_id=operation_id).first()


def _lock(notebook_id: uuid.UUID) -> None:
    Notebook.objects.select_for_update().filter(pk=notebook_id).values_list("pk", flat=True).first()


def _about(event: Event) -> frozenset[str]:
    """What a change is about: ids of its cells or its version, names of the fields that it sets."""
    match event["type"]:
        case "cell.inserted":
            return frozenset([event["cell"]["id"]])
        case "cell.edited":
            return frozenset([event["cell"]])
        case "cell.updated":
            return frozenset([event["cell"], *event["fields"]])
        case "cell.deleted" | "cell.moved":
            return frozenset(event["cells"])
        case "cells.restored":
            return frozenset(inserted["cell"]["id"] for inserted in event["inserted"])
        case "cells.placed":
            return frozenset(cell for move in event["moves"] for cell in move["cells"])
        case "notebook.renamed":
            return frozenset([event["name"]])
        case "notebook.updated":
            return frozenset(event["fields"])
        case "notebook.restored":
            return frozenset([event["restored"]["id"]])
    raise AssertionError(f"no change is a {event['type']}")


class _KnownOperation(Exception):
    """Rolls the number back that a retry took."""

    def __init__(self, change: Change) -> None:
        self.change = change


def _accept_new(
    notebook_id: uuid.UUID,
    operation_id: uuid.UUID,
    author: Author,
    change: Callable[[], tuple[uuid.UUID | None, Event, dict[str, Any]]],
) -> Accepted:
    try:
        seq, revision = Notebook.objects.next_number(notebook_id)
    except Notebook.DoesNotExist:
        raise NotFound("There is no such notebook.") from None
    # Under the row's lock, so that a retry which overtook its first sending sees it.
    first = Change.objects.filter(notebook_id=notebook_id, operation_id=operation_id).first()
    if first is not None:
        raise _KnownOperation(first)
    cell_id, event, inverse = change()
    Change.objects.create(
        notebook_id=notebook_id,
        seq=seq,
        revision=revision,
        cell_id=cell_id,
        author_id=author.user_id,
        kind=event["type"],
        operation_id=operation_id,
        event=event,
        inverse=inverse,
    )
    events.announce_on_commit(notebook_id, seq, [event])
    return Accepted(seq, revision, event, inverse)


# --- Rows and fields -------------------------------------------------------------------------------------------------


def _cell(notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Cell:
    cell = Cell.objects.alive().filter(notebook_id=notebook_id, pk=cell_id).first()
    if cell is None:
        raise NotFound(f"There is no cell {cell_id} in this notebook.")
    return cell


def _cells(notebook_id: uuid.UUID, cell_ids: Sequence[uuid.UUID]) -> list[Cell]:
    wanted = set(cell_ids)
    if not wanted:
        raise BadRequest("cells: name at least one cell.")
    cells = list(Cell.objects.alive().filter(notebook_id=notebook_id, pk__in=wanted).defer("source").in_order())
    missing = wanted - {cell.id for cell in cells}
    if missing:
        raise NotFound(f"There is no cell {min(map(str, missing))} in this notebook.")
    return cells


def _check_version(cell: Cell, version: int) -> None:
    if not isinstance(version, int) or isinstance(version, bool):
        raise BadRequest("version: must be a whole number.")
    if version != cell.version:
        raise Conflict(
            f"This cell is at version {cell.version}; the change was made on {version}.",
            version=cell.version,
            **_since(cell, version),
        )


def _since(cell: Cell, version: int) -> dict[str, Any]:
    """What a conflict carries: the events since, or the source itself where they are too many or none are known."""
    if 0 < cell.version - version <= SINCE_AT_MOST:
        events_since = changes_of_cell(cell, version)
        if len(events_since) == cell.version - version:
            return {"since": events_since}
    return {"since": [], "source": cell.source}


def changes_of_cell(cell: Cell, version: int) -> list[Event]:
    """The events that took a cell beyond `version`, oldest first: what a conflict carries."""
    changes = Change.objects.filter(
        notebook_id=cell.notebook_id, cell_id=cell.id, kind__in=["cell.edited", "cell.updated"]
    ).order_by("-seq")[: max(cell.version - version, 0)]
    return [change.as_event() for change in reversed(changes) if _made_on(change.event) >= version]


def _made_on(event: Event) -> int:
    """The version of its cell that an edit was made on; one that compaction merged says so itself."""
    return event.get("base_version", event.get("version", 0) - 1)


def _edited(old: str, changes: Any, source: str | None) -> tuple[str, changeset.ChangeSet]:
    if (changes is None) == (source is None):
        raise BadRequest("Give either changes or source.")
    if source is not None:
        new = clean_source(source, max_bytes=settings.SOURCE_MAX_BYTES)
        return new, changeset.replace_all(old, new)
    try:
        applied = changeset.apply(changes, old)
    except changeset.BadChangeSet as error:
        raise BadRequest(f"changes: {error}") from None
    new = clean_source(applied, max_bytes=settings.SOURCE_MAX_BYTES)
    # A cleaned text differs from what the editor has: all must be told the text that is kept.
    return new, changes if new == applied else changeset.replace_all(old, new)


def _save(cell: Cell, **fields: Any) -> None:
    """Write the fields and the next version where the version is still the one that was read."""
    expected = cell.version
    for name, value in fields.items():
        setattr(cell, name, value)
    cell.version = expected + 1
    derived = derive(cell)
    saved = Cell.objects.filter(pk=cell.pk, version=expected).update(
        version=cell.version, updated_at=timezone.now(), **fields, **derived
    )
    if not saved:
        raise Conflict("This cell was changed at the same moment; try again.", version=None, since=[])


def derive(cell: Cell) -> dict[str, Any]:
    """Set what follows from the cell's own fields; text needs no analysis."""
    cell.source_hash = cell.current_hash()
    derived: dict[str, Any] = {"source_hash": cell.source_hash}
    if cell.type == Cell.Type.MARKDOWN:
        derived |= {"analysis_hash": cell.source_hash, "definitions": [], "references": []}
        derived |= {"builtins_used": [], "analysis_errors": []}
    for name, value in derived.items():
        setattr(cell, name, value)
    return derived


def _checked(fields: dict[str, Any], author: Author) -> dict[str, Any]:
    checks: dict[str, Callable[[Any], Any]] = {
        "type": _type,
        "result_name": _result_name,
        "connection": lambda value: _connection(value, author),
        "disabled": lambda value: _boolean("disabled", value),
        "code_hidden": lambda value: _boolean("code_hidden", value),
    }
    return {name: checks[name](value) for name, value in fields.items()}


def _type(value: Any) -> str:
    if value not in Cell.Type.values:
        raise BadRequest(f"type: must be one of {', '.join(Cell.Type.values)}.")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: must be true or false.")
    return value


def _result_name(value: Any) -> str:
    import keyword

    if value in ("", None):
        return ""
    if not isinstance(value, str) or not value.isidentifier() or keyword.iskeyword(value):
        raise BadRequest("result_name: must be a Python name.")
    if value.startswith("_") and not value.startswith("__"):
        raise BadRequest("result_name: names with one underscore in front are private to a cell.")
    if len(value) > RESULT_NAME_MAX_LENGTH:
        raise BadRequest(f"result_name: more than {RESULT_NAME_MAX_LENGTH} characters.")
    return value


def _connection(value: Any, author: Author) -> Connection | None:
    if value in ("", None):
        return None
    try:
        connection = Connection.objects.filter(pk=uuid.UUID(str(value))).first()
    except ValueError:
        connection = None
    if connection is None or connection.owner_id not in (None, author.user_id):
        raise BadRequest("connection: there is no such connection.")
    return connection


def json_field(cell: Cell, name: str) -> Any:
    if name == "connection":
        return str(cell.connection_id) if cell.connection_id else None
    return getattr(cell, name)


def _check_room(notebook_id: uuid.UUID, count: int) -> None:
    # Counted in the index of positions alone: cells in the bin have negative ones (placing.py).
    if Cell.objects.filter(notebook_id=notebook_id, position__gt=0).count() + count > settings.NOTEBOOK_MAX_CELLS:
        raise TooLarge(f"A notebook may have {settings.NOTEBOOK_MAX_CELLS:,} cells; this would be more.")


def inserted_event(cell: Cell, after: uuid.UUID | None, author: Author, operation_id: uuid.UUID) -> Event:
    return {
        "type": "cell.inserted",
        "cell": cell.as_fields(),
        "after": str(after) if after else None,
        "author": author.name,
        "operation_id": str(operation_id),
    }


def moved_event(cells: Sequence[Cell], after: uuid.UUID | None, author: Author, operation_id: uuid.UUID) -> Event:
    return {
        "type": "cell.moved",
        "cells": [str(cell.id) for cell in cells],
        "after": str(after) if after else None,
        "author": author.name,
        "operation_id": str(operation_id),
    }
