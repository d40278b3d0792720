"""What a browser may ask over the socket: each command's role, its fields checked, and the one function it calls.

The commands are listed in docs/architecture.md, section 4.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernels_app import waiting
from notebooks_app import db, services
from notebooks_app.access import Access, Role
from notebooks_app.errors import BadRequest
from notebooks_app.services import Accepted, Author

if TYPE_CHECKING:
    from kernels_app.feed import NotebookFeed
    from kernels_app.hosts.base import KernelHost, RuntimeHandle

type Message = dict[str, Any]

MAX_CELLS_ASKED = 200
MAX_TABLE_ROWS = 500


@dataclass(frozen=True)
class Context:
    """Where a command comes from."""

    feed: NotebookFeed
    access: Access
    user: Any
    author: Author
    host: KernelHost
    turn: asyncio.Lock  # of the socket's runs: they are decided one after the other
    check: Callable[[], Awaitable[Any]]  # raises if the person may not have the command done now

    @property
    def notebook_id(self) -> uuid.UUID:
        return self.feed.notebook_id

    def runtime(self) -> AbstractAsyncContextManager[RuntimeHandle]:
        """The notebook's runtime, in turn. See waiting.py."""
        return waiting.runtime_of(self.host, self.notebook_id, self.turn, self.check)


@dataclass(frozen=True)
class Command:
    role: Role
    what: str  # completes "To … you must be …"
    carry_out: Callable[[Context, Message], Awaitable[Message]]


# --- Edits -----------------------------------------------------------------------------------------------------------


async def _edit(context: Context, message: Message) -> Message:
    cell, operation = _uuid(message, "cell"), _uuid(message, "operation_id")
    return await _write(
        lambda: services.edit_cell(
            context.notebook_id,
            cell,
            version=message.get("version"),  # type: ignore[arg-type]
            author=context.author,
            operation_id=operation,
            changes=message.get("changes"),
            source=message.get("source"),
            undoable=message.get("undoable") is True,
        )
    )


async def _insert(context: Context, message: Message) -> Message:
    cell, operation = _uuid(message, "cell"), _uuid(message, "operation_id")
    after = _uuid(message, "after") if message.get("after") else None
    return await _write(
        lambda: services.insert_cell(
            context.notebook_id,
            cell,
            after=after,
            cell_type=message.get("cell_type", "python"),
            author=context.author,
            operation_id=operation,
            source=message.get("source", ""),
            result_name=message.get("result_name", ""),
            connection=message.get("connection"),
        )
    )


async def _delete(context: Context, message: Message) -> Message:
    cells, operation = _uuids(message, "cells"), _uuid(message, "operation_id")
    return await _write(
        lambda: services.delete_cells(context.notebook_id, cells, author=context.author, operation_id=operation)
    )


async def _move(context: Context, message: Message) -> Message:
    cells, operation = _uuids(message, "cells"), _uuid(message, "operation_id")
    after = _uuid(message, "after") if message.get("after") else None
    return await _write(
        lambda: services.move_cells(
            context.notebook_id, cells, after=after, author=context.author, operation_id=operation
        )
    )


async def _update(context: Context, message: Message) -> Message:
    cell, operation = _uuid(message, "cell"), _uuid(message, "operation_id")
    fields = message.get("fields")
    if not isinstance(fields, dict):
        raise BadRequest("fields: must be an object.")
    return await _write(
        lambda: services.update_cell(
            context.notebook_id,
            cell,
            fields,
            version=message.get("version"),
            author=context.author,
            operation_id=operation,
        )
    )


async def _undo(context: Context, message: Message) -> Message:
    operation, new = _uuid(message, "operation_id"), _uuid(message, "new_operation_id")
    return await _write(
        lambda: services.undo(context.notebook_id, operation, new_operation_id=new, author=context.author)
    )


async def _rename(context: Context, message: Message) -> Message:
    operation = _uuid(message, "operation_id")
    return await _write(
        lambda: services.rename_notebook(
            context.notebook_id,
            message.get("name"),  # type: ignore[arg-type]
            author=context.author,
            operation_id=operation,
        )
    )


async def _set_run_mode(context: Context, message: Message) -> Message:
    operation = _uuid(message, "operation_id")
    fields = {"run_mode": message.get("run_mode")}
    return await _write(
        lambda: services.update_notebook(context.notebook_id, fields, author=context.author, operation_id=operation)
    )


async def _turn(context: Context, message: Message) -> Message:
    """A slider of a cell has another number: who may run may turn it, which is the one edit they may make."""
    cell, operation = _uuid(message, "cell"), _uuid(message, "operation_id")
    name, value = _text(message, "name"), _text(message, "value")
    return await _write(
        lambda: services.turn_slider(
            context.notebook_id,
            cell,
            name,
            value,
            version=_whole(message, "version"),
            author=context.author,
            operation_id=operation,
        )
    )


async def _write(change: Callable[[], Accepted]) -> Message:
    accepted = await db.write(change)
    return {"seq": accepted.seq, "version": accepted.version}


# --- Runs ------------------------------------------------------------------------------------------------------------


async def _run(context: Context, message: Message) -> Message:
    wanted = message.get("cells")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(item, dict) for item in wanted):
        raise BadRequest("cells: must be a list of {cell, version}.")
    versions = {str(_uuid(item, "cell")): _whole(item, "version", default=0) for item in wanted}
    only, revision = bool(message.get("only")), context.access.notebook.revision
    async with context.runtime() as runtime:
        return {"run": await runtime.run(versions, by=context.author, only=only, revision=revision)}


async def _run_all(context: Context, message: Message) -> Message:
    async with context.runtime() as runtime:
        return {"run": await runtime.run_all(by=context.author, revision=context.access.notebook.revision)}


async def _run_stale(context: Context, message: Message) -> Message:
    async with context.runtime() as runtime:
        return {"run": await runtime.run_stale(by=context.author, revision=context.access.notebook.revision)}


async def _stop(context: Context, message: Message) -> Message:
    context.host.feeds.take_back(context.notebook_id)
    async with context.turn:  # what was asked for before and is being decided is stopped, too
        runtime = await context.host.get(context.notebook_id)
        if runtime is not None:
            await runtime.stop()
    return {}


async def _take_out(context: Context, message: Message) -> Message:
    cell = _uuid(message, "cell")
    runtime = await context.host.get(context.notebook_id)
    if runtime is not None:
        await runtime.take_out(str(cell))
    return {}


async def _restart(context: Context, message: Message) -> Message:
    async with context.runtime() as runtime:
        return {"run": await runtime.restart(by=context.author, run_all=bool(message.get("run_all")))}


async def _input_reply(context: Context, message: Message) -> Message:
    value = message.get("value")
    if not isinstance(value, str):
        raise BadRequest("value: must be text.")
    runtime = await context.host.get(context.notebook_id)
    if runtime is not None:
        await runtime.input_reply(str(_uuid(message, "attempt")), value)
    return {}


# --- Questions -------------------------------------------------------------------------------------------------------


async def _complete(context: Context, message: Message) -> Message:
    source, cursor = _text(message, "source"), _whole(message, "cursor")
    runtime = await context.host.get(context.notebook_id)
    if runtime is None:
        return {"matches": [], "from": cursor, "to": cursor}
    return await runtime.complete(source, cursor)


async def _inspect(context: Context, message: Message) -> Message:
    source, cursor = _text(message, "source"), _whole(message, "cursor")
    runtime = await context.host.get(context.notebook_id)
    return {"data": await runtime.inspect(source, cursor) if runtime is not None else {}}


async def _table(context: Context, message: Message) -> Message:
    runtime = await context.host.get(context.notebook_id)
    if runtime is None:
        raise BadRequest("This table is from an earlier run; run its cell again to page, sort or search it.")
    request: Message = {
        "handle": _text(message, "handle"),
        "offset": _whole(message, "offset", default=0),
        "limit": min(_whole(message, "limit", default=10), MAX_TABLE_ROWS),
        "sort": message.get("sort") if isinstance(message.get("sort"), list) else [],
        "search": message.get("search") if isinstance(message.get("search"), str) else "",
    }
    return {"table": await runtime.table(request)}


async def _variables(context: Context, message: Message) -> Message:
    runtime = await context.host.get(context.notebook_id)
    return {"variables": await runtime.variables() if runtime is not None else []}


async def _cells(context: Context, message: Message) -> Message:
    cells = _uuids(message, "cells")
    if len(cells) > MAX_CELLS_ASKED:
        raise BadRequest(f"cells: ask for at most {MAX_CELLS_ASKED} at once.")
    with_outputs = message.get("outputs", True) is not False
    return {"cells": await context.feed.cells(cells, with_outputs=with_outputs)}


# --- Fields ----------------------------------------------------------------------------------------------------------


def _uuid(message: Message, name: str) -> uuid.UUID:
    try:
        return uuid.UUID(message.get(name))  # type: ignore[arg-type]
    except (TypeError, ValueError, AttributeError):
        raise BadRequest(f"{name}: must be a uuid.") from None


def _uuids(message: Message, name: str) -> list[uuid.UUID]:
    values = message.get(name)
    if not isinstance(values, list):
        raise BadRequest(f"{name}: must be a list of uuids.")
    return [_uuid({name: value}, name) for value in values]


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name}: must be text.")
    return value


def _whole(message: Message, name: str, default: int | None = None) -> int:
    value = message.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{name}: must be a whole number from 0.")
    return value


COMMANDS: dict[str, Command] = {
    "edit": Command(Role.EDITOR, "edit", _edit),
    "insert": Command(Role.EDITOR, "insert cells", _insert),
    "delete": Command(Role.EDITOR, "delete cells", _delete),
    "move": Command(Role.EDITOR, "move cells", _move),
    "update": Command(Role.EDITOR, "change cells", _update),
    "undo": Command(Role.EDITOR, "take changes back", _undo),
    "rename": Command(Role.EDITOR, "rename it", _rename),
    "set_run_mode": Command(Role.EDITOR, "change how it runs", _set_run_mode),
    "turn": Command(Role.RUNNER, "turn its sliders", _turn),
    "run": Command(Role.RUNNER, "run cells", _run),
    "run_all": Command(Role.RUNNER, "run it", _run_all),
    "run_stale": Command(Role.RUNNER, "run it", _run_stale),
    "stop": Command(Role.RUNNER, "stop a run", _stop),
    "take_out": Command(Role.RUNNER, "change the queue", _take_out),
    "restart": Command(Role.RUNNER, "restart its kernel", _restart),
    "input_reply": Command(Role.RUNNER, "answer its questions", _input_reply),
    "complete": Command(Role.RUNNER, "ask its kernel", _complete),
    "inspect": Command(Role.RUNNER, "ask its kernel", _inspect),
    "table": Command(Role.VIEWER, "read its tables", _table),
    "variables": Command(Role.RUNNER, "read its variables", _variables),
    "cells": Command(Role.VIEWER, "read it", _cells),
}
CHANGES = frozenset(COMMANDS) - {"complete", "inspect", "table", "variables", "cells"}
# Begun in order; the next command does not wait until there is a runtime, but for its turn among them.
RUNS = frozenset({"run", "run_all", "run_stale", "restart"})
# Carried out one after the other as they came; the rest may overtake (a completion must not wait for a run).
IN_ORDER = CHANGES - RUNS | {"hello"}
