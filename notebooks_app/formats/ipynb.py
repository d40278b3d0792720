"""Jupyter's .ipynb: nbformat 4 is read (older is upgraded), 4.5 is written. Pure.

Format: nbformat.readthedocs.io, "The Notebook file format". What we do not know survives: metadata of notebook and
cells is kept and written again. Ours is under one key, `rillbook`. Streams take the way of a running cell's
(outputs.py), so that carriage returns are treated alike; what is large is whole.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import nbformat

from notebooks_app.formats import bundles, known, magics
from notebooks_app.formats.base import (
    OURS,
    STORED_ID,
    FormatError,
    ImportedCell,
    ImportedNotebook,
    Json,
    check_count,
    check_outputs,
    check_size,
    result_name,
    source_text,
    title_of,
)
from notebooks_app.formats.checking import cleaned
from notebooks_app.outputs import OutputLog, canonical_mime, clean_text, is_json_mime

CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
SCHEMA_JSON = re.compile(r"application/(?:.*\+)?json\Z")
MAX_COUNT = 2**31
MAX_CONNECTION = 200  # characters of a connection's name


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(name: str, data: bytes, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in an .ipynb file; `name` is the file's, for messages and the title. Raises FormatError."""
    warnings: list[str] = []
    found = _parse(name, data, warnings)
    _check_amount(name, found, max_cells)
    old_name = _object(found.get("metadata")).get("name") if found["nbformat"] < 4 else None
    if found["nbformat"] != 4:
        warnings.append(f"Upgraded from nbformat {found['nbformat']}.")
        found = _upgrade(name, found)
    cells = found.get("cells")
    if not isinstance(cells, list):
        raise FormatError(f"{name}: this is not a notebook: it has no list of cells.")
    metadata = _object(found.get("metadata"))
    ours = {key: value for key, value in _object(metadata.pop(OURS, None)).items() if key != "import"}
    title = title_of(name, ours.pop("name", None), metadata.get("title"), old_name)
    if language := _foreign_language(metadata):
        warnings.append(f"Its kernel is for {language}: its code cells are read as Python.")
    return ImportedNotebook(
        name=title,
        cells=[read_cell(f"{name}: cell {number}", cell, warnings) for number, cell in enumerate(cells, start=1)],
        metadata=metadata | ({OURS: ours} if ours else {}),
        warnings=warnings,
    )


def _check_amount(name: str, found: Json, max_cells: int | None) -> None:
    """Raises FormatError for more cells or outputs than can be read, those of all worksheets of an older format."""
    worksheets = found.get("worksheets") if found["nbformat"] < 4 else None
    sheets = [found, *(worksheets if isinstance(worksheets, list) else [])]
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    cells = [cell for each in lists if isinstance(each, list) for cell in each]
    check_count(name, len(cells), max_cells)
    check_outputs(name, cells)


def _parse(name: str, data: bytes, warnings: list[str]) -> Json:
    check_size(name, data)
    lost: list[str] = []  # numbers that JSON does not have: NaN, Infinity, 1e999
    try:
        found = json.loads(
            data.decode("utf-8-sig"), parse_constant=lost.append, parse_float=lambda text: _float(text, lost)
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: this is not a notebook: byte {error.start} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{name}: this is not a notebook: line {error.lineno} is not JSON ({error.msg}).") from None
    except (RecursionError, ValueError):
        raise FormatError(f"{name}: not a notebook: it is nested too deeply, or a number is too long.") from None
    version = found.get("nbformat") if isinstance(found, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise FormatError(f"{name}: this is JSON but not a notebook: it does not say its nbformat.")
    if version > 4:
        raise FormatError(f"{name}: nbformat {version} is newer than this server knows (4).")
    if lost:
        warnings.append(f"{len(lost):,} numbers that JSON does not have ({lost[0][:20]}) are read as null.")
    if b"\\u0000" in data:
        warnings.append("It holds the character NUL, which cannot be kept: it is replaced by U+FFFD.")
    return found


def _float(text: str, lost: list[str]) -> float | None:
    number = float(text)
    if math.isfinite(number):
        return number
    lost.append(text)
    return None


def _upgrade(name: str, found: Json) -> Json:
    """The notebook in nbformat 4. Its cells have no ids: the converter makes other ones up at each reading."""
    old = found["nbformat"]
    try:
        with _quiet():
            # The version's own reader joins the lines of texts; the converter takes them for whole.
            upgraded = nbformat.convert(nbformat.reader.reads(json.dumps(found)), 4)
            made = json.loads(json.dumps(upgraded, default=bytes.decode))  # version 2 has base64 as bytes
            for cell in made["cells"]:
                cell.pop("id", None)
            return made
    except Exception as error:  # a converter that trusts its input, fed with a file from anywhere
        words = f"{type(error).__name__}: {error}"[:200]
        raise FormatError(f"{name}: a notebook of nbformat {old} that cannot be upgraded ({words}).") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without nbformat's own log, which quotes cells: what matters of an old notebook is found and said here."""
    log = logging.getLogger("traitlets")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _foreign_language(metadata: Json) -> str:
    """The language of the notebook's kernel, unless it is Python or is not said."""
    said = _object(metadata.get("kernelspec")).get("language") or _object(metadata.get("language_info")).get("name")
    if not isinstance(said, str) or said.lower() in ("", "python", "python3", "ipython", "sql"):
        return ""
    return said[:40]


def read_cell(where: str, cell: Any, warnings: list[str]) -> ImportedCell:
    """A cell of a file's list; `where` is "file: cell 3". Raises FormatError; adds to `warnings`."""
    if not isinstance(cell, dict):
        raise FormatError(f"{where} is not an object.")
    kind = cell.get("cell_type")
    if kind not in ("code", "markdown", "raw"):
        raise FormatError(f"{where} has the unknown cell_type {kind!r}.")
    metadata = _object(cell.get("metadata"))
    ours = _object(metadata.pop(OURS, None))
    metadata.pop(STORED_ID, None)
    cell_id = cell.get("id")
    made = ImportedCell(
        type="python" if kind == "code" else "markdown",
        source=source_text(where, _text(where, cell.get("source", ""))),
        id=cell_id if isinstance(cell_id, str) and CELL_ID.match(cell_id) else None,
        metadata=metadata,
        code_hidden=_object(metadata.get("jupyter")).get("source_hidden") is True,
        disabled=ours.pop("disabled", None) is True,
    )
    if kind == "code":
        _read_code(where, cell, made, ours, warnings)
    else:
        _read_text_cell(cell, kind, ours)
    if ours:
        made.metadata[OURS] = ours
    return made


def _read_text_cell(cell: Json, kind: str, ours: Json) -> None:
    """Note in `ours` what a text cell of ours cannot say itself."""
    ours.pop("cell_type", None)
    if kind == "raw":
        ours["cell_type"] = "raw"
    ours.pop("attachments", None)
    if attachments := _attachments(cell.get("attachments")):
        ours["attachments"] = attachments


def _read_code(where: str, cell: Json, made: ImportedCell, ours: Json, warnings: list[str]) -> None:
    named = ours.pop("result_name", None)
    query = magics.read_sql(made.source) if ours.pop("type", None) != "python" else None
    if query:
        made.type, made.source = "sql", query.source
        made.result_name = query.result_name or result_name(named)
        if query.dropped:
            warnings.append(f"{where}: left out of its %%sql line: {', '.join(query.dropped)}.")
        _read_connection(where, made, ours, warnings)
    count = cell.get("execution_count")
    made.execution_count = count if type(count) is int and 0 <= count < MAX_COUNT else None
    outputs = cell.get("outputs", [])
    if not isinstance(outputs, list):
        raise FormatError(f"{where}: outputs is not a list.")
    made.outputs = _outputs(where, outputs)


def _outputs(where: str, outputs: list[Any]) -> list[Json]:
    """The outputs whole, whatever their size; neighbouring texts of a stream are one, as a terminal would show it."""
    found: list[Json] = []
    for is_text, group in itertools.groupby(outputs, key=_is_stream):
        found += (_streams if is_text else _shown)(where, group)
    return [{"index": index, **output} for index, output in enumerate(found)]


def _is_stream(output: Any) -> bool:
    return isinstance(output, dict) and output.get("output_type") == "stream"


def _streams(where: str, outputs: Iterable[Json]) -> list[Json]:
    found: list[Json] = []
    for name, group in itertools.groupby(outputs, key=lambda output: output.get("name") == "stderr"):
        whole: list[str] = []
        log = OutputLog("import", on_text=lambda item, part, whole=whole: whole.append(part))
        for output in group:
            log.feed([{"t": "stream", "name": output.get("name"), "text": _text(where, output.get("text", ""))}])
        log.finish()
        texts = log.outputs()
        if texts:
            text = "".join(whole) if texts[0]["cut"] else texts[0]["text"]
            stream = "stderr" if name else "stdout"
            found.append({"kind": "stream", "name": stream, "text": text, "cut": None, "files": {}})
    return found


def _shown(where: str, outputs: Iterable[Any]) -> list[Json]:
    return [_output(where, output) for output in outputs]


def _output(where: str, output: Any) -> Json:
    """A display or an error. Raises FormatError."""
    kind = output.get("output_type") if isinstance(output, dict) else None
    if kind in ("display_data", "execute_result"):
        bundle = output.get("data")
        items = bundle.items() if isinstance(bundle, dict) else ()
        data = {canonical_mime(clean_text(mime)): _mime(canonical_mime(mime), value) for mime, value in items}
        metadata = cleaned(output.get("metadata"))
        metadata = metadata if isinstance(metadata, dict) else {}
        return {"kind": kind, "data": data, "metadata": metadata, "display_id": None, "files": {}}
    if kind == "error":
        names = {key: clean_text(_string(output.get(key))) for key in ("ename", "evalue")}
        lines = output.get("traceback")
        lines = [clean_text(_string(line)) for line in lines] if isinstance(lines, list) else []
        return {"kind": "error", **names, "traceback": lines, "files": {}}
    raise FormatError(f"{where} has an output of the unknown type {kind!r}.")


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _read_connection(where: str, made: ImportedCell, ours: Json, warnings: list[str]) -> None:
    name = ours.pop("connection", None)
    if isinstance(name, str) and name:
        made.connection = name[:MAX_CONNECTION]
        warnings.append(f"{where} used the connection {made.connection!r}: choose one in its head.")


def _mime(mime: str, value: Any) -> Any:
    """The value as ours: JSON types as they are, images without line breaks, all else text."""
    if is_json_mime(mime):
        return cleaned(value)
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    text = clean_text(value if isinstance(value, str) else json.dumps(cleaned(value)))
    return bundles.text_of(mime, text)


def _attachments(value: Any) -> Json:
    """Files by name, each a MIME bundle of text; what is not is left out."""
    files = {name: bundle for name, bundle in _object(value).items() if isinstance(bundle, dict)}
    return {
        name: {mime: "".join(part) for mime, part in bundle.items() if _is_text(part)} for name, bundle in files.items()
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _text(where: str, value: Any) -> str:
    """Text, or a list of lines (the format allows both)."""
    if _is_text(value):
        return "".join(value)
    raise FormatError(f"{where} holds {type(value).__name__} where text belongs.")


def _object(value: Any) -> Json:
    return cleaned(value) if isinstance(value, dict) else {}


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(notebook: ImportedNotebook) -> str:
    """The notebook as the text of an .ipynb file of nbformat 4.5, valid for nbformat's validator."""
    metadata = known.notebook_metadata(_object(notebook.metadata))
    ours = {key: value for key, value in _object(metadata.get(OURS)).items() if key != "import"}
    metadata[OURS] = ours | {"name": clean_text(notebook.name)}
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
    metadata = _object(cell.metadata)
    ours = _object(metadata.pop(OURS, None))
    stored_id = metadata.pop(STORED_ID, None)
    is_raw = ours.pop("cell_type", None) == "raw" and cell.type == "markdown"
    attachments = known.attachments(_object(ours.pop("attachments", None)))
    _write_hidden(metadata, cell.code_hidden)
    ours |= _our_fields(cell)
    cell_type = "raw" if is_raw else "markdown" if cell.type == "markdown" else "code"
    written: Json = {
        "id": _cell_id((stored_id, cell.id), used),
        "cell_type": cell_type,
        "metadata": known.cell_metadata(metadata, cell_type) | ({OURS: ours} if ours else {}),
        "source": _lines(magics.write_sql(cell.source, cell.result_name) if cell.type == "sql" else cell.source),
    }
    if attachments and cell.type == "markdown":
        written["attachments"] = attachments
    if cell_type == "code":
        written["execution_count"] = cell.execution_count
        written["outputs"] = [_write_output(output, cell.execution_count) for output in cell.outputs]
    return written


def _our_fields(cell: ImportedCell) -> Json:
    """What only we know of a cell: what is not so is left out."""
    fields = {
        "type": "python" if cell.type == "python" and magics.is_sql(cell.source) else "",
        "connection": cell.connection if cell.type == "sql" else "",
        "disabled": cell.disabled,
    }
    return {key: value for key, value in fields.items() if value}


def _write_hidden(metadata: Json, is_hidden: bool) -> None:
    jupyter = _object(metadata.pop("jupyter", None))
    jupyter.pop("source_hidden", None)
    if is_hidden:
        jupyter["source_hidden"] = True
    if jupyter:
        metadata["jupyter"] = jupyter


def _cell_id(wanted: tuple[Any, ...], used: set[str]) -> str:
    """An id of nbformat 4.5 (up to 64 letters, digits, - and _, unique in the file): the first wanted that is one."""
    fit = [one for one in wanted if isinstance(one, str) and CELL_ID.match(one) and one not in used]
    number = len(used) + 1
    found = fit[0] if fit else f"cell-{number}"
    while found in used:
        number += 1
        found = f"cell-{number}"
    used.add(found)
    return found


def _write_output(output: Mapping[str, Any], execution_count: int | None) -> Json:
    kind = output["kind"]
    if kind == "stream":
        cut = output.get("cut")
        more = f"\n[{cut['omitted_bytes']:,} bytes left out]\n{cut['tail']}" if cut else ""
        return {"output_type": kind, "name": output["name"], "text": _lines(output["text"] + more)}
    if kind == "error":
        return {"output_type": kind} | {key: output[key] for key in ("ename", "evalue", "traceback")}
    data = {mime: _write_mime(mime, value) for mime, value in output["data"].items()}
    written = {"output_type": kind, "data": data, "metadata": output.get("metadata") or {}}
    return written | ({"execution_count": execution_count} if kind == "execute_result" else {})


def _write_mime(mime: str, value: Any) -> Any:
    """The value as nbformat has it: objects under application/json and application/…+json alone, else text."""
    if not isinstance(value, str):
        return value if SCHEMA_JSON.match(mime) else json.dumps(value)
    return _lines(value) if mime.startswith("text/") else value


def _lines(text: str) -> list[str]:
    r"""The text as Jupyter writes it, a list of lines with their `\n`, so that changes read well in a diff."""
    parts = text.split("\n")
    return [f"{line}\n" for line in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
