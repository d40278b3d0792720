"""Jupyter's .ipynb: nbformat 4 is read (3 is upgraded), 4.5 is written. Pure.

Format: nbformat.readthedocs.io, "The Notebook file format". What we do not know survives: metadata of notebook and
cells is kept and written again. Ours is under one key, `rillbook`. Sources hold `\\n` only; NUL and lone surrogates in
outputs become U+FFFD, in sources they are refused or replaced by the importer (text.py).
"""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
from nbformat.validator import NotebookValidationError

from notebooks_app.formats.base import FormatError, ImportedCell, ImportedNotebook
from notebooks_app.outputs import canonical_mime, clean_json, clean_text

type Json = dict[str, Any]

MAX_BYTES = 100 * 1024 * 1024
OURS = "rillbook"
MAGIC = re.compile(r"\A%%(?:sql|duckdb)\b[ \t]*(?:(?P<name>\w+)[ \t]*<<)?[^\n]*\n?")
JSON_MIME = re.compile(r"[+/]json\Z")
CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(name: str, data: bytes) -> ImportedNotebook:
    """The notebook in an .ipynb file; `name` is the file's, for messages and the title. Raises FormatError."""
    found = _parse(name, data)
    warnings = []
    if found.get("nbformat") != 4:
        found, warning = _upgrade(name, found)
        warnings.append(warning)
    cells = found.get("cells")
    if not isinstance(cells, list):
        raise FormatError(f"{name}: this is not a notebook: it has no list of cells.")
    metadata = _object(found.get("metadata"))
    return ImportedNotebook(
        name=_title(name, metadata),
        cells=[_read_cell(name, number, cell) for number, cell in enumerate(cells, start=1)],
        metadata=metadata,
        warnings=warnings,
    )


def _parse(name: str, data: bytes) -> Json:
    if len(data) > MAX_BYTES:
        raise FormatError(f"{name}: {len(data):,} bytes are more than the {MAX_BYTES:,} that can be imported.")
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: this is not a notebook: byte {error.start} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{name}: this is not a notebook: line {error.lineno} is not JSON ({error.msg}).") from None
    except (RecursionError, ValueError):
        raise FormatError(f"{name}: not a notebook: it is nested too deeply, or a number is too long.") from None
    if not isinstance(found, dict) or not isinstance(found.get("nbformat"), int):
        raise FormatError(f"{name}: this is JSON but not a notebook: it does not say its nbformat.")
    if found["nbformat"] > 4:
        raise FormatError(f"{name}: nbformat {found['nbformat']} is newer than this server knows (4).")
    return found


def _upgrade(name: str, found: Json) -> tuple[Json, str]:
    old = found["nbformat"]
    try:
        newer = nbformat.convert(nbformat.from_dict(found), 4)
    except (NotebookValidationError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise FormatError(f"{name}: a notebook of nbformat {old} that cannot be upgraded: {error}") from None
    return json.loads(json.dumps(newer)), f"Upgraded from nbformat {old}."


def _read_cell(name: str, number: int, cell: Any) -> ImportedCell:
    if not isinstance(cell, dict):
        raise FormatError(f"{name}: cell {number} is not an object.")
    kind = cell.get("cell_type")
    if kind not in ("code", "markdown", "raw"):
        raise FormatError(f"{name}: cell {number} has the unknown cell_type {kind!r}.")
    metadata = _object(cell.get("metadata"))
    ours = _object(metadata.get(OURS))
    made = ImportedCell(
        type="markdown" if kind != "code" else "python",
        source=_text(name, number, cell.get("source", "")).replace("\r\n", "\n").replace("\r", "\n"),
        id=cell["id"] if isinstance(cell.get("id"), str) else None,
        metadata=metadata,
        code_hidden=_object(metadata.get("jupyter")).get("source_hidden") is True,
        disabled=ours.get("disabled") is True,
    )
    if kind == "raw":
        made.metadata = metadata | {OURS: ours | {"cell_type": "raw"}}
    if isinstance(cell.get("attachments"), dict):
        made.metadata = made.metadata | {OURS: ours | {"attachments": cell["attachments"]}}
    if kind == "code":
        _read_code(name, number, cell, made, ours)
    return made


def _read_code(name: str, number: int, cell: Json, made: ImportedCell, ours: Json) -> None:
    magic = MAGIC.match(made.source)
    if magic:
        made.type = "sql"
        made.source = made.source[magic.end() :]
        result_name = magic["name"] or ours.get("result_name") or ""
        made.result_name = result_name if isinstance(result_name, str) and result_name.isidentifier() else ""
    count = cell.get("execution_count")
    made.execution_count = count if isinstance(count, int) and 0 <= count < 2**31 else None
    outputs = cell.get("outputs", [])
    if not isinstance(outputs, list):
        raise FormatError(f"{name}: cell {number}: outputs is not a list.")
    for output in outputs:
        _add_output(name, number, made.outputs, output)


def _add_output(name: str, number: int, outputs: list[Json], output: Any) -> None:
    kind = output.get("output_type") if isinstance(output, dict) else None
    head: Json = {"index": len(outputs), "kind": kind, "files": {}}
    if kind == "stream":
        text = clean_text(_text(name, number, output.get("text", "")))
        stream = "stderr" if output.get("name") == "stderr" else "stdout"
        if outputs and outputs[-1]["kind"] == "stream" and outputs[-1]["name"] == stream:
            outputs[-1]["text"] += text
        else:
            outputs.append(head | {"name": stream, "text": text, "cut": None})
    elif kind in ("display_data", "execute_result"):
        bundle = {canonical_mime(mime): value for mime, value in _object(output.get("data")).items()}
        data = {mime: _mime(name, number, mime, value) for mime, value in bundle.items()}
        metadata, _ = clean_json(_object(output.get("metadata")))
        outputs.append(head | {"data": data, "metadata": metadata, "display_id": None})
    elif kind == "error":
        lines = output.get("traceback")
        traceback = [clean_text(line) for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
        error = {"ename": clean_text(str(output.get("ename", ""))), "evalue": clean_text(str(output.get("evalue", "")))}
        outputs.append(head | error | {"traceback": traceback})
    else:
        raise FormatError(f"{name}: cell {number} has an output of the unknown type {kind!r}.")


def _mime(name: str, number: int, mime: str, value: Any) -> Any:
    if JSON_MIME.search(mime):
        cleaned, _ = clean_json(value)
        return cleaned
    if mime.startswith("image/") and mime != "image/svg+xml":
        return _text(name, number, value).replace("\n", "")
    return clean_text(_text(name, number, value))


def _text(name: str, number: int, value: Any) -> str:
    """Text, or a list of lines (the format allows both)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    raise FormatError(f"{name}: cell {number} holds {type(value).__name__} where text belongs.")


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        return {}
    cleaned, _ = clean_json(value)
    return cleaned


def _title(name: str, metadata: Json) -> str:
    title = _object(metadata.get(OURS)).get("name") or metadata.get("title")
    if isinstance(title, str) and title.strip():
        return title.strip()
    return name.rsplit("/", 1)[-1].removesuffix(".ipynb") or "Untitled"


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(notebook: ImportedNotebook) -> str:
    """The notebook as the text of an .ipynb file of nbformat 4.5, valid for nbformat's validator."""
    metadata = notebook.metadata | {OURS: _object(notebook.metadata.get(OURS)) | {"name": notebook.name}}
    metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    metadata.setdefault("language_info", {"name": "python"})
    used: set[str] = set()
    document = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": metadata,
        "cells": [_write_cell(cell, used) for cell in notebook.cells],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _write_cell(cell: ImportedCell, used: set[str]) -> Json:
    ours = dict(_object(cell.metadata.get(OURS)))
    raw = ours.pop("cell_type", None) == "raw"
    attachments = ours.pop("attachments", None)
    ours.pop("disabled", None)
    if cell.result_name:
        ours["result_name"] = cell.result_name
    if cell.disabled:
        ours["disabled"] = True
    metadata = {key: value for key, value in cell.metadata.items() if key != OURS}
    if cell.code_hidden:
        metadata["jupyter"] = _object(metadata.get("jupyter")) | {"source_hidden": True}
    if ours:
        metadata[OURS] = ours
    written: Json = {
        "id": _cell_id(cell.id, used),
        "cell_type": "raw" if raw else "markdown" if cell.type == "markdown" else "code",
        "metadata": metadata,
        "source": _magic(cell) + cell.source,
    }
    if attachments:
        written["attachments"] = attachments
    if written["cell_type"] == "code":
        written["execution_count"] = cell.execution_count
        written["outputs"] = [_write_output(output, cell.execution_count) for output in cell.outputs]
    return written


def _magic(cell: ImportedCell) -> str:
    if cell.type != "sql":
        return ""
    return f"%%sql {cell.result_name} <<\n" if cell.result_name else "%%sql\n"


def _cell_id(wanted: str | None, used: set[str]) -> str:
    """An id of nbformat 4.5: up to 64 letters, digits, - and _, unique in the file."""
    found = wanted if wanted and CELL_ID.match(wanted) and wanted not in used else f"cell-{len(used) + 1}"
    while found in used:
        found += "x"
    used.add(found)
    return found


def _write_output(output: Json, execution_count: int | None) -> Json:
    kind = output["kind"]
    if kind == "stream":
        cut = output.get("cut")
        more = f"\n[{cut['omitted_bytes']:,} bytes left out]\n{cut['tail']}" if cut else ""
        return {"output_type": kind, "name": output["name"], "text": output["text"] + more}
    if kind == "error":
        return {"output_type": kind} | {key: output[key] for key in ("ename", "evalue", "traceback")}
    data = dict(output["data"])
    for mime, file in (output.get("files") or {}).items():
        data.setdefault("text/plain", f"[{mime}, {file['size_bytes']:,} bytes, kept on the server]")
    written = {"output_type": kind, "data": data, "metadata": output.get("metadata") or {}}
    return written | ({"execution_count": execution_count} if kind == "execute_result" else {})
