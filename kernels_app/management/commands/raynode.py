"""`manage.py raynode`: makes this machine the head or a member of the Ray cluster on which kernels live."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kernels_app import cluster


class Command(BaseCommand):
    help = "Start Ray's head here, or join the cluster at RAY_ADDRESS; RAY_AUTH_TOKEN is the same everywhere."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=("head", "join"))
        parser.add_argument("--node-ip", default="", help="Address of this node; Ray finds one.")
        parser.add_argument("--port", type=int, default=cluster.HEAD_PORT, help="The head's port (6379).")
        parser.add_argument("--cpus", type=float, help="CPUs that kernels may reserve: all of a node, 0 of a head.")
        parser.add_argument("--memory-bytes", type=int, help="Memory that kernels may reserve; else Ray's share.")
        parser.add_argument("--gpus", type=float, help="GPUs that kernels may reserve.")
        parser.add_argument("--offer-nothing", action="store_true", help="Beside a web server: kernels live elsewhere.")
        parser.add_argument("--free-ports", action="store_true", help="For several nodes on one machine.")
        parser.add_argument("--folder", default="", help="Where the head keeps sockets and logs (/tmp/ray).")
        parser.add_argument("--block", action="store_true", help="Stay in the foreground, as a container does.")

    def handle(self, *args: Any, **options: Any) -> None:
        if words := _refusals(is_head=options["role"] == "head", offers=not options["offer_nothing"]):
            raise CommandError("\n".join(words))
        start = cluster.Start(
            address="" if options["role"] == "head" else settings.RAY_ADDRESS,
            node_ip=options["node_ip"],
            port=options["port"],
            cpus=options["cpus"],
            memory_bytes=options["memory_bytes"],
            gpus=options["gpus"],
            is_empty=options["offer_nothing"],
            has_free_ports=options["free_ports"],
            folder=options["folder"],
            block=options["block"],
        )
        command, environment = start.command(), {**os.environ, **cluster.environment()}
        if options["block"]:
            _become(command, environment, joins=bool(start.address))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise CommandError("Ray did not start:\n" + "\n".join(said[-15:]))
        self.stdout.write("This machine is the head." if not start.address else f"Joined {start.address}.")


def _refusals(*, is_head: bool, offers: bool) -> list[str]:
    """Actors write to the database with a node's own settings: without its address, to one that nobody else sees."""
    if not is_head and offers:
        return cluster.refusals()
    words = cluster.package_refusals()
    if not is_head and not settings.RAY_ADDRESS:
        words.append("RAY_ADDRESS must say where the cluster's head is, as host:port.")
    return words


def _become(command: list[str], environment: dict[str, str], *, joins: bool) -> None:
    """Turn into Ray, or what keeps it joined; whatever actors here log comes out where this process writes."""
    environment = {**cluster.FOREGROUND, **environment}
    if joins:
        command = [sys.executable, "-m", "kernels_app.rejoining", *command]
    os.execvpe(command[0], command, environment)  # noqa: S606  signals reach it itself
