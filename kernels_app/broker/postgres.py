"""Asks PostgreSQL: parameters bound on the server, rows read in pieces, cancel that reaches the database.

A SELECT is read through a cursor, so that a cap ends it without losing what its functions did; everything
else runs as it is, and is read to its end. Types: integers, booleans, times, bytea and arrays keep theirs;
numeric is float64 (declared without decimals: int64 or decimal); json, uuid, enum and all others are text.
"""

from __future__ import annotations

import contextlib
import decimal
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import psycopg
import pyarrow
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import Format
from psycopg.types.json import JsonbDumper
from psycopg.types.string import TextLoader

from notebooks_app.connections import ParsedDsn
from notebooks_app.targets import Targets

from .addresses import resolve
from .arrow_file import ArrowFile, unique_names
from .errors import BrokerError, ConnectionRefused, QueryError, QueryTimeout
from .job import Job
from .statements import Statement, split

DEFAULT_PORT = 5432
CONNECT_TIMEOUT_S = 10  # for each address
CANCEL_TIMEOUT_S = 3
FETCH_ROWS = 50  # the first fetch; then as many as make about FETCH_BYTES
FETCH_BYTES = 4 * 1024 * 1024
FETCH_ROWS_LIMIT = 10_000
CURSOR_VERBS = frozenset({"select", "with", "values", "table"})
ROW_VERBS = CURSOR_VERBS | {"show", "explain", "fetch", "execute", "call"}
SCHEMA_TABLES = 2_000
SCHEMA_COLUMNS = 20_000

SCALARS: dict[str, pyarrow.DataType] = {
    "bool": pyarrow.bool_(),
    "int2": pyarrow.int16(),
    "int4": pyarrow.int32(),
    "int8": pyarrow.int64(),
    "oid": pyarrow.int64(),
    "float4": pyarrow.float32(),
    "float8": pyarrow.float64(),
    "numeric": pyarrow.float64(),
    "date": pyarrow.date32(),
    "time": pyarrow.time64("us"),
    "timestamp": pyarrow.timestamp("us"),
    "timestamptz": pyarrow.timestamp("us", tz="UTC"),
    "bytea": pyarrow.binary(),
}
NUMBERS = frozenset({int, float, decimal.Decimal})
Pieces = Generator[list[Any], int | None, None]  # of rows; it is told how many bytes each piece was
Consumer = Callable[[Any, Pieces], dict[str, Any]]
_lost = threading.local()  # dates that Python cannot hold, of the query on this thread


def run(
    dsn: ParsedDsn, sql: str, values: Sequence[Any], job: Job, file: ArrowFile, targets: Targets
) -> dict[str, Any]:
    """Run the statements; the last one's rows go into the file. What comes back is QueryResult's fields."""
    statements = split(sql)
    if not statements:
        raise QueryError("The query is empty.")
    values = [_alike(value) for value in values]
    _lost.count = 0
    with _connect(dsn, targets) as connection:
        job.attach(lambda: connection.cancel_safe(timeout=CANCEL_TIMEOUT_S), lambda: _sever(connection))
        try:
            _guard(connection, job.timeout_s)
            started = time.monotonic()
            for statement in statements[:-1]:
                _run(connection, statement, values, _ignore, sql)
            fields = _run(connection, statements[-1], values, _Into(file), sql)
        except psycopg.Error as error:
            raise job.stop_error() or _lost_connection(error) from None
        job.check()
        return fields | {"ms": round((time.monotonic() - started) * 1000), "notes": _notes()}


def schema(dsn: ParsedDsn, job: Job, targets: Targets) -> list[dict[str, Any]]:
    """Tables and views this user may read: [{"schema", "table", "kind", "rows", "columns": [{"name",
    "type"}]}].

    `rows` is the planner's estimate, None if it has none.
    """
    with _connect(dsn, targets) as connection:
        job.attach(lambda: connection.cancel_safe(timeout=CANCEL_TIMEOUT_S), lambda: _sever(connection))
        try:
            _guard(connection, job.timeout_s)
            rows = connection.execute(SCHEMA_QUERY, [SCHEMA_TABLES, SCHEMA_COLUMNS]).fetchall()
        except psycopg.Error as error:
            raise job.stop_error() or _query_error(error) from None
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for namespace, name, kind, estimate, column, type_name in rows:
        table = tables.setdefault(
            (namespace, name),
            {"schema": namespace, "table": name, "kind": kind, "rows": estimate, "columns": []},
        )
        table["columns"].append({"name": column, "type": type_name})
    return list(tables.values())


SCHEMA_QUERY = """
SELECT t.nspname, t.relname, t.kind, t.estimate, a.attname, format_type(a.atttypid, a.atttypmod)
FROM (
    SELECT c.oid, n.nspname, c.relname,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END AS kind,
           CASE WHEN c.relkind IN ('r', 'm') AND c.reltuples >= 0 THEN c.reltuples::bigint END AS estimate
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
    ORDER BY n.nspname, c.relname LIMIT %s
) t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY t.nspname, t.relname, a.attnum LIMIT %s
"""


def _connect(dsn: ParsedDsn, targets: Targets) -> psycopg.Connection[Any]:
    """A session at an address that was judged; the name is kept for TLS."""
    port = dsn.port or DEFAULT_PORT
    where = f"{dsn.database} on {dsn.host}:{port}"
    addresses = resolve(dsn.host, port, targets, what=where)
    options = dict(dsn.options)
    options.setdefault("connect_timeout", str(CONNECT_TIMEOUT_S))
    options.setdefault("application_name", "rillbook")
    if options.get("sslmode", "").startswith("verify-"):
        options["sslrootcert"] = _authorities()
    try:
        connection = psycopg.connect(
            host=",".join([dsn.host.strip("[]")] * len(addresses)),
            hostaddr=",".join(addresses),
            port=port,
            user=dsn.user,
            password=dsn.password,
            dbname=dsn.database,
            passfile=os.devnull,
            gssencmode="disable",
            autocommit=True,
            context=_Context,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
    except (psycopg.Error, OSError, ValueError) as error:
        raise ConnectionRefused(f"Cannot connect to {where}: {_reason(error)}") from None
    if connection.info.hostaddr not in addresses:  # cannot be: libpq does not look a name up that has an address
        connection.close()
        raise ConnectionRefused(f"Cannot connect to {where}: another address answered.")
    return connection


def _authorities() -> str:
    """The file of the certificate authorities that the machine trusts; libpq has none of its own."""
    return os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "system"


def _reason(error: Exception) -> str:
    """The last line says why; the ones before repeat the address for each try."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Is the server running", "- ", "Multiple"))]
    reason = lines[-1] if lines else "no reason was given"
    return reason.rpartition("failed: ")[2].removeprefix("FATAL:").strip()


def _guard(connection: psycopg.Connection[Any], timeout_s: float) -> None:
    """The database stops the query by itself, if we could not ask it to: after its time, or when we are
    gone."""
    limit = str(int(timeout_s * 1000) + 1000)
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [limit])
    # PostgreSQL before 14 refuses it, and a server that cannot watch its sockets.
    with contextlib.suppress(psycopg.Error):
        connection.execute("SET client_connection_check_interval = '2s'")


def _sever(connection: psycopg.Connection[Any]) -> None:
    """Cut the line: a thread waiting for the database wakes up with an error."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _run(
    connection: psycopg.Connection[Any],
    statement: Statement,
    values: Sequence[Any],
    consume: Consumer,
    sql: str,
) -> dict[str, Any]:
    mine = [values[number - 1] if number <= len(values) else None for number in statement.parameters]
    try:
        if statement.verb in CURSOR_VERBS:
            fields = _by_cursor(connection, statement, mine, consume)
            if fields is not None:
                return fields
        return _as_it_is(connection, statement, mine, consume)
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.QueryCanceled) or _is_lost(connection, error):
            raise
        raise _query_error(error, statement, sql) from None


def _is_lost(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Whether there is no database any more; psycopg itself refuses values and statements without an SQLSTATE, too."""
    return error.sqlstate is None and (connection.closed or isinstance(error, psycopg.OperationalError))


def _by_cursor(
    connection: Any, statement: Statement, values: list[Any], consume: Any
) -> dict[str, Any] | None:
    """None if the statement cannot be a cursor (it writes, or is wrong): nothing of it has run then."""
    with connection.transaction():
        cursor = psycopg.RawServerCursor(connection, "rillbook")
        try:
            with connection.transaction():
                cursor.execute(statement.text, values)
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            if error.sqlstate is None:
                raise
            return None
        try:
            return {"statement": statement.verb, **consume(cursor, _fetch(cursor))}
        finally:
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
                cursor.close()


def _fetch(cursor: Any) -> Pieces:
    """Pieces of the result. The consumer sends back the bytes of each, by which the next is measured."""
    count = FETCH_ROWS
    while rows := cursor.fetchmany(count):
        size = yield rows
        if size:
            count = max(1, min(FETCH_ROWS_LIMIT, int(count * FETCH_BYTES / size), count * 4))


def _as_it_is(connection: Any, statement: Statement, values: list[Any], consume: Any) -> dict[str, Any]:
    cursor = psycopg.RawCursor(connection)
    if statement.verb in ROW_VERBS or statement.returning:
        try:
            return {"statement": statement.verb, **consume(cursor, _stream(cursor, statement.text, values))}
        except psycopg.ProgrammingError as error:
            if error.sqlstate is not None or "didn't produce" not in str(error):
                raise
            return {"statement": statement.verb, "rows": 0}
    cursor.execute(statement.text, values, prepare=False)
    if cursor.description is not None:
        return {"statement": statement.verb, **consume(cursor, (rows for rows in [cursor.fetchall()]))}
    return {"statement": statement.verb, "rows": max(cursor.rowcount, 0)}


def _stream(cursor: Any, sql: str, values: list[Any]) -> Pieces:
    piece: list[Any] = []
    for row in cursor.stream(sql, values):
        piece.append(row)
        if len(piece) >= FETCH_ROWS:
            yield piece
            piece = []
    yield piece


def _ignore(_cursor: Any, pieces: Pieces) -> dict[str, Any]:
    """For statements before the last: they run, their rows go nowhere. A cursor computes none of them."""
    for _ in pieces:
        if isinstance(_cursor, psycopg.RawServerCursor):
            break
    return {}


class _Into:
    """Writes pieces of rows into the file; past a cap a cursor is left, everything else is read to its
    end."""

    def __init__(self, file: ArrowFile) -> None:
        self.file = file

    def __call__(self, cursor: Any, pieces: Pieces) -> dict[str, Any]:
        names: list[str] = []
        columns: list[_Column] = []
        rows, size = next(pieces, []), None
        while True:
            if not columns and cursor.description is not None:
                names = unique_names([column.name for column in cursor.description])
                columns = [_Column(column, at, rows) for at, column in enumerate(cursor.description)]
                self.file.open(pyarrow.schema([(n, c.type) for n, c in zip(names, columns, strict=True)]))
            if rows and not self.file.capped:
                size = self._write(names, columns, rows)
            if self.file.capped and isinstance(cursor, psycopg.RawServerCursor):
                break
            try:
                rows = pieces.send(size)
            except StopIteration:
                break
        self.file.close()
        shown = [{"name": n, "type": c.shown} for n, c in zip(names, columns, strict=True)]
        return {
            "rows": self.file.rows,
            "capped": self.file.capped,
            "columns": shown,
            "has_rows": bool(columns),
        }

    def _write(self, names: list[str], columns: list[_Column], rows: list[Any]) -> int:
        arrays = [column.array([row[at] for row in rows]) for at, column in enumerate(columns)]
        batch = pyarrow.record_batch(arrays, names=names) if arrays else None
        if batch is None:
            return 0
        self.file.write(batch)
        return batch.get_total_buffer_size()


class _Column:
    """How one column becomes Arrow. The number of dimensions of an array is known from its first rows
    only."""

    def __init__(self, column: Any, at: int, rows: list[Any]) -> None:
        self.name = column.name
        self.shown = column.type_display
        info = psycopg.adapters.types.get(column.type_code)
        base = info.name if info is not None else ""
        self.type = SCALARS.get(base, pyarrow.large_string())
        self.convert: Callable[[Any], Any] = _text if base not in SCALARS else _as_is
        if base == "numeric":
            self._numeric(column)
        if info is not None and info.array_oid == column.type_code and column.type_code != info.oid:
            if base not in SCALARS:
                self.convert = _text
            depth = max((_depth(row[at]) for row in rows), default=1) or 1
            for _ in range(depth):
                self.type = pyarrow.list_(self.type)
            scalar, self.convert = self.convert, lambda value: _each(value, scalar)

    def _numeric(self, column: Any) -> None:
        if column.scale == 0 and column.precision and column.precision <= 38:
            whole = column.precision <= 18
            self.type = pyarrow.int64() if whole else pyarrow.decimal128(column.precision, 0)
            self.convert = _whole if whole else _finite
        else:
            self.convert = float

    def array(self, values: list[Any]) -> pyarrow.Array:
        try:
            return pyarrow.array(
                [None if value is None else self.convert(value) for value in values], type=self.type
            )
        except (pyarrow.ArrowException, ValueError, TypeError, OverflowError):
            raise QueryError(
                f"Column {self.name} has values that do not fit its type ({self.shown}), as arrays of "
                f"different dimensions. Cast it: {self.name}::text."
            ) from None


def _alike(value: Any) -> Any:
    """A list of numbers as numbers of one type, which an array needs: floats if one is, else decimals; any other value
    as it is."""
    kinds = {type(item) for item in _leaves(value)} - {type(None)}
    if not isinstance(value, list) or len(kinds) < 2 or not kinds <= NUMBERS:
        return value
    with contextlib.suppress(OverflowError):  # no float is so large: the list is refused as it is
        return _each(value, float if float in kinds else decimal.Decimal)
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _leaves(item)


def _as_is(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # a SQL_ASCII database says nothing of its encoding
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else str(value)


def _whole(value: Any) -> int | None:
    return int(value) if value.is_finite() else None


def _finite(value: Any) -> Any:
    return value if value.is_finite() else None


def _each(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [_each(item, convert) for item in value]
    return None if value is None else convert(value)


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


class _DictDumper(JsonbDumper):
    def dump(self, obj: Any) -> bytes:
        return json.dumps(obj, default=_refuse_in_json).encode()


def _refuse_in_json(value: Any) -> Any:
    kind = type(value).__name__
    raise QueryError(f"A dict that is bound to SQL becomes JSON, which has no {kind}: put text or a number there.")


def _adapters() -> AdaptersMap:
    """Values as text for every type that has no Arrow type of its own; dates that Python cannot hold are
    missing."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(dict, _DictDumper)
    for info in psycopg.adapters.types:
        if info.name not in SCALARS:
            adapters.register_loader(info.oid, TextLoader)
            if info.array_oid and info.array_oid != info.oid:
                continue
        elif info.name in ("date", "timestamp", "timestamptz", "time"):
            adapters.register_loader(info.oid, _forgiving(adapters.get_loader(info.oid, Format.TEXT)))
    return adapters


def _forgiving(loader: Any) -> Any:
    class Forgiving(Loader):
        """The loader of this type, for which a date out of Python's reach is missing."""

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load = loader(oid, context).load

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except (psycopg.DataError, ValueError, OverflowError):
                _lost.count = getattr(_lost, "count", 0) + 1
                return None

    return Forgiving


class _Context:
    adapters = _adapters()
    connection = None


def _notes() -> list[str]:
    count = getattr(_lost, "count", 0)
    if not count:
        return []
    return [f"{count:,} dates are infinite or outside the years 1 to 9999: they are missing in the result."]


def _lost_connection(error: psycopg.Error) -> BrokerError:
    if isinstance(error, psycopg.errors.QueryCanceled):
        if "statement timeout" in str(error):
            return QueryTimeout("The query took longer than the database allows and was stopped.")
        return QueryError("The database's administrator cancelled the query.")
    first = _first(error)
    reason = first.diag.message_primary or "the database closed it" if first.sqlstate else "no answer"
    return QueryError(f"The connection to the database was lost: {reason}.")


def _first(error: psycopg.Error) -> psycopg.Error:
    """What went wrong first: leaving a transaction on a lost connection raises another error over it."""
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def _query_error(error: psycopg.Error, statement: Statement | None = None, sql: str = "") -> QueryError:
    """The database's words, its detail and hint, and the line in the query as it was sent."""
    if error.sqlstate is None:
        return QueryError(_drivers_words(error, statement))
    told = error.diag
    message = told.message_primary or str(error)
    for label, more in (("Detail", told.message_detail), ("Hint", told.message_hint)):
        if more:
            message += f"\n{label}: {more}"
    if not told.statement_position or statement is None:
        return QueryError(message)
    position = statement.offset + int(told.statement_position)
    return QueryError(message, line=sql.count("\n", 0, position - 1) + 1, position=position)


def _drivers_words(error: psycopg.Error, statement: Statement | None) -> str:
    """Of an error that psycopg found: the database was not asked, or has nothing to say."""
    if statement is not None and statement.verb == "copy":
        return "COPY FROM STDIN and TO STDOUT need a file beside them, which a cell has not. Use INSERT and SELECT."
    if "mixed types" in str(error):
        kinds = str(error).partition("got: ")[2]
        return f"A list that is bound to SQL has items of one type; this one has several ({kinds})."
    return f"The database's driver refused it: {error}."
