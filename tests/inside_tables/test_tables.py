"""Dataframes as tables: what is shown of every kind, and pages, sorts, searches and exports of kept
frames."""

import datetime as dt
import decimal
import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernels_app.inside import tables

DAY = dt.date(2026, 3, 1)


@pytest.fixture(scope="module")
def shell():
    made = InteractiveShell()
    tables.register(made, lambda: "attempt")
    return made


@pytest.fixture
def show(shell):
    """The MIME bundle of a value as the kernel would send it; strict JSON, or it fails."""

    def _show(value):
        data, _ = shell.display_formatter.format(value)
        return json.loads(json.dumps(data, allow_nan=False))

    return _show


@pytest.fixture
def table(show):
    return lambda value: show(value)[tables.MIME]


def column(page, at=0):
    return [row[len(page["index"]) + at] for row in page["rows"]]


ODD = {
    "duplicate names": pd.DataFrame([[1, "x"], [2, "y"]], columns=["a", "a"]),
    "levels of columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", ""), ("a", 1)])),
    "names that are no text": pd.DataFrame({1: [1], None: [2], (1, 2): [3], DAY: [4], b"x": [5]}),
    "categories": pd.DataFrame({"c": pd.Categorical(["b", None, "a"]), "n": pd.Categorical([2, 1, 2],
    ordered=True)}),
    "intervals": pd.DataFrame({"i": pd.cut(pd.Series([1, 5, None]), [0, 2, 9])}),
    "periods": pd.DataFrame({"p": pd.PeriodIndex(["2026-02", None, "2026-01"], freq="M")}),
    "time differences": pd.DataFrame({"d": pd.to_timedelta([3, None, 1], unit="h")}),
    "zones": pd.DataFrame({"z": pd.date_range("2026", periods=2, tz="Europe/Paris")}),
    "mixed objects": pd.DataFrame({"o": [1, "a", None, [1, 2], {"a": {1}}, 2.5, DAY]}),
    "sparse": pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1])}),
    "complex": pd.DataFrame({"c": [1j, 2]}),
    "masked": pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None],
    dtype="boolean")}),
    "nothing": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": []}),
    "no columns": pd.DataFrame(index=["x", "y"]),
    "lone surrogates": pd.DataFrame({"s": pd.Series(["a\ud800", "b\0"], dtype=object)}),
    "a series without a name": pd.Series([1, 2]),
    "polars": pl.DataFrame({"l": [[1], None], "s": [{"a": 1}, None], "t": [dt.time(1), None], "d": [DAY,
    None]}),
    "polars objects": pl.DataFrame({"o": pl.Series([object(), object()], dtype=pl.Object)}),
    "polars series": pl.Series("x", ["b", "a"]),
    "polars nothing": pl.DataFrame(),
    "arrow": pa.table({
        "ts": pa.array([2**62, None], pa.timestamp("us")), "h": pa.array([1.5, None], pa.float16()),
        "n": pa.nulls(2),
        "m": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())), "v": pa.array(["b", "a"],
        pa.string_view()),
        "c": pa.array(["u", None]).dictionary_encode(), "b": [True, None], "dec": [decimal.Decimal("1.10"),
        None],
        "du": pa.array([2, 1], pa.duration("s")), "t": pa.array([2, 1], pa.time32("s")),
    }),
    "arrow batch": pa.record_batch({"a": [1]}),
    "relation": duckdb.sql("SELECT range AS a FROM range(3)"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_every_odd_frame_is_a_table_that_pages_sorts_searches_and_exports(table, name, tmp_path):
    shown = table(ODD[name])
    for at in range(len(shown["columns"])):
        for descending in (False, True):
            page = tables.page(shown["handle"], sort=[{"column": at, "descending": descending}])
            assert page["row_count"] == shown["row_count"]
            json.dumps(page, allow_nan=False)
    assert tables.page(shown["handle"], search="no such text")["row_count"] == 0
    for format in ("csv", "parquet"):
        if shown["columns"]:
            assert tables.export(shown["handle"], format, str(tmp_path / format)) == shown["row_count"]


def test_a_bundle_has_the_table_and_a_short_text_and_no_html(show):
    data = show(pd.DataFrame(np.zeros((10_000, 300))))
    assert set(data) == {tables.MIME, "text/plain"} and len(data["text/plain"]) <= tables.PLAIN_TEXT_LIMIT
    assert set(show(pl.DataFrame({"a": range(10_000)}))) == {tables.MIME, "text/plain"}


def test_a_styler_keeps_its_html(show):
    formatted = show(pd.DataFrame({"a": [1]}).style)
    assert "<table" in formatted["text/html"] and tables.MIME not in formatted


def test_subclasses_of_frames_are_tables_too(table):
    class Mine(pd.DataFrame):
        pass

    assert column(table(Mine({"a": [1]}))) == [1]


def test_values_become_what_json_and_browsers_can_hold(table):
    frame = pd.DataFrame({
        "big": [2**53 + 1, 2**53], "f": [np.inf, np.nan], "dec": [decimal.Decimal("1.50"), None],
        "b": [b"\x00\xff", b"x" * 40],
        "day": pd.to_datetime(["2026-03-01", None]), "at": pd.to_datetime(["2026-03-01 10:00",
        "2026-03-02 00:00"]),
        "deep": [list(range(1000)), {"a": "x" * 2000}], "text": ["x" * 5000, None],
    })  # fmt: skip
    first, second = table(frame)["rows"]
    assert first[:3] == [str(2**53 + 1), "Infinity", "1.50"] and second[:3] == [2**53, None, None]
    assert first[3] == "00 ff" and "(40 bytes)" in second[3]
    assert (first[4], second[4], first[5], second[5]) == (
        "2026-03-01",
        None,
        "2026-03-01T10:00:00",
        "2026-03-02T00:00:00",
    )
    assert len(first[6]) <= 500 and len(second[6]) <= 500 and len(first[7]) == 1000


def test_wide_frames_show_two_hundred_columns_and_say_how_many_there_are(table):
    shown = table(pd.DataFrame(np.zeros((3, 5000))))
    assert (len(shown["columns"]), len(shown["rows"][0]), shown["column_count"]) == (200, 200, 5000)


def test_an_index_is_shown_unless_it_only_counts(table):
    assert table(pd.DataFrame({"a": [1, 2]}))["index"] == []
    assert table(pd.DataFrame({"a": [1]}, index=[5]))["rows"] == [[5, 1]]
    levels = pd.MultiIndex.from_tuples([("u", 1), ("v", 2)], names=["k", None])
    shown = table(pd.DataFrame({"a": [3, 4]}, index=levels))
    assert [level["name"] for level in shown["index"]] == ["k", ""] and shown["rows"] == [
        ["u", 1, 3],
        ["v", 2, 4],
    ]
    assert tables.page(shown["handle"], sort=[{"column": "k", "descending": True}])["rows"][0] == ["v", 2, 4]


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_sorting_is_stable_with_missing_values_last_in_both_directions(table, library):
    data = {"key": [2.0, None, 1.0, 2.0, None, 1.0], "place": [0, 1, 2, 3, 4, 5]}
    value = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}[library](data)
    handle = table(value)["handle"]
    assert column(tables.page(handle, sort=[{"column": "key"}]), 1) == [2, 5, 0, 3, 1, 4]
    down = [{"column": "key", "descending": True}]
    assert column(tables.page(handle, sort=down), 1) == [0, 3, 2, 5, 1, 4]
    down.append({"column": "place", "descending": True})
    assert column(tables.page(handle, sort=down), 1) == [3, 0, 5, 2, 4, 1]


def test_categories_sort_in_their_order_if_they_have_one_and_else_by_name(table):
    sizes = pd.Categorical(
        ["large", "small", "medium"], categories=["small", "medium", "large"], ordered=True
    )
    names = pd.Categorical(["c", "a", "b"], categories=["c", "b", "a"])
    handle = table(pd.DataFrame({"size": sizes, "name": names}))["handle"]
    assert column(tables.page(handle, sort=[{"column": "size"}])) == ["small", "medium", "large"]
    assert column(tables.page(handle, sort=[{"column": "name"}]), 1) == ["a", "b", "c"]


def test_search_finds_text_of_any_column_whatever_the_case(table):
    frame = pd.DataFrame(
        {"name": ["Ärger", "b", "c"], "n": [10, 20, 7], "day": pd.date_range("2026-03-01", periods=3)}
    )
    handle = table(frame)["handle"]
    assert column(tables.page(handle, search="äRG")) == ["Ärger"]
    assert column(tables.page(handle, search="20", sort=[{"column": "n"}]), 1) == [7, 10, 20]
    assert column(tables.page(handle, search="03-03")) == ["c"]
    assert tables.page(handle, search=".*")["row_count"] == 0


def test_pages_are_bounded_and_tell_where_they_are(table):
    handle = table(pl.DataFrame({"a": range(2000)}))["handle"]
    page = tables.page(handle, 1990, 5000)
    assert (column(page)[0], len(page["rows"]), page["offset"], page["page_size"]) == (1990, 10, 1990, 500)
    assert tables.page(handle, 5000)["rows"] == [] and len(tables.page(handle, -5, 0)["rows"]) == 1


def test_lazy_frames_show_their_first_rows_and_say_so(table):
    shown = table(pl.DataFrame({"a": range(5000)}).lazy())
    assert shown["partial"] and shown["row_count"] == 1000
    assert "partial" not in table(pl.DataFrame({"a": range(5)}).lazy())


def test_later_changes_of_the_frame_do_not_change_the_table(table):
    frame = pd.DataFrame({"a": list(range(100))})
    handle = table(frame)["handle"]
    frame.loc[:, "a"] = -1
    frame["b"] = 2
    frame.drop(index=range(90), inplace=True)
    assert column(tables.page(handle, 50, 3)) == [50, 51, 52]


def test_forgotten_and_evicted_tables_say_what_to_do(shell):
    frame = pd.DataFrame({"a": [1]})
    handles = [
        tables.bundle(frame, attempt="one")[tables.MIME]["handle"] for _ in range(tables.KEPT_PER_ATTEMPT + 1)
    ]
    with pytest.raises(tables.TableGone, match="Run its cell again"):
        tables.page(handles[0])
    assert tables.page(handles[-1])["rows"] == [[1]]
    assert tables.forget(["one"]) == tables.KEPT_PER_ATTEMPT
    with pytest.raises(tables.TableGone):
        tables.page(handles[-1])


def test_an_unknown_column_is_an_error_and_a_failing_frame_is_text(table, show):
    with pytest.raises(KeyError, match="no column"):
        tables.page(table(pd.DataFrame({"a": [1]}))["handle"], sort=[{"column": "b"}])
    failing = pl.DataFrame({"a": ["x"]}).lazy().with_columns(pl.col("a").cast(pl.Int64))
    assert tables.MIME not in show(failing) and show(failing)["text/plain"]


def test_exports_hold_all_columns_and_the_chosen_rows(table, tmp_path):
    frame = pd.DataFrame(
        {"a": [3, 1, 2], "l": [[1], None, [2]], "d": pd.to_datetime([DAY] * 3)}, index=["x", "y", "z"]
    )
    handle = table(frame)["handle"]
    tables.export(handle, "csv", str(tmp_path / "t.csv"), sort=[{"column": "a"}])
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == ['"index","a","l","d"', '"y",1,,"2026-03-01"']
    tables.export(handle, "parquet", str(tmp_path / "t.parquet"), search="x")
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pydict()["a"] == [3]
    with pytest.raises(ValueError, match="csv or parquet"):
        tables.export(handle, "xlsx", str(tmp_path / "t"))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_million_rows_are_sorted_and_searched_as_a_whole(table, library):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"n": rng.integers(0, 10**6, 10**6), "s": rng.integers(0, 10**6, 10**6).astype(str)})
    handle = table(frame if library == "pandas" else pl.from_pandas(frame))["handle"]
    columns = (frame["s"].sort_values().tolist(), frame["n"].sort_values(ascending=False).tolist())
    for expected, sort in zip(columns, ({"column": "s"}, {"column": "n", "descending": True}), strict=True):
        assert column(tables.page(handle, 500, 10, [sort]), "ns".index(sort["column"])) == expected[500:510]
    matches = frame["s"].str.contains("777") | frame["n"].astype(str).str.contains("777")
    assert tables.page(handle, 0, 10, [], "777")["row_count"] == matches.sum()


def test_a_whole_number_of_thousands_of_digits_is_shown_by_its_size():
    from kernels_app.inside.table_values import plain

    assert plain(10**5_000) == "10^5,000 (about)" and plain(-(10**5_000)).startswith("-10^5,000")
    assert plain(2**60) == str(2**60)
    assert len(plain(10**4_000)) <= 1_000
