"""An imported notebook as rows: cells with their ids and places, outputs, times. notebooks.py stores them as a whole;
what of an output becomes a file is import_outputs.py's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from notebooks_app import facts, import_outputs, positions
from notebooks_app.errors import BadRequest, TooLarge
from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.formats.base import STORED_ID
from notebooks_app.models import Cell, Connection, Notebook, Output
from notebooks_app.outputs import MAX_ITEMS
from notebooks_app.text import clean_source

BATCH = 200
MANY_OUTPUTS = 50_000  # rows of a notebook after which a cell gets one for all its outputs
# Ids that are no uuids map to uuids in this namespace: never change it.
NAMESPACE = uuid.UUID("5f0c7c2e-3f0e-5d2b-9c46-0d8f3c5b7a11")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)

type Connections = Mapping[int, Connection | None]  # of SQL cells, by their place in the notebook, from 0


@dataclass
class Rows:
    """Rows that are not yet saved; `prepared` says of each output what becomes files."""

    cells: list[Cell]
    outputs: list[Output] = field(default_factory=list)
    prepared: list[import_outputs.Prepared] = field(default_factory=list)


def build(
    notebook: Notebook, imported: ImportedNotebook, *, keep_ids: bool, connections: Connections | None
) -> Rows:
    """The rows of cells and outputs. Raises BadRequest, TooLarge."""
    check(imported)
    ids = cell_ids(notebook.pk, imported.cells) if keep_ids else [uuid.uuid4() for _ in imported.cells]
    places = positions.spread(len(ids))
    rows = Rows([])
    for number, (item, pk, position) in enumerate(zip(imported.cells, ids, places, strict=True), start=1):
        cell = _cell(notebook, item, number, pk, position, (connections or {}).get(number - 1))
        if keep_ids and item.id != str(pk):
            cell.external_id = (item.id or "")[:200]
        rows.cells.append(cell)
        most = MAX_ITEMS if len(rows.outputs) < MANY_OUTPUTS else 1
        prepared = import_outputs.prepare(item.outputs, most=most)
        rows.prepared += prepared
        rows.outputs += [output_row(pk, None, index, one.output) for index, one in enumerate(prepared)]
    return rows


def store(notebook: Notebook, imported: ImportedNotebook, rows: Rows) -> None:
    """Write the rows, inside a transaction; times after them, since saving sets its own. Raises Unavailable."""
    Cell.objects.bulk_create(rows.cells, batch_size=BATCH)
    import_outputs.store(notebook.pk, rows.outputs, rows.prepared)
    timed = [(cell, item.updated_at) for cell, item in zip(rows.cells, imported.cells, strict=True) if item.updated_at]
    for cell, when in timed:
        cell.updated_at = when
    Cell.objects.bulk_update([cell for cell, _ in timed], ["updated_at"], batch_size=BATCH)
    times = {"created_at": imported.created_at, "updated_at": imported.updated_at}
    if known := {key: when for key, when in times.items() if when is not None}:
        Notebook.objects.filter(pk=notebook.pk).update(**known)


def cell_ids(notebook_id: uuid.UUID, imported: list[ImportedCell]) -> list[uuid.UUID]:
    """The ids that imported cells get: a uuid stays, unless a cell of another notebook has it; any other text maps to
    one uuid within its notebook for ever, and so does the place of a cell without an id.
    """
    wanted = [as_uuid(cell.id) for cell in imported]
    taken = set[uuid.UUID]()
    known = [one for one in wanted if one is not None]
    for start in range(0, len(known), BATCH):
        found = Cell.objects.filter(pk__in=known[start : start + BATCH]).exclude(notebook_id=notebook_id)
        taken.update(found.values_list("pk", flat=True))
    ids, used = [], set[uuid.UUID]()
    for number, (cell, kept) in enumerate(zip(imported, wanted, strict=True), start=1):
        name = cell.id if cell.id else f"#{number}"
        pk = kept if kept is not None and kept not in taken else uuid.uuid5(notebook_id, name)
        if pk in used:  # ids that differ in their letters' case alone, or double ones of a script
            pk = uuid.uuid5(notebook_id, f"{name}#{number}")
        used.add(pk)
        ids.append(pk)
    return ids


def notebook_id(old_id: str) -> uuid.UUID:
    """The id that a notebook of this old id has for ever."""
    return as_uuid(old_id) or uuid.uuid5(NAMESPACE, old_id)


def second_id(old_id: str, user_id: str) -> uuid.UUID:
    """The id for ever of this user's notebook where another user's has the same old id (no id holds NUL)."""
    return uuid.uuid5(NAMESPACE, f"{user_id}\0{old_id}")


def file_id(owner_id: int, sha256: str) -> uuid.UUID:
    """The id of the notebook that this owner has from a file of this content: two imports at once make one of it."""
    return uuid.uuid5(NAMESPACE, f"{owner_id}\0{sha256}")


def as_uuid(text: str | None) -> uuid.UUID | None:
    """The uuid that a text spells in the usual 36 characters, else None."""
    if text is None or not _UUID.match(text):
        return None
    return uuid.UUID(text)


def check(imported: ImportedNotebook) -> None:
    """Whether the notebook may be stored. Raises BadRequest, TooLarge with the place."""
    if len(imported.cells) > settings.NOTEBOOK_MAX_CELLS:
        raise TooLarge(
            f"{len(imported.cells):,} cells are more than the {settings.NOTEBOOK_MAX_CELLS:,} a notebook may have."
        )
    for number, cell in enumerate(imported.cells, start=1):
        _source(cell, number)


def _source(item: ImportedCell, number: int) -> str:
    try:
        return clean_source(item.source, max_bytes=settings.SOURCE_MAX_BYTES)
    except (BadRequest, TooLarge) as error:
        raise type(error)(f"cell {number}: {error.message}") from None


def _cell(
    notebook: Notebook, item: ImportedCell, number: int, pk: uuid.UUID, position: int, connection: Connection | None
) -> Cell:
    cell = Cell(
        id=pk,
        notebook=notebook,
        position=position,
        type=item.type,
        source=_source(item, number),
        result_name=item.result_name,
        connection=connection if item.type == facts.CellType.SQL else None,
        code_hidden=item.code_hidden,
        disabled=item.disabled,
        execution_count=item.execution_count,
        metadata={**item.metadata, STORED_ID: item.id} if item.id else item.metadata,
    )
    cell.source_hash = cell.current_hash()
    if cell.type == facts.CellType.MARKDOWN:
        cell.analysis_hash = cell.source_hash
    return cell


def output_row(cell_id: uuid.UUID | str, attempt: uuid.UUID | str | None, index: int, item: dict[str, Any]) -> Output:
    kind = item["kind"]
    if kind in (Output.Kind.STREAM, Output.Kind.ERROR):
        data = {key: value for key, value in item.items() if key not in ("index", "kind", "files")}
        metadata, display_id = dict[str, Any](), ""
    else:
        data, metadata, display_id = item["data"], item.get("metadata") or {}, item.get("display_id") or ""
    return Output(
        cell_id=cell_id,
        attempt=attempt,
        index=index,
        kind=kind,
        data=data,
        metadata=metadata,
        display_id=display_id[:200],
        size_bytes=_size(data),
    )


def _size(value: Any) -> int:
    """Bytes of text in a bundle, near enough for figures."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(_size(item) for item in value)
    return 8
