"""PostgreSQL goes away, hangs, loses connections at the worst moment, is killed: nothing is lost, nothing half made,
and all goes on by itself when it is back (goals G2 and G13). One server and one database for all of these tests."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.faults.database import Postgres, Wire, cells, edits, rows
from tests.faults.loops import Loop
from tests.faults.test_processes import cells_of, children, is_alive, make, text, until
from tests.live.watching import Watcher, connect
from tests.servers import Api, LiveServer

COUNTING = "import time\nfor _i in range({}):\n    print('tick', _i)\n    time.sleep(0.05)"
STATEMENT_S = 1  # so that what never answers is given up after 6 s


class Bench:
    """A server whose database is reached over a wire."""

    def __init__(self, server: LiveServer, wire: Wire, postgres: Postgres) -> None:
        self.server, self.wire, self.postgres = server, wire, postgres
        self.api = server.api()

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.server.url}/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            assert error.code == 503
            return False

    def is_live(self) -> bool:
        with urllib.request.urlopen(f"{self.server.url}/health", timeout=10) as answer:
            return bool(answer.status == 200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    postgres = Postgres()
    wire = Wire(postgres.port)
    url = postgres.url.replace(f":{postgres.port}/", f":{wire.port}/")
    allowed = f"127.0.0.1:{postgres.port}"  # a cell may ask the server's own database: it is there, and can be slow
    server = LiveServer(
        tmp_path_factory.mktemp("server"), DATABASE_URL=url, DATABASE_STATEMENT_TIMEOUT_S=str(STATEMENT_S),
        CONNECTION_ALLOW=allowed,
    )  # fmt: skip
    try:
        yield Bench(server, wire, postgres)
    finally:
        server.stop()
        postgres.close()


@pytest.fixture
def bench(made: Bench) -> Bench:
    until(made.is_ready)
    return made


def edit(api: Api, path: str, cell: str, version: int, operation: str | None = None) -> tuple[int, Any]:
    change = {"version": version, "source": f"x = {version}", "operation_id": operation or str(uuid.uuid4())}
    return api("PATCH", f"{path}cells/{cell}/", change)


def test_a_run_outlives_its_database_and_no_edit_is_half_made(bench: Bench):
    api = bench.api
    path, made = make(api, COUNTING.format(80), "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [made[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]))
    assert edit(api, path, made[1], 1)[0] == 200

    bench.wire.cut()
    until(lambda: not bench.is_ready())
    assert bench.is_live()
    status, refused = edit(api, path, made[1], 2)
    assert (status, refused["error"]["code"]) == (503, "unavailable")
    bench.wire.mend()

    until(bench.is_ready)
    until(lambda: api("GET", f"{path}runs/{run}/")[1]["run"]["outcome"] == "ok", 60)
    first, second = cells_of(api, path)
    assert text(first) == "".join(f"tick {number}\n" for number in range(80))
    assert first["freshness"] == "current"
    assert (second["source"], second["version"]) == ("x = 1", 2)
    assert edit(api, path, made[1], 2)[0] == 200
    assert api("POST", f"{path}runs/", {"cells": [made[1]], "wait": True})[1]["run"]["outcome"] == "ok"


def test_a_database_that_swallows_what_is_sent_is_given_up_and_found_again(bench: Bench):
    api = bench.api
    path, made = make(api, COUNTING.format(200), "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [made[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]))
    bench.wire.swallow()
    try:
        assert edit(api, path, made[1], 1)[0] == 503
        assert bench.is_live() and not bench.is_ready()
    finally:
        bench.wire.flow()  # for new connections: those there were stay mute for ever
    until(bench.is_ready)
    until(lambda: edit(api, path, made[1], 1)[0] == 200)
    until(lambda: api("GET", f"{path}runs/{run}/")[1]["run"]["outcome"] == "ok", 60)
    assert text(cells_of(api, path)[0]) == "".join(f"tick {number}\n" for number in range(200))


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
def test_an_edit_whose_commit_lost_its_connection_is_made_once_by_the_retry(bench: Bench, arrives: bool):
    path, made = make(bench.api, "x = 0")
    operation, cut = str(uuid.uuid4()), bench.wire.commits_cut
    bench.wire.cut_next_commit(arrives=arrives)
    answers = []
    until(lambda: answers.append(edit(bench.api, path, made[0], 1, operation)) or answers[-1][0] == 200)
    assert bench.wire.commits_cut == cut + 1
    assert {status for status, _ in answers} <= {200, 503}
    assert cells(bench.postgres.url)[made[0]] == (2, "x = 1")
    logged = [entry for entry in edits(bench.postgres.url, path.split("/")[1]) if entry[1] == operation]
    assert [version for *_, version in logged] == [2]
    assert answers[-1][1]["seq"] == logged[0][0]


def test_a_database_that_was_restarted_fails_no_request_after_it(bench: Bench):
    """Though the pool holds a dozen connections, all of which ended."""
    path, _ = make(bench.api, "x = 0")

    def ask(number: int) -> int:
        return bench.api("GET", path)[0]

    with ThreadPoolExecutor(12) as many:
        assert set(many.map(ask, range(60))) == {200}
        bench.postgres.kill()
        bench.postgres.start()
        assert set(many.map(ask, range(60))) == {200}


def test_a_database_that_is_restarted_in_order_during_a_run_costs_no_line_and_no_edit(bench: Bench):
    api = bench.api
    path, made = make(api, COUNTING.format(120), "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [made[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]))
    bench.postgres.restart()
    operation = str(uuid.uuid4())
    until(lambda: edit(api, path, made[1], 1, operation)[0] == 200)
    until(lambda: api("GET", f"{path}runs/{run}/")[1].get("run", {}).get("outcome") == "ok", 60)
    first, second = cells_of(api, path)
    assert text(first) == "".join(f"tick {number}\n" for number in range(120))
    assert (second["source"], second["version"]) == ("x = 1", 2)


def test_requests_that_take_all_connections_are_refused_in_time_and_others_go_on_after_them(bench: Bench):
    api = bench.api
    path, made = make(api, "x = 0")
    other, ticking = make(api, COUNTING.format(60))
    run = api("POST", f"{other}runs/", {"cells": ticking})[1]["run"]["id"]
    with psycopg.connect(bench.postgres.url) as database:  # every edit waits for this row
        database.execute("SELECT 1 FROM notebooks_app_notebook WHERE id = %s FOR UPDATE", [path.split("/")[1]])
        with ThreadPoolExecutor(60) as many:
            answers = list(many.map(lambda number: edit(api, path, made[0], 1)[0], range(60)))
            assert set(answers) == {503}
        assert bench.is_live()
        until(lambda: api("GET", other)[0] == 200)
    until(lambda: edit(api, path, made[0], 1)[0] == 200)
    until(lambda: api("GET", f"{other}runs/{run}/")[1].get("run", {}).get("outcome") == "ok", 60)
    assert text(cells_of(api, other)[0]) == "".join(f"tick {number}\n" for number in range(60))
    assert cells(bench.postgres.url)[made[0]] == (2, "x = 1")


def test_a_socket_outlives_the_outage_and_says_what_it_refuses(bench: Bench):
    path, made = make(bench.api, "x = 0")

    async def work() -> None:
        async with connect(bench.server, path.split("/")[1]) as socket:
            watcher = Watcher(socket)
            await watcher.hello()
            known = {"cell": made[0], "version": 1, "operation_id": str(uuid.uuid4())}
            change = {"type": "edit", "source": "x = 1", **known}
            bench.wire.cut()
            refused = await watcher.ask(**change)
            assert not refused["ok"] and refused["error"]["code"] == "unavailable"
            bench.wire.mend()
            async with asyncio.timeout(60):
                while not (reply := await watcher.ask(**change))["ok"]:
                    await asyncio.sleep(0.2)
            assert reply["version"] == 2

    asyncio.run(work())
    assert cells(bench.postgres.url)[made[0]] == (2, "x = 1")


def test_a_database_that_is_killed_keeps_what_the_server_promised(bench: Bench):
    loop = Loop(bench.server, bench.postgres.url)
    run = loop.api("POST", f"{loop.path}runs/", {"cells": [loop.ticking]})[1]["run"]["id"]
    for _ in range(3):
        loop.kill_database(bench.postgres)
    told = loop.finish()
    assert loop.api("GET", f"{loop.path}runs/{run}/")[1]["run"]["outcome"] is None  # it outlived them all
    assert told.accepted > 10 and told.retried
    assert loop.api("POST", f"{loop.path}stop/", {"wait": True})[0] == 200


def test_a_server_that_is_killed_leaves_no_broker_behind(bench: Bench):
    """Last here, for it ends the server that all the others use."""
    api = bench.api
    status, made = api("POST", "connections/", {"name": "Slow", "dsn": bench.postgres.url})
    assert status == 201, made
    path, _ = make(api)
    slow = {"type": "sql", "source": "SELECT pg_sleep(600) AS slept", "result_name": "s", "connection": made["id"]}
    cell = api("POST", f"{path}cells/", slow)[1]["id"]
    api("POST", f"{path}runs/", {"cells": [cell]})
    until(lambda: queries(bench.postgres))
    below = children(bench.server.pid)
    assert len(below) >= 2  # a kernel and the broker
    bench.server.kill()
    until(lambda: not [pid for pid in below if is_alive(pid)], 10)
    bench.server.start()
    assert {found["status"] for found in cells_of(bench.api, path)} == {"idle"}


def queries(postgres: Postgres) -> int:
    """How many queries of cells run in the database."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'FETCH%'"
    return int(rows(postgres.url, asked)[0][0])
