"""This process and the Ray cluster: attaching to it, the command lines that make one, what is refused and why.

Imports Ray only inside functions: a server of one machine needs none.
"""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

NAMESPACE = "rillbook"
REACH_S = 5


class NoCluster(RuntimeError):
    """The cluster cannot be used; the message says what to set or start."""


def refusals() -> list[str]:
    """What is wrong with the settings of a server with KERNEL_HOST=ray, a sentence each that says what to set."""
    found = package_refusals()
    if not settings.RAY_ADDRESS:
        found.append("KERNEL_HOST=ray needs RAY_ADDRESS, host:port of the cluster's head.")
    if not settings.REDIS_URL:
        found.append("KERNEL_HOST=ray needs REDIS_URL: the nodes tell the servers by Redis what runs.")
    if "sqlite3" in str(settings.DATABASES["default"]["ENGINE"]):
        found.append("KERNEL_HOST=ray needs PostgreSQL: set DATABASE_URL. SQLite is a file of one machine.")
    return found


def package_refusals() -> list[str]:
    """Of those, what any member of a cluster needs."""
    found = []
    try:
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        found.append("KERNEL_HOST=ray needs the package ray: pip install -r requirements-ray.txt.")
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        found.append("RAY_AUTH_MODE must be token: without it whoever reaches the cluster's ports commands it.")
    if words := _why_no_token():
        found.append(words)
    return found


def _why_no_token() -> str:
    """Why Ray finds no token by its own rule, the variable before the file and no blanks around; empty if it does."""
    token, path = os.environ.get("RAY_AUTH_TOKEN", ""), os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not token and not path:
        return "KERNEL_HOST=ray needs RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, the same on all machines."
    if token:
        return "" if token.strip() else "RAY_AUTH_TOKEN is blank: it must be the token of the cluster, or unset."
    try:
        return "" if Path(path).read_bytes().strip() else f"RAY_AUTH_TOKEN_PATH: the file {path} is empty."
    except OSError as error:
        return f"RAY_AUTH_TOKEN_PATH: the file {path} cannot be read ({error.strerror})."


def attach() -> None:
    """Become a driver of the cluster at RAY_ADDRESS, once. Blocks. Raises NoCluster."""
    if words := refusals():
        raise NoCluster(" ".join(words))
    try:
        _members()  # Ray itself tries for minutes, and then ends the process, or says nothing of a wrong token
        with ThreadPoolExecutor(1) as thread:  # in the main one, Ray would set signal handlers
            thread.submit(_attach).result()
    except Exception as error:
        raise NoCluster(explained(error)) from error


def _attach() -> None:
    import ray

    if not ray.is_initialized():
        ray.init(address=settings.RAY_ADDRESS, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)


def is_member() -> bool:
    """Whether a raylet runs on this machine, by which a driver speaks to the cluster."""
    from ray._private.services import find_node_ids

    return bool(find_node_ids())


def seen_from_outside() -> list[dict[str, float]]:
    """What each living member offers, asked of the head alone; a driver need not live here. Raises NoCluster."""
    try:
        return [dict(node.resources_total) for node in _members() if node.state == node.GcsNodeState.ALIVE]
    except Exception as error:
        raise NoCluster(explained(error)) from error


def _members() -> list[Any]:
    """What the head says of all members. Raises what the network, or Ray, refuses with."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # of compiled code

    os.environ["RAY_AUTH_MODE"] = "token"
    host, _, port = settings.RAY_ADDRESS.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    return list(GcsClient(address=settings.RAY_ADDRESS).get_all_node_info(timeout=REACH_S).values())


def explained(error: Exception) -> str:
    """Why the cluster at RAY_ADDRESS cannot be used, in words of ours."""
    words = str(error)
    if "Version mismatch" in words:
        return f"The cluster runs another Ray or Python than this process: {' '.join(words.split())[:400]}"
    if "InvalidAuthToken" in words:
        return (
            f"The cluster at RAY_ADDRESS={settings.RAY_ADDRESS} refuses this machine's token: RAY_AUTH_TOKEN (or the "
            "file that RAY_AUTH_TOKEN_PATH names) must be that of its head."
        )
    return (
        f"No Ray cluster answers at RAY_ADDRESS={settings.RAY_ADDRESS}, or this machine is no member of it: "
        f"start one with manage.py raynode head, join it with manage.py raynode join. ({type(error).__name__})"
    )


def new_name() -> str:
    """Of an actor; a lease carries it (leases.token_of)."""
    return f"kernel-{uuid.uuid4().hex[:16]}"


def actor_options(name: str, *, node: str = "") -> dict[str, Any]:
    """Of an actor that outlives the process that had it made; on one node only, or on any."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options: dict[str, Any] = {"lifetime": "detached", "namespace": NAMESPACE, "name": name}
    return options | ({"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)} if node else {})


def has_room(resources: dict[str, float]) -> bool:
    """Whether a living node has room for this now (options of an actor). Blocks a little."""
    from ray._private.state import available_resources_per_node

    return any(_holds(free, resources) for free in available_resources_per_node().values())


def is_placed(actor_id: str) -> bool:
    """Whether a node has given this actor a process, in which it may still be starting. Blocks a little."""
    from ray._private.state import actors

    return bool(actors(actor_id).get("Pid"))  # an address it has already when it is sent on to wait elsewhere


def nodes_for(resources: dict[str, float]) -> list[str]:
    """The living nodes that have a place for this when nothing else is on them. Blocks a little."""
    return [node for node, offered in _offers().items() if _holds(offered, resources)]


def is_too_large(resources: dict[str, float]) -> bool:
    """Whether there are nodes, and none of them would have a place for this if it were empty. Blocks a little."""
    offers = _offers().values()
    return bool(offers) and not any(_holds(offered, resources) for offered in offers)


def _offers() -> dict[str, dict[str, float]]:
    """What each living node on which kernels may run has in all."""
    import ray

    offers = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    return {node: offered for node, offered in offers.items() if offered.get("CPU")}


def resources_of(node: str) -> tuple[dict[str, float], dict[str, float]]:
    """What is free on a node, and all that it offers, as options of an actor are named. Blocks a little."""
    from ray._private.state import available_resources_per_node, total_resources_per_node

    found = []
    for each in (available_resources_per_node(), total_resources_per_node()):
        offered = each.get(node, {})
        found.append({option: offered.get(name, 0.0) for option, name in RESOURCES.items()})
    return found[0], found[1]


RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # as options of an actor, and of a node


def _holds(offered: dict[str, float], resources: dict[str, float]) -> bool:
    return all(offered.get(RESOURCES[option], 0) >= amount for option, amount in resources.items() if amount)


# --- Making one ------------------------------------------------------------------------------------------------------

HEAD_PORT = 6379
OBJECT_STORE_BYTES = 100_000_000  # what actors answer with; /dev/shm of a container is small
# One raylet has an address of its own in each deployment, so that ports can be the same everywhere:
# terraform/modules/security opens these and no others.
FIXED_PORTS = (
    "--node-manager-port=10000", "--object-manager-port=10001", "--runtime-env-agent-port=10002",
    "--dashboard-agent-grpc-port=10003", "--dashboard-agent-listen-port=10004", "--metrics-export-port=10005",
    "--min-worker-port=10100", "--max-worker-port=10999",
)  # fmt: skip
FREE_PORTS = ("--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0")


@dataclass(frozen=True, slots=True)
class Start:
    """How a machine becomes a node. Without an address it is the head, which runs no kernel unless `cpus` says so."""

    address: str = ""
    node_ip: str = ""
    port: int = HEAD_PORT
    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: float | None = None
    is_empty: bool = False
    has_free_ports: bool = False
    folder: str = ""
    block: bool = False

    def command(self) -> list[str]:
        """`ray start` with everything said: what Ray would guess differs between machines."""
        ray = str(Path(sys.executable).with_name("ray"))
        where = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        if self.address:
            where = [f"--address={self.address}"]
        elif self.folder:
            where.append(f"--temp-dir={self.folder}")
        offers: dict[str, float | int | None] = {"num-cpus": self.cpus, "num-gpus": self.gpus}
        if self.is_empty or (not self.address and self.cpus is None):
            offers = {"num-cpus": 0, "num-gpus": 0}
        given: dict[str, Any] = offers | {"memory": self.memory_bytes, "node-ip-address": self.node_ip or None}
        named = [f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
                 for name, value in given.items() if value is not None]  # fmt: skip
        rest = [f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats", "--log-style=record"]
        ports = FREE_PORTS if self.has_free_ports else FIXED_PORTS
        return [ray, "start", *where, *named, *rest, *(["--block"] if self.block else []), *ports]


def environment() -> dict[str, str]:
    """What Ray's processes, and so the actors, are given besides the server's own variables."""
    kept = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    given = {
        "PYTHONPATH": os.pathsep.join([str(settings.BASE_DIR), *kept]),
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "notebook_project.settings"),
        "RAY_AUTH_MODE": "token",
        # When memory runs out, kernels end first (limits.py), and never the actor, which can still say so.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(settings.RAY_HEAD_AWAY_S),
    }
    return given | {name: os.environ.get(name, value) for name, value in HEALTH.items()}


# In the foreground all that is said goes where this process's words go, also what actors log: else Ray keeps it in
# files of its own, where no collector of a container's output finds it. Of Ray's words, warnings are enough.
FOREGROUND = {"RAY_LOG_TO_STDERR": "1", "RAY_BACKEND_LOG_LEVEL": "warning"}

# A node that is gone is noticed within some 4 s.
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "2000",
}
