"""`make cluster`: a whole cluster on this machine for trying it, until Ctrl-C.

PostgreSQL, Redis, a Ray cluster of two nodes on which kernels live, web processes, nginx in front; nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from scripts.cluster import Cluster, run_cluster
from scripts.nginx import HASHED, ROUND_ROBIN, nginx
from scripts.with_postgres import find_binaries, free_port, temporary_postgres
from tests.servers import temporary_redis

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2, choices=range(1, 9), help="web processes (2)")
    parser.add_argument("--port", type=int, help="where to listen; without it, 8000 or any free port")
    parser.add_argument("--local", action="store_true", help="kernels in the web processes, without Ray")
    options = parser.parse_args()
    if words := missing(with_ray=not options.local):
        print("A cluster cannot be tried here. " + " ".join(words), file=sys.stderr)
        return 1
    for number in SIGNALS:
        signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(everything(options.processes, options.port, with_ray=not options.local))
            print(words_for(cluster), flush=True)
            signal.pause()
        except Ended:
            for number in SIGNALS:  # what ends is left to end
                signal.signal(number, signal.SIG_IGN)
            say("Ending")
    return 0


class Ended(BaseException):
    """A signal said that it is enough."""


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended


def missing(*, with_ray: bool) -> list[str]:
    """A sentence for each program that is not here."""
    words = []
    try:
        find_binaries()
    except SystemExit:
        words.append("PostgreSQL is missing: apt-get install postgresql.")
    if shutil.which("redis-server") is None:
        words.append("Redis is missing: apt-get install redis-server.")
    try:
        nginx()
    except RuntimeError:
        words.append("nginx is missing: apt-get install nginx.")
    if with_ray and importlib.util.find_spec("ray") is None:
        words.append("Ray is missing: pip install -r requirements-ray.txt, or LOCAL=1 without it.")
    return words


@contextlib.contextmanager
def everything(processes: int, port: int | None, *, with_ray: bool) -> Iterator[Cluster]:
    """All parts, in a temporary folder; the last that started ends first."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rillbook-cluster-")))
        say("Starting PostgreSQL and Redis")
        database_url = stack.enter_context(temporary_postgres())
        redis_url = stack.enter_context(temporary_redis())
        environment = {"KERNEL_POOL_SIZE": "1"}
        if with_ray:
            environment |= stack.enter_context(two_nodes(folder / "data", database_url, redis_url))
        say(f"Starting {processes} web processes and nginx")
        yield stack.enter_context(
            run_cluster(
                folder, database_url=database_url, redis_url=redis_url, processes=processes,
                port=port or preferred_port(), balance=ROUND_ROBIN if with_ray else HASHED, **environment,
            )
        )  # fmt: skip


@contextlib.contextmanager
def two_nodes(folder: Path, database_url: str, redis_url: str, **environment: str) -> Iterator[dict[str, str]]:
    """A Ray head and two nodes; what servers of that cluster are told."""
    from tests.cluster.rays import RayCluster

    say("Starting Ray: a head and two nodes")
    folder.mkdir(parents=True, exist_ok=True)
    rays = RayCluster(folder, database_url, redis_url)
    rays.environment |= environment
    try:
        rays.start()
        yield rays.environment
    finally:
        rays.stop()


def words_for(cluster: Cluster) -> str:
    path = cluster.webs[0].login_url.removeprefix(cluster.webs[0].url)
    lines = [f"Web process {number}: pid {web.pid}, {web.url}, log {web.data_dir / 'server.log'}"
             for number, web in enumerate(cluster.webs, 1)]  # fmt: skip
    lines += ["Ctrl-C ends everything. Open this to begin; it signs you in:", f"URL: {cluster.url}{path}"]
    return "\n".join(lines)


def preferred_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            return free_port()
    return 8000


def say(text: str) -> None:
    print(f"{text} …", flush=True)


if __name__ == "__main__":
    sys.exit(main())
