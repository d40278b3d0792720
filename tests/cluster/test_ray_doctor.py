"""`manage.py doctor` of a cluster: on a machine that is a member, and in a task of its own, which is none.

The task has the network of this machine and sees no process of it, so no raylet.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from kernels_app import cluster, doctor_cluster
from kernels_app.doctor import Level
from tests.cluster.rays import NODES, RayCluster
from tests.servers import ROOT

TASK = ("bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--")
NOWHERE = "127.0.0.9:1"


@pytest.fixture(scope="module", autouse=True)
def migrated(rays: RayCluster) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=rays._all(), check=True, timeout=120)


def examined(
    rays: RayCluster, *walls: str, nodes: int = 1, **environment: str
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings of each part. Nothing isolates kernels here, as on Fargate."""
    given = rays._all() | {"KERNEL_SANDBOX": "none"} | environment
    done = subprocess.run(
        [*walls, sys.executable, "manage.py", "doctor", "--json", "--nodes", str(nodes)],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout.startswith("["), done.stderr
    parts: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(done.stdout):
        parts.setdefault(each["part"], []).append(each)
    return done.returncode, parts


def test_a_task_of_its_own_says_that_it_looked_from_outside_and_passes(rays: RayCluster) -> None:
    code, parts = examined(rays, *TASK)
    assert code == 0, parts
    (seen,) = parts["cluster"]
    members, offering = len(NODES) + 1, len(NODES)
    assert seen["words"].startswith(f"{members} members, {offering} of them run kernels; looked at from outside")
    assert seen["level"] == "warn" and "raynode join --offer-nothing" in seen["mend"]
    # Nor is a kernel, or what isolates it, looked for where none runs: Fargate has no user namespaces.
    for part in ("isolation", "kernel"):
        assert [(each["level"], "nodes of the cluster" in each["words"]) for each in parts[part]] == [("ok", True)]


def test_a_member_looks_at_the_room(rays: RayCluster) -> None:
    code, parts = examined(rays)
    assert code == 0 and "outside" not in str(parts["cluster"])
    assert f"{len(NODES)} of them run kernels" in parts["cluster"][0]["words"]


def test_a_kernel_that_no_node_can_hold_is_said_and_not_that_the_cluster_is_full(rays: RayCluster) -> None:
    code, parts = examined(rays, KERNEL_RAY_MEMORY_BYTES=str(32 * 1024**3))
    assert code == 1 and parts["cluster"][0]["level"] == "fail"
    assert "none of them is large enough for a kernel, which needs 0.1 CPUs, 32768 MiB" in str(parts["cluster"])


def test_a_task_that_finds_no_cluster_fails(rays: RayCluster) -> None:
    code, parts = examined(rays, *TASK, RAY_ADDRESS=NOWHERE)
    assert code == 1 and [each["level"] for each in parts["cluster"]] == ["fail"]
    assert NOWHERE in parts["cluster"][0]["words"]


def test_a_task_with_another_token_fails_and_does_not_tell_it(rays: RayCluster) -> None:
    token = "0" * 48
    code, parts = examined(rays, *TASK, RAY_AUTH_TOKEN=token)
    assert code == 1 and [each["level"] for each in parts["cluster"]] == ["fail"]
    assert "refuses this machine's token: RAY_AUTH_TOKEN" in parts["cluster"][0]["words"]
    assert token not in str(parts)


def test_a_cluster_whose_nodes_are_gone_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head, and a member beside a web server."""
    monkeypatch.setattr(cluster, "seen_from_outside", lambda: [{"memory": 1.0}, {"memory": 1.0, "CPU": 0.0}])
    (found,) = doctor_cluster._from_outside(1)
    assert found.level is Level.FAIL and "0 of them run kernels" in found.words and "Start nodes" in found.mend


@pytest.mark.parametrize("walls", [(), TASK], ids=["member", "task"])
def test_fewer_nodes_than_are_asked_for_fail(rays: RayCluster, walls: tuple[str, ...]) -> None:
    """As a release asks after it replaced them."""
    assert examined(rays, *walls, nodes=len(NODES))[0] == 0
    code, parts = examined(rays, *walls, nodes=len(NODES) + 1)
    (failed,) = [each for each in parts["cluster"] if each["level"] == "fail"]
    assert code == 1 and f"{len(NODES) + 1} nodes were asked for" in failed["words"]
