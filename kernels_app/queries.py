"""One SQL cell on a connection: values from the kernel, rows from the broker, the result back into the kernel.

The connection's password goes to the broker alone; user code sees parameters and rows.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from kernels_app.broker import Broker, BrokerError, ConnectionRefused, QueryResult
from kernels_app.deaths import CallFailed, KernelSilent
from kernels_app.kernel import Kernel
from kernels_app.schedule import PlanItem
from kernels_app.sources import Code
from notebooks_app import connections, db
from notebooks_app.analysis import sqltext
from notebooks_app.crypto import DecryptionError
from notebooks_app.facts import Outcome
from notebooks_app.models import Connection

log = logging.getLogger("rillbook.queries")

type Json = dict[str, Any]
type Stored = Callable[[Callable[[], Awaitable[Connection]]], Awaitable[Connection]]

LOAD_S = 60.0
SILENT = "The kernel did not answer in time, with the query's values or for its result. Run the cell again."
NOT_STARTED = "The server could not start what runs queries; its log tells why. Run the cell again."
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,}")
SHOWN_VALUE = 40  # characters of a bound value in the note


@dataclass(frozen=True, slots=True)
class Done:
    outcome: Outcome
    names: frozenset[str] = frozenset()
    entries: tuple[Json, ...] = ()
    note: str = ""


async def run_query(broker: Broker, kernel: Kernel, item: PlanItem, code: Code, *, number: int, stored: Stored) -> Done:
    """Run the cell's query; errors of it are entries of its output. Cancelling the task cancels the query.

    `stored` asks the database until it answers.
    """
    name, dsn = "", ""
    try:
        connection = await stored(lambda: db.read(lambda: _connection(code.connection_id, kernel.notebook_id)))
        name = connection.name
        dsn = _dsn(connection)
        sql, parameters = sqltext.bind(code.source, "numeric_dollar")
        answer = await kernel.call("values", names=parameters)
        given = answer.get("values")
        values: Json = given if isinstance(given, dict) else {}
        file = f"query-{secrets.token_hex(8)}.arrow"
        result = await broker.run_query(
            dsn,
            sql,
            [values.get(parameter) for parameter in parameters],
            out_path=str(kernel.work / file),
            query_id=item.attempt,
            row_cap=settings.SQL_ROW_CAP,
            timeout_s=settings.SQL_TIMEOUT_S,
        )
        if result.path is not None:
            await _load(kernel, item, code, file, number)
    except ConnectionRefused as error:
        return _failed(item.attempt, type(error).__name__, without_place(error.message, name, dsn))
    except _Refused as error:
        return _failed(item.attempt, "ConnectionRefused", f"The connection {name} is not used here: {error}")
    except BrokerError as error:
        return _failed(item.attempt, type(error).__name__, str(error))
    except CallFailed as error:
        return _failed(item.attempt, error.ename, error.evalue)
    except KernelSilent:
        return _failed(item.attempt, "KernelSilent", SILENT)
    except OSError as error:
        log.warning("a query of notebook %s could not run: %s", kernel.notebook_id, error)
        return _failed(item.attempt, "QueryFailed", NOT_STARTED)
    except DecryptionError:
        return _failed(
            item.attempt,
            "ConnectionLocked",
            "The password of this connection cannot be read: its key is not among the server's CONNECTION_KEYS. "
            "An operator can put the key back; or enter the connection's DSN again.",
        )
    except Connection.DoesNotExist:
        return _failed(
            item.attempt,
            "ConnectionMissing",
            "The connection of this cell was deleted, or its owner may not edit this notebook any more: take another.",
        )
    names = frozenset({code.result_name} if code.result_name and result.path else ())
    return Done(Outcome.OK, names, note=_note(name, result, values))


class _Refused(Exception):
    """The DSN is not allowed here; the message says what of it, without its secrets."""


def _connection(connection_id: uuid.UUID | None, notebook_id: str | None) -> Connection:
    usable = Connection.objects.usable_in(notebook_id or uuid.UUID(int=0))
    return usable.get(pk=connection_id or uuid.UUID(int=0))


def _dsn(connection: Connection) -> str:
    """The plain DSN. Raises DecryptionError, and _Refused: an import keeps DSNs that are not allowed, and the broker,
    which does not know whose they are, would open files of the server for anybody.
    """
    try:
        return connection.usable_dsn()
    except DecryptionError:
        raise
    except ValueError as error:
        raise _Refused(str(error)) from None


def without_place(message: str, name: str, dsn: str) -> str:
    """Why there is no session, without where it leads and as whom: all who read the notebook read this.

    Whose connection it is finds its address in the list of connections.
    """
    found = connections.parse_dsn(dsn, operator=True)
    reason = message.partition(": ")[2] or message
    for part in filter(None, (found.host.strip("[]"), found.user, found.database)):
        reason = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "…", reason)
    return f"Cannot connect to {name}: {_ADDRESS.sub('…', reason)}"


async def _load(kernel: Kernel, item: PlanItem, code: Code, file: str, number: int) -> None:
    try:
        await kernel.call(
            "load",
            timeout_s=LOAD_S,
            attempt=item.attempt,
            cell=item.cell,
            number=number,
            name=code.result_name,
            file=file,
        )
    finally:
        with contextlib.suppress(OSError):
            (kernel.work / file).unlink()


def _failed(attempt: str, ename: str, message: str) -> Done:
    return Done(Outcome.ERROR, entries=(error_entry(attempt, ename, message),))


def error_entry(attempt: str, ename: str, message: str) -> Json:
    """What a cell shows of an error that is not of its kernel."""
    return {"t": "error", "attempt": attempt, "ename": ename, "evalue": message, "traceback": [f"{ename}: {message}"]}


def _note(connection: str, result: QueryResult, values: Json) -> str:
    """ "4 rows in 38 ms on shop · bound: rate = 0.15"."""
    rows = "1 row" if result.rows == 1 else f"{result.rows:,} rows"
    head = (
        f"{rows} in {result.ms:,.0f} ms on {connection}"
        if result.path
        else f"{result.statement or 'Done'} in {result.ms:,.0f} ms on {connection}"
    )
    if result.capped:
        head += (
            f" (cut at the limit of {settings.SQL_ROW_CAP:,} rows)"
            if result.capped == "rows"
            else " (cut at the limit of bytes)"
        )
    bound = ", ".join(f"{name} = {_shown(value)}" for name, value in values.items())
    return " · ".join([head, *([f"bound: {bound}"] if bound else []), *result.notes])


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    text = str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"
