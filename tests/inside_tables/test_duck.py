"""SQL on dataframes inside the kernel: which frames it sees, how values are bound, what comes back, how it is
stopped."""

import datetime as dt
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kernels_app.inside import duck
from kernels_app.inside.parameters import ParameterError, encode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def names():
    orders = pd.DataFrame({"region": ["N", "S", "N"], "net": [1.5, 2.0, 4.0], "n": [1, 2, None]})
    return {
        "orders": orders,
        "rate": np.float64(0.5),
        "regions": ["N"],
        "since": dt.date(2026, 3, 1),
        "text": "x",
    }


def test_frames_are_tables_and_values_are_bound(names):
    sql = "SELECT region, sum(net * (1 - $1)) AS net FROM orders WHERE region = ANY($2) GROUP BY 1"
    frame, info = duck.run(sql, ["rate", "regions"], ["orders"], names)
    assert frame.to_dict("list") == {"region": ["N"], "net": [2.75]}
    assert info["rows"] == 1 and not info["capped"] and info["ms"] >= 0
    assert info["bound"] == [{"name": "rate", "value": "0.5"}, {"name": "regions", "value": "['N']"}]


@pytest.mark.parametrize("make", [pl.DataFrame, lambda d: pl.DataFrame(d).lazy(), pa.table, pd.DataFrame])
def test_frames_of_every_library_are_tables(make):
    frame, _ = duck.run("SELECT sum(a) AS s FROM t", [], ["t"], {"t": make({"a": [1, 2]})})
    assert frame.to_dict("list") == {"s": [3]}


def test_only_the_named_frames_exist(names):
    with pytest.raises(duck.SqlError, match="orders does not exist"):
        duck.run("SELECT * FROM orders", [], [], names)


def test_names_of_frames_keep_their_case(names):
    with pytest.raises(duck.SqlError, match="did you mean orders"):
        duck.run("SELECT * FROM ORDERS", [], ["ORDERS"], names)
    with pytest.raises(duck.SqlError, match="both orders and Orders"):
        duck.run(
            "SELECT * FROM orders, Orders", [], ["orders", "Orders"], names | {"Orders": names["orders"]}
        )


def test_a_name_that_is_no_frame_is_said(names):
    with pytest.raises(duck.SqlError, match="does not exist!\ntext is of type str, which is no dataframe"):
        duck.run("SELECT * FROM text", [], ["text"], names)
    with pytest.raises(ParameterError, match="orders} is of type DataFrame"):
        duck.run("SELECT $1", ["orders"], [], names)
    with pytest.raises(NameError, match="nowhere"):
        duck.run("SELECT $1", ["nowhere"], [], names)


def test_what_a_cell_creates_ends_with_it(names):
    sql = (
        "CREATE TABLE t AS SELECT $1 AS a; INSERT INTO t VALUES (2); SELECT sum(a) AS s FROM t WHERE a <> $2"
    )
    frame, _ = duck.run(sql, ["rate", "rate"], [], names)
    assert frame.to_dict("list") == {"s": [2.0]}
    with pytest.raises(duck.SqlError):
        duck.run("SELECT * FROM t", [], [], names)


def test_a_statement_without_rows_gives_no_frame(names):
    frame, info = duck.run("CREATE TABLE t (a INT); INSERT INTO t SELECT range FROM range(5)", [], [], names)
    assert frame is None and info["rows"] == 5
    assert duck.run("-- nothing", [], [], names)[0] is None
    assert duck.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (7) RETURNING a", [], [], names)[
        0
    ].a.tolist() == [7]


def test_rows_are_capped(names):
    frame, info = duck.run("SELECT * FROM range(100000000)", [], [], names, row_cap=100)
    assert len(frame) == 100 and info["capped"]
    assert not duck.run("SELECT * FROM range(100)", [], [], names, row_cap=100)[1]["capped"]


def test_results_keep_whole_numbers_and_times(names):
    sql = "SELECT * FROM (VALUES (9007199254740993, NULL, true), (1, 9007199254740993, NULL)) t(a, b, c)"
    frame, _ = duck.run(sql, [], [], names)
    assert frame.a.tolist()[0] == frame.b.tolist()[1] == 2**53 + 1 and str(frame.c.dtype) == "boolean"
    frame, _ = duck.run(
        "SELECT 1.5::DECIMAL(9,2) d, sum(1) h, DATE '2026-01-01' t, 1 x, 2 x, $1 s", ["since"], [], names
    )
    assert [str(kind) for kind in frame.dtypes[:3]] == ["float64", "int64", "datetime64[ms]"]
    assert list(frame.columns) == ["d", "h", "t", "x", "x_1", "s"] and frame.s[0] == pd.Timestamp(
        "2026-03-01"
    )


def test_odd_frames_can_be_queried():
    odd = pd.DataFrame({"p": pd.period_range("2026", periods=2, freq="M"), ("a", "b"): [1, 2], 3: [1j, 2j]})
    frame, _ = duck.run('SELECT p, a_b, "3" FROM odd', [], ["odd"], {"odd": odd})
    assert frame.p.tolist() == ["2026-01", "2026-02"] and frame.a_b.tolist() == [1, 2]
    with pytest.raises(duck.SqlError, match="odd cannot be a table: it has no columns"):
        duck.run("SELECT * FROM odd", [], ["odd"], {"odd": pd.DataFrame()})


def test_files_of_the_work_folder_can_be_read(names, tmp_path):
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "t.parquet")
    frame, _ = duck.run(f"SELECT sum(a) AS s FROM '{tmp_path}/t.parquet'", [], [], names)
    assert frame.s.tolist() == [3]


def test_values_are_encoded_for_the_broker():
    assert encode("a", np.int64(3)) == 3 and encode("a", 2**60) == {"type": "int", "value": str(2**60)}
    assert encode("a", np.datetime64("2026-03-01T10:00")) == {
        "type": "datetime",
        "value": "2026-03-01T10:00:00",
    }
    assert encode("a", pd.NaT) is None and encode("a", pd.Timestamp("2026-03-01"))["type"] == "datetime"
    assert (
        encode("a", pd.Series([1, 2])) == {"type": "list", "value": [1, 2]} == encode("a", np.array([1, 2]))
    )
    assert encode("a", (dt.date(2026, 3, 1),))["value"] == [{"type": "date", "value": "2026-03-01"}]
    with pytest.raises(ParameterError, match="{a} is of type object"):
        encode("a", object())


LONG_QUERIES = [
    "SELECT count(*) FROM range(10000000000) a, range(100) b WHERE hash(a.range + b.range) % 7 = 1",
    "CREATE TABLE t AS SELECT random() r FROM range(2000000000); SELECT * FROM t ORDER BY r",
]
# An interrupt while the query's thread begins.
AT_START = """
import os, threading
start = threading.Thread.start
def start_and_hit(thread):
    start(thread)
    if thread.name == "rillbook-duckdb":
        threading.Thread.start = start
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread.start = start_and_hit
"""


@pytest.fixture
def interruptible() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that runs a query as kernels do, and says "ready", then "interrupted 1"."""
    made = []

    def start(sql: str, before: str) -> subprocess.Popen[str]:
        program = f"""
import signal
from kernels_app.inside import interrupt
interrupt.install(lambda: True)
{before}
from kernels_app.inside import duck
print("ready", flush=True)
try:
    interrupt.call_user(duck.run, {sql!r}, [], [], {{}})
except KeyboardInterrupt:
    print("interrupted", duck.run("SELECT 1 AS one", [], [], {{}})[0].one[0], flush=True)
"""
        made.append(subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()


@pytest.mark.parametrize("loaded", ["import pandas", "import polars"])
@pytest.mark.parametrize("sql", LONG_QUERIES)
def test_an_interrupt_stops_a_long_query_at_once(interruptible, loaded, sql):
    process = interruptible(sql, loaded)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted 1\n"


def test_an_interrupt_stops_a_query_that_is_just_beginning(interruptible):
    process = interruptible(LONG_QUERIES[0], AT_START)
    assert process.communicate(timeout=60)[0] == "ready\ninterrupted 1\n"
