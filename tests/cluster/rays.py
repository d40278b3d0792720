"""A Ray cluster on this machine, as `manage.py raynode` makes it, and web servers that use it.

One a test run: a head that runs no kernel and two nodes, each a raylet with an address of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scripts.with_postgres import free_port
from tests.servers import ROOT, LiveServer

HEAD = "127.0.0.2"
NODES = ("127.0.0.3", "127.0.0.4")  # 127.0.0.1 would be rewritten to the machine's own address


@dataclass(frozen=True)
class Lease:
    host: str
    pid: int  # of the process that holds the notebook
    epoch: int
    expires: datetime


# Asked by a line, it answers with what each node's steward says.
LOOK = """
import dataclasses, json, sys
import django
django.setup()
from kernels_app import cluster
cluster.attach()
from kernels_app.hosts import steward
for line in sys.stdin:
    print(json.dumps([dataclasses.asdict(told) for told in steward.all_told()]), flush=True)
"""


class RayCluster:
    """The head is `HEAD`; nodes are joined one after the other. Without a Redis given, it has one of its own."""

    def __init__(self, folder: Path, database_url: str, redis_url: str = "") -> None:
        self.data_dir = folder
        self.database_url = database_url
        self.redis_port = 0 if redis_url else free_port()
        self._looking: subprocess.Popen[str] | None = None
        self.trusted = str(uuid.uuid4())  # the id of a notebook that may command the cluster
        # Sockets have short paths.
        self.session = Path(tempfile.mkdtemp(prefix="rb-ray-", dir="/tmp"))
        self.address = f"{HEAD}:{free_port()}"
        self.environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url or f"redis://127.0.0.1:{self.redis_port}/0",
            "KERNEL_HOST": "ray",
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "KERNEL_POOL_SIZE": "0",  # each that waits takes seconds of a processor
            "KERNEL_IDLE_SECONDS": "30",
            "KERNEL_RAY_MEMORY_BYTES": str(64 * 1024**2),
            "RAY_TRUSTED_NOTEBOOKS": self.trusted,
        }
        self.servers: list[LiveServer] = []

    def start(self) -> None:
        if self.redis_port:
            self.start_redis()
        self.start_head()
        for node in NODES:
            self.join(node)

    def join(self, node: str, *more: str) -> None:
        self.raynode("join", "--node-ip", node, "--cpus", "1", "--memory-bytes", str(2 * 1024**3), *more)

    def raynode(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "raynode", *arguments, "--free-ports"],
            cwd=ROOT, env=self._all(), capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def blocking(self, log: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """`raynode … --block`, as a container runs it, with its output in a file."""
        command = [sys.executable, "manage.py", "raynode", *arguments, "--free-ports", "--block"]
        with log.open("ab") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=self._all() | environment, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def server(self, **environment: str) -> LiveServer:
        """One more web server of this cluster."""
        folder = Path(tempfile.mkdtemp(dir=self.data_dir))  # of its log; what it stores is shared
        shared = self.environment | {"RILLBOOK_DATA_DIR": str(self.data_dir)}
        server = LiveServer(folder, **(shared | environment))
        self.servers.append(server)
        return server

    def stewards(self) -> list[dict[str, Any]]:
        """What each steward says (kernels_app/hosts/steward.py: Told)."""
        if self._looking is None or self._looking.poll() is not None:
            with (self.data_dir / "looking.log").open("ab") as log:
                self._looking = subprocess.Popen(
                    [sys.executable, "-c", LOOK], cwd=ROOT, env=self._all(), text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
        assert self._looking.stdin is not None and self._looking.stdout is not None
        print(file=self._looking.stdin, flush=True)
        while not (line := self._looking.stdout.readline()).startswith("["):  # Ray says something of its own
            assert line, (self.data_dir / "looking.log").read_text()
        said: list[dict[str, Any]] = json.loads(line)
        return said

    def waiting(self) -> dict[str, int]:
        """Names of the standard actors that wait for a notebook and have a kernel ready, and their pids."""
        usual = int(self.environment["KERNEL_RAY_MEMORY_BYTES"])
        found = [told for told in self.stewards() if told["ready"] and told["resources"]["memory"] == usual]
        return {name: pid for told in found for name, pid in told["waiting"].items()}

    def raylets(self) -> dict[str, int]:
        """The raylet of each address."""
        found = {}
        for pid, command in _processes():
            if "raylet/raylet" in command and str(self.session) in command:
                ip = command.partition("--node_ip_address=")[2].split()[0]
                found[ip] = pid
        return found

    def below(self, node: str) -> list[int]:
        """The raylet of a node and all its processes, which the actors and their kernels are."""
        from tests.faults.test_processes import children

        pid = self.raylets()[node]
        return [pid, *children(pid)]

    def start_redis(self) -> None:
        """A Redis of this cluster's own, which keeps nothing."""
        options = ["--bind", "127.0.0.1", "--port", str(self.redis_port), "--save", "", "--appendonly", "no"]
        pid = ["--daemonize", "yes", "--pidfile", str(self.data_dir / "redis.pid"), "--dir", str(self.data_dir)]
        subprocess.run(["redis-server", *options, *pid], check=True, capture_output=True, timeout=10)

    def kill_redis(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.data_dir / "redis.pid").read_text()), signal.SIGKILL)

    def lease(self, notebook: str) -> Lease:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT host, epoch, expires FROM notebooks_app_kernelsession WHERE notebook_id = %s", [notebook]
            ).fetchone()
        assert row is not None
        host = str(row[0])
        return Lease(host, int(host.split(":")[1]) if host else 0, row[1], row[2])

    def kill_node(self, node: str) -> None:
        """As a machine that loses its power: nothing of it can say goodbye."""
        for pid in self.below(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_head(self) -> None:
        """All of it at once; what it knew is gone."""
        for pid in [*self.gcs(), *self.below(HEAD)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def gcs(self) -> list[int]:
        """What of the head knows who is where."""
        return [pid for pid, command in _processes() if "gcs_server" in command and str(self.session) in command]

    def start_head(self, folder: str = "") -> None:
        """`folder`, below the session's: another one, as on another machine, while old members are still here."""
        port = self.address.rpartition(":")[2]
        where = str(self.session / folder)
        self.raynode("head", "--node-ip", HEAD, "--port", port, "--folder", where)

    def node_of(self, pid: int) -> str:
        """The node on which a process lives."""
        return next(node for node in self.raylets() if pid in self.below(node))

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.kill()
            self._looking.wait(10)
        for server in self.servers:
            server.stop()
        for pid, command in _processes():
            if str(self.session) in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGTERM if "raylet" in command else signal.SIGKILL)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(str(self.session) in command for _, command in _processes()):
            time.sleep(0.1)
        for pid, command in _processes():
            if str(self.session) in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.redis_port:
            self.kill_redis()
        shutil.rmtree(self.session, ignore_errors=True)

    def _all(self) -> dict[str, str]:
        own = {"RILLBOOK_DATA_DIR": str(self.data_dir), "DJANGO_SETTINGS_MODULE": "notebook_project.settings"}
        return dict(os.environ) | own | self.environment


@pytest.fixture(scope="session")
def rays(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    found = RayCluster(tmp_path_factory.mktemp("rays"), postgres)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def _processes() -> list[tuple[int, str]]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    split = (line.strip().split(None, 1) for line in listed.splitlines())
    return [(int(parts[0]), parts[1]) for parts in split if len(parts) == 2]
