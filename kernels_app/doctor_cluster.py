"""What `manage.py doctor` looks at where kernels live on a Ray cluster: settings, members, room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.conf import settings

from kernels_app import cluster, needs

if TYPE_CHECKING:
    from kernels_app.doctor import Finding

PART = "cluster"


def check_cluster(nodes_wanted: int = 1) -> Iterator[Finding]:
    """What is found of members and room; fewer nodes than are wanted are a failure."""
    from kernels_app.doctor import fail, ok, warn

    if settings.KERNEL_HOST != "ray":
        return
    words = cluster.refusals()
    yield from (fail(PART, each, "docs/cluster.md, Settings.") for each in words)
    if words:
        return
    if not cluster.is_member():
        yield from _from_outside(nodes_wanted)
        return
    try:
        cluster.attach()
    except cluster.NoCluster as error:
        yield fail(PART, str(error), "docs/cluster.md, Starting one.")
        return
    import ray

    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        offering = [node for node in nodes if node["Resources"].get("CPU")]
        found = f"Ray {ray.__version__}: {len(nodes)} members, {len(offering)} of them run kernels"
        if len(offering) < nodes_wanted:
            yield _too_few(found, nodes_wanted)
        elif cluster.is_too_large(needs.standard().resources()):
            small = f"{found}: none of them is large enough for a kernel, which needs {needs.standard()}"
            yield fail(PART, small, "Start larger nodes, or lower KERNEL_RAY_CPUS, _MEMORY_BYTES, _GPUS.")
        elif not cluster.has_room(needs.standard().resources()):
            yield warn(PART, f"{found}: the cluster is full", "Add nodes, or lower KERNEL_RAY_MEMORY_BYTES.")
        else:
            yield ok(PART, f"{found}, with room for a kernel of {needs.standard()}")
        yield from _waiting(len(offering))
    finally:
        ray.shutdown()


def _too_few(found: str, wanted: int) -> Finding:
    from kernels_app.doctor import fail

    words = "nobody has a place" if wanted == 1 else f"{wanted} nodes were asked for"
    return fail(PART, f"{found}: {words}", "Start nodes: manage.py raynode join. One that does not join logs why.")


def _from_outside(nodes_wanted: int) -> Iterator[Finding]:
    """As a task of its own looks at it (release.py --manage): the head tells who is there, and nothing is begun."""
    from kernels_app.doctor import fail, warn

    try:
        members = cluster.seen_from_outside()
    except cluster.NoCluster as error:
        yield fail(PART, str(error), "docs/cluster.md, Starting one.")
        return
    offering = sum(bool(offered.get("CPU")) for offered in members)
    found = f"{len(members)} members, {offering} of them run kernels; looked at from outside: this machine is none"
    if offering < nodes_wanted:
        yield _too_few(found, nodes_wanted)
        return
    yield warn(
        PART, f"{found}, so their room was not asked for",
        "A task of its own need be none. Beside a web server: manage.py raynode join --offer-nothing.",
    )  # fmt: skip


def _waiting(nodes: int) -> Iterator[Finding]:
    """Kernels that were started beforehand (hosts/steward.py)."""
    from kernels_app.doctor import ok, warn
    from kernels_app.hosts.steward import all_told

    told = all_told() if settings.KERNEL_POOL_SIZE else []
    for each in told:
        if each.trouble:
            yield warn(PART, f"A node starts no kernel beforehand: {each.trouble}", "See the logs of the nodes.")
    if told:
        yield ok(PART, f"{sum(each.ready for each in told)} kernels wait for notebooks on {nodes} nodes")
