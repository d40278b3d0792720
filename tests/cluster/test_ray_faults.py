"""What happens to notebooks when web servers, nodes and Redis die, freeze and come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.browser import Browser, Refused
from tests.cluster.rays import NODES, RayCluster
from tests.cluster.test_ray_live import Watch, browser
from tests.faults.test_processes import TICKS, cells_of, is_alive, make, text, until
from tests.servers import LiveServer

WAIT_S = 60
SLOW = "import time\nfor i in range({lines}):\n    print('line', i)\n    time.sleep(0.02)"


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server(KERNEL_RAY_WAIT_S="2")
    yield server
    server.stop()


def expected(lines: int) -> str:
    return "".join(f"line {i}\n" for i in range(lines))


async def saved(server: LiveServer, path: str, words: str) -> None:
    """Wait until the database holds what was shown: it follows within 250 ms."""
    api = server.api()
    await asyncio.to_thread(until, lambda: text(cells_of(api, path)[0]) == words)


def kernel_states(window: Browser) -> list[dict[str, Any]]:
    """What this browser is told of the kernel, as it comes."""
    told: list[dict[str, Any]] = []
    window.listeners.append(lambda event: told.append(event) if event["type"] == "kernel.changed" else None)
    return told


def runs_when_free(api: Any, path: str, cell: str) -> Any:
    status, run = api("POST", f"{path}runs/", {"cells": [cell], "wait": True, "timeout_s": 30}, timeout_s=150)
    return run if status == 200 and run["run"]["outcome"] == "ok" else None


@pytest.mark.asyncio
async def test_a_run_goes_on_when_its_web_server_is_killed(rays: RayCluster, web: LiveServer):
    doomed = await asyncio.to_thread(rays.server)
    path, cells = await asyncio.to_thread(make, doomed.api(), SLOW.format(lines=300))
    windows = await asyncio.to_thread(lambda: [browser(each, path) for each in (doomed, web)])
    async with windows[0] as first:
        shown = Watch(first, cells[0], expected(300))
        run = (await first.ask("run_all"))["run"]
        await first.until(lambda: "line 20\n" in shown.shown, WAIT_S)
        doomed.kill()
        async with windows[1] as second:
            seen = Watch(second, cells[0], expected(300))
            assert "line 20\n" in seen.shown
            await second.until(lambda: second.finished.get(run) == "ok", WAIT_S)
            await second.until(lambda: seen.shown == expected(300), WAIT_S)
    await saved(web, path, expected(300))


@pytest.mark.asyncio
async def test_a_killed_node_loses_its_kernels_and_nothing_that_was_saved(rays: RayCluster, web: LiveServer):
    api = web.api()
    path, cells = await asyncio.to_thread(make, api, "print('kept')", TICKS, "print('again')")
    window = await asyncio.to_thread(browser, web, path)
    async with window:
        told = kernel_states(window)
        run = (await window.ask("run", cells=[{"cell": cells[0]}]))["run"]
        await window.until(lambda: window.finished.get(run) == "ok", WAIT_S)
        await window.ask("run", cells=[{"cell": cells[1]}])
        await window.until(lambda: window.outputs.get(cells[1]), WAIT_S)
        await asyncio.to_thread(until, lambda: "tick" in text(cells_of(api, path)[1]))  # shown before it is saved
        before = rays.lease(path.split("/")[1])
        node = rays.node_of(before.pid)
        rays.kill_node(node)
        killed = time.monotonic()
        try:
            await window.until(lambda: told and told[-1]["state"] == "dead", WAIT_S)
            assert time.monotonic() - killed < 10  # the lease of 7 s, the poll of 1 s
            await window.until(lambda: window.states[cells[1]]["status"] == "idle", WAIT_S)
            found = await asyncio.to_thread(cells_of, api, path)
            assert text(found[0]) == "kept\n" and "tick" in text(found[1])
            assert found[0]["freshness"] == "current"
            assert await asyncio.to_thread(runs_when_free, api, path, cells[2])
            after = rays.lease(path.split("/")[1])
            assert after.epoch > before.epoch and rays.node_of(after.pid) != node
        finally:
            await asyncio.to_thread(rays.join, node)


@pytest.mark.soak
def test_a_frozen_node_that_thaws_finds_its_notebook_taken_and_writes_nothing(rays: RayCluster, web: LiveServer):
    api = web.api()
    path, cells = make(api, TICKS, "print('b')")
    api("POST", f"{path}runs/", {"cells": [cells[0]]})
    until(lambda: "tick 3" in text(cells_of(api, path)[0]))
    before = rays.lease(path.split("/")[1])
    node = rays.node_of(before.pid)
    frozen = rays.below(node)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert until(lambda: runs_when_free(api, path, cells[1]), 90)
        written = text(cells_of(api, path)[0])
        assert rays.lease(path.split("/")[1]).epoch > before.epoch
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    until(lambda: not is_alive(before.pid))
    until(lambda: not [pid for pid in frozen if is_alive(pid)])  # Ray has given the node up, and it gives up itself
    assert text(cells_of(api, path)[0]) == written
    assert {cell["status"] for cell in cells_of(api, path)} == {"idle"}
    assert api("GET", f"{path}kernel/")[1]["state"] == "idle"
    rays.join(node)


@pytest.mark.soak
@pytest.mark.asyncio
async def test_a_restart_of_redis_costs_no_line(rays: RayCluster, web: LiveServer):
    path, cells = await asyncio.to_thread(make, web.api(), SLOW.format(lines=400))
    window = await asyncio.to_thread(browser, web, path)
    async with window:
        shown = Watch(window, cells[0], expected(400))
        run = (await window.ask("run_all"))["run"]
        await window.until(lambda: "line 20\n" in shown.shown, WAIT_S)
        rays.kill_redis()
        await asyncio.sleep(1.5)
        rays.start_redis()
        await window.until(lambda: window.finished.get(run) == "ok", WAIT_S)
        await window.until(lambda: shown.shown == expected(400), WAIT_S)
        await window.until(lambda: shown.state() == ("idle", "ok"), WAIT_S)
        again = (await window.ask("run_all"))["run"]
        shown.expected = expected(400)
        await window.until(lambda: window.finished.get(again) == "ok", WAIT_S)


@pytest.mark.asyncio
async def test_while_the_head_does_not_answer_only_what_is_new_waits(rays: RayCluster, web: LiveServer):
    api = web.api()
    old, cells = await asyncio.to_thread(make, api, "print('old')")
    new, _ = await asyncio.to_thread(make, api, "print('new')")
    assert await asyncio.to_thread(runs_when_free, api, old, cells[0])
    window = await asyncio.to_thread(browser, web, new)
    async with window:
        told = kernel_states(window)
        head = await asyncio.to_thread(rays.gcs)
        for pid in head:
            os.kill(pid, signal.SIGSTOP)
        try:
            opening = asyncio.ensure_future(window.ask("run_all"))
            await window.until(lambda: told and told[-1]["state"] == "starting", WAIT_S)
            assert await asyncio.to_thread(runs_when_free, api, old, cells[0])
            assert not opening.done()
        finally:
            for pid in head:
                os.kill(pid, signal.SIGCONT)
        run = (await opening)["run"]
        await window.until(lambda: window.finished.get(run) == "ok", WAIT_S)


@pytest.mark.asyncio
async def test_a_full_cluster_is_said_in_the_notebook_and_in_the_log(rays: RayCluster):
    server = await asyncio.to_thread(lambda: rays.server(KERNEL_RAY_CPUS="0.6", KERNEL_RAY_WAIT_S="2"))
    api = server.api()
    held = [(await asyncio.to_thread(make, api, TICKS))[0] for _ in NODES]  # each has most of a node
    path, cells = await asyncio.to_thread(make, api, "print('a')")
    window = await asyncio.to_thread(browser, server, path)
    try:
        for each in held:
            await asyncio.to_thread(until, lambda each=each: api("POST", f"{each}runs/", {"all": True})[0] == 202)
        async with window:
            told = kernel_states(window)
            with pytest.raises(Refused, match="The cluster is full"):
                await window.ask("run_all")
            assert "cluster is full" in told[-1]["detail"]
        status, refused = await asyncio.to_thread(api, "POST", f"{path}runs/", {"all": True, "wait": True})
        assert status == 503 and "The cluster is full" in str(refused)
        assert "cluster is full" in server.log() and cells
    finally:
        for each in held:
            await asyncio.to_thread(api, "DELETE", each)
        server.stop()


@pytest.mark.asyncio
async def test_a_notebook_that_no_machine_can_hold_is_told_so_and_not_that_the_cluster_is_full(rays: RayCluster):
    """However long it may wait for a place."""
    server = await asyncio.to_thread(lambda: rays.server(KERNEL_RAY_CPUS="64", KERNEL_RAY_WAIT_S="3600"))
    path, _ = await asyncio.to_thread(make, server.api(), "print('a')")
    window = await asyncio.to_thread(browser, server, path)
    async with window:
        told = kernel_states(window)
        with pytest.raises(Refused, match="No machine of the cluster is large enough .* needs 64 CPUs, 64 MiB"):
            await window.ask("run_all")
        assert "No machine of the cluster" in told[-1]["detail"]
    assert "no node is large enough for notebook" in server.log() and "cluster is full" not in server.log()
    server.stop()


def test_a_deleted_notebook_frees_its_place(rays: RayCluster, web: LiveServer):
    api = web.api()
    path, cells = make(api, "print('a')")
    assert api("POST", f"{path}runs/", {"cells": [cells[0]], "wait": True})[0] == 200
    pid = rays.lease(path.split("/")[1]).pid
    assert is_alive(pid)
    assert api("DELETE", path)[0] == 204
    until(lambda: not is_alive(pid))
