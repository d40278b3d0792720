"""Real server processes that are killed, stopped, frozen, or two at a time on one database."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.holding import descendants, parents
from tests.servers import Api, LiveServer

WAIT_S = 40.0
TICKS = "import time\nfor _i in range(10_000):\n    print('tick', _i)\n    time.sleep(0.05)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path)
    yield server
    server.stop()


def until(is_true: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := is_true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def make(api: Api, *sources: str) -> tuple[str, list[str]]:
    """(path of a notebook in the API, ids of its cells)."""
    status, made = api("POST", "notebooks/", {"name": "Faults"})
    assert status == 201
    path = f"notebooks/{made['id']}/"
    cells = []
    for source in sources:
        status, cell = api("POST", f"{path}cells/", {"type": "python", "source": source})
        assert status == 201
        cells.append(cell["id"])
    return path, cells


def text(cell: dict[str, Any]) -> str:
    return "".join(output.get("text", "") for output in cell["outputs"] or ())


def cells_of(api: Api, path: str) -> list[dict[str, Any]]:
    status, body = api("GET", path)
    assert status == 200
    return list(body["cells"])


def children(pid: int) -> set[int]:
    """All processes below this one."""
    return descendants(pid, parents())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_sigkill_loses_no_acknowledged_edit_and_leaves_nothing_running(server: LiveServer):
    api = server.api()
    path, cells = make(api, "x = 0", TICKS)
    acknowledged = 0
    for _ in range(2):
        api("POST", f"{path}runs/", {"cells": [cells[1]]})
        until(lambda: "tick" in text(cells_of(api, path)[1]))
        until(lambda: children(server.pid))  # what is shown may still be the last run's
        below = children(server.pid)
        pending: tuple[int, str] | None = None
        for _ in range(15):
            number, operation = acknowledged + 1, str(uuid.uuid4())
            edit = {"version": number, "source": f"x = {number}", "operation_id": operation}
            pending = (number, operation)
            assert api("PATCH", f"{path}cells/{cells[0]}/", edit)[0] == 200
            acknowledged = number
        server.kill()
        until(lambda below=below: not [pid for pid in below if is_alive(pid)], 10)
        killed = time.monotonic()
        server.start()
        assert time.monotonic() - killed < 30
        assert pending is not None
        edit = {"version": pending[0], "source": f"x = {pending[0]}", "operation_id": pending[1]}
        assert api("PATCH", f"{path}cells/{cells[0]}/", edit)[0] == 200  # a retry is not a second edit
        first, second = cells_of(api, path)
        assert (first["source"], first["version"]) == (f"x = {acknowledged}", acknowledged + 1)
        assert second["status"] == "idle"
        assert "tick 0" in text(second)
        runs = api("GET", f"{path}runs/")[1]
        assert {found["run"]["outcome"] for found in runs["results"]} == {"interrupted"}
    status, run = api("POST", f"{path}runs/", {"cells": [cells[0]], "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok")


def test_sigterm_ends_runs_in_order_keeps_their_output_and_frees_the_notebook(server: LiveServer):
    api = server.api()
    path, cells = make(api, TICKS, "print('after')")
    api("POST", f"{path}runs/", {"cells": [cells[0]]})
    until(lambda: "tick 3" in text(cells_of(api, path)[0]))
    below = children(server.pid)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 30
    assert not [pid for pid in below if is_alive(pid)]
    server.start()
    first = cells_of(api, path)[0]
    assert first["status"] == "idle"
    assert first["state"]["outcome"] == "interrupted"
    assert "tick 3" in text(first)
    status, run = api("POST", f"{path}runs/", {"cells": [cells[1]], "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok")


def test_two_processes_on_one_database_show_the_same_and_one_runs(server: LiveServer):
    other = LiveServer(server.data_dir)
    try:
        here, there = server.api(), other.api()
        path, cells = make(here, "a = 1\nprint(a)", "print('b')")
        assert here("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] == "ok"
        until(lambda: text(cells_of(there, path)[0]) == "1\n")
        assert there("PATCH", f"{path}cells/{cells[0]}/", {"version": 1, "source": "a = 2\nprint(a)"})[0] == 200
        until(lambda: cells_of(here, path)[0]["freshness"] == "stale")
        status, refused = there("POST", f"{path}runs/", {"all": True, "wait": True})
        assert status == 503
        assert "another server process" in json.dumps(refused)
        assert here("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] == "ok"
        until(lambda: text(cells_of(there, path)[0]) == "2\n")
        server.kill()
        status, run = until(lambda: _run_when_free(there, path))
        assert (status, run["run"]["outcome"]) == (200, "ok")
        assert {cell["status"] for cell in cells_of(there, path)} == {"idle"}
        server.start()
    finally:
        other.stop()


def test_a_frozen_process_that_wakes_up_finds_its_notebook_taken_and_writes_nothing(server: LiveServer):
    other = LiveServer(server.data_dir)
    try:
        here, there = server.api(), other.api()
        path, cells = make(here, TICKS, "print('b')")
        here("POST", f"{path}runs/", {"cells": [cells[0]]})
        until(lambda: "tick 3" in text(cells_of(here, path)[0]))
        kernels = children(server.pid)
        os.kill(server.pid, signal.SIGSTOP)
        status, run = until(lambda: _run_when_free(there, path, cells[1]))
        assert (status, run["run"]["outcome"]) == (200, "ok")
        frozen = text(cells_of(there, path)[0])
        os.kill(server.pid, signal.SIGCONT)
        until(lambda: server_is_fenced(server))
        time.sleep(2)
        assert text(cells_of(there, path)[0]) == frozen
        assert {cell["status"] for cell in cells_of(there, path)} == {"idle"}
        assert there("GET", f"{path}kernel/")[1]["state"] in ("idle", "running")
        assert len(children(server.pid) & kernels) < len(kernels)
        assert here("POST", f"{path}runs/", {"cells": [cells[1]], "wait": True})[0] == 503
    finally:
        other.stop()


def server_is_fenced(server: LiveServer) -> bool:
    return "taken this notebook over" in server.log()


def _run_when_free(api: Api, path: str, cell: str | None = None) -> tuple[int, Any] | None:
    """The answer of a run, once the lease of a process that is gone has run out."""
    wanted = {"cells": [cell]} if cell else {"all": True}
    try:
        status, run = api("POST", f"{path}runs/", {**wanted, "wait": True})
    except urllib.error.URLError:
        return None
    return (status, run) if status == 200 else None


def test_a_request_whose_server_was_killed_is_carried_out_when_it_is_sent_again_with_its_key(server: LiveServer):
    path, [cell] = make(server.api(), "import time\ntime.sleep(6)")
    keyed, body = server.api(), {"all": True, "wait": True}
    keyed.headers = {**keyed.headers, "Idempotency-Key": "once"}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(keyed, "POST", f"{path}runs/", body)
        until(lambda: server.api()("GET", f"{path}cells/{cell}/")[1]["status"] == "running")
        server.kill()
        with pytest.raises(OSError):
            first.result(WAIT_S)
    server.start()
    assert keyed("POST", f"{path}runs/", {"all": True})[0] == 422

    def answered() -> Any:
        status, said = keyed("POST", f"{path}runs/", body)
        return status != 409 and (status, said)

    status, said = until(answered)
    assert status in (200, 201, 202), said
