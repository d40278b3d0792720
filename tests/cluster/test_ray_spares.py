"""Kernels that wait on nodes: a first run takes one, another follows, and they stand in nobody's way."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from kernels_app import leases
from tests.cluster.rays import NODES, Lease, RayCluster
from tests.faults.test_processes import TICKS, is_alive, make, until
from tests.servers import LiveServer

MIB = 1024**2
WAITING = {"KERNEL_POOL_SIZE": "1"}
# A node has places for two of these.
LARGE = WAITING | {"KERNEL_RAY_MEMORY_BYTES": str(700 * MIB), "KERNEL_RAY_WAIT_S": "4"}
LIMITS = """
from django.contrib.auth import get_user_model
from kernels_app.models import KernelLimits
owner = get_user_model().objects.get(username="{name}")
KernelLimits.objects.update_or_create(user=owner, defaults={{"memory_mib": 4096}})
"""


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server(**WAITING)
    yield server
    server.stop()


def runs(api: Any, path: str) -> tuple[int, Any]:
    status, answer = api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60}, timeout_s=150)
    return status, answer["run"]["outcome"] if status == 200 else answer


def run_one(rays: RayCluster, api: Any) -> Lease:
    path, _ = make(api, "print('here')")
    assert runs(api, path) == (200, "ok")
    return rays.lease(path.split("/")[1])


def full(rays: RayCluster) -> dict[str, int]:
    """Until one waits on each node."""
    return until(lambda: found if len(found := rays.waiting()) >= len(NODES) else None, 90)


def connections(pid: int, port: int) -> int:
    """Of one process, to this port of any machine."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp"))


def metrics(server: LiveServer) -> str:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_first_run_takes_an_actor_that_waits_and_another_one_follows(rays: RayCluster, web: LiveServer):
    waiting = full(rays)
    port = urlsplit(rays.database_url).port
    assert port and [connections(pid, port) for pid in waiting.values()] == [0] * len(waiting)
    lease = run_one(rays, web.api())
    assert waiting[leases.token_of(lease.host)] == lease.pid
    assert connections(lease.pid, port) > 0
    assert lease.pid not in full(rays).values()


def test_two_servers_that_open_at_once_get_an_actor_each(rays: RayCluster, web: LiveServer):
    other = rays.server(**WAITING)
    apis = [web.api(), other.api()]
    waiting = full(rays)
    until(lambda: re.search(r"rillbook_pool_ready [2-9]", metrics(other)))
    with ThreadPoolExecutor(2) as threads:
        leases_ = list(threads.map(lambda api: run_one(rays, api), apis))
    assert len({lease.pid for lease in leases_}) == 2
    assert {lease.pid for lease in leases_} <= set(waiting.values())
    other.stop()


def test_an_actor_that_died_while_it_waited_keeps_nobody_waiting(rays: RayCluster, web: LiveServer):
    waiting = full(rays)
    for pid in waiting.values():
        os.kill(pid, signal.SIGKILL)
    lease = run_one(rays, web.api())
    assert lease.pid not in waiting.values()
    assert not set(full(rays).values()) & set(waiting.values())


def test_a_full_cluster_gives_its_last_place_to_a_notebook(rays: RayCluster):
    server = rays.server(**LARGE)
    api = server.api()
    paths = [make(api, TICKS)[0] for _ in range(2 * len(NODES) + 1)]  # none of them is idle
    try:
        answers = [api("POST", f"{path}runs/", {"all": True}, timeout_s=150) for path in paths]
        assert [status for status, _ in answers] == [202] * (len(paths) - 1) + [503]
        assert "The cluster is full" in str(answers[-1][1])
    finally:
        for path in paths:
            api("DELETE", path)
        server.stop()


def test_what_waits_gives_way_to_a_larger_notebook(rays: RayCluster):
    server = rays.server(**LARGE)
    server.session_cookies("large")  # makes them
    api = server.api("large")
    server.manage("shell", "--no-imports", "-c", LIMITS.format(name="large"))
    until(lambda: re.search(r"rillbook_pool_ready 2", metrics(server)), 90)
    path, _ = make(api, "print('here')")
    assert runs(api, path) == (200, "ok")
    until(lambda: re.search(r"rillbook_pool_ready 0", metrics(server)))
    api("DELETE", path)
    server.stop()


def test_a_node_that_comes_back_has_a_steward_again(rays: RayCluster, web: LiveServer):
    before = full(rays)
    node = NODES[0]
    rays.kill_node(node)
    try:
        assert run_one(rays, web.api()).pid in before.values()
    finally:
        rays.join(node)
    assert len(set(full(rays).values()) - set(before.values())) >= 1
    assert {rays.node_of(pid) for pid in full(rays).values()} == set(NODES)


@pytest.mark.soak
def test_without_its_steward_what_waits_leaves(rays: RayCluster, web: LiveServer):
    waiting = full(rays)
    kept = run_one(rays, web.api())
    for node in NODES:
        for pid in rays.below(node):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Steward"):
                os.kill(pid, signal.SIGKILL)
    until(lambda: not [pid for pid in waiting.values() if pid != kept.pid and is_alive(pid)], 90)
    assert is_alive(kept.pid)
    assert kept.pid not in full(rays).values()
