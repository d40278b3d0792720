"""Shows dataframes as tables: the MIME formatter, and the kept frames that pages, sorts and searches are
served from.

What a table shows of each library's frames is in table_frames.py, of single values in table_values.py. The
JSON shape is in docs/architecture.md, section 5. Thread-safe: pages are asked for on the control or subshell
thread.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .table_frames import COLUMNS_SHOWN, Frame, adapt, as_text, frame_kind, order, to_arrow

MIME = "application/vnd.rillbook.table+json"
PAGE_SIZE = 10
PAGE_LIMIT = 500
KEPT_TABLES = 200
KEPT_PER_ATTEMPT = 20
PLAIN_TEXT_LIMIT = 4_000

# Where each class lives, in the releases seen so far; subclasses (GeoDataFrame) are found through them.
SHOWN_CLASSES = (
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
    ("polars.dataframe.frame", "DataFrame"),
    ("polars.series.series", "Series"),
    ("polars.lazyframe.frame", "LazyFrame"),
    ("pyarrow.lib", "Table"),
    ("pyarrow.lib", "RecordBatch"),
    ("duckdb._relation", "DuckDBPyRelation"),
    ("_duckdb", "DuckDBPyRelation"),
    ("duckdb.duckdb", "DuckDBPyRelation"),
)
MUTED_MIMES = ("text/html", "text/latex", "application/vnd.dataresource+json")


class TableGone(LookupError):
    """The frame of this handle is not kept any more: its cell ran again, or too many tables were shown
    since."""


@dataclass
class Kept:
    frame: Frame
    attempt: str | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: tuple[Any, str] | None = None
    positions: Any = None

    def order(self, sort: Sequence[dict[str, Any]], search: str) -> Any:
        """The rows to show, remembered, so that the next page of the same sort and search costs nothing."""
        asked = (
            tuple((str(type(s["column"])), s["column"], bool(s.get("descending"))) for s in sort),
            search,
        )
        with self.lock:
            if self.asked != asked:
                self.positions = order(self.frame, sort, search)
                self.asked = asked
            return self.positions


class Registry:
    """The frames behind the tables on show: bounded, the least recently used leaves first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.lock = threading.Lock()

    def keep(self, frame: Frame, attempt: str | None) -> str:
        handle = uuid.uuid4().hex
        with self.lock:
            self.kept[handle] = Kept(frame, attempt)
            mine = [known for known, kept in self.kept.items() if kept.attempt == attempt]
            for old in mine[:-KEPT_PER_ATTEMPT] if attempt is not None else ():
                del self.kept[old]
            while len(self.kept) > KEPT_TABLES:
                self.kept.popitem(last=False)
        return handle

    def find(self, handle: str) -> Kept:
        with self.lock:
            kept = self.kept.get(handle)
            if kept is None:
                raise TableGone(
                    "This table is no longer in the kernel. Run its cell again to page through it."
                )
            self.kept.move_to_end(handle)
            return kept

    def forget(self, attempts: Iterable[str]) -> int:
        gone = set(attempts)
        with self.lock:
            handles = [handle for handle, kept in self.kept.items() if kept.attempt in gone]
            for handle in handles:
                del self.kept[handle]
        return len(handles)


_registry = Registry()


def register(shell: Any, attempt: Callable[[], str | None] = lambda: None) -> None:
    """Show dataframes as tables in this shell. `attempt` tells the attempt that displays, for `forget`."""

    def show(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return bundle(value, attempt=attempt()), {}

    formatter = shell.display_formatter
    for module, name in SHOWN_CLASSES:
        formatter.mimebundle_formatter.for_type_by_name(module, name, show)
        for mime in MUTED_MIMES:
            if mime in formatter.formatters:
                formatter.formatters[mime].for_type_by_name(module, name, _nothing)


def _nothing(_value: Any) -> None:
    """No second, heavier form beside the table."""


def bundle(value: Any, *, attempt: str | None = None) -> dict[str, Any]:
    """The MIME bundle of a frame: the table and a short plain text. Without the table if it cannot be
    made."""
    result: dict[str, Any] = {}
    try:
        frame = adapt(value)
        table = _page(frame, slice(0, min(PAGE_SIZE, frame.row_count)), frame.row_count)
        table["handle"] = _registry.keep(frame, attempt)
        result[MIME] = table
        result["text/plain"] = short_text(value, frame)
    except Exception:
        result.setdefault("text/plain", _safe_repr(value))
    return result


def page(
    handle: str,
    offset: int = 0,
    limit: int = PAGE_SIZE,
    sort: Sequence[dict[str, Any]] = (),
    search: str = "",
) -> dict[str, Any]:
    """Rows `offset` to `offset + limit` (at most 500) of a kept frame, sorted and searched. `row_count`
    counts matches.

    Raises TableGone for an unknown handle and KeyError for an unknown column.
    """
    frame = _registry.find(handle).frame
    positions = _registry.find(handle).order(sort, search)
    count = frame.row_count if positions is None else len(positions)
    size = max(1, min(int(limit), PAGE_LIMIT))
    start = max(0, min(int(offset), count))
    end = min(start + size, count)
    rows = slice(start, end) if positions is None else positions[start:end]
    table = _page(frame, rows, count)
    return table | {
        "handle": handle,
        "offset": start,
        "page_size": size,
        "sort": list(sort),
        "search": search,
    }


def _page(frame: Frame, rows: Any, count: int) -> dict[str, Any]:
    shown = min(len(frame.columns), COLUMNS_SHOWN)
    table: dict[str, Any] = {
        "handle": "",
        "columns": [column.as_json() for column in frame.columns[:shown]],
        "index": [column.as_json() for column in frame.index],
        "rows": frame.rows(rows, shown),
        "row_count": count,
        "total_rows": frame.row_count,
        "column_count": len(frame.columns),
        "offset": 0,
        "page_size": PAGE_SIZE,
        "sort": [],
    }
    return table | {"partial": True} if frame.partial else table


def forget(attempts: Iterable[str]) -> int:
    """Let go of the frames that these attempts displayed. Returns how many."""
    return _registry.forget(attempts)


def export(
    handle: str, format: str, path: str, *, sort: Sequence[dict[str, Any]] = (), search: str = ""
) -> int:
    """Write a kept frame (all columns; the rows that sort and search leave) as "csv" or "parquet". Returns
    its rows."""
    if format not in ("csv", "parquet"):
        raise ValueError(f"Tables are exported as csv or parquet, not {format!r}")
    kept = _registry.find(handle)
    positions = kept.order(sort, search)
    table = to_arrow(kept.frame)
    if positions is not None:
        table = table.take(positions)
    if format == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(_storable(table), path)
    else:
        import pyarrow.csv

        pyarrow.csv.write_csv(_flat(table), path)
    return table.num_rows


def _storable(table: Any) -> Any:
    """The table with the few types that Parquet lacks as text."""
    import pyarrow

    types = pyarrow.types
    return _replace(table, lambda t: types.is_interval(t) or types.is_null(t) or types.is_union(t))


def _flat(table: Any) -> Any:
    """The table with what a CSV cell cannot hold, and times (in their own zone), as text."""
    import pyarrow

    types = pyarrow.types
    return _replace(
        table,
        lambda t: (
            types.is_nested(t) or types.is_dictionary(t) or types.is_temporal(t) or types.is_decimal(t)
            or types.is_binary(t) or types.is_large_binary(t) or types.is_null(t)
        ),
    )  # fmt: skip


def _replace(table: Any, is_foreign: Callable[[Any], bool]) -> Any:
    for at, column in enumerate(table.schema):
        if is_foreign(column.type):
            table = table.set_column(at, column.name, as_text(table.column(at)))
    return table


def short_text(value: Any, frame: Frame) -> str:
    """A few lines for readers without tables: exports, terminals, screen readers' fallback."""
    kind = frame_kind(value) or ""
    if kind.startswith("pandas"):
        return _pandas_text(value)
    if kind in ("polars", "polars_series"):
        with sys.modules["polars"].Config(tbl_rows=10, tbl_cols=8, fmt_str_lengths=40):
            return _capped(repr(value))
    rows = f"first {frame.row_count:,} rows" if frame.partial else f"{frame.row_count:,} rows"
    names = ", ".join(f"{column.name}: {column.type}" for column in frame.columns[:30])
    more = ", …" if len(frame.columns) > 30 else ""
    return _capped(f"{type(value).__name__}: {rows} × {len(frame.columns):,} columns\n{names}{more}")


def _pandas_text(value: Any) -> str:
    options = {
        "display.max_rows": 10,
        "display.max_columns": 10,
        "display.width": 100,
        "display.max_colwidth": 50,
        "display.show_dimensions": True,
    }
    with sys.modules["pandas"].option_context(*(part for option in options.items() for part in option)):
        return _capped(repr(value))


def _capped(text: str) -> str:
    return text if len(text) <= PLAIN_TEXT_LIMIT else text[: PLAIN_TEXT_LIMIT - 1] + "…"


def _safe_repr(value: Any) -> str:
    with contextlib.suppress(Exception):
        return _capped(repr(value))
    return f"<{type(value).__name__}>"
