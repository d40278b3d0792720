"""Outputs of a legacy cell: its stdout, its list of MIME items and its error, to and from ours. Pure.

stdout becomes a stream output, each item a display, the error an error output, in this order. A table (of type
`application/json` with `{"type": "table"}`) is kept as it came and gets a second form that pages draw as a table. What
an output of ours says beyond that shape is written under `rillbook` beside it; what an item says beyond it is kept in
its metadata and written again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from notebooks_app.formats import bundles
from notebooks_app.formats.base import OURS, FormatError, Json
from notebooks_app.formats.checking import checked, without_nul
from notebooks_app.outputs import canonical_mime, is_json_mime

TABLE_MIME = "application/vnd.rillbook.table+json"
EXTRA = "legacy"  # keys we do not know, under OURS of the metadata of a notebook, a cell or an output
MAX_MIME = 100  # characters of a MIME type
MAX_TABLE_ROWS = 1_000  # of a larger table the second form has the first ones
SAFE_INTEGER = 2**53

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LAST_LINE = re.compile(r"(?P<name>[A-Za-z_][\w.]{0,200})(?:: (?P<value>.*))?\Z", re.DOTALL)
_ERROR_NAME = re.compile(r".*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)\Z")


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(where: str, cell: Mapping[str, Any], error_as: Mapping[str, Any], warnings: list[str]) -> list[Json]:
    """The outputs of a legacy cell; `error_as` is what we said of its error beyond its text. Raises FormatError."""
    outputs: list[Json] = []
    if stdout := _text(where, "stdout", cell.get("stdout"), warnings):
        outputs.append({"kind": "stream", "name": "stdout", "text": stdout, "cut": None, "files": {}})
    items = cell.get("outputs")
    if items is not None and not isinstance(items, list):
        raise FormatError(f"{where}: outputs is not a list.")
    for at, item in enumerate(items or []):
        outputs.append(_item(f"{where}: outputs[{at}]", item, warnings))
    if error := _text(where, "error", cell.get("error"), warnings):
        outputs.append(error_output(error) | _error_fields(error_as))
    return [{"index": index, **output} for index, output in enumerate(outputs)]


def _text(where: str, key: str, value: Any, warnings: list[str]) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FormatError(f"{where}: {key} is not text.")
    text = without_nul(value)
    if text != value:
        warnings.append(f"{where}: {key} holds characters that cannot be kept (NUL); they are replaced by U+FFFD.")
    return text


def error_output(text: str) -> Json:
    """An error of which only the text is known; its last line says which it is."""
    lines = text.split("\n")
    last = _ANSI.sub("", next((line for line in reversed(lines) if line.strip()), ""))
    found = _LAST_LINE.match(last)
    is_named = found and (found["value"] is not None or _ERROR_NAME.match(found["name"]))
    ename, evalue = (found["name"], found["value"] or "") if found and is_named else ("Error", last)
    return {"kind": "error", "ename": ename, "evalue": evalue, "traceback": lines, "files": {}}


def _error_fields(said: Mapping[str, Any]) -> Json:
    fields: Json = {key: said[key] for key in ("ename", "evalue") if isinstance(said.get(key), str)}
    if isinstance(said.get("traceback"), list) and all(isinstance(line, str) for line in said["traceback"]):
        fields["traceback"] = said["traceback"]
    return fields


def _item(where: str, item: Any, warnings: list[str]) -> Json:
    if not isinstance(item, dict):
        raise FormatError(f"{where} is not an object.")
    ours = checked(f"{where}.{OURS}", item.get(OURS) if isinstance(item.get(OURS), dict) else {})
    if ours.get("kind") in ("stream", "error") and (extra := _extra(where, item)):
        warnings.append(f"{where} is a text of ours, which keeps no other keys: {', '.join(sorted(extra))[:200]}.")
    if ours.get("kind") == "stream":
        name = "stderr" if ours.get("name") == "stderr" else "stdout"
        text = _text(where, "data", item.get("data"), warnings)
        return {"kind": "stream", "name": name, "text": text, "cut": None, "files": {}}
    if ours.get("kind") == "error":
        return error_output(_text(where, "data", item.get("data"), warnings)) | _error_fields(ours)
    return _display(where, item, ours, warnings)


def _extra(where: str, item: Json) -> Json:
    """What an item says that its shape has no words for: keys we do not know, and objects that are none."""
    known = {key for key in ("metadata", OURS) if item.get(key) is None or isinstance(item[key], dict)}
    known |= {"mime_type", "data"}
    return {without_nul(key): checked(f"{where}.{key}", item[key]) for key in item if key not in known}


def _metadata(where: str, item: Json) -> Json:
    metadata = item.get("metadata")
    kept: Json = checked(f"{where}.metadata", metadata) if isinstance(metadata, dict) else {}
    if extra := _extra(where, item):
        ours = kept.get(OURS)
        kept = kept | {OURS: (ours if isinstance(ours, dict) else {}) | {EXTRA: extra}}
    return kept


def _display(where: str, item: Json, ours: Json, warnings: list[str]) -> Json:
    data: Json = {}
    if ours.get("empty") is not True:
        mime = _mime_of(where, item, warnings)
        value = _value(where, mime, item.get("data"), warnings)
        if mime == "application/json" and ours.get("drawn") is not False and (table := table_of(value)):
            data[TABLE_MIME] = table
        data[mime] = value
    more = ours.get("data")
    for mime, value in (more if isinstance(more, dict) else {}).items():
        data[_mime_type(where, mime)] = _value(where, mime, value, warnings)
    display_id = ours.get("display_id")
    return {
        "kind": "execute_result" if ours.get("kind") == "execute_result" else "display_data",
        "data": data,
        "metadata": _metadata(where, item),
        "display_id": display_id[:200] if isinstance(display_id, str) and display_id else None,
        "files": {},
    }


def _mime_of(where: str, item: Json, warnings: list[str]) -> str:
    mime = item.get("mime_type")
    if mime is None:
        mime = "text/plain" if isinstance(item.get("data"), str) else "application/json"
        warnings.append(f"{where} has no mime_type: it is read as {mime}.")
    return _mime_type(where, mime)


def _mime_type(where: str, mime: Any) -> str:
    if not isinstance(mime, str) or "/" not in mime or len(mime) > MAX_MIME or without_nul(mime) != mime:
        raise FormatError(f"{where} has the mime_type {str(mime)[:60]!r}, which is none.")
    return canonical_mime(mime)


def _value(where: str, mime: str, value: Any, warnings: list[str]) -> Any:
    """The value as ours: JSON types as they are, base64 in its one spelling, all else text, which may be empty: what
    was empty is absent in DynamoDB.
    """
    found = checked(f"{where}.data", value)
    if found != value:
        warnings.append(f"{where} holds characters that cannot be kept (NUL); they are replaced by U+FFFD.")
    if is_json_mime(mime):
        return found
    if found is None:
        return ""
    if isinstance(found, list) and all(isinstance(line, str) for line in found):
        found = "".join(found)
    if not isinstance(found, str):
        warnings.append(f"{where} is {mime} but not text: it is kept as the text of its JSON.")
        found = json.dumps(found, ensure_ascii=False)
    return bundles.text_of(mime, found)


def table_of(value: Any) -> Json | None:
    """The form of a legacy table that pages draw (docs/architecture.md, section 5); None for what is none."""
    if not isinstance(value, dict) or value.get("type") != "table":
        return None
    columns, rows = value.get("columns"), value.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    names = [column.get("name") if isinstance(column, dict) else column for column in columns]
    shown = [[_table_value(cell) for cell in row] for row in rows[:MAX_TABLE_ROWS]]
    numeric = [_is_numeric([row[at] for row in shown]) for at in range(len(columns))]
    return {
        "handle": "",
        "columns": [
            {"name": name if isinstance(name, str) else json.dumps(name), "type": "", "numeric": is_numeric}
            for name, is_numeric in zip(names, numeric, strict=True)
        ],
        "index": [],
        "rows": shown,
        "row_count": len(rows),
        "column_count": len(columns),
        "offset": 0,
        "page_size": len(shown),
        "sort": [],
    }


def _table_value(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > SAFE_INTEGER:
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _is_numeric(values: list[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(outputs: list[Json]) -> tuple[Json, Json | None]:
    """`stdout`, `outputs` and `error` of a legacy cell, and what we say of its error beyond its text."""
    rest = list(outputs)
    stdout = ""
    if rest and rest[0]["kind"] == "stream" and rest[0]["name"] == "stdout" and rest[0]["text"]:
        stdout = rest.pop(0)["text"]
    error: str | None = None
    said: Json | None = None
    if rest and rest[-1]["kind"] == "error" and (text := error_text(rest[-1])):
        error, said = text, _error_said(rest.pop(), text)
    return {"stdout": stdout, "outputs": [_write_item(output) for output in rest], "error": error}, said


def error_text(output: Mapping[str, Any]) -> str:
    """An error output as the one text that a legacy cell has for it."""
    head = ": ".join(part for part in (output["ename"], output["evalue"]) if part)
    return "\n".join(output["traceback"]) or head


def _error_said(output: Mapping[str, Any], text: str) -> Json | None:
    """What reading the text alone would not give back."""
    read_back = error_output(text)
    return {key: output[key] for key in ("ename", "evalue", "traceback") if output[key] != read_back[key]} or None


def _write_item(output: Mapping[str, Any]) -> Json:
    if output["kind"] == "stream":
        ours = {"kind": "stream", "name": output["name"]}
        return {"mime_type": "text/plain", "data": output["text"], "metadata": {}, OURS: ours}
    if output["kind"] == "error":
        text = error_text(output)
        ours = {"kind": "error"} | (_error_said(output, text) or {})
        return {"mime_type": "text/plain", "data": text, "metadata": {}, OURS: ours}
    return _write_display(output)


def _write_display(output: Mapping[str, Any]) -> Json:
    data = dict(output["data"])
    ours: Json = {}
    if output["kind"] == "execute_result":
        ours["kind"] = "execute_result"
    if output.get("display_id"):
        ours["display_id"] = output["display_id"]
    mime, value = _first(data)
    if mime == "application/json" and (table := table_of(value)):
        if data.get(TABLE_MIME) == table:
            del data[TABLE_MIME]
        elif TABLE_MIME not in data:
            ours["drawn"] = False
    data.pop(mime, None)
    if data:
        ours["data"] = data
    if not output["data"]:
        ours["empty"] = True
    metadata, extra = _split(output.get("metadata") or {})
    item: Json = {"mime_type": mime, "data": value, "metadata": metadata or extra.pop("metadata", {})}
    return extra | item | ({OURS: ours} if ours else {})


def _split(metadata: Json) -> tuple[Json, Json]:
    """An output's metadata, and the keys that its legacy item had beside what we know."""
    ours = metadata.get(OURS)
    if not isinstance(ours, dict) or not isinstance(ours.get(EXTRA), dict):
        return metadata, {}
    kept = {key: value for key, value in ours.items() if key != EXTRA}
    rest = {key: value for key, value in metadata.items() if key != OURS}
    return rest | ({OURS: kept} if kept else {}), dict(ours[EXTRA])


def _first(data: Json) -> tuple[str, Any]:
    """The item that a reader of the old shape sees: a legacy table, an image, else what is richest."""
    order = ("application/json", "image/png", "image/jpeg", "image/svg+xml", "text/html", "text/plain")
    if table_of(data.get("application/json")):
        return "application/json", data["application/json"]
    known = [mime for mime in data if mime.startswith("application/vnd.") and mime != TABLE_MIME]
    for mime in (*known, *order, *data):
        if mime in data:
            return mime, data[mime]
    return "text/plain", ""
