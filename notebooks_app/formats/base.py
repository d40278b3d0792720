"""What a notebook file is to us, whatever its format, and the rules that all formats share. Pure."""

from __future__ import annotations

import keyword
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from notebooks_app.text import replace_surrogates

type Json = dict[str, Any]

MAX_BYTES = 100 * 1024 * 1024
MAX_OUTPUTS = 200_000  # of all cells of a file
MAX_NAME = 200  # characters of a notebook's name
MAX_RESULT_NAME = 100
OURS = "rillbook"  # our one key in a file's metadata
STORED_ID = "rillbook_id"  # the importer keeps a cell's id of the file under this key of its metadata


DATABASE_WARNING = "It names a database. That was not kept: make a connection and choose it."


class FormatError(ValueError):
    """A file that is not the notebook it should be; the message names the file and the place in it."""


@dataclass
class ImportedCell:
    """One cell; `outputs` are whole: as docs/architecture.md, section 2, has them, with nothing in `files`.

    `connection` is a connection's name, never a DSN; "" in a SQL cell: dataframes; None: the notebook's own.
    """

    type: str  # python | sql | markdown
    source: str
    id: str | None = None
    result_name: str = ""
    metadata: Json = field(default_factory=dict)
    outputs: list[Json] = field(default_factory=list)
    execution_count: int | None = None
    code_hidden: bool = False
    disabled: bool = False
    connection: str | None = None
    reads: list[str] | None = None  # what the file says; ours are computed afresh
    writes: list[str] | None = None
    updated_at: datetime | None = None


@dataclass
class ImportedNotebook:
    """A notebook. What a format has no word for is None or empty; `dsn` may hold a password and is never shown."""

    name: str
    cells: list[ImportedCell] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    id: str = ""
    user_id: str = ""
    dsn: str = field(default="", repr=False)
    connection: str = ""  # the name of the connection that its SQL cells use unless they say another
    revision: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


def check_size(name: str, data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise FormatError(f"{name}: {len(data):,} bytes are more than the {MAX_BYTES:,} that can be imported.")


def check_count(where: str, count: int, max_cells: int | None) -> None:
    """Before cells are made: each takes much more memory than what it is in a file."""
    if max_cells is not None and count > max_cells:
        raise FormatError(f"{where}: {count:,} cells are more than the {max_cells:,} a notebook may have.")


def check_outputs(where: str, cells: list[Any]) -> None:
    """Whether the cells of a JSON format have no more outputs than can be read, before any is."""
    count = 0
    for number, cell in enumerate(cells, start=1):
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        count += len(outputs) if isinstance(outputs, list) else 0
        if count > MAX_OUTPUTS:
            raise FormatError(f"{where}: cell {number}: that is more than the {MAX_OUTPUTS:,} outputs a file may have.")


def source_text(where: str, text: str) -> str:
    r"""A source as cells hold it: `\n` only, lone surrogates as U+FFFD. Raises FormatError for NUL."""
    text = replace_surrogates(text.replace("\r\n", "\n").replace("\r", "\n"))
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise FormatError(f"{where}, line {line}: a source cannot hold the character NUL.")
    return text


def result_name(value: object) -> str:
    """The name a query's result gets, or "" where it cannot be one (services.py has the same rule for people)."""
    if not isinstance(value, str) or not value.isidentifier() or keyword.iskeyword(value):
        return ""
    is_private = value.startswith("_") and not value.startswith("__")
    return "" if is_private or len(value) > MAX_RESULT_NAME else value


def one_line(name: str) -> str:
    """The name as notebooks have one: a line of at most MAX_NAME characters; it may be empty."""
    line = "".join(letter if ord(letter) >= 32 and letter != "\x7f" else " " for letter in name)
    return replace_surrogates(line).strip()[:MAX_NAME].strip()


def title_of(name: str, *said: object) -> str:
    """A notebook's name: the first that the file itself says, else the file's name without folder and ending."""
    for title in said:
        if isinstance(title, str) and (line := one_line(title)):
            return line
    stem = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem = stem.rsplit(".", 1)[0] if "." in stem.lstrip(".") else stem
    return one_line(stem) or "Untitled"
