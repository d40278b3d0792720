"""`manage.py serve`: everything a fresh clone needs to open a notebook in a browser, in one process."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from kernels_app import checks, cluster, sandbox
from notebooks_app.notebooks import ensure_first_notebooks
from notebooks_app.views import WELCOME_SALT

FIRST_USER = "me"
PORTS_TRIED = 20


class Command(BaseCommand):
    help = "Migrate, make the first user (single mode), start the server and print the URL that signs in."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (127.0.0.1).")
        parser.add_argument("--port", type=int, help="Port; without it, 8000 or the next free one.")
        parser.add_argument("--no-migrate", action="store_true", help="A step before this one migrates the database.")

    def handle(self, *args: Any, host: str, port: int | None, no_migrate: bool, **options: Any) -> None:
        if settings.KERNEL_HOST == "local" and (words := checks.refusal()):
            raise CommandError(f"{words}\n{checks.INSTALL}")
        if settings.KERNEL_HOST == "ray":
            _attach()
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        if not no_migrate:
            self._step("Preparing the database")
            call_command("migrate", verbosity=0, interactive=False)
        port = port or _free_port(host)
        self.stdout.write(sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON))
        for line in self._invitation(host, port):
            self.stdout.write(line)
        self.stdout.flush()
        _run_daphne(host, port)

    def _invitation(self, host: str, port: int) -> list[str]:
        base = f"http://{host if host != '0.0.0.0' else 'localhost'}:{port}"  # noqa: S104
        if settings.RILLBOOK_MODE == "multi":
            return [f"URL: {base}/", "Accounts: sign up there, or manage.py createsuperuser."]
        self._step("Preparing the first user and the demo")
        user = _first_user()
        key = signing.dumps(user.pk, salt=WELCOME_SALT)
        return ["Open this to begin; it signs you in:", f"URL: {base}{reverse('welcome', args=[key])}"]

    def _step(self, text: str) -> None:
        self.stdout.write(f"{text} …")
        self.stdout.flush()


def _attach() -> None:
    """Join the cluster now: a server that cannot is not started."""
    try:
        cluster.attach()
    except cluster.NoCluster as error:
        raise CommandError(str(error)) from error


def _first_user() -> Any:
    """The one user of single mode: an operator without a password, who comes in by the printed URL."""
    users = get_user_model().objects
    user = users.filter(is_active=True).order_by("pk").first()
    if user is None:
        user = users.create_superuser(FIRST_USER)
    ensure_first_notebooks(user)
    return user


def _free_port(host: str) -> int:
    for port in range(8000, 8000 + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex((host, port)) == 0:
                continue
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CommandError(f"No port from 8000 to {7999 + PORTS_TRIED} is free; name one with --port.")


def _run_daphne(host: str, port: int) -> None:
    # daphne installs its reactor on import: only here, where a server is wanted.
    from daphne.endpoints import build_endpoint_description_strings

    from kernels_app import outgoing
    from kernels_app.ending import GracefulServer
    from notebook_project.asgi import application

    outgoing.install()
    GracefulServer(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        signal_handlers=True,
        server_name="rillbook",
        websocket_timeout=-1,
        websocket_handshake_timeout=10,
    ).run()
