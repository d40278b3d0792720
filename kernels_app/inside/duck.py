"""Runs a SQL cell on DuckDB over the notebook's dataframes, files and the sample database, inside the kernel.

Each cell gets a fresh in-memory connection that sees exactly the frames its analysis named: what it creates
ends with it. Which names are parameters and which are tables is the server's analysis
(notebooks_app/analysis/sqltext.py); SQL on a connection runs in the broker and comes in through
`read_result`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import interrupt
from .parameters import note, plain_value
from .table_frames import frame_kind

SAMPLE_VARIABLE = "RILLBOOK_SAMPLE_DB"
SAMPLE_NAME = "sample"
BATCH_ROWS = 65_536
ANSWER_S = (
    0.05  # polars installs a SIGINT handler with SA_RESTART: after it, a wait without timeout never wakes up
)
MEMORY_SHARE = 0.6  # of the address space the sandbox allows; the rest is the notebook's own


class SqlError(Exception):
    """A query that DuckDB refused, with its own words; or a table that is not what the query needs."""


def run(
    sql: str,
    parameter_names: Sequence[str],
    frame_names: Sequence[str],
    namespace: Mapping[str, Any],
    *,
    row_cap: int | None = None,
    sample_path: str | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Run the statements of `sql`; the last one's result as a pandas DataFrame, or None if it has none.

    `$1` is the value of parameter_names[0], and so on. Values are bound, never written into the text. info:
    `rows` (of the result, or changed), `ms`, `capped`, `bound` [{"name", "value": short text}], `statement`.
    Raises SqlError, ParameterError, NameError for a parameter that does not exist, KeyboardInterrupt when
    interrupted.
    """
    values = _values(parameter_names, namespace)
    frames = _frames(frame_names, namespace)
    bound = [
        {"name": n, "value": note(v)} for n, v in dict(zip(parameter_names, values, strict=True)).items()
    ]
    started = time.monotonic()
    sample = sample_path if sample_path is not None else os.environ.get(SAMPLE_VARIABLE)
    with _connection(sample, sql) as connection:
        for name, frame in frames.items():
            _register(connection, name, frame)
        with _named_errors(frames, namespace):
            table, info = _interruptible(connection, lambda: _execute(connection, sql, values, row_cap))
    frame = None if table is None else to_pandas(table)
    return frame, info | {"ms": round((time.monotonic() - started) * 1000), "bound": bound}


def describe(info: dict[str, Any]) -> str:
    """What happened, in a line: rows, time, whether rows were cut, the values bound."""
    rows = info.get("rows")
    counted = "done" if rows is None else "1 row" if rows == 1 else f"{rows:,} rows"
    parts = [f"{counted} in {info['ms']:,} ms" + (", cut at the limit" if info.get("capped") else "")]
    if info.get("bound"):
        parts.append("bound: " + ", ".join(f"{item['name']} = {item['value']}" for item in info["bound"]))
    return " · ".join(parts)


def _values(names: Sequence[str], namespace: Mapping[str, Any]) -> list[Any]:
    missing = [name for name in names if name not in namespace]
    if missing:
        raise NameError(f"name {missing[0]!r} is not defined", name=missing[0])
    return [plain_value(name, namespace[name]) for name in names]


def _frames(names: Sequence[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The frames of these names. Two that differ by case only cannot both be tables: SQL names have no
    case."""
    found = {name: namespace[name] for name in dict.fromkeys(names) if frame_kind(namespace.get(name))}
    seen: dict[str, str] = {}
    for name in found:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise SqlError(
                f"The query names both {other} and {name}. SQL names have no case: rename one of them."
            )
    return found


@contextlib.contextmanager
def _connection(sample_path: str | None, sql: str) -> Any:
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET temp_directory = ?", [os.path.join(tempfile.gettempdir(), "duckdb")])
        limit = _memory_limit()
        if limit:
            connection.execute("SET memory_limit = ?", [f"{limit // 2**20}MiB"])
        if sample_path and _names_sample(sql) and os.path.exists(sample_path):
            quoted = sample_path.replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS {SAMPLE_NAME} (READ_ONLY)")
        yield connection
    finally:
        connection.close()


def _names_sample(sql: str) -> bool:
    return re.search(rf"\b{SAMPLE_NAME}\"?\s*\.", sql, re.IGNORECASE) is not None


def _memory_limit() -> int | None:
    """What DuckDB may use, from the limit of this process: it would plan with the whole machine's memory."""
    import resource

    limits = [resource.getrlimit(which)[0] for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    finite = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    return int(min(finite) * MEMORY_SHARE) if finite else None


def _register(connection: Any, name: str, frame: Any) -> None:
    kind = frame_kind(frame)
    try:
        if kind in ("pandas", "pandas_series"):
            connection.register(name, _for_duckdb(frame.to_frame() if kind == "pandas_series" else frame))
        elif kind == "polars_lazy":
            connection.register(name, frame.collect().to_arrow())
        elif kind == "polars_series":
            connection.register(name, frame.to_frame().to_arrow())
        elif kind == "polars":
            connection.register(name, frame.to_arrow())
        elif kind == "arrow_batch":
            connection.register(name, sys.modules["pyarrow"].Table.from_batches([frame]))
        elif kind == "relation":
            connection.register(name, frame.to_arrow_table())
        else:
            connection.register(name, frame)
    except Exception as error:
        raise SqlError(f"{name} cannot be a table: {error}") from None


def _for_duckdb(frame: Any) -> Any:
    """The frame with flat text names, and columns of the few types that DuckDB does not read as text."""
    if len(frame.columns) == 0:
        raise ValueError("it has no columns")
    foreign = [
        at
        for at, dtype in enumerate(frame.dtypes)
        if dtype.kind == "c" or str(dtype).startswith(("period", "interval", "Sparse"))
    ]
    names = [name if isinstance(name, str) else _flat_name(name) for name in frame.columns]
    if not foreign and names == list(frame.columns):
        return frame
    frame = frame.copy(deep=False)
    frame.columns = range(len(names))
    for at in foreign:
        column = frame[at]
        frame[at] = (
            column.sparse.to_dense() if str(column.dtype).startswith("Sparse") else column.astype("str")
        )
    frame.columns = names
    return frame


def _flat_name(name: Any) -> str:
    return "_".join(str(part) for part in name if part != "") if isinstance(name, tuple) else str(name)


def _execute(
    connection: Any, sql: str, values: Sequence[Any], row_cap: int | None
) -> tuple[Any, dict[str, Any]]:
    statements = connection.extract_statements(sql)
    if not statements:
        return None, {"rows": 0, "capped": False, "statement": ""}
    for statement in statements[:-1]:
        for _ in _reader(connection, statement, values):
            pass  # DuckDB computes a result as it is read
    last = statements[-1]
    info = {"statement": last.type.name.lower(), "capped": False}
    reader = _reader(connection, last, values)
    if not _gives_rows(last, reader.schema):
        changed = sum(sum(batch.column(0).to_pylist()) for batch in reader if _counts(reader.schema))
        return None, info | {"rows": changed}
    table, capped = _read(reader, row_cap)
    return table, info | {"rows": table.num_rows, "capped": capped}


def _reader(connection: Any, statement: Any, values: Sequence[Any]) -> Any:
    """The statement's result in batches; every kind of statement has one (execute() would compute all of
    it)."""
    return connection.sql(statement, params=_parameters(statement, values)).to_arrow_reader(BATCH_ROWS)


def _parameters(statement: Any, values: Sequence[Any]) -> dict[str, Any]:
    """The values this statement uses: DuckDB refuses one too many."""
    return {number: values[int(number) - 1] for number in statement.named_parameters}


def _gives_rows(statement: Any, schema: Any) -> bool:
    """Whether the result is the user's, not DuckDB's count of changed rows or its Success."""
    expected = [kind.name for kind in statement.expected_result_type]
    if "QUERY_RESULT" not in expected:
        return False
    return expected == ["QUERY_RESULT"] or not (_counts(schema) or schema.names == ["Success"])


def _counts(schema: Any) -> bool:
    return list(schema.names) == ["Count"] and str(schema.types[0]) == "int64"


def _read(reader: Any, row_cap: int | None) -> tuple[Any, bool]:
    import pyarrow

    batches, count = [], 0
    for batch in reader:
        batches.append(batch)
        count += batch.num_rows
        if row_cap is not None and count > row_cap:
            break
    table = pyarrow.Table.from_batches(batches, schema=reader.schema)
    return (table, False) if row_cap is None else (table.slice(0, row_cap), count > row_cap)


def _interruptible(connection: Any, work: Callable[[], Any]) -> Any:
    """Do the work on a thread, so that this one answers signals at once; interrupted, stop the query and raise.
    Nobody uses the connection any more when this returns or raises."""
    done = _on_a_thread(connection, work)
    interrupt.deliver()
    if "error" in done:
        raise KeyboardInterrupt if type(done["error"]).__name__ == "InterruptException" else done["error"]
    return done["result"]


@interrupt.masked
def _on_a_thread(connection: Any, work: Callable[[], Any]) -> dict[str, Any]:
    """Its result or error. An interrupt is only noted here, at whatever moment it comes, and stops the query."""
    done: dict[str, Any] = {}
    ended = threading.Event()

    def target() -> None:
        try:
            done["result"] = work()
        except BaseException as error:
            done["error"] = error
        finally:
            ended.set()

    before = interrupt.count()
    threading.Thread(target=target, name="rillbook-duckdb", daemon=True).start()
    while not ended.wait(ANSWER_S):
        if interrupt.count() != before:
            connection.interrupt()  # until it has ended: one that has not begun yet does not hear it
    return done


# DuckDB's guess among its own tables, which nobody meant.
_CATALOGUE_HINT = re.compile(r'\nDid you mean "(?:[\w.]*(?:pg|sqlite|duckdb|information)_\w+)"\?')


@contextlib.contextmanager
def _named_errors(frames: Mapping[str, Any], namespace: Mapping[str, Any]) -> Any:
    """DuckDB's errors as SqlError, with a hint where a dataframe's name was written in another case."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        message = _CATALOGUE_HINT.sub("", str(error))
        raise SqlError(message + _hint(message, frames, namespace)) from None


def _hint(message: str, frames: Mapping[str, Any], namespace: Mapping[str, Any]) -> str:
    missing = re.search(r"Table with name \"?([^\s\"]+)\"? does not exist", message)
    if not missing or missing[1] in frames:
        return ""
    name = missing[1]
    if name in namespace and not frame_kind(namespace[name]):
        return f"\n{name} is of type {type(namespace[name]).__name__}, which is no dataframe."
    alike = [known for known in namespace if known.lower() == name.lower() and frame_kind(namespace[known])]
    return f"\nDataframes are found by their exact name: did you mean {alike[0]}?" if alike else ""


def read_result(path: str) -> Any:
    """The pandas DataFrame in an Arrow IPC file that the broker wrote."""
    import pyarrow

    with pyarrow.OSFile(path, "rb") as source, pyarrow.ipc.open_file(source) as reader:
        return to_pandas(reader.read_all())


def to_pandas(table: Any) -> Any:
    """An Arrow table as a DataFrame: times as datetime64, and integers and booleans with missing values as
    nullable types, so that none is rounded. Decimals become float64, as pandas.read_sql does; whole ones
    int64 if they fit.
    """
    import pandas
    import pyarrow

    names = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    nullable = {getattr(pyarrow, name.lower())(): pandas.api.types.pandas_dtype(name) for name in names}
    nullable[pyarrow.bool_()] = pandas.BooleanDtype()
    columns = [_without_decimals(column) for column in table.columns]
    series = [
        column.to_pandas(types_mapper=nullable.get if column.null_count else None, date_as_object=False)
        for column in columns
    ]
    frame = pandas.concat(series, axis=1) if series else pandas.DataFrame(index=range(table.num_rows))
    frame.columns = unique_names(table.column_names)
    return frame


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names with `_1`, `_2`… after those that come again: a frame with two columns of a name is a
    trap."""
    taken, unique = set(names), []
    for name in names:
        number, new = 0, name
        while new in unique or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        unique.append(new)
    return unique


def _without_decimals(column: Any) -> Any:
    import pyarrow

    if not pyarrow.types.is_decimal(column.type):
        return column
    if column.type.scale == 0:
        with contextlib.suppress(pyarrow.ArrowInvalid):
            return column.cast(pyarrow.int64())
        return column
    return column.cast(pyarrow.float64())
