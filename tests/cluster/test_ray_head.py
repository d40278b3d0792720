"""Ray's head is killed and comes back. Where it knows nothing, web servers live on, nodes join again and lost kernels
are told; where its tables are in Redis, kernels go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rays import NODES, RayCluster
from tests.cluster.test_ray_faults import kernel_states
from tests.cluster.test_ray_live import browser
from tests.cluster.test_ray_spares import runs
from tests.faults.test_processes import TICKS, cells_of, make, text, until

WAIT_S = 120
AWAY_S = 75  # a node without its head ends itself after a minute, where nobody says otherwise


@pytest.fixture
def cluster(request: pytest.FixtureRequest, postgres: str, tmp_path: Path) -> Iterator[RayCluster]:
    """Its members stay as containers do: a node, and one beside the web server that offers nothing."""
    rays = RayCluster(tmp_path, postgres)
    if getattr(request, "param", False):
        rays.environment["RAY_REDIS_ADDRESS"] = f"127.0.0.1:{rays.redis_port}"
    try:
        rays.start_redis()
        rays.start_head()
        with ExitStack() as stack:
            for node, offer in zip(NODES, (("--cpus", "1"), ("--offer-nothing",)), strict=True):
                stack.enter_context(rays.blocking(tmp_path / node, "join", "--node-ip", node, *offer))
                until(lambda node=node: node in rays.raylets(), WAIT_S)
            yield rays
    finally:
        rays.stop()


@pytest.mark.soak
@pytest.mark.asyncio
async def test_a_head_that_was_killed_costs_variables_and_no_server(cluster: RayCluster):
    web = await asyncio.to_thread(cluster.server)
    api = web.api()
    path, cells = await asyncio.to_thread(make, api, "print('kept')", TICKS)
    window = await asyncio.to_thread(browser, web, path)
    async with window:
        told = kernel_states(window)
        await asyncio.to_thread(until, lambda: runs_one(api, path, cells[0]), WAIT_S)
        await window.ask("run", cells=[{"cell": cells[1]}])
        await window.until(lambda: window.outputs.get(cells[1]), WAIT_S)
        before = await asyncio.to_thread(cluster.raylets)
        cluster.kill_head()
        await asyncio.to_thread(cluster.start_head, "again")
        await window.until(lambda: told and told[-1]["state"] == "dead", WAIT_S)
        await asyncio.to_thread(until, lambda: joined(cluster, before), WAIT_S)
        new, _ = await asyncio.to_thread(make, api, "print('new')")
        assert await asyncio.to_thread(until, lambda: runs(api, new) == (200, "ok"), WAIT_S)
    found = await asyncio.to_thread(cells_of, api, path)
    assert text(found[0]) == "kept\n" and "tick" in text(found[1])
    assert web._process is not None and web._process.poll() is None


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.parametrize("cluster", [True], indirect=True, ids=["with its tables in Redis"])
async def test_a_head_whose_tables_are_in_redis_costs_nothing(cluster: RayCluster):
    web = await asyncio.to_thread(cluster.server)
    api = web.api()
    path, cells = await asyncio.to_thread(make, api, TICKS)
    window = await asyncio.to_thread(browser, web, path)
    async with window:
        told = kernel_states(window)
        await window.ask("run", cells=[{"cell": cells[0]}])
        await window.until(lambda: window.outputs.get(cells[0]), WAIT_S)
        before = await asyncio.to_thread(cluster.raylets)
        cluster.kill_head()
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(cluster.start_head, "again")
        new, _ = await asyncio.to_thread(make, api, "print('new')")
        assert await asyncio.to_thread(until, lambda: runs(api, new) == (200, "ok"), WAIT_S)
        assert "dead" not in [each["state"] for each in told]
        length = len(str(window.outputs[cells[0]]))
        await window.until(lambda: len(str(window.outputs[cells[0]])) > length, WAIT_S)
    now = await asyncio.to_thread(cluster.raylets)
    assert [now[node] for node in NODES] == [before[node] for node in NODES]


def runs_one(api: Any, path: str, cell: str) -> bool:
    body = {"cells": [cell], "wait": True, "timeout_s": 60}
    return bool(api("POST", f"{path}runs/", body, timeout_s=150)[0] == 200)


def joined(cluster: RayCluster, before: dict[str, int]) -> Any:
    now = cluster.raylets()
    return all(now.get(node) not in (None, before[node]) for node in NODES)
