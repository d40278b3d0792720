"""Two server processes on one database, many clients at once: one winner, one order, no line lost (G3, G5, G19)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.test_processes import cells_of, make, text, until
from tests.live.watching import Watcher, connect
from tests.servers import Api, LiveServer

WAIT_S = 120.0
LINES = 3000


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, LiveServer]]:
    first = LiveServer(tmp_path_factory.mktemp("server"))
    second = LiveServer(first.data_dir)
    yield first, second
    second.stop()
    first.stop()


def race(servers: tuple[LiveServer, LiveServer], rounds: int, clients: int) -> None:
    """In each round every client edits the same version of one cell, half of them on each server."""
    apis = [server.api() for server in servers]
    path, cells = make(apis[0], "# start")

    def edit(version: int, number: int) -> tuple[int, Any]:
        change = {"version": version, "source": f"# {version} {number}", "operation_id": str(uuid.uuid4())}
        return apis[number % 2]("PATCH", f"{path}cells/{cells[0]}/", change, timeout_s=WAIT_S)

    with ThreadPoolExecutor(clients) as many:
        for version in range(1, rounds + 1):
            answers = list(many.map(lambda number, version=version: edit(version, number), range(clients)))
            assert Counter(status for status, _ in answers) == {200: 1, 409: clients - 1}
            winner = next(number for number, (status, _) in enumerate(answers) if status == 200)
            found = cells_of(apis[version % 2], path)[0]
            assert (found["version"], found["source"]) == (version + 1, f"# {version} {winner}")


def test_of_edits_that_conflict_over_two_processes_exactly_one_wins(servers: tuple[LiveServer, LiveServer]):
    race(servers, rounds=10, clients=10)


@pytest.mark.soak
def test_of_fifty_edits_that_conflict_exactly_one_wins_two_hundred_times(servers: tuple[LiveServer, LiveServer]):
    race(servers, rounds=200, clients=50)


def change_structure(api: Api, path: str, seed: int, count: int, gap: str) -> None:
    """Insert (half of it into one gap), move and delete one's own cells: nothing of it is refused."""
    dice = random.Random(seed)
    mine: list[str] = []
    for number in range(count):
        kind = dice.choice(("insert", "insert", "gap", "gap", "move", "delete")) if mine else "insert"
        if kind in ("insert", "gap"):
            after = gap if kind == "gap" else None
            status, made = api("POST", f"{path}cells/", {"source": f"# {seed} {number}", "after": after})
            assert status == 201, made
            mine.append(made["id"])
        elif kind == "move":
            status, body = api("POST", f"{path}cells/{dice.choice(mine)}/move/", {"after": gap})
            assert status == 200, body
        else:
            status, body = api("DELETE", f"{path}cells/{mine.pop()}/")
            assert status == 204, body


@pytest.mark.parametrize("people,count", [(8, 12), pytest.param(20, 120, marks=pytest.mark.soak)])
def test_people_who_change_the_structure_at_once_see_one_order(
    servers: tuple[LiveServer, LiveServer], people: int, count: int
):
    apis = [server.api() for server in servers]
    path, (gap,) = make(apis[0], "# the gap is below")
    with ThreadPoolExecutor(people) as many:
        jobs = [many.submit(change_structure, apis[one % 2], path, one, count, gap) for one in range(people)]
        for job in jobs:
            job.result()
    orders = [[cell["id"] for cell in cells_of(api, path)] for api in apis]
    assert orders[0] == orders[1] and len(set(orders[0])) == len(orders[0])
    assert gap in orders[0]


@pytest.mark.parametrize("cuts", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_no_line_of_output_is_lost_or_doubled_over_cuts_and_reloads(servers: tuple[LiveServer, LiveServer], cuts: int):
    server, other = servers
    api = server.api()
    pause = 0.002 if cuts == 10 else 0.02
    path, (cell,) = make(
        api, f"import time\nfor _i in range({LINES}):\n    print(_i)\n    if _i % 5 == 0: time.sleep({pause})"
    )
    wanted = "".join(f"{number}\n" for number in range(LINES))

    async def watch() -> str:
        cursor: int | None = None
        outputs: dict[str, list[dict[str, Any]]] = {}
        for number in range(cuts + 1):
            async with connect(server if number % 3 else other, path.split("/")[1]) as socket:
                watcher = Watcher(socket)
                watcher.outputs = outputs
                if number % 4 == 0:  # a reload knows nothing
                    cursor, outputs = None, {}
                    watcher.outputs = outputs
                greeting = await watcher.hello(cursor)
                cursor = greeting["seq"]
                for known in greeting["cells"]:
                    if known["outputs"] is not None:
                        watcher.outputs[known["id"]] = known["outputs"]
                if number == 0:
                    await asyncio.to_thread(api, "POST", f"{path}runs/", {"all": True})
                if number < cuts:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            while True:
                                await watcher.frame()
                    socket.transport.abort()
                else:
                    async with asyncio.timeout(WAIT_S):
                        while shown(outputs.get(cell)) != wanted:
                            await watcher.frame()
        return shown(outputs.get(cell))

    assert asyncio.run(watch()) == wanted
    until(lambda: text(cells_of(api, path)[0]) == wanted, WAIT_S)
    assert text(cells_of(other.api(), path)[0]) == wanted


def shown(outputs: list[dict[str, Any]] | None) -> str:
    return "".join(output.get("text", "") for output in outputs or ())
