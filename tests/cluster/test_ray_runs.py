"""Notebooks on a real cluster: any web server runs, watches and stops what lives on a node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster.rays import RayCluster
from tests.faults.test_processes import TICKS, cells_of, make, text, until
from tests.live.watching import connect
from tests.servers import LiveServer


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def other(rays: RayCluster, web: LiveServer) -> Iterator[LiveServer]:
    server = rays.server()
    yield server
    server.stop()


def test_a_run_goes_through_an_actor_and_its_outputs_are_saved(web: LiveServer, other: LiveServer):
    here, there = web.api(), other.api()
    path, cells = make(here, "a = 1\nprint(a)", "print(a + 1)")
    status, run = here("POST", f"{path}runs/", {"all": True, "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok"), run
    assert there("PATCH", f"{path}cells/{cells[0]}/", {"version": 1, "source": "a = 2\nprint(a)"})[0] == 200
    status, run = there("POST", f"{path}runs/", {"cells": [cells[0]], "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok"), run
    assert [text(cell) for cell in cells_of(there, path)] == ["2\n", "3\n"]
    assert here("GET", f"{path}kernel/")[1]["state"] == there("GET", f"{path}kernel/")[1]["state"] == "idle"


def test_any_server_interrupts_a_run_that_another_one_started(web: LiveServer, other: LiveServer):
    here, there = web.api(), other.api()
    path, cells = make(here, TICKS, "print('after')")
    here("POST", f"{path}runs/", {"cells": [cells[0]]})
    until(lambda: "tick 3" in text(cells_of(there, path)[0]))
    status, stopped = there("POST", f"{path}stop/", {"wait": True, "timeout_s": 20})
    assert (status, stopped["settled"]) == (200, True)
    assert cells_of(here, path)[0]["state"]["outcome"] == "interrupted"
    status, run = here("POST", f"{path}runs/", {"cells": [cells[1]], "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok")


def test_two_servers_that_open_a_notebook_at_once_share_one_kernel(web: LiveServer, other: LiveServer):
    here, there = web.api(), other.api()
    path, cells = make(here, "import os\nprint(os.urandom(8).hex())\nx = 0", "y = 1")

    async def race() -> list[str]:
        async with connect(web, path.split("/")[1]) as one, connect(other, path.split("/")[1]) as two:
            from tests.live.watching import Watcher

            watchers = [Watcher(one), Watcher(two)]
            for watcher in watchers:
                await watcher.hello()
            return await asyncio.gather(*(watcher.run_all() for watcher in watchers))

    assert asyncio.run(race()) == ["ok", "ok"]
    epochs = {here("GET", f"{path}kernel/")[1]["epoch"], there("GET", f"{path}kernel/")[1]["epoch"]}
    assert epochs == {1}
