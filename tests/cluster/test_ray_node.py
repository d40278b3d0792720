"""A node as its container runs it: `raynode join --block`. What it says, what it offers, and that it joins again."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rays import RayCluster
from tests.cluster.test_ray_spares import metrics, run_one, runs
from tests.faults.test_processes import cells_of, is_alive, make, text, until
from tests.servers import LiveServer

NODE = "127.0.0.5"
GPUS = """
from django.contrib.auth import get_user_model
from kernels_app.models import KernelLimits
owner = get_user_model().objects.get(username="learner")
KernelLimits.objects.update_or_create(user=owner, defaults={"gpus": 1})
"""
SEEN = "import os\nprint(os.environ.get('CUDA_VISIBLE_DEVICES'))"


@dataclass(frozen=True)
class Node:
    log: Path
    pid: int

    def said(self, words: str) -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if words in line]


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server(KERNEL_RAY_WAIT_S="3")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def node(rays: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The only one with a GPU, as far as Ray counts them."""
    log = tmp_path_factory.mktemp("node") / "log"
    offers = ("--cpus", "1", "--memory-bytes", str(2 * 1024**3), "--gpus", "1")
    with rays.blocking(log, "join", "--node-ip", NODE, *offers, LOG_FORMAT="json") as process:
        until(lambda: NODE in rays.raylets(), 90)
        yield Node(log, process.pid)
    assert NODE not in rays.raylets()


@pytest.fixture(scope="module")
def learner(web: LiveServer) -> Any:
    """A person whose kernels have a GPU each."""
    web.session_cookies("learner")  # makes them
    api = web.api("learner")
    web.manage("shell", "--no-imports", "-c", GPUS)
    return api


def runs_in_time(api: Any, path: str) -> Any:
    """The node may not be known yet: then the cluster is full."""
    return runs(api, path) == (200, "ok")


def test_who_needs_a_gpu_is_placed_where_one_is_free(rays: RayCluster, web: LiveServer, node: Node, learner: Any):
    first, cells = make(learner, SEEN)
    second, _ = make(learner, SEEN)
    try:
        assert until(lambda: runs_in_time(learner, first), 90)
        assert rays.node_of(rays.lease(first.split("/")[1]).pid) == NODE
        assert text(cells_of(learner, first)[0]) == "0\n" and cells
        status, said = runs(learner, second)
        assert status == 503 and "The cluster is full" in str(said)
        assert runs(learner, first) == (200, "ok")
        other, _ = make(web.api(), SEEN)
        assert runs(web.api(), other) == (200, "ok")
        assert text(cells_of(web.api(), other)[0]) == "\n"
    finally:
        learner("DELETE", first)
        learner("DELETE", second)


def test_a_death_is_said_by_the_nodes_container_and_counted_by_web_servers(web: LiveServer, node: Node, learner: Any):
    path, _ = make(learner, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    until(lambda: runs(learner, path)[0] == 200, 90)
    said = until(lambda: [line for line in node.said("died") if line.startswith("{")])  # Ray says much, too
    line = json.loads(said[0])
    assert line["logger"] == "rillbook.runtime" and line["notebook_id"] == path.split("/")[1]
    assert line["message"].startswith(f"the kernel of notebook {line['notebook_id']} died: ")
    until(lambda: re.search(r'^rillbook_kernel_deaths_total\{reason="\w+"\} [1-9]', metrics(web), re.MULTILINE))
    learner("DELETE", path)


def test_a_node_that_lost_the_cluster_joins_it_again(rays: RayCluster, web: LiveServer, node: Node, learner: Any):
    os.kill(rays.raylets()[NODE], signal.SIGKILL)
    until(lambda: node.said("it joins again in 1 s"))
    until(lambda: NODE in rays.raylets(), 90)
    assert is_alive(node.pid)
    path, _ = make(learner, "print('back')")
    assert until(lambda: runs_in_time(learner, path), 90)
    learner("DELETE", path)
    assert run_one(rays, web.api()).pid
