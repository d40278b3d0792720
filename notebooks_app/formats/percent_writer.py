"""Notebooks as Python files with cell marks, in the origin's form that percent.py reads: `# %% python [cell-id]`. Pure.

Sources come back exactly: one with a line that would be read as something else is written with `#|` before every line.
Outputs, revision and times are not part of a script.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from notebooks_app.formats import strings
from notebooks_app.formats.base import ImportedCell, ImportedNotebook, Json, one_line
from notebooks_app.formats.percent import MARK_AT_MOST, METADATA, QUOTE, RESERVED, is_special

_PLAIN_ID = re.compile(r"[\w.:-]{1,200}\Z", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][\w.-]*\Z", re.ASCII)


def write(notebook: ImportedNotebook) -> str:
    """The notebook as the text of a .py file. Its DSN is in it where `notebook.dsn` has one."""
    head = f"# Notebook: {one_line(notebook.name)}\n"
    if notebook.dsn:
        head += f"# DB: {_one_line(notebook.dsn)}\n"
    return head + "".join(f"\n{_write_cell(cell)}" for cell in notebook.cells)


def _one_line(dsn: str) -> str:
    """The DSN with control characters percent-encoded: none of it gets out of its comment."""
    return "".join(letter if letter.isprintable() else quote(letter) for letter in dsn)


def _write_cell(cell: ImportedCell) -> str:
    commented = cell.type == "markdown"
    lines = [f"# {line}" if line else "#" for line in cell.source.split("\n")] if commented else cell.source.split("\n")
    is_quoted = _needs_quotes(cell, lines)
    if is_quoted:
        lines = [QUOTE + line for line in cell.source.split("\n")]
    body = "" if not cell.source else "\n".join(lines) + "\n"
    return f"{_mark(cell, is_quoted)}\n{body}"


def _needs_quotes(cell: ImportedCell, lines: list[str]) -> bool:
    """Whether the lines as they are would not be read as this source."""
    if any(is_special(line) for line in lines):
        return True
    if cell.type == "markdown":
        return not cell.source.strip()
    is_trimmed = cell.source == cell.source.strip("\n") and all(line.strip() or not line for line in lines)
    return not is_trimmed or (cell.type == "python" and bool(strings.open_quotes(cell.source)))


def _mark(cell: ImportedCell, is_quoted: bool) -> str:
    words, said = f"# %% {cell.type}", dict[str, object]()
    if cell.id and _PLAIN_ID.match(cell.id):
        words += f" [{cell.id}]"
    elif cell.id:
        said["id"] = cell.id
    if cell.result_name:
        said["result_name"] = cell.result_name
    if cell.disabled:
        said["disabled"] = True
    if is_quoted and cell.source:
        said["quoted"] = True
    needed = " ".join([words, *_pairs(said)])
    metadata = _metadata(cell)
    plain = {key: value for key, value in metadata.items() if _KEY.match(key) and key not in RESERVED}
    others = {key: value for key, value in metadata.items() if key not in plain}
    whole = " ".join([needed, *_pairs(plain | ({METADATA: others} if others else {}))])
    return whole if len(whole) <= MARK_AT_MOST else needed


def _metadata(cell: ImportedCell) -> Json:
    metadata = dict(cell.metadata)
    found = metadata.get("jupyter")
    jupyter = {key: value for key, value in found.items() if key != "source_hidden"} if isinstance(found, dict) else {}
    if cell.code_hidden:
        jupyter["source_hidden"] = True
    metadata.pop("jupyter", None)
    return metadata | ({"jupyter": jupyter} if jupyter else {})


def _pairs(said: Json) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in said.items()]
