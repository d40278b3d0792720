"""Runs one cell: compile, execute, show its result, sweep its private names, say how it ended.

One path for plain Python and for magics: IPython's input transformer turns magics into calls, and the
result is compiled and executed here, without `Out`, `_` or history. Which cell is next is plan.py's; SQL is
duck.py's.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import time
from types import CodeType
from typing import Any

from . import attempts, display, equality, errors, frames, interrupt
from .namespace import TOLD_UNDECLARED, Namespace
from .private import rename
from .streams import DescriptorCapture

Item = dict[str, Any]

_FUTURE_FLAGS = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_CODE_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_COROUTINE = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR


class CellRunner:
    """Runs cells in the shell's namespace."""

    def __init__(self, shell: Any, namespace: Namespace, descriptors: DescriptorCapture) -> None:
        self._shell = shell
        self._namespace = namespace
        self._descriptors = descriptors

    async def run(self, item: Item) -> dict[str, Any]:
        """Run one cell of a plan, sending its entries as they come. Returns its `finished` entry."""
        started = time.perf_counter()
        attempt = attempts.Attempt(item["attempt"], item["cell"], int(item["number"]))
        definitions = item.get("definitions", [])
        old = {name: self._namespace.names[name] for name in definitions if name in self._namespace.names}
        self._namespace.unload(item.get("unload", []))
        before = self._namespace.before(item["cell"])
        head = {"t": "started", "attempt": attempt.id, "cell": item["cell"], "version": item["version"]}
        attempts.writer().push(head)
        token = attempts.enter(attempt)
        try:
            error = await self._execute(item)
            error = self._after_cell() or error
            outcome = _outcome(error, attempt)
            if error is not None:
                self._report(error, attempt)
            self._finish_output(attempt)
        finally:
            attempts.leave(token)
        names, undeclared = self._namespace.after(item["cell"], definitions, before)
        now = self._namespace.names
        return {
            "t": "finished",
            "attempt": attempt.id,
            "outcome": outcome,
            "names": names,
            "kept": [name for name in names if name in old and equality.is_same(old[name], now[name])],
            "undeclared": [frames.clean_name(name) for name in undeclared[:TOLD_UNDECLARED]],
            "duration_ms": round((time.perf_counter() - started) * 1000),
        }

    async def _execute(self, item: Item) -> BaseException | None:
        """Run the cell's code; the exception that ended it, or None. Nothing escapes."""
        try:
            if item.get("kind", "python") == "duckdb":
                interrupt.call_user(self._query, item)
            else:
                await self._python(item)
        except BaseException as error:
            return _as_interrupt(error)
        return None

    async def _python(self, item: Item) -> None:
        filename = code_name(item)
        try:
            body, last = self._compile(item, filename)
        except SyntaxError as error:
            raise error.with_traceback(
                None
            ) from None  # its place is in the error; the compiler's frames say nothing
        names = self._shell.user_ns
        if body is not None:
            await _evaluate(body, names)
        if last is not None:
            value = await _evaluate(last, names)
            if value is not None:
                interrupt.call_user(display.show_result, self._shell, value)

    def _compile(self, item: Item, filename: str) -> tuple[CodeType | None, CodeType | None]:
        """(the statements, the last expression if its value is to be shown)."""
        source: str = item["source"]
        errors.register_source(filename, f"Cell {item['number']}", source)
        tree, source = self._parse(source, filename)
        shown = _pop_shown(tree, source)
        whole = ast.Module([*tree.body, *([ast.Expr(shown)] if shown else [])], [])
        if shown is not None:
            ast.copy_location(whole.body[-1], shown)
        rename(whole, source, item["cell"])
        if shown is not None:
            last = whole.body.pop()
            shown = last.value if isinstance(last, ast.Expr) else None
        body = compile(whole, filename, "exec", _CODE_FLAGS, dont_inherit=True) if whole.body else None
        flags = _CODE_FLAGS | ((body.co_flags & _FUTURE_FLAGS) if body is not None else 0)
        if shown is None:
            return body, None
        return body, compile(ast.Expression(shown), filename, "eval", flags, dont_inherit=True)

    def _parse(self, source: str, filename: str) -> tuple[ast.Module, str]:
        """The syntax tree and the text it is of: the cell's own, or what IPython makes of its magics."""
        try:
            return ast.parse(source, filename), source
        except SyntaxError:
            transformed = interrupt.call_user(self._shell.transform_cell, source)
            if transformed.rstrip("\n") == source.rstrip("\n"):
                raise
        return ast.parse(transformed, filename), transformed

    def _query(self, item: Item) -> None:
        from . import duck

        parameters = item.get("parameters", [])
        frames = item.get("frames", [name for name in item.get("references", []) if name not in parameters])
        frame, info = duck.run(
            item["source"], parameters, frames, self._shell.user_ns, row_cap=item.get("row_cap")
        )
        attempts.writer().push({"t": "note", "attempt": item["attempt"], "text": duck.describe(info)})
        if frame is None:
            return
        if item.get("result_name"):
            self._shell.user_ns[item["result_name"]] = frame
        display.show_result(self._shell, frame)

    def _after_cell(self) -> BaseException | None:
        """Show open figures and whatever else waits for the end of a cell."""
        for callback in list(self._shell.events.callbacks["post_execute"]):
            try:
                interrupt.call_user(callback)
            except BaseException as error:
                return _as_interrupt(error)
        return None

    def _report(self, error: BaseException, attempt: attempts.Attempt) -> None:
        attempt.pump()
        self._descriptors.drain()
        attempts.writer().push(errors.entry(error, attempt.id))

    def _finish_output(self, attempt: attempts.Attempt) -> None:
        self._descriptors.drain()
        attempt.pump()


def code_name(item: Item) -> str:
    """The file name of a cell's code: of cell and version, so that two cells with one text are not
    confused.
    """
    return f"{interrupt.CELL_FILE_PREFIX}{item['cell'].replace('-', '')[:8]}-v{item['version']}.py"


async def _evaluate(code: CodeType, names: dict[str, Any]) -> Any:
    if not code.co_flags & _COROUTINE:
        return interrupt.call_user(eval, code, names, names)
    return await _await(eval(code, names, names))


async def _await(awaitable: Any) -> Any:
    """Await a cell's coroutine as a task of its own, which an interrupt can cancel."""
    outcome: list[Any] = []

    async def drive() -> None:
        try:
            outcome.extend((await interrupt.await_user(awaitable), None))
        except BaseException as error:
            outcome.extend((None, error))

    task = asyncio.get_running_loop().create_task(drive())
    interrupt.set_awaiting(task)
    try:
        while not task.done():
            await asyncio.wait([task])
    finally:
        interrupt.set_awaiting(None)
    if not outcome:
        raise KeyboardInterrupt
    value, error = outcome
    if error is not None:
        raise error
    return value


def _as_interrupt(error: BaseException) -> BaseException:
    """A cancelled await as the KeyboardInterrupt it was."""
    if isinstance(error, asyncio.CancelledError):
        return KeyboardInterrupt().with_traceback(error.__traceback__)
    return error


def _outcome(error: BaseException | None, attempt: attempts.Attempt) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "error" if error is not None or attempt.failed else "ok"


def _pop_shown(tree: ast.Module, source: str) -> ast.expr | None:
    """Take the last statement out of the tree if it is an expression whose value is shown."""
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return None
    last = tree.body[-1]
    if _ends_with_semicolon(last, source):
        return None
    tree.body.pop()
    return last.value


def _ends_with_semicolon(last: ast.Expr, source: str) -> bool:
    if ";" not in source:
        return False
    lines = source.split("\n")
    row = (last.end_lineno or 1) - 1
    rest = lines[row].encode("utf-8", "replace")[last.end_col_offset :].decode("utf-8", "replace")
    return rest.lstrip(" \t\f").startswith(";")
