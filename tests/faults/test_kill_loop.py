"""Servers that are killed at random points while four writers edit and cells run (goals G1, G4, G17).

Who was told that an edit was accepted finds it, once; who was refused does not; nothing is left running. The seed of
the random points is printed. The long loops are soak tests; databases that are killed are test_database_outage.py's.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from tests.faults.database import Postgres
from tests.faults.loops import Loop
from tests.servers import LiveServer

READY_GOAL_S = 10.0
KILLS = int(os.environ.get("SOAK_KILLS", "100"))


def test_a_server_that_is_killed_under_edits_and_runs_keeps_its_word(tmp_path: Path):
    server = LiveServer(tmp_path)
    try:
        loop = Loop(server, tmp_path / "rillbook.sqlite3")
        for _ in range(4):
            loop.run_something()
            time.sleep(loop.dice.uniform(0, 1.0))
            loop.kill_server()
        told = loop.finish()
    finally:
        server.stop()
    assert told.accepted > 20 and told.refused and told.retried


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_many_kills(tmp_path: Path, engine: str):
    postgres = Postgres() if engine == "postgresql" else None
    server = LiveServer(tmp_path, **({"DATABASE_URL": postgres.url} if postgres else {}))
    try:
        loop = Loop(server, postgres.url if postgres else tmp_path / "rillbook.sqlite3")
        for number in range(KILLS):
            if loop.dice.random() < 0.9:  # now and then nothing has been run yet
                loop.run_something()
            time.sleep(loop.dice.uniform(0, 1.5))
            if postgres and number % 4 == 3:
                loop.kill_database(postgres)
            else:
                loop.kill_server()
        told = loop.finish()
    finally:
        server.stop()
        if postgres:
            postgres.close()
    times = sorted(loop.ready_s)
    print(f"{engine}: {told}; ready after {statistics.median(times):.1f} s, at most {times[-1]:.1f} s")
    assert statistics.median(times) < READY_GOAL_S
    assert told.accepted > 2 * KILLS and told.refused and told.retried
