"""Asks an operator's SQLite file, through SQLAlchemy: opened read-only, and no other file can be attached to
it.

SQLite has types for values, not for columns: a column whose values differ in kind becomes text.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pyarrow
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from notebooks_app.connections import ParsedDsn
from notebooks_app.targets import Targets

from .arrow_file import ArrowFile, unique_names
from .errors import BrokerError, ConnectionRefused, QueryError
from .job import Job

FETCH_ROWS = 1_000
READING_PRAGMAS = frozenset(
    {
        "read_uncommitted",
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
    }
)
CELL_BYTES = 16


def run(
    dsn: ParsedDsn, sql: str, values: Sequence[Any], job: Job, file: ArrowFile, targets: Targets
) -> dict[str, Any]:
    """Run the one statement; its rows go into the file. What comes back is QueryResult's fields."""
    bound = {str(number): _bindable(number, value) for number, value in enumerate(values, start=1)}
    try:
        with _engine(dsn, job, targets).connect() as connection:
            started = time.monotonic()
            result = connection.exec_driver_sql(sql, bound)
            if not result.returns_rows:
                return {"rows": 0, "ms": _ms(started), "statement": ""}
            names = unique_names(list(result.keys()))
            rows = _rows(result, file)
    except (DBAPIError, sqlite3.Error) as error:
        raise job.stop_error() or _error(error) from None
    job.check()
    arrays = [_array([row[at] for row in rows]) for at in range(len(names))]
    batch = pyarrow.record_batch(arrays, names=names)
    file.open(batch.schema)
    file.write(batch)
    file.close()
    return {
        "rows": file.rows,
        "capped": file.capped,
        "has_rows": True,
        "columns": [{"name": n, "type": str(a.type)} for n, a in zip(names, arrays, strict=True)],
        "ms": _ms(started),
        "statement": "select",
    }


def schema(dsn: ParsedDsn, job: Job, targets: Targets) -> list[dict[str, Any]]:
    """Tables and views: [{"schema", "table", "kind", "rows", "columns": [{"name", "type"}]}]; `rows` is
    unknown."""
    try:
        inspector = inspect(_engine(dsn, job, targets))
        found = [(name, "table") for name in inspector.get_table_names()]
        found += [(name, "view") for name in inspector.get_view_names()]
        return [
            {
                "schema": "",
                "table": name,
                "kind": kind,
                "rows": None,
                "columns": [{"name": c["name"], "type": str(c["type"])} for c in inspector.get_columns(name)],
            }
            for name, kind in found
        ]
    except (DBAPIError, sqlite3.Error) as error:
        raise job.stop_error() or _error(error) from None


def _engine(dsn: ParsedDsn, job: Job, targets: Targets) -> Engine:
    path = os.path.realpath(dsn.database)  # SQLite goes up from folders that are not there, too
    _refuse_own(path, targets)

    def open_file() -> sqlite3.Connection:
        try:
            uri = f"file:{quote(path)}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=5)
            connection.execute("PRAGMA temp_store = memory")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error:
            raise ConnectionRefused(f"Cannot open {dsn.database}: no readable SQLite database.") from None
        connection.set_authorizer(_authorize)
        job.attach(connection.interrupt, connection.interrupt)
        return connection

    return create_engine("sqlite://", creator=open_file, poolclass=NullPool)


def _refuse_own(path: str, targets: Targets) -> None:
    """The server's own database is not read, by whatever name: links and journals lead to it, too."""
    for own in targets.own_files:
        beside = (own, f"{own}-wal", f"{own}-shm", f"{own}-journal")
        if any(_is_same(path, mine) for mine in beside):
            raise ConnectionRefused(f"Cannot open {path}: it is the server's own database.")


def _is_same(first: str, second: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)
    return False


def _authorize(
    action: int, first: str | None, _second: str | None, _database: str | None, _by: str | None
) -> int:
    """Only this file: ATTACH would open any other the server can read (research/risks.md, 28)."""
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in READING_PRAGMAS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _rows(result: Any, file: ArrowFile) -> list[Any]:
    """Rows up to the caps; one more than the cap of rows, by which the file knows that there are more."""
    rows: list[Any] = []
    size = 0
    while len(rows) <= file.row_cap and size <= file.byte_cap:
        piece = result.fetchmany(FETCH_ROWS)
        if not piece:
            break
        rows += piece
        size += sum(_size(value) for row in piece for value in row)
    return rows


def _size(value: Any) -> int:
    return CELL_BYTES + (len(value) if isinstance(value, str | bytes) else 0)


def _array(values: list[Any]) -> pyarrow.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pyarrow.array([None if value is None else float(value) for value in values], pyarrow.float64())
    if len(kinds) > 1:
        return pyarrow.array([_text(value) for value in values], pyarrow.large_string())
    types = {int: pyarrow.int64(), float: pyarrow.float64(), bytes: pyarrow.large_binary()}
    kind = types.get(kinds.pop(), pyarrow.large_string()) if kinds else pyarrow.large_string()
    return pyarrow.array(values, kind)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _bindable(number: int, value: Any) -> Any:
    if isinstance(value, list):
        raise QueryError(f"Parameter ${number} is a list, which SQLite cannot take.")
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise QueryError(f"Parameter ${number} is a larger integer than SQLite has.")
    return str(value) if isinstance(value, uuid.UUID | datetime.timedelta) else value


def _error(error: Exception) -> BrokerError:
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, BrokerError):
        return cause
    if "not authorized" in str(cause):
        return QueryError(
            "Not allowed: other files, and settings of the database, cannot be reached from a query."
        )
    return QueryError(str(cause))


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
