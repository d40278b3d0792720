"""Compares a notebook here with the source it was imported from: every cell, its place, its outputs, byte for byte.

Works on values (formats/base.py): what the source says and what exporting.py reads back. Names that cells define and
use are computed afresh; where the source had others, that is a note and no difference.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from notebooks_app import exporting, import_connections
from notebooks_app.formats.base import OURS, ImportedCell, ImportedNotebook, Json, title_of
from notebooks_app.formats.checking import with_whole_numbers
from notebooks_app.import_rows import as_uuid
from notebooks_app.import_sources import Loaded
from notebooks_app.models import Cell, Notebook

MAX_SHOWN = 60  # characters of a value that a difference shows


def compare(loaded: Loaded, known: Notebook | None) -> tuple[list[str], list[str]]:
    """What is not here as the source has it, and notes. Each names its place; none holds a DSN or a whole source."""
    if known is None:
        return ["It is not here."], []
    if known.deleted_at is not None:
        return ["It is in the bin."], []
    try:
        whole = exporting.read_whole(known.pk)
        ours = exporting.values_of(whole)
    except exporting.CannotExport as error:
        return [error.message], []
    known, found = whole.notebook, loaded.notebook
    copy_notes = list(_copied(loaded, known))
    differences = [
        *([] if copy_notes else _value("name", found.name, ours.name)),
        *_notebooks(found, ours, whole, is_legacy=loaded.is_legacy),
        *_order(found, ours, whole.cells, known.pk),
        *_cells(found, ours, known.pk),
    ]
    if differences and known.seq != known.import_facts().get("seq"):
        differences.append("It was changed or run here since it was imported.")
    return differences, [*copy_notes, *_notes(found, ours)]


def _copied(loaded: Loaded, known: Notebook) -> Iterator[str]:
    """Files of the same content are one notebook: it has one name, that of the first, unless they say theirs."""
    first = str(known.import_facts().get("path") or "")
    is_named_by_file = loaded.title and loaded.notebook.name == loaded.title
    if is_named_by_file and title_of(first) != loaded.title and known.name != loaded.title:
        yield f"name: it is {_shown(known.name)} here, from {_shown(first)}, which has the same content."


def _notebooks(
    found: ImportedNotebook, ours: ImportedNotebook, whole: exporting.Whole, *, is_legacy: bool
) -> Iterator[str]:
    known = whole.notebook
    yield from _value("metadata", _without_ours(found.metadata), _without_ours(ours.metadata))
    yield from _connection(found, whole)
    if not is_legacy:
        return
    is_second = exporting.is_second(known)
    noted = str(known.import_facts().get("id") or "")
    yield from _value("id", found.id, noted if is_second and found.id != ours.id else ours.id)
    old_id = noted if is_second else found.id
    expected = old_id[:200] if as_uuid(old_id) is None or old_id != str(known.pk) else ""
    yield from _value("external_id", expected, known.external_id)
    yield from _value("user_id", found.user_id, str(known.import_facts().get("user_id") or ""))
    yield from _value("revision", found.revision, ours.revision)
    yield from _time("created_at", found.created_at, ours.created_at)
    yield from _time("updated_at", found.updated_at, ours.updated_at)


def _connection(found: ImportedNotebook, whole: exporting.Whole) -> Iterator[str]:
    known = whole.notebook
    if found.dsn and not import_connections.is_same(found, known):
        has = "another" if known.connection else "none"
        yield f"connection: the source has a database, and the notebook here has {has}."
    if not found.dsn and known.connection and known.connection.name != found.connection:
        yield f"connection: {known.connection.name!r} for {found.connection[:100] or 'none'!r}."
    if found.dsn:
        wanted = {number: cell for number, cell in enumerate(found.cells, 1) if cell.type == "sql"}
        for number, row in enumerate(whole.cells, start=1):
            cell = wanted.get(number)
            if cell is not None and cell.connection is None and row.connection_id != known.connection_id:
                yield f"cell {number}: connection: it is not the notebook's."


def _order(found: ImportedNotebook, ours: ImportedNotebook, rows: list[Cell], notebook_id: uuid.UUID) -> Iterator[str]:
    """Whether the same cells are there in the same order, under the ids that they must have."""
    wanted = _unique([cell.id or f"#{number}" for number, cell in enumerate(found.cells, start=1)])
    here = _keys(found, ours, notebook_id)
    if len(wanted) != len(here):
        yield f"cells: the source has {len(wanted):,}, here are {len(here):,}."
    known = set(here)
    for number, key in enumerate(wanted, start=1):
        if key not in known:
            yield f"cell {number}: it is missing here."
    meant = set(wanted)
    for number, key in enumerate(here, start=1):
        if key not in meant:
            yield f"cell {number} here is not in the source."
    if [key for key in wanted if key in known] != [key for key in here if key in meant]:
        yield "cells: they are in another order."
    for number, (cell, row) in enumerate(zip(ours.cells, rows, strict=True), start=1):
        yield from _row_id(number, cell, here[number - 1], row, notebook_id)


def _row_id(number: int, cell: ImportedCell, key: str, row: Cell, notebook_id: uuid.UUID) -> Iterator[str]:
    """A cell's id is its old one if that is a uuid, else made from it; the old one can be searched for."""
    made = {uuid.uuid5(notebook_id, key), uuid.uuid5(notebook_id, f"{key}#{number}")}
    kept = as_uuid(key)
    if row.pk not in made and row.pk != kept:
        yield f"cell {number}: id: it is not the one that {key[:MAX_SHOWN]!r} maps to."
    expected = "" if cell.id == str(row.pk) else (cell.id or "")[:200]
    if row.external_id != expected:
        yield f"cell {number}: external_id: {row.external_id[:MAX_SHOWN]!r} for {expected[:MAX_SHOWN]!r}."


def _keys(found: ImportedNotebook, ours: ImportedNotebook, notebook_id: uuid.UUID) -> list[str]:
    """The old ids of the cells here; of one that had none in the source, the place it was imported from."""
    places = {number: f"#{number}" for number, cell in enumerate(found.cells, start=1) if not cell.id}
    by_place = {str(uuid.uuid5(notebook_id, f"{place}#{number}")): place for number, place in places.items()}
    by_place |= {str(uuid.uuid5(notebook_id, place)): place for place in places.values()}
    return _unique([by_place.get(cell.id or "", cell.id or "") for cell in ours.cells])


def _unique(keys: list[str]) -> list[str]:
    """Scripts may have an id twice: the later ones are told apart by their place."""
    seen: set[str] = set()
    found = []
    for number, key in enumerate(keys, start=1):
        found.append(f"{key}#{number}" if key in seen else key)
        seen.add(key)
    return found


def _cells(found: ImportedNotebook, ours: ImportedNotebook, notebook_id: uuid.UUID) -> Iterator[str]:
    here = dict(zip(_keys(found, ours, notebook_id), ours.cells, strict=True))
    keys = _unique([cell.id or f"#{number}" for number, cell in enumerate(found.cells, start=1)])
    for number, (key, cell) in enumerate(zip(keys, found.cells, strict=True), start=1):
        if key in here:
            yield from (f"cell {number}: {words}" for words in _cell(cell, here[key]))


def _cell(found: ImportedCell, ours: ImportedCell) -> Iterator[str]:
    yield from _value("type", found.type, ours.type)
    yield from _text("source", found.source, ours.source)
    for name in ("result_name", "disabled", "code_hidden", "execution_count"):
        yield from _value(name, getattr(found, name), getattr(ours, name))
    yield from _value("metadata", found.metadata, ours.metadata)
    yield from _time("updated_at", found.updated_at, ours.updated_at)
    if len(found.outputs) != len(ours.outputs):
        yield f"outputs: the source has {len(found.outputs)}, here are {len(ours.outputs)}."
    for at, (one, other) in enumerate(zip(found.outputs, ours.outputs, strict=False)):
        yield from (f"outputs[{at}]: {words}" for words in _output(one, other))


def _output(found: Json, ours: Json) -> Iterator[str]:
    if found["kind"] != ours["kind"]:
        yield f"it is {ours['kind']} and not {found['kind']}."
    elif found["kind"] == "stream":
        yield from _value("name", found["name"], ours["name"])
        yield from _text(found["name"], found["text"], ours["text"])
    elif found["kind"] == "error":
        for name in ("ename", "evalue", "traceback"):
            yield from _value(f"error {name}", found[name], ours[name])
    else:
        yield from _bundle(found["data"], ours["data"])
        yield from _value("metadata", found.get("metadata") or {}, ours.get("metadata") or {})
        yield from _value("display_id", found.get("display_id"), ours.get("display_id"))


def _bundle(found: Json, ours: Json) -> Iterator[str]:
    for mime in sorted(found.keys() | ours.keys()):
        if mime not in ours:
            yield f"{mime} is missing here."
        elif mime not in found:
            yield f"{mime} is not in the source."
        elif isinstance(found[mime], str) and isinstance(ours[mime], str):
            yield from _text(mime, found[mime], ours[mime])
        else:
            yield from _value(mime, found[mime], ours[mime])


def _value(name: str, found: Any, ours: Any) -> Iterator[str]:
    if not _same(found, ours):
        yield f"{name}: {_shown(ours)} for {_shown(found)}."


def _same(found: Any, ours: Any) -> bool:
    """Whether two JSON values say the same; PostgreSQL writes 1e100 as a whole number, and so does DynamoDB 1.0."""
    if isinstance(found, dict) and isinstance(ours, dict):
        return found.keys() == ours.keys() and all(_same(value, ours[key]) for key, value in found.items())
    if isinstance(found, list) and isinstance(ours, list):
        return len(found) == len(ours) and all(map(_same, found, ours))
    if isinstance(found, bool) or isinstance(ours, bool):
        return found is ours
    return with_whole_numbers(found) == with_whole_numbers(ours)


def _text(name: str, found: str, ours: str) -> Iterator[str]:
    """Where two texts part, not what they say: a source or an output may hold secrets."""
    if found == ours:
        return
    at = next((at for at, pair in enumerate(zip(found, ours, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(found), len(ours)) if at is None else at
    line = found.count("\n", 0, at) + 1
    yield f"{name}: it differs from line {line} on ({len(ours):,} characters for {len(found):,})."


def _time(name: str, found: datetime | None, ours: datetime | None) -> Iterator[str]:
    """A time that the source does not say may be any."""
    if found is not None and (ours is None or found.astimezone(UTC) != ours.astimezone(UTC)):
        yield f"{name}: {ours and ours.isoformat()} for {found.isoformat()}."


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= MAX_SHOWN else f"{words[:MAX_SHOWN]}…"


def _without_ours(metadata: Json) -> Json:
    """Metadata without what the import itself noted."""
    ours = metadata.get(OURS)
    if not isinstance(ours, dict) or "import" not in ours:
        return metadata
    rest = {key: value for key, value in ours.items() if key != "import"}
    return {key: value for key, value in metadata.items() if key != OURS} | ({OURS: rest} if rest else {})


def _notes(found: ImportedNotebook, ours: ImportedNotebook) -> Iterator[str]:
    """Names that the source had otherwise: ours come from our analysis."""
    for number, (cell, other) in enumerate(zip(found.cells, ours.cells, strict=False), start=1):
        for name in ("reads", "writes"):
            said, computed = getattr(cell, name), getattr(other, name)
            if said is not None and sorted(said) != sorted(computed or []):
                yield f"cell {number}: {name}: {_names(computed)} by analysis, {_names(said)} in the source."


def _names(names: list[str] | None) -> str:
    return _shown(", ".join(sorted(names or [])) or "none").strip("'\"")
