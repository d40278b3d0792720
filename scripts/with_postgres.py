"""Runs a command with DATABASE_URL naming a temporary PostgreSQL of its own, and ends that afterwards.

scripts/with_postgres.py [--] COMMAND [ARGUMENT…]
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

READY_S = 30
# Debian's folders, then Homebrew's.
INSTALLED = ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql*/bin", "usr/local/opt/postgresql*/bin")


def main() -> int:
    command = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    if not command:
        raise SystemExit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server ends with us
    with temporary_postgres() as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


@contextlib.contextmanager
def temporary_postgres(*options: str) -> Iterator[str]:
    """A fresh server on a free loopback port, with options of `postgres`; its URL.

    PostgreSQL refuses root: then the user postgres runs it.
    """
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rillbook-pg-"))
    if user:
        shutil.chown(folder, user)
    data, port, binaries = folder / "data", free_port(), find_binaries()
    initdb = [
        binaries / "initdb", "-D", data, "-U", "rillbook", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale",
    ]  # fmt: skip
    subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-F", "-h", "127.0.0.1", "-p", str(port), "-k", folder,
         "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200", *options],
        user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"),
        start_new_session=True,  # Ctrl-C is ours: it ends after those that use it
    )  # fmt: skip
    try:
        wait_ready(binaries, port, server)
        yield f"postgresql://rillbook@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def find_binaries() -> Path:
    """The folder of PostgreSQL's programs: that of the initdb on PATH (often a link), else the newest installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for pattern in INSTALLED:
        places += sorted(Path("/").glob(pattern), reverse=True)
    for place in places:
        if all((place / program).exists() for program in ("initdb", "postgres", "pg_isready")):
            return place
    raise SystemExit("The database tests need PostgreSQL: apt-get install postgresql, or brew install postgresql")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(binaries: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_S
    ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode != 0:
        if time.monotonic() > until or server.poll() is not None:
            raise SystemExit("The temporary PostgreSQL did not start.")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
