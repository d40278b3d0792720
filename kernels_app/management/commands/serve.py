"""`manage.py serve`: everything a fresh clone needs to open a notebook in a browser, in one process."""

from __future__ import annotations

import contextlib
import ctypes
import socket
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from kernels_app import checks, cluster, sandbox, surroundings
from kernels_app.hosts import link
from notebooks_app.notebooks import ensure_first_notebooks
from notebooks_app.views import WELCOME_SALT

FIRST_USER = "me"
PORTS_TRIED = 20
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>


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
        port = _listening(host, port)
        _give_memory_back()
        self._ask_around(migrates=not no_migrate)
        if settings.KERNEL_HOST == "ray":
            _attach()
        if not no_migrate:
            self._step("Preparing the database")
            call_command("migrate", verbosity=0, interactive=False)
        self.stdout.write(sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON))
        for line in self._invitation(host, port):
            self.stdout.write(line)
        self.stdout.flush()
        _run_daphne(host, port)

    def _ask_around(self, *, migrates: bool) -> None:
        """Refuse to start where something that is needed is not there; nothing was begun yet."""
        found = surroundings.troubles(migrates=migrates)
        if not all(trouble.is_bearable for trouble in found):
            lines = "\n".join(f"- {trouble}" for trouble in found)
            raise CommandError(f"Rillbook does not start:\n{lines}\nmanage.py doctor tells more.")
        for trouble in found:
            self.stderr.write(f"Warning: {trouble}")

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
        link.check()
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


def _listening(host: str, port: int | None) -> int:
    """The port, if it can be listened to; without one, 8000 or the next that can. Raises CommandError."""
    if port is None:
        found = next((each for each in range(8000, 8000 + PORTS_TRIED) if not _why_not(host, each)), None)
        if found is None:
            raise CommandError(f"No port from 8000 to {7999 + PORTS_TRIED} is free; name one with --port.")
        return found
    if why := _why_not(host, port):
        raise CommandError(f"Port {port} of {host} cannot be used: {why}. Name another with --port (PORT in an image).")
    return port


def _why_not(host: str, port: int) -> str:
    """Why a port cannot be listened to; "" if it can."""
    if not 0 < port < 65_536:
        return "it is no port"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        return "there is no such address"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            return error.strerror or "the system refuses"
    return ""


def _give_memory_back() -> None:
    """Have glibc return what large texts took as they go, and share the rest among threads: it kept some MB for each.

    mallopt(3). Another C library, which has no such function, is let be.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, 128 * 1024)


def _run_daphne(host: str, port: int) -> None:
    # daphne installs its reactor on import: only here, where a server is wanted.
    from daphne.endpoints import build_endpoint_description_strings

    from kernels_app import incoming, outgoing
    from kernels_app.ending import GracefulServer
    from notebook_project.asgi import application

    incoming.install()
    outgoing.install()
    GracefulServer(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        signal_handlers=True,
        server_name="rillbook",
        websocket_timeout=-1,
        websocket_handshake_timeout=10,
    ).run()
