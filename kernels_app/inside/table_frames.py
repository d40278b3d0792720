"""One view of pandas, polars, Arrow and DuckDB frames: names, types, rows of a page, and order by sort and
search.

Each library has a small adapter that gives its columns as Arrow arrays; sorting, searching and exporting are
done on those, so nothing converts a whole frame to Python objects (but columns of mixed objects, compared by
their text). Which frames are kept, and for how long, is in tables.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .table_values import MIDNIGHT, nested, plain, text_limit

COLUMNS_SHOWN = 200
LAZY_ROWS = 1_000  # of a LazyFrame or relation: the rest is not computed for a display
DATE_CHECK_ROWS = 2_000_000


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    numeric: bool

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "numeric": self.numeric}


def frame_kind(value: Any) -> str | None:
    """Which dataframe the value is, or None. Imports nothing: a library that is not loaded made no frame."""
    for module, name, kind in KINDS:
        library = sys.modules.get(module)
        cls = getattr(library, name, None)
        if isinstance(cls, type) and isinstance(value, cls):
            return kind
    return None


KINDS = (
    ("pandas", "DataFrame", "pandas"),
    ("pandas", "Series", "pandas_series"),
    ("polars", "DataFrame", "polars"),
    ("polars", "Series", "polars_series"),
    ("polars", "LazyFrame", "polars_lazy"),
    ("pyarrow", "Table", "arrow"),
    ("pyarrow", "RecordBatch", "arrow_batch"),
    ("duckdb", "DuckDBPyRelation", "relation"),
)


class Frame:
    """What a table shows of a frame. `partial` says that only the first rows were computed."""

    partial = False

    row_count: int
    columns: list[Column]
    index: list[Column]

    def rows(self, positions: slice | Any, columns: int) -> list[list[Any]]:
        """JSON rows, index values first, then the first so many columns. `positions`: a slice or a numpy
        array."""
        raise NotImplementedError

    def values(self, at: int) -> Any:
        """Column `at` (index levels are negative: -1 is the first) as a pyarrow array in display order."""
        raise NotImplementedError

    def sort_key(self, at: int) -> Any:
        return self.values(at)

    def locate(self, column: str | int) -> int:
        """The place of a column by its number or its shown name; index levels come after the columns."""
        if isinstance(column, int) and not isinstance(column, bool):
            if -len(self.index) <= column < len(self.columns):
                return column
        else:
            for at, known in enumerate(self.columns):
                if known.name == column:
                    return at
            for at, known in enumerate(self.index):
                if known.name == column:
                    return -1 - at
        raise KeyError(f"The table has no column {column!r}")

    def places(self) -> Iterable[int]:
        """All columns, index levels first: how `values` is asked for each."""
        return [*(-1 - at for at in range(len(self.index))), *range(len(self.columns))]

    def column_at(self, at: int) -> Column:
        return self.columns[at] if at >= 0 else self.index[-1 - at]


def adapt(value: Any) -> Frame:
    """The view of a frame that `frame_kind` knows. It holds a snapshot: what is assigned later does not
    show."""
    kind = frame_kind(value)
    if kind in ("pandas", "pandas_series"):
        return PandasFrame(value)
    if kind == "polars":
        return PolarsFrame(value.clone())
    if kind == "polars_series":
        return PolarsFrame(value.to_frame())
    if kind == "polars_lazy":
        return _partial(PolarsFrame(value.head(LAZY_ROWS).collect()))
    if kind == "arrow":
        return ArrowFrame(value)
    if kind == "arrow_batch":
        pyarrow = sys.modules["pyarrow"]
        return ArrowFrame(pyarrow.Table.from_batches([value]))
    if kind == "relation":
        return _partial(ArrowFrame(value.limit(LAZY_ROWS).to_arrow_table()))
    raise TypeError(f"{type(value).__name__} is not a dataframe")


def _partial(frame: Frame) -> Frame:
    frame.partial = frame.row_count >= LAZY_ROWS
    return frame


class PandasFrame(Frame):
    def __init__(self, value: Any) -> None:
        import pandas

        series = isinstance(value, pandas.Series)
        frame = value.to_frame(name="value" if value.name is None else value.name) if series else value
        # Copy-on-write (always on since pandas 3): no bytes are copied, yet later changes of the frame leave
        # this one as it is. Under pandas 2 without it, a change of single values in place shows on later
        # pages: accepted.
        self.frame = frame.copy(deep=False)
        self.row_count = len(frame)
        self.columns = [
            Column(_label(name), str(dtype), _is_numeric(dtype))
            for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        ]
        self.levels = _index_levels(frame.index)
        self.index = [
            Column(
                "" if level.name is None else _label(level.name), str(level.dtype), _is_numeric(level.dtype)
            )
            for level in self.levels
        ]
        self.dates: dict[int, bool] = {}

    def series(self, at: int) -> Any:
        return self.frame.iloc[:, at] if at >= 0 else self.levels[-1 - at]

    def rows(self, positions: slice | Any, columns: int) -> list[list[Any]]:
        page = self.frame.iloc[:, :columns].iloc[positions]
        limit = text_limit(len(page) * (columns + len(self.levels)))
        lists = [self._cells(-1 - at, level[positions], limit) for at, level in enumerate(self.levels)]
        lists += [self._cells(at, page.iloc[:, at], limit) for at in range(page.shape[1])]
        return [list(row) for row in zip(*lists, strict=True)] if lists else [[] for _ in range(len(page))]

    def _cells(self, at: int, values: Any, limit: int) -> list[Any]:
        cells = [plain(value, limit=limit) for value in list(values)]
        if (
            getattr(values.dtype, "kind", "") == "M"
            and all(_at_midnight(cell) for cell in cells)
            and self._dates(at)
        ):
            return [cell if cell is None else cell.removesuffix(MIDNIGHT) for cell in cells]
        return cells

    def _dates(self, at: int) -> bool:
        """Whether a column of times holds dates only, all of it: then the time is left out, as pandas
        does."""
        if at not in self.dates:
            series = self.series(at)
            times = series.dt if at >= 0 else series
            zoned = getattr(series.dtype, "tz", None) is not None
            self.dates[at] = (
                not zoned
                and self.row_count <= DATE_CHECK_ROWS
                and bool(((times.normalize() == series) | series.isna()).all())
            )
        return self.dates[at]

    def values(self, at: int) -> Any:
        series = self.series(at)
        if str(getattr(series.dtype, "name", "")).startswith(("period", "interval", "complex")):
            return _texts(series)
        if hasattr(series.dtype, "categories") and not _simple(series.dtype.categories.dtype):
            return _arrow(lambda: _categories_as_text(series), lambda: _texts(series))
        return _arrow(lambda: _from_pandas(series), lambda: _texts(series))

    def sort_key(self, at: int) -> Any:
        import pandas
        import pyarrow

        series = self.series(at)
        dtype = series.dtype
        if isinstance(dtype, pandas.CategoricalDtype):
            categorical = pandas.Categorical(series)
            ranks = _category_ranks(categorical)
            return pyarrow.array(ranks[categorical.codes], mask=categorical.codes < 0)
        if isinstance(dtype, pandas.PeriodDtype):
            periods = pandas.Series(series.array)
            return pyarrow.array(periods.array.asi8, mask=periods.isna().to_numpy())
        if isinstance(dtype, pandas.IntervalDtype):
            return _arrow(lambda: _from_pandas(pandas.Series(series.array.left)), lambda: _texts(series))
        return self.values(at)


class PolarsFrame(Frame):
    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.row_count = frame.height
        self.columns = [
            Column(name, _polars_type(dtype), dtype.is_numeric()) for name, dtype in frame.schema.items()
        ]
        self.index = []

    def rows(self, positions: slice | Any, columns: int) -> list[list[Any]]:
        page = self.frame[:, :columns][positions]
        limit = text_limit(page.height * columns)
        lists = [
            [plain(value, limit=limit, nan_is_missing=False) for value in series.to_list()]
            for series in page.get_columns()
        ]
        return [list(row) for row in zip(*lists, strict=True)] if lists else [[] for _ in range(page.height)]

    def values(self, at: int) -> Any:
        series = self.frame.to_series(at)
        if str(series.dtype) == "Object":  # Arrow would get their addresses
            return _texts(series.to_list())
        return _arrow(series.to_arrow, lambda: _texts(series.to_list()))


class ArrowFrame(Frame):
    def __init__(self, table: Any) -> None:
        import pyarrow

        types = pyarrow.types
        self.row_count = table.num_rows
        self.columns = [
            Column(
                field.name,
                str(field.type) if len(str(field.type)) <= 60 else str(field.type)[:59] + "…",
                types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type),
            )
            for field in table.schema
        ]
        self.index = []
        self.frame = _without_views(table)

    def rows(self, positions: slice | Any, columns: int) -> list[list[Any]]:
        wanted = self.frame.select(list(range(min(columns, self.frame.num_columns))))
        if isinstance(positions, slice):
            page = wanted.slice(positions.start, positions.stop - positions.start)
        else:
            page = wanted.take(positions)
        limit = text_limit(page.num_rows * columns)
        lists = [[plain(v, limit=limit, nan_is_missing=False) for v in _python(c)] for c in page.columns]
        return (
            [list(row) for row in zip(*lists, strict=True)] if lists else [[] for _ in range(page.num_rows)]
        )

    def values(self, at: int) -> Any:
        return self.frame.column(at)


def _without_views(table: Any) -> Any:
    """The table with string and binary views as plain columns: Arrow has no take and few functions for
    views."""
    import pyarrow

    types = pyarrow.types
    for at, field in enumerate(table.schema):
        if types.is_string_view(field.type) or types.is_binary_view(field.type):
            plainer = pyarrow.large_string() if types.is_string_view(field.type) else pyarrow.large_binary()
            table = table.set_column(at, field.name, table.column(at).cast(plainer))
    return table


def order(frame: Frame, sort: Sequence[dict[str, Any]], search: str) -> Any | None:
    """The positions of the rows to show, as a numpy array, or None for all in their own order.

    The sort is stable and puts missing values last, whichever the direction. The search keeps the rows in
    which any column's text holds `search`, whatever the case.
    """
    import numpy

    kept = _matches(frame, search) if search else None
    if not sort:
        return kept if kept is None else numpy.flatnonzero(kept)
    ordered = _sorted(frame, sort)
    return ordered if kept is None else ordered[kept[ordered]]


def _sorted(frame: Frame, sort: Sequence[dict[str, Any]]) -> Any:
    import pyarrow
    import pyarrow.compute as compute

    keys, arrays = [], []
    for number, wanted in enumerate(sort):
        arrays.append(_sortable(frame.sort_key(frame.locate(wanted["column"]))))
        keys.append((str(number), "descending" if wanted.get("descending") else "ascending", "at_end"))
    table = pyarrow.table(arrays, names=[key[0] for key in keys])
    try:
        options = compute.SortOptions(keys)
    except (TypeError, ValueError):  # before Arrow 22 the place of missing values was one for all keys
        options = compute.SortOptions([key[:2] for key in keys], null_placement="at_end")
    return compute.sort_indices(table, options=options).to_numpy()


def _sortable(array: Any) -> Any:
    import pyarrow

    types = pyarrow.types
    kind = array.type
    if types.is_dictionary(kind):
        return _sortable(array.cast(kind.value_type))
    if types.is_nested(kind) or types.is_null(kind) or types.is_interval(kind):
        return _texts(array.to_pylist())
    if types.is_duration(kind) or types.is_time(kind):
        return array.cast(pyarrow.int32() if types.is_time32(kind) else pyarrow.int64())
    if types.is_float16(kind):
        return array.cast(pyarrow.float32())
    return array


def _matches(frame: Frame, search: str) -> Any:
    import numpy
    import pyarrow.compute as compute

    found = numpy.zeros(frame.row_count, dtype=bool)
    for at in frame.places():
        mask = compute.match_substring(as_text(frame.values(at)), search, ignore_case=True)
        found |= compute.fill_null(mask, False).to_numpy(zero_copy_only=False).astype(bool)
        if found.all():
            break
    return found


def as_text(array: Any) -> Any:
    """The array's values as text, the way tables show them or close to it; missing values stay missing."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    kind = array.type
    if types.is_dictionary(kind):
        return as_text(array.cast(kind.value_type))
    if types.is_string(kind) or types.is_large_string(kind):
        return array
    if types.is_timestamp(kind) and kind.tz:
        return as_text(compute.local_timestamp(array))
    if types.is_timestamp(kind):  # dates only: the cast refuses to lose a time of day
        array = _arrow(lambda: array.cast(pyarrow.date32()), lambda: array)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_temporal(kind):
        return _arrow(lambda: array.cast(pyarrow.large_string()), lambda: _texts(_python(array)))
    if types.is_decimal(kind):
        return array.cast(pyarrow.large_string())
    return _texts(_python(array))


def to_arrow(frame: Frame) -> Any:
    """The whole frame as an Arrow table with unique column names, for export; the index comes first."""
    import pyarrow

    arrays, names, seen = [], [], set()
    for at in frame.places():
        name = frame.column_at(at).name or "index"
        unique, number = name, 1
        while unique in seen:
            unique, number = f"{name}_{number}", number + 1
        seen.add(unique)
        names.append(unique)
        arrays.append(frame.values(at))
    return pyarrow.table(arrays, names=names)


def _arrow(make: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """What `make` gives as one Arrow array; `otherwise` where Arrow has no type for the values."""
    import pyarrow

    try:
        array = make()
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError, NotImplementedError):
        return otherwise()
    except BaseException as error:  # polars panics derive from BaseException
        if type(error).__name__ != "PanicException":
            raise
        return otherwise()
    return array


def _from_pandas(series: Any) -> Any:
    import pyarrow

    array = pyarrow.array(series.array, from_pandas=True) if _extension(series) else None
    if array is None:
        array = pyarrow.array(series.to_numpy(), from_pandas=True)
    if pyarrow.types.is_nested(array.type):
        return _texts(series)
    return array


def _simple(dtype: Any) -> bool:
    return dtype.kind in "iufbM" or str(dtype).startswith("str")


def _categories_as_text(series: Any) -> Any:
    """Intervals, periods and mixed objects have no Arrow type to be the values of a dictionary."""
    import pandas
    import pyarrow

    categorical = pandas.Categorical(series)
    codes = pyarrow.array(categorical.codes, mask=categorical.codes < 0)
    return pyarrow.DictionaryArray.from_arrays(codes, _texts(categorical.categories))


def _extension(series: Any) -> bool:
    return not isinstance(series.dtype, sys.modules["numpy"].dtype)


def _python(column: Any) -> list[Any]:
    """Python values of an Arrow column; those that Python's types cannot hold (years past 9999) as text."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        import pyarrow

        try:
            return column.cast(pyarrow.string()).to_pylist()
        except pyarrow.ArrowException:
            return [str(value) for value in column]


def _texts(values: Iterable[Any]) -> Any:
    import pyarrow

    return pyarrow.array([_text(value) for value in values], type=pyarrow.large_string())


def _text(value: Any) -> str | None:
    shown = plain(value, nan_is_missing=True)
    return shown if shown is None or isinstance(shown, str) else str(shown)


def _index_levels(index: Any) -> list[Any]:
    """The levels of an index as flat indexes; none for the default count from 0, which says nothing."""
    import pandas

    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None:
        return []
    if isinstance(index, pandas.MultiIndex):
        return [index.get_level_values(level) for level in range(index.nlevels)]
    return [index]


def _category_ranks(categorical: Any) -> Any:
    """The rank of each category, with one more at the end that missing values (code -1) read and a mask
    hides."""
    import numpy

    count = len(categorical.categories)
    ranks = numpy.arange(count + 1)
    if not categorical.ordered:
        try:
            sorted_places = numpy.argsort(categorical.categories.to_numpy(), kind="stable")
        except TypeError:
            sorted_places = numpy.argsort([str(name) for name in categorical.categories], kind="stable")
        ranks[sorted_places] = numpy.arange(count)
    return ranks


def _label(name: Any) -> str:
    if isinstance(name, tuple):
        return " / ".join(_label(part) for part in name if part != "")
    if isinstance(name, str):
        return plain(str(name), limit=200)
    return plain(nested(name, 200) if isinstance(name, bytes) else str(name), limit=200)


def _is_numeric(dtype: Any) -> bool:
    import pandas

    return bool(pandas.api.types.is_numeric_dtype(dtype)) and not pandas.api.types.is_bool_dtype(dtype)


def _polars_type(dtype: Any) -> str:
    try:
        return dtype._string_repr()  # what polars itself shows under a name: i64, str, datetime[μs]
    except Exception:
        return str(dtype)


def _at_midnight(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.endswith(MIDNIGHT))
