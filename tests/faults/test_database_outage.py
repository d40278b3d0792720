"""PostgreSQL goes away while a cell runs, and comes back: nothing is lost and nothing half-acknowledged."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.with_postgres import temporary_postgres
from tests.faults.test_processes import cells_of, make, text, until
from tests.servers import LiveServer
from tests.wires import Wire

COUNTING = "import time\nfor _i in range(240):\n    print('tick', _i)\n    time.sleep(0.05)"


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[tuple[LiveServer, Wire]]:
    with temporary_postgres() as url:
        port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
        wire = Wire(port)
        server = LiveServer(tmp_path, DATABASE_URL=url.replace(f":{port}/", f":{wire.port}/"))
        try:
            yield server, wire
        finally:
            server.stop()


def is_live(server: LiveServer) -> bool:
    with urllib.request.urlopen(f"{server.url}/health", timeout=10) as answer:
        return bool(answer.status == 200)


def is_ready(server: LiveServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def test_a_run_outlives_its_database_and_no_edit_is_half_made(wired: tuple[LiveServer, Wire]):
    server, wire = wired
    api = server.api()
    path, cells = make(api, COUNTING, "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [cells[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]))
    assert api("PATCH", f"{path}cells/{cells[1]}/", {"version": 1, "source": "x = 1"})[0] == 200

    wire.cut()
    until(lambda: not is_ready(server))
    assert is_live(server)
    status, refused = api("PATCH", f"{path}cells/{cells[1]}/", {"version": 2, "source": "x = 2"})
    assert status in (500, 503)
    assert "error" in refused
    wire.mend()

    until(lambda: is_ready(server))
    until(lambda: api("GET", f"{path}runs/{run}/")[1]["run"]["outcome"] == "ok", 60)
    first, second = cells_of(api, path)
    assert text(first) == "".join(f"tick {number}\n" for number in range(240))
    assert first["freshness"] == "current"
    assert (second["source"], second["version"]) == ("x = 1", 2)
    assert api("PATCH", f"{path}cells/{cells[1]}/", {"version": 2, "source": "x = 2"})[0] == 200
    assert api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60})[1]["run"]["outcome"] == "ok"
