"""The predecessor's JSON document of a notebook: one file each, and what its DynamoDB items add up to. Pure.

Shape: {"id", "user_id", "name", "db_conn_string", "revision", "cells": [{"id", "type", "code", "status", "stdout",
"outputs": [{"mime_type", "data", "metadata"}], "error", "reads", "writes"}]}. The oldest files lack most of it, so that
only `cells` must be there. What the shape has no words for we write under a key of ours, `rillbook`, and what we do not
know is kept and written again: reading what was written gives the same notebook. Outputs are legacy_outputs.py's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from notebooks_app.formats import legacy_outputs
from notebooks_app.formats.base import (
    DATABASE_WARNING,
    OURS,
    STORED_ID,
    FormatError,
    ImportedCell,
    ImportedNotebook,
    Json,
    check_count,
    check_outputs,
    one_line,
    result_name,
    source_text,
)
from notebooks_app.formats.checking import checked, without_nul
from notebooks_app.formats.legacy_outputs import EXTRA
from notebooks_app.text import replace_surrogates

MAX_BYTES = 1024 * 1024 * 1024
MAX_ID = 1_000  # characters of an old id
MAX_REVISION = 2**53
UNTITLED = "Untitled"
SOURCE_NAME = "source_name"  # the name as the source has it, where ours had to be another
TYPES = ("python", "sql", "markdown")

_TELLING_KEYS = frozenset(["cells", "db_conn_string"])  # which no other JSON is likely to have
_NOTEBOOK_KEYS = frozenset(
    ["id", "user_id", "name", "db_conn_string", "revision", "cells", "created_at", "updated_at", OURS]
)
_CELL_KEYS = frozenset(
    ["id", "type", "code", "status", "stdout", "outputs", "error", "reads", "writes", "updated_at", OURS]
)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(name: str, data: bytes, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in a legacy file; `name` is the file's. Raises FormatError that names file and place."""
    warnings: list[str] = []
    found = read_document(name, parse(name, data, warnings), max_cells=max_cells)
    found.warnings[:0] = warnings
    return found


def parse(name: str, data: bytes, warnings: list[str]) -> Any:
    """The JSON value in a file. NaN and Infinity, which only Python writes, become null. Raises FormatError."""
    if len(data) > MAX_BYTES:
        raise FormatError(f"{name}: {len(data):,} bytes are more than the {MAX_BYTES:,} that can be imported.")
    constants: list[str] = []
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=constants.append)
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: byte {error.start:,} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        ends = " The file ends there: it may be cut off." if error.pos >= len(error.doc.rstrip()) else ""
        place = f"line {error.lineno}, character {error.colno:,}"
        raise FormatError(f"{name}: {place} is not JSON ({error.msg}).{ends}") from None
    except (RecursionError, ValueError):
        raise FormatError(f"{name}: it is nested too deeply, or a number in it is too long.") from None
    if constants:
        warnings.append(f"{len(constants):,} numbers that JSON does not have ({constants[0]}) are read as null.")
    return found


def is_document(found: Any) -> bool:
    """Whether a JSON value is meant to be such a notebook, be it a broken one: other JSON of a folder is not."""
    return isinstance(found, dict) and "nbformat" not in found and bool(_TELLING_KEYS & set(found))


def read_document(where: str, found: Any, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in a parsed document; `where` names it. Raises FormatError."""
    if not isinstance(found, dict):
        raise FormatError(f"{where}: this is JSON but not a notebook.")
    cells = found.get("cells")
    if not isinstance(cells, list):
        raise FormatError(f"{where}: this is JSON but not a notebook: it has no list of cells.")
    check_count(where, len(cells), max_cells)
    check_outputs(where, cells)
    warnings: list[str] = []
    made = ImportedNotebook(
        name=UNTITLED,
        id=_id(where, "id", found.get("id")),
        user_id=_id(where, "user_id", found.get("user_id")),
        dsn=_dsn(where, found.get("db_conn_string")),
        revision=_revision(where, found.get("revision")),
        warnings=warnings,
    )
    made.cells = [_cell(f"{where}: cell {number}", cell, warnings) for number, cell in enumerate(cells, start=1)]
    _refuse_doubles(where, made.cells)
    _read_metadata(where, found, made)
    made.updated_at = _time("Its", found, "updated_at", warnings)
    made.created_at = _time("Its", found, "created_at", warnings)
    _mend_times(made)
    if made.dsn:
        warnings.append(DATABASE_WARNING)
    return made


def _id(where: str, key: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or len(value) > MAX_ID:
        raise FormatError(f"{where}: {key} is not text of at most {MAX_ID:,} characters.")
    if "\x00" in value:
        raise FormatError(f"{where}: {key} holds the character NUL.")
    return replace_surrogates(value)


def _dsn(where: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{where}: db_conn_string is not text.")
    return replace_surrogates(value or "").strip()


def _revision(where: str, value: Any) -> int:
    if value is None:
        return 0
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not is_whole or not 0 <= value < MAX_REVISION:
        raise FormatError(f"{where}: revision is not a whole number from 0 to 2^53.")
    return int(value)


def _refuse_doubles(where: str, cells: list[ImportedCell]) -> None:
    seen: dict[str, int] = {}
    for number, cell in enumerate(cells, start=1):
        if cell.id is not None and (first := seen.setdefault(cell.id, number)) != number:
            raise FormatError(f"{where}: cells {first} and {number} have the same id, {cell.id[:100]!r}.")


def _read_metadata(where: str, found: Json, made: ImportedNotebook) -> None:
    ours = _ours(where, found)
    metadata = ours.pop("metadata", None)
    made.metadata = metadata if isinstance(metadata, dict) else {}
    made.connection = ours["connection"] if isinstance(ours.get("connection"), str) else ""
    kept = _object(made.metadata.pop(OURS, None))
    kept.pop("import", None)
    name = found.get("name")
    if name is not None and not isinstance(name, str):
        raise FormatError(f"{where}: name is not text.")
    made.name = title(name)
    if name != made.name:
        kept[SOURCE_NAME] = without_nul(name) if name else name
    if extra := _extra(where, found, _NOTEBOOK_KEYS):
        kept[EXTRA] = extra
    if kept:
        made.metadata[OURS] = kept


def title(name: str | None) -> str:
    """The name that a notebook of this name gets: one line of at most MAX_NAME characters, never empty."""
    return one_line(name or "") or UNTITLED


def _ours(where: str, found: Json) -> Json:
    ours = checked(f"{where}: {OURS}", _object(found.get(OURS)))
    return dict(ours)


def _extra(where: str, found: Json, known: frozenset[str]) -> Json:
    return {without_nul(key): checked(f"{where}: {key}", found[key]) for key in found if key not in known}


def _cell(where: str, found: Any, warnings: list[str]) -> ImportedCell:
    if not isinstance(found, dict):
        raise FormatError(f"{where} is not an object.")
    kind = found.get("type") or "python"
    if kind not in TYPES:
        raise FormatError(f"{where} has the unknown type {str(kind)[:40]!r}.")
    code = found.get("code")
    if code is not None and not isinstance(code, str):
        raise FormatError(f"{where}: code is not text.")
    ours = _ours(where, found)
    made = ImportedCell(
        type=kind,
        source=source_text(where, code or ""),
        id=_id(where, "id", found.get("id")) or None,
        result_name=result_name(ours.get("result_name")),
        metadata=_object(ours.get("metadata")),
        outputs=legacy_outputs.read(where, found, _object(ours.get("error")), warnings),
        code_hidden=ours.get("code_hidden") is True,
        disabled=ours.get("disabled") is True,
        connection=ours["connection"] if isinstance(ours.get("connection"), str) else None,
        reads=_names(found.get("reads")),
        writes=_names(found.get("writes")),
        updated_at=_time(where, found, "updated_at", warnings),
    )
    count = ours.get("execution_count")
    made.execution_count = count if type(count) is int and 0 <= count < 2**31 else None
    if extra := _extra(where, found, _CELL_KEYS):
        made.metadata[OURS] = _object(made.metadata.get(OURS)) | {EXTRA: extra}
    made.metadata.pop(STORED_ID, None)
    return made


def _names(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return sorted({without_nul(name) for name in value if isinstance(name, str)})


def _object(value: Any) -> Json:
    return dict(value) if isinstance(value, dict) else {}


def _time(whose: str, found: Json, key: str, warnings: list[str]) -> datetime | None:
    """A time as ISO 8601; without an offset it is UTC. One that is none is said and left out."""
    value = found.get(key)
    if value in (None, ""):
        return None
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
        if when is not None:
            return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    warnings.append(f"{whose} {key} is not a time: {str(value)[:60]!r}.")
    return None


def _mend_times(made: ImportedNotebook) -> None:
    """A notebook that was changed before it was made was made, at the latest, when it was changed."""
    if made.created_at and made.updated_at and made.created_at > made.updated_at:
        made.warnings.append("Its created_at is later than its updated_at, which is taken for both.")
        made.created_at = made.updated_at
    made.created_at = made.created_at or made.updated_at


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(notebook: ImportedNotebook) -> str:
    """The notebook as the text of a legacy file. Its DSN is in it where `notebook.dsn` has one."""
    return json.dumps(write_document(notebook), ensure_ascii=False, indent=1) + "\n"


def write_document(notebook: ImportedNotebook) -> Json:
    """The document of a notebook; reading it gives the same notebook."""
    metadata = dict(notebook.metadata)
    kept = {key: value for key, value in _object(metadata.pop(OURS, None)).items() if key != "import"}
    extra = _object(kept.pop(EXTRA, None))
    said = kept.pop(SOURCE_NAME, notebook.name)
    is_same = (said is None or isinstance(said, str)) and title(said) == notebook.name
    if kept:
        metadata[OURS] = kept
    ours = {"metadata": metadata, "connection": notebook.connection}
    document: Json = {
        "id": notebook.id,
        "user_id": notebook.user_id,
        "name": said if is_same else notebook.name,
        "db_conn_string": notebook.dsn or None,
        "revision": notebook.revision,
        "created_at": _iso(notebook.created_at),
        "updated_at": _iso(notebook.updated_at),
        "cells": [_write_cell(cell, notebook.connection) for cell in notebook.cells],
    }
    empty = [key for key in ("user_id", "created_at", "updated_at") if not document[key]]
    for key in empty:
        del document[key]
    return extra | document | _said(ours)


def _write_cell(cell: ImportedCell, connection: str) -> Json:
    metadata = dict(cell.metadata)
    kept = _object(metadata.pop(OURS, None))
    extra = _object(kept.pop(EXTRA, None))
    if kept:
        metadata[OURS] = kept
    outputs, error = legacy_outputs.write(cell.outputs)
    ours: Json = {
        "result_name": cell.result_name,
        "disabled": cell.disabled,
        "code_hidden": cell.code_hidden,
        "execution_count": cell.execution_count,
        "metadata": metadata,
        "error": error,
    }
    said = _said(ours)
    if cell.type == "sql" and cell.connection is not None and cell.connection != connection:
        said.setdefault(OURS, {})["connection"] = cell.connection
    head = {"id": cell.id or "", "type": cell.type, "code": cell.source, "status": "idle"}
    names = {"reads": cell.reads or [], "writes": cell.writes or []}
    times = {"updated_at": _iso(cell.updated_at)} if cell.updated_at else {}
    return extra | head | outputs | names | times | said


def _said(ours: Mapping[str, Any]) -> Json:
    """Our key with what is said by it, or nothing."""
    said = {key: value for key, value in ours.items() if value is not False and value not in (None, "", {})}
    return {OURS: said} if said else {}


def _iso(when: datetime | None) -> str | None:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z") if when else None
