"""Runs over the API, on the real server with real kernels: what runs, in which order, what the answer says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Api, LiveServer

type Json = dict[str, Any]


class Book:
    """A notebook on the server, its cells called by names of the test."""

    def __init__(self, api: Api, **fields: Any) -> None:
        self.api = api
        status, made = api("POST", "notebooks/", {"name": "Scenario"})
        assert status == 201, made
        self.path = f"notebooks/{made['id']}/"
        self.ids: dict[str, str] = {}
        if fields:
            self("PATCH", "", fields)

    def __call__(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        status, answer = self.api(method, self.path + path, body, timeout_s=120)
        assert status == expect, answer
        return answer

    def add(self, **sources: str) -> None:
        for name, source in sources.items():
            self.ids[name] = self("POST", "cells/", {"source": source}, expect=201)["id"]

    def edit(self, name: str, source: str) -> Json:
        cell = self.cell(name)
        return self("PATCH", f"cells/{self.ids[name]}/", {"source": source, "version": cell["version"]})

    def set(self, name: str, **fields: Any) -> Json:
        return self("PATCH", f"cells/{self.ids[name]}/", fields)

    def delete(self, name: str) -> None:
        self("DELETE", f"cells/{self.ids[name]}/", expect=204)

    def run(self, *names: str, timeout_s: float = 60, **more: Any) -> Json:
        body = {"cells": [self.ids[name] for name in names]} if names else {"all": True}
        return self("POST", "runs/", {"wait": True, "timeout_s": timeout_s, **body, **more})

    def cell(self, name: str) -> Json:
        return self("GET", f"cells/{self.ids[name]}/")

    def freshness(self) -> dict[str, str]:
        cells = {cell["id"]: cell["freshness"] for cell in self("GET", "cells/")["cells"]}
        return {name: cells[cell] for name, cell in self.ids.items() if cell in cells}

    def order(self, answer: Json) -> str:
        names = {cell: name for name, cell in self.ids.items()}
        return " ".join(names[cell] for cell in answer["order"])

    def until(self, name: str, status: str) -> None:
        until = time.monotonic() + 30
        while self.cell(name)["status"] != status:
            assert time.monotonic() < until, f"{name} did not become {status}"
            time.sleep(0.05)

    def of(self, answer: Json, name: str) -> Json:
        return next(cell for cell in answer["cells"] if cell["id"] == self.ids[name])


def text(cell: Json) -> str:
    return "".join(output["text"] for output in cell["outputs"] if output["kind"] == "stream")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def book(server: LiveServer) -> Iterator[Callable[..., Book]]:
    """`book(a="x = 1", b="y = x")`; its kernel ends with the test."""
    made: list[Book] = []

    def make(run_mode: str | None = None, **sources: str) -> Book:
        fields = {"run_mode": run_mode} if run_mode else {}
        made.append(Book(server.api(), **fields))
        made[-1].add(**sources)
        return made[-1]

    yield make
    for one in made:
        one("DELETE", "", expect=204)


# --- Order -----------------------------------------------------------------------------------------------------------


def test_a_chain_runs_in_the_order_of_its_names_wherever_its_cells_stand(book):
    b = book(c="print(y + 1)", a="x = 1", b="y = x + 1")
    answer = b.run()
    assert b.order(answer) == "a b c"
    assert (answer["run"]["outcome"], answer["timed_out"]) == ("ok", False)
    assert text(b.of(answer, "c")) == "3\n"
    assert b.freshness() == {"a": "current", "b": "current", "c": "current"}


def test_running_a_cell_runs_what_it_needs_then_it_then_all_downstream(book):
    b = book(a="x = 1", b="y = x", c="z = y", other="q = 1")
    assert b.order(b.run("b")) == "a b c"
    assert b.freshness()["other"] == "new"


def test_a_diamond_runs_each_cell_once(book):
    b = book(a="a = 1", left="l = a", right="r = a", end="print(l + r)")
    answer = b.run("a")
    assert b.order(answer) == "a left right end"
    assert text(b.of(answer, "end")) == "2\n"


def test_what_the_answer_says_is_what_the_database_holds(book):
    b = book(a="x = 1\nprint(x)", b="print(x + 1)")
    answer = b.run()
    read = b("GET", f"runs/{answer['run']['id']}/")
    assert read == answer
    listed = b("GET", "runs/")["results"][0]
    assert (listed["run"], listed["order"]) == (answer["run"], answer["order"])
    for cell in answer["cells"]:
        whole = b("GET", f"cells/{cell['id']}/")
        assert (whole["state"], whole["freshness"], whole["status"]) == (cell["state"], "current", "idle")
        assert text(whole) == text(cell)


def test_only_runs_a_cell_and_nothing_around_it(book):
    b = book(a="x = 1", b="y = x", c="z = y")
    b.run()
    assert b.order(b.run("b", only=True)) == "b"


# --- Failures --------------------------------------------------------------------------------------------------------


def test_a_failure_blocks_what_needs_it_and_siblings_go_on(book):
    b = book(a="x = 1", bad="y = x / 0", after="z = y", sibling="s = x + 1")
    answer = b.run()
    assert answer["run"]["outcome"] == "error"
    assert b.order(answer) == "a bad sibling"
    assert b.freshness() == {"a": "current", "bad": "failed", "after": "blocked", "sibling": "current"}
    assert b.of(answer, "after")["state"]["blocked_by"] == [{"cell": b.ids["bad"], "name": "y"}]
    error = b.of(answer, "bad")["outputs"][-1]
    assert (error["kind"], error["ename"]) == ("error", "ZeroDivisionError")
    b.edit("bad", "y = x / 2")
    assert b.order(b.run("bad")) == "bad after"
    assert set(b.freshness().values()) == {"current"}


def test_a_cycle_is_an_error_on_its_cells_and_the_rest_runs(book):
    b = book(a="x = y", b="y = x", c="q = 1", d="z = x")
    answer = b.run()
    assert b.order(answer) == "c"
    assert [error["kind"] for error in b.cell("a")["state"]["errors"]] == ["cycle"]
    assert set(b.cell("a")["state"]["errors"][0]["cells"]) >= {b.ids["b"]}
    assert b.freshness()["d"] == "blocked"


def test_a_name_of_two_cells_is_an_error_on_both_until_one_is_renamed(book):
    b = book(a="x = 1", b="x = 2", c="print(x)", d="q = 1")
    answer = b.run()
    assert b.order(answer) == "d"
    for name, other in (("a", "b"), ("b", "a")):
        error = b.cell(name)["state"]["errors"][0]
        assert (error["kind"], error["names"], error["cells"]) == ("duplicate", ["x"], [b.ids[other]])
    b.edit("b", "w = 2")
    answer = b.run()
    assert text(b.of(answer, "c")) == "1\n"


def test_a_source_that_does_not_parse_says_where_and_does_not_run(book):
    b = book(a="x = (", b="y = 1")
    assert b.order(b.run()) == "b"
    error = b.cell("a")["state"]["errors"][0]
    assert (error["kind"], error["line"]) == ("syntax", 1)


def test_a_cell_that_kills_its_process_leaves_the_notebook_and_its_server_well(book):
    b = book(a="import os\nos.kill(os.getpid(), 9)", b="y = 1")
    answer = b.run("a")
    assert (answer["run"]["outcome"], b.of(answer, "a")["state"]["outcome"]) == ("died", "died")
    assert b("GET", "kernel/")["state"] == "dead"
    assert b.order(b.run("b")) == "b"
    assert b.freshness()["b"] == "current"


# --- Edits -----------------------------------------------------------------------------------------------------------


def test_an_edit_makes_its_cell_and_what_needs_it_stale_and_only_that_runs_again(book):
    b = book(a="x = 1", b="y = x", c="print(y)", other="q = 1")
    b.run()
    changed = b.edit("b", "y = x + 10")
    assert (changed["freshness"], changed["state"]["stale_because"]["kind"]) == ("stale", "edited")
    assert b.freshness() == {"a": "current", "b": "stale", "c": "stale", "other": "current"}
    answer = b("POST", "runs/", {"stale": True, "wait": True})
    assert b.order(answer) == "b c"
    assert text(b.of(answer, "c")) == "11\n"


def test_in_lazy_mode_a_run_leaves_what_needs_it_stale(book):
    b = book("lazy", a="x = 1", b="print(x)")
    b.run()
    b.edit("a", "x = 2")
    answer = b.run("a")
    assert b.order(answer) == "a"
    assert b.of(answer, "b")["freshness"] == "stale"
    assert b.freshness() == {"a": "current", "b": "stale"}
    assert text(b.of(b.run("b"), "b")) == "2\n"


def test_a_disabled_cell_and_what_needs_it_do_not_run(book):
    b = book(a="x = 1", b="y = x", c="q = 1")
    b.set("a", disabled=True)
    assert b.order(b.run()) == "c"
    assert b.cell("b")["state"]["disabled_by"] == [b.ids["a"]]
    b.set("a", disabled=False)
    assert b.order(b.run("a")) == "a b"


def test_the_names_of_a_deleted_cell_leave_the_kernel(book):
    b = book(a="x = 1", b="print(x)", c="print('x' in globals())")
    b.run()
    b.delete("a")
    assert b.freshness()["b"] == "stale"
    answer = b.run("b", "c")
    assert text(b.of(answer, "c")) == "False\n"
    assert b.of(answer, "b")["outputs"][-1]["ename"] == "NameError"


def test_a_move_changes_nothing_but_the_order_of_the_page(book):
    b = book(a="x = 1", b="print(x)")
    b.run()
    b("POST", f"cells/{b.ids['b']}/move/", {"index": 0})
    assert b.freshness() == {"a": "current", "b": "current"}
    assert b.order(b.run()) == "a b"


def test_sql_over_a_dataframe_of_another_cell_runs_after_it(book):
    b = book(frame="import pandas\nframe = pandas.DataFrame({'n': [1, 2, 3]})", end="print(int(total['s'][0]))")
    body = {"type": "sql", "source": "select sum(n) as s from frame", "result_name": "total"}
    b.ids["query"] = b("POST", "cells/", body, expect=201)["id"]
    answer = b.run()
    assert b.order(answer) == "frame query end"
    assert text(b.of(answer, "end")) == "6\n"


# --- Stopping, restarting, waiting -----------------------------------------------------------------------------------

SLOW = "import time\ntime.sleep(60)"


@pytest.mark.parametrize("route", ["stop/", "interrupt/"])
def test_a_stop_interrupts_the_running_cell_and_queued_ones_are_what_they_were(book, route):
    b = book(slow=f"x = 1\n{SLOW}", after="y = x", other="q = 1")
    started = b("POST", "runs/", {"all": True}, expect=202)
    b.until("slow", "running")
    stopped = b("POST", route, {"wait": True, "timeout_s": 20})
    assert stopped["settled"] is True
    assert b.cell("slow")["state"]["outcome"] == "interrupted"
    assert {b.cell(name)["status"] for name in b.ids} == {"idle"}
    assert b.freshness()["other"] == "new"
    assert b("GET", f"runs/{started['run']['id']}/")["run"]["outcome"] == "interrupted"


def test_a_wait_that_is_too_short_says_so_and_the_run_goes_on(book):
    b = book(a="import time\ntime.sleep(2)\nprint('done')")
    answer = b.run("a", timeout_s=0.2)
    assert (answer["timed_out"], answer["run"]["outcome"]) == (True, None)
    b.until("a", "idle")
    until = time.monotonic() + 10
    while b("GET", f"runs/{answer['run']['id']}/")["run"]["outcome"] != "ok":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert text(b.cell("a")) == "done\n"


def test_a_restart_forgets_names_and_keeps_outputs(book):
    b = book(a="x = 1\nprint(x)")
    b.run()
    answer = b("POST", "restart/", {"wait": True})
    assert (answer["run"], answer["timed_out"], answer["kernel"]["state"]) == (None, False, "idle")
    cell = b.cell("a")
    assert (cell["state"]["loaded"], text(cell)) == (False, "1\n")


def test_a_restart_can_run_all(book):
    b = book(a="x = 1", b="print(x)")
    b.run()
    answer = b("POST", "restart/", {"run_all": True, "wait": True})
    assert (answer["run"]["kind"], answer["run"]["outcome"], b.order(answer)) == ("restart", "ok", "a b")


def test_a_run_without_waiting_is_answered_at_once(book):
    b = book(a=SLOW)
    at = time.monotonic()
    answer = b("POST", "runs/", {"all": True}, expect=202)
    assert time.monotonic() - at < 5
    assert b("GET", f"runs/{answer['run']['id']}/")["run"]["id"] == answer["run"]["id"]
    b("POST", "stop/", {"wait": True})


# --- Bad requests, long outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [{}, {"all": False}, {"all": True, "stale": True}, {"cells": []}, {"cells": ["x"]}, {"cells": [1]}, {"cells": "x"},
     {"all": 1}, {"all": True, "wait": "yes"}, {"all": True, "timeout_s": 301}, {"all": True, "timeout_s": -1},
     {"all": True, "timeout_s": "5"}, {"all": True, "only": True}, {"everything": True}],
)  # fmt: skip
def test_a_bad_request_to_run_is_refused(book, body):
    error = book()("POST", "runs/", body, expect=400)["error"]
    assert error["code"] == "bad_request"


def test_an_unknown_cell_is_not_found_and_nothing_runs(book):
    b = book(a="x = 1")
    b("POST", "runs/", {"cells": [b.ids["a"], str(uuid.uuid4())]}, expect=404)
    assert b.freshness() == {"a": "new"}
    assert b("GET", "runs/")["results"] == []
    b("GET", f"runs/{uuid.uuid4()}/", expect=404)


def test_long_outputs_are_short_in_the_answer_and_whole_in_the_cell(book):
    b = book(a="print('y' * 5000)", b="'z' * 5000")
    answer = b.run()
    shown = b.of(answer, "a")["outputs"][0]
    assert (len(shown["text"]), shown["truncated"]) == (2_000, True)
    assert len(text(b.cell("a"))) == 5_001
    result = b.of(answer, "b")["outputs"][0]
    assert (len(result["data"]["text/plain"]), result["truncated"]) == (2_000, True)


def test_an_edit_on_an_old_version_is_a_conflict_also_here(book):
    b = book(a="x = 1")
    b.edit("a", "x = 2")
    conflict = b("PATCH", f"cells/{b.ids['a']}/", {"source": "x = 3", "version": 1}, expect=409)
    assert (conflict["error"]["version"], len(conflict["error"]["since"])) == (2, 1)


def test_a_deleted_notebook_takes_its_kernel_along(server):
    """The kernel's own child dies with it: a process with arguments that no other has."""
    b = Book(server.api())
    mark = str(uuid.uuid4().int)[:12]
    b.add(a=f"import subprocess\nsubprocess.Popen(['sleep', '{mark}'])")
    b.run()
    assert is_running("sleep", mark)
    b("DELETE", "", expect=204)
    b("GET", "kernel/", expect=404)
    until = time.monotonic() + 10
    while is_running("sleep", mark):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(*arguments: str) -> bool:
    wanted = "\0".join(arguments) + "\0"
    return any(_command(folder) == wanted for folder in Path("/proc").glob("[0-9]*"))


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_a_run_whose_server_was_killed_reads_as_interrupted_and_outputs_stay(book, server):
    b = book(a="print('kept')", slow=SLOW)
    b.run("a")
    started = b("POST", "runs/", {"cells": [b.ids["slow"]]}, expect=202)
    b.until("slow", "running")
    server.kill()
    server.start()
    until = time.monotonic() + 20  # the dead server's lease runs out first
    while b("GET", f"runs/{started['run']['id']}/")["run"]["outcome"] != "interrupted":
        assert time.monotonic() < until
        time.sleep(0.2)
    slow, kept = b.cell("slow"), b.cell("a")
    assert (slow["status"], slow["freshness"], slow["state"]["loaded"]) == ("idle", "failed", False)
    assert (kept["freshness"], text(kept)) == ("current", "kept\n")
    assert b.order(b.run("a")) == "a"
