"""The server's side of the broker: starts the child when it is first needed, asks it, and starts it again if
it died.

One Broker a process, used on one event loop. Nothing here blocks it: results go from the child to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notebooks_app import targets
from notebooks_app.connections import ParsedDsn

from . import wire
from .errors import BrokerDied, BrokerError, QueryError, from_json

ROOT = Path(__file__).resolve().parents[2]
MEMORY_BYTES = 2 * 1024**3
CONCURRENT_QUERIES = 16
CANCEL_ANSWER_S = 15.0
CLOSE_S = 3.0
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """`path` is the Arrow IPC file, None for a statement without rows (then `rows` counts those it changed).

    `capped` is "" or the cap that was reached: "rows" or "bytes". `notes` are sentences for the line below
    the cell.
    """

    rows: int
    capped: str
    ms: int
    columns: tuple[dict[str, str], ...]
    path: str | None
    statement: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Broker:
    """Runs SQL on connections in a child process."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, concurrent: int = CONCURRENT_QUERIES) -> None:
        self._memory_bytes = memory_bytes
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._places = asyncio.Semaphore(concurrent)

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return self._child.process.pid if self._child else None

    async def start(self) -> None:
        """Start the child now; otherwise the first query does."""
        await self._alive()

    async def run_query(
        self,
        dsn: str | ParsedDsn,
        sql: str,
        values: Sequence[Any],
        *,
        out_path: str,
        query_id: str | None = None,
        row_cap: int = 10_000,
        byte_cap: int = 256 * 1024 * 1024,
        timeout_s: float = 60.0,
    ) -> QueryResult:
        """Run SQL whose parameters are $1, $2…; write its rows to `out_path` (a new file) as Arrow IPC.

        `values` are as kernels_app/inside/parameters.encode makes them. Raises a BrokerError: QueryError,
        QueryTimeout, QueryCancelled, ConnectionRefused or BrokerDied. Cancelling the task cancels the query.
        """
        request = {
            "op": "query",
            "dsn": dsn.text() if isinstance(dsn, ParsedDsn) else dsn,
            "targets": targets.from_settings().as_json(),
            "sql": sql,
            "values": list(values),
            "path": str(out_path),
            "row_cap": row_cap,
            "byte_cap": byte_cap,
            "timeout_s": timeout_s,
        }
        del dsn  # a traceback of what follows shows no password
        result = await self._ask(query_id or secrets.token_hex(8), _Hidden(request))
        return QueryResult(
            rows=result["rows"],
            capped=result.get("capped", ""),
            ms=result["ms"],
            columns=tuple(result.get("columns", ())),
            path=str(out_path) if result.get("has_rows") else None,
            statement=result.get("statement", ""),
            notes=tuple(result.get("notes", ())),
        )

    async def schema(self, dsn: str | ParsedDsn, *, timeout_s: float = 15.0) -> list[dict[str, Any]]:
        """[{"schema", "table", "kind", "rows": estimate or None, "columns": [{"name", "type"}]}], by name."""
        text = dsn.text() if isinstance(dsn, ParsedDsn) else dsn
        allowed = targets.from_settings().as_json()
        request = _Hidden({"op": "schema", "dsn": text, "targets": allowed, "timeout_s": timeout_s})
        del dsn, text
        return await self._ask(secrets.token_hex(8), request)

    async def cancel(self, query_id: str) -> bool:
        """Ask to stop a query, which then raises QueryCancelled. False if it is not known (any more)."""
        child = self._child
        if child is None or query_id not in child.waiting:
            return False
        child.writer.write(wire.pack({"op": "cancel", "id": "", "query": query_id}))
        return True

    async def close(self) -> None:
        """End the child; queries that run fail with BrokerDied."""
        child, self._child = self._child, None
        if child is None:
            return
        child.writer.close()
        try:
            await asyncio.wait_for(child.process.wait(), CLOSE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()
        if child.task is not None:
            await child.task

    async def _ask(self, id: str, request: _Hidden) -> Any:
        async with self._places:
            child = await self._alive()
            if id in child.waiting:
                raise QueryError("A query of this id is running already.")
            try:
                message = request.pack(id)
            except (ValueError, TypeError, RecursionError) as error:  # values come from a kernel
                raise QueryError(str(error)) from None
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            child.waiting[id] = answer
            try:
                child.writer.write(message)
                del message
                await child.writer.drain()
                return await asyncio.shield(answer)
            except ConnectionError:
                raise BrokerDied("The process that runs queries ended. Run the cell again.") from None
            except asyncio.CancelledError:
                await self._cancelled(child, id, answer)
                raise
            finally:
                child.waiting.pop(id, None)

    async def _cancelled(self, child: _Child, id: str, answer: asyncio.Future[Any]) -> None:
        """The task that waited is cancelled: stop the query, and see it stop."""
        with contextlib.suppress(ConnectionError):
            child.writer.write(wire.pack({"op": "cancel", "id": "", "query": id}))
        with contextlib.suppress(TimeoutError, asyncio.CancelledError, BrokerError):
            await asyncio.wait_for(answer, CANCEL_ANSWER_S)

    async def _alive(self) -> _Child:
        async with self._starting:
            if self._child is None or self._child.process.returncode is not None:
                self._child = await _start(self._memory_bytes)
                self._child.task = asyncio.create_task(self._listen(self._child), name="sql-broker")
            return self._child

    async def _listen(self, child: _Child) -> None:
        """Hand answers to those who wait; at the end of the child, tell all of them."""
        try:
            while True:
                header = await child.reader.readexactly(wire.HEADER_BYTES)
                message = wire.json.loads(await child.reader.readexactly(wire.body_length(header)))
                answer = child.waiting.get(message["id"])
                if answer is None or answer.done():
                    continue
                if message["ok"]:
                    answer.set_result(message["result"])
                else:
                    answer.set_exception(from_json(message["error"]))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            if self._child is child:
                self._child = None
            child.writer.close()
            for answer in child.waiting.values():
                if not answer.done():
                    answer.set_exception(
                        BrokerDied(
                            "The process that runs queries ended, perhaps out of memory. Run the cell again."
                        )
                    )
            await _reap(child.process)


class _Hidden:
    """A request whose repr, in a traceback or a log, shows nothing of it."""

    __slots__ = ("_request",)

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request

    def pack(self, id: str) -> bytes:
        return wire.pack({"id": id, **self._request})


async def _start(memory_bytes: int) -> _Child:
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kernels_app.broker.worker",
            str(theirs.fileno()),
            str(memory_bytes),
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            env=_environment(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    finally:
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=wire.MESSAGE_LIMIT)
    return _Child(process, reader, writer)


def _environment() -> dict[str, str]:
    """What the child may know: no secret key, no database, no PG… variable that would change where it
    connects."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {
        "HOME": "/nonexistent",
        "PGPASSFILE": os.devnull,
        "PGSERVICEFILE": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "",
        "MALLOC_ARENA_MAX": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


async def _reap(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), CLOSE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
