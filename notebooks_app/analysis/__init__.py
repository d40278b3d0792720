"""Says which names a cell defines and refers to, and why it cannot be analysed.

Pure: source in, `Analysis` out; no Django, no asyncio. Python is read in python.py, SQL in sql.py.
Where and with which limits on time and memory it runs is worker.py's; edges between cells are
graph.py's.
"""

from __future__ import annotations

from dataclasses import dataclass

from notebooks_app.analysis.effort import UNBOUNDED, Effort
from notebooks_app.analysis.python import analyse_python, is_public
from notebooks_app.analysis.sql import analyse_sql
from notebooks_app.facts import CellError, CellType, ErrorKind

MAX_BYTES = 512 * 1024
TOO_DEEP = "This cell is nested too deeply to be analysed. Split long expressions or deep nesting into steps."


# CPython's parser says "out of memory" for both.
TOO_MUCH = "This cell takes too much memory to analyse, or is nested too deeply. Split it into smaller cells."


@dataclass(frozen=True, slots=True)
class Analysis:
    """Public names only. `references` leaves builtins out; `builtins` are those the cell looks up, for
    another cell may define a name like `sum` or `filter`. `parameters` and `tables` are of SQL, spelled
    as written. `futures` are definitions that are only for this cell's compiler (`from __future__`): any
    number of cells may have them.
    """

    definitions: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    errors: tuple[CellError, ...] = ()
    parameters: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    builtins: frozenset[str] = frozenset()
    futures: frozenset[str] = frozenset()


def analyse(
    cell_type: str,
    source: str,
    *,
    result_name: str = "",
    on_connection: bool = False,
    max_bytes: int = MAX_BYTES,
    effort: Effort = UNBOUNDED,
) -> Analysis:
    """Definitions, references and errors of one cell. Never raises for what the source holds, but TooMuchWork where it
    takes more than `effort`.

    `result_name` is what an SQL cell binds; with `on_connection` its tables live in the database and only its
    parameters are references. A source over `max_bytes` (of UTF-8) is not read: its error says so.
    """
    if cell_type == CellType.MARKDOWN:
        return Analysis()
    size = len(source) if source.isascii() else len(source.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        return Analysis(errors=(_too_large(size, max_bytes),))
    try:
        if cell_type == CellType.SQL:
            return _sql(source, result_name, on_connection, effort)
        names = analyse_python(source, effort)
    except RecursionError:
        return failed(TOO_DEEP)
    except MemoryError:
        return failed(TOO_MUCH)
    return Analysis(
        names.definitions, names.references, names.errors, builtins=names.builtins, futures=names.futures
    )


def failed(message: str) -> Analysis:
    """The analysis of a cell that could not be analysed for its size or shape."""
    return Analysis(errors=(CellError(ErrorKind.TOO_LARGE, message),))


def _sql(source: str, result_name: str, on_connection: bool, effort: Effort) -> Analysis:
    found = analyse_sql(source, effort)
    used = found.parameters if on_connection else found.parameters | found.tables
    return Analysis(
        definitions=frozenset({result_name} if result_name and is_public(result_name) else ()),
        references=frozenset(filter(is_public, used)),
        errors=found.errors,
        parameters=found.parameters,
        tables=found.tables,
    )


def _too_large(size: int, limit: int) -> CellError:
    return CellError(
        ErrorKind.TOO_LARGE,
        f"This cell is {_words(size)} long. "
        f"Cells over {_words(limit)} are kept, but neither analysed nor run.",
    )


def _words(size_bytes: int) -> str:
    """1,024-based and exact enough to tell size from limit: 512 KiB, 4.8 MiB, 512.1 KiB."""
    for unit, factor in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size_bytes >= factor:
            text = f"{size_bytes / factor:,.1f}".removesuffix(".0")
            return f"{text} {unit}" if size_bytes % factor == 0 or "." in text else f"{size_bytes:,} bytes"
    return f"{size_bytes:,} bytes"
