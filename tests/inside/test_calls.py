"""Calls beside the cells: values, loading, variables, completion and inspection, also while a cell runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from .harness import KernelUnderTest, item


def test_ping_is_answered_while_a_cell_runs(kernel: KernelUnderTest) -> None:
    message = kernel.begin([item("import time\nprint('go')\ntime.sleep(0.6)")])
    kernel.wait_for_text("go")
    assert kernel.call("ping") == {"status": "ok"}
    kernel.end(message)


def test_an_unknown_call_is_an_error(kernel: KernelUnderTest) -> None:
    assert kernel.call("nonsense")["status"] == "error"


def test_values_carry_their_type(kernel: KernelUnderTest) -> None:
    source = (
        "import datetime, numpy as np\nd = datetime.date(2026, 3, 1)\nn = np.int64(5)\n"
        "s = 'text'\nbig = 2**70\nxs = [1, 2]"
    )
    kernel.run_source(source, definitions=["datetime", "np", "d", "n", "s", "big", "xs"])
    values = kernel.call("values", names=["d", "n", "s", "big", "xs"])["values"]
    assert values["d"] == {"type": "date", "value": "2026-03-01"}
    assert (values["n"], values["s"]) == (5, "text")
    assert values["big"] == {"type": "int", "value": str(2**70)}


def test_a_value_that_sql_has_no_form_for_is_an_error_that_names_it(kernel: KernelUnderTest) -> None:
    kernel.run_source("odd = object()", definitions=["odd"])
    reply = kernel.call("values", names=["odd"])
    assert reply["status"] == "error" and "odd" in reply["evalue"] and "object" in reply["evalue"]
    assert "nowhere" in kernel.call("values", names=["nowhere"])["evalue"]


def test_an_arrow_file_becomes_a_dataframe_shown_under_its_attempt(kernel: KernelUnderTest) -> None:
    import pyarrow as pa

    table = pa.table({"a": [1, 2, 3]})
    with pa.OSFile(str(kernel.work / "r.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    cell = item("")
    reply = kernel.call(
        "load", attempt=cell["attempt"], cell=cell["cell"], number=2, name="loaded", file="r.arrow"
    )
    assert reply == {"status": "ok", "rows": 3}
    kernel.wait_for(lambda: [e for e in kernel.entries if e["attempt"] == cell["attempt"]], "the display")
    shown = [e for e in kernel.entries if e["attempt"] == cell["attempt"]]
    assert "application/vnd.rillbook.table+json" in shown[0]["data"] and shown[0]["result"]
    result, use = kernel.run_source("print(type(loaded).__name__, loaded.a.sum())")
    assert result.text(use) == "DataFrame 6\n"


def test_a_duckdb_cell_queries_frames_and_binds_its_result(kernel: KernelUnderTest) -> None:
    frame = item("import pandas as pd\norders = pd.DataFrame({'n': [1, 2, 3]})", definitions=["pd", "orders"])
    query = item(
        "SELECT sum(n) AS total FROM orders",
        kind="duckdb",
        result_name="totals",
        references=["orders"],
        definitions=["totals"],
    )
    bad = item("SELECT nothing FROM nowhere", kind="duckdb")
    use = item("print(int(totals.total[0]))")
    result = kernel.run(frame, query, bad, use)
    assert result.text(use) == "6\n"
    assert result.finished(query)["names"] == ["totals"]
    assert "application/vnd.rillbook.table+json" in result.of(query, "display")[0]["data"]
    assert result.outcome(bad) == "error" and "nowhere" in result.error(bad)["evalue"]


def test_variables_are_described_without_running_their_code(kernel: KernelUnderTest) -> None:
    source = (
        "import pandas as pd\nvdf = pd.DataFrame({'a': [1, 2]})\n_private = 1\n"
        "class Nasty:\n    def __repr__(self): raise SystemError('ran')\nnasty = [Nasty()]\nword = 'w' * 1000"
    )
    _, cell = kernel.run_source(source, definitions=["pd", "vdf", "Nasty", "nasty", "word"])
    variables = {one["name"]: one for one in kernel.call("variables")["variables"]}
    assert variables["vdf"]["shape"] == [2, 1] and variables["vdf"]["type"] == "DataFrame"
    assert variables["vdf"]["cell"] == cell["cell"]
    assert variables["nasty"]["preview"] == "[<Nasty>]"
    assert len(variables["word"]["preview"]) <= 120
    assert not [name for name in variables if name.startswith("_")]


HOSTILE = """
import collections, datetime, sys, time
ran = []
def run(*_):
    ran.append(1)
    raise SystemExit
class Property:
    shape = property(run)
    nbytes = property(run)
    __repr__ = __str__ = __len__ = __sizeof__ = __hash__ = run
    def __getattr__(self, name): run()
class Pretends:
    __class__ = property(run)
class Meta(type):
    __name__ = __module__ = __repr__ = property(run)
class OfMeta(metaclass=Meta): pass
class FakeList(list):
    __module__ = 'builtins'
    __repr__ = __len__ = __iter__ = run
class FakeNumpy:
    __module__ = 'datetime'
    __repr__ = run
class Ordered:
    __hash__ = object.__hash__
    __lt__ = __eq__ = __repr__ = run
class Text(str):
    __len__ = __repr__ = run
hostile = [Property(), Pretends(), OfMeta(), OfMeta, FakeList([1]), FakeNumpy(), Ordered(), Text('x')]
one, two, three, four, five, six, seven, eight = hostile
inside = [hostile[:3], {'a': one}, (one,)]
keys, some = {Ordered(): 1, Ordered(): 2}, {Ordered(), Ordered()}
held = collections.OrderedDict(a=one)
many = collections.deque([one] * 3)
big = 10 ** 10_000
ran.clear()
"""


def test_no_object_of_a_cell_runs_anything_when_it_is_described(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source(HOSTILE)
    assert result.outcome(cell) == "ok", result.error(cell)
    found = {one["name"]: one for one in kernel.call("variables")["variables"]}
    assert found["one"]["type"] == "Property" and found["five"]["shape"] == [1]
    assert found["held"]["preview"] == "<OrderedDict>" and found["many"]["preview"].startswith("deque([<Property>")
    assert found["keys"]["preview"] == "<dict of 2 items>" and found["some"]["preview"] == "<set of 2 items>"
    assert found["ran"]["preview"] == "[]"
    assert kernel.call("variables")["variables"], "who asks is still answered"


@pytest.fixture
def subshell(kernel: KernelUnderTest) -> str:
    return str(kernel.ask("control", "create_subshell_request", {})["subshell_id"])


def test_completions_and_inspections_are_no_longer_than_the_server_reads(kernel: KernelUnderTest) -> None:
    kernel.run(
        item("class Long:\n    def __dir__(self): return [f'n{i:04}' for i in range(2000)]\nlong = Long()"),
        item("keys = {f'{i}' + 'k' * 9000: 1 for i in range(100)}"),
        item("def told(): pass\ntold.__doc__ = '\\n'.join(['Told.'] * 50_000)"),
    )
    many = kernel.ask("shell", "complete_request", {"code": "long.n", "cursor_pos": 6})
    assert 0 < len(many["matches"]) <= 500 and "signature" not in str(many["metadata"])
    large = kernel.ask("shell", "complete_request", {"code": "keys['", "cursor_pos": 6})
    assert 0 < sum(map(len, large["matches"])) <= 40_000
    found = kernel.ask("shell", "inspect_request", {"code": "told", "cursor_pos": 4, "detail_level": 0})
    assert 10_000 < len(found["data"]["text/plain"]) <= 40_000


def test_completion_and_inspection_answer_while_a_cell_runs(kernel: KernelUnderTest, subshell: str) -> None:
    kernel.run_source(
        "_inner = 1\ndef wobble(size=3):\n    '''Wobbles.'''\n    return _inner", definitions=["wobble"]
    )
    message = kernel.begin(
        [item("import os, time\nprint('busy')\nwhile not os.path.exists('over'): time.sleep(0.02)")]
    )
    kernel.wait_for_text("busy")
    found = completed(kernel, "wob", subshell)
    inspected = kernel.ask(
        "shell", "inspect_request", {"code": "wobble", "cursor_pos": 6, "detail_level": 1}, subshell
    )
    called = kernel.ask("shell", "rill_call_request", {"call": "ping"}, subshell)
    (kernel.work / "over").touch()
    kernel.end(message)
    assert found["matches"] == ["wobble"]
    assert "Wobbles." in inspected["data"]["text/plain"]
    assert called == {"status": "ok"}


def test_internal_names_are_not_completed(kernel: KernelUnderTest, subshell: str) -> None:
    kernel.run_source("_kept = 1\ndef reader(): return _kept", definitions=["reader"])
    found = kernel.ask("shell", "complete_request", {"code": "_", "cursor_pos": 1}, subshell)
    assert not [match for match in found["matches"] if match.startswith(("_cell_", "_dh", "_kept", "_i"))]


def test_attributes_and_own_code_are_completed(kernel: KernelUnderTest, subshell: str) -> None:
    kernel.run_source("text_value = 'abc'", definitions=["text_value"])
    for code, wanted in (("text_value.upp", ".upper"), ("_mine = 1\n_mi", "_mine"), ("import js", "json")):
        found = completed(kernel, code, subshell)
        assert wanted.lstrip(".") in [match.rpartition(".")[2] for match in found["matches"]], (
            code,
            found["matches"][:9],
        )


def test_completion_works_on_a_cache_that_a_killed_kernel_left_damaged(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert completed_in_a_new_kernel(cache) == ["wobble"]
    files = list(cache.rglob("*.pkl"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    assert completed_in_a_new_kernel(cache) == ["wobble"]


def completed_in_a_new_kernel(cache: Path) -> list[str]:
    kernel = KernelUnderTest(KERNEL_CACHE=str(cache))
    try:
        kernel.run_source("wobble = 1", definitions=["wobble"])
        subshell = str(kernel.ask("control", "create_subshell_request", {})["subshell_id"])
        return list(completed(kernel, "wob", subshell)["matches"])
    finally:
        kernel.close()


def test_a_duckdb_cell_binds_its_parameters(kernel: KernelUnderTest) -> None:
    rate = item("rate = 21", definitions=["rate"])
    query = item(
        "SELECT $1 * 2 AS n", kind="duckdb", result_name="doubled", references=["rate"], parameters=["rate"]
    )
    use = item("print(int(doubled.n[0]))")
    assert kernel.run(rate, query, use).text(use) == "42\n"


def test_a_duckdb_query_can_be_interrupted(kernel: KernelUnderTest) -> None:
    source = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range * b.range = 7"
    query = item(source, kind="duckdb", result_name="never")
    message = kernel.begin([item("import duckdb\nprint('go')", definitions=["duckdb"]), query])
    kernel.wait_for(
        lambda: [e for e in kernel.entries if e["attempt"] == query["attempt"]], "the query's start"
    )
    time.sleep(0.2)
    kernel.interrupt()
    assert kernel.end(message).outcome(query) == "interrupted"


def completed(kernel: KernelUnderTest, code: str, subshell: str) -> Any:
    """The reply to a completion at the end of `code`; asked again while jedi still reads its stubs."""
    until = time.monotonic() + 60
    while True:
        found = kernel.ask("shell", "complete_request", {"code": code, "cursor_pos": len(code)}, subshell)
        if found["matches"] or time.monotonic() > until:
            return found
