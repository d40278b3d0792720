"""A real PostgreSQL for the broker's tests, with a user whose password is a canary, and a broker to ask
it."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from kernels_app.broker import Broker

CANARY = "c4nary/Pä%ss:w0rd"
CANARY_QUOTED = "c4nary%2FP%C3%A4%25ss%3Aw0rd"


def _binaries() -> Path:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    raise RuntimeError("These tests need PostgreSQL: apt-get install postgresql")


def _free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


@pytest.fixture(scope="session")
def postgres():
    """Connection parameters of an owner; host, port and admin are what tests use."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rillbook-pg-"))
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", _free_port()
    subprocess.run(
        [_binaries() / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
        "--no-locale"],
        user=user, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (data / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nlocal all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    server = subprocess.Popen(
        [_binaries() / "postgres", "-D", data, "-F", "-h", "127.0.0.1", "-p", str(port), "-k", folder,
         "-c", "synchronous_commit=off", "-c", "full_page_writes=off"],
        user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"),
    )  # fmt: skip
    try:
        admin = _wait(port)
        _fill(admin)
        yield {"host": "127.0.0.1", "port": port, "admin": admin}
        admin.close()
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int) -> psycopg.Connection:
    until = time.monotonic() + 20
    while True:
        try:
            return psycopg.connect(
                host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True
            )
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _fill(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TYPE mood AS ENUM ('calm', 'loud')")
    admin.execute("CREATE DATABASE shop")
    admin.execute(psycopg.sql.SQL("CREATE USER ana PASSWORD {}").format(CANARY))
    with psycopg.connect(admin.info.dsn, dbname="shop", autocommit=True) as shop:
        shop.execute("CREATE TYPE mood AS ENUM ('calm', 'loud')")
        shop.execute("CREATE SCHEMA sales AUTHORIZATION ana")
        shop.execute("SET ROLE ana")
        shop.execute(
            "CREATE TABLE sales.orders (order_id int PRIMARY KEY, region text, amount numeric(12,2))"
        )
        shop.execute(
            "INSERT INTO sales.orders SELECT n, 'r' || n % 4, n * 1.25 FROM generate_series(1, 1000) n"
        )
        shop.execute("CREATE VIEW sales.regions AS SELECT region, sum(amount) FROM sales.orders GROUP BY 1")
        shop.execute("RESET ROLE")
        shop.execute("CREATE TABLE public.hidden (secret text)")


@pytest.fixture
def dsn(postgres):
    return f"postgresql://ana:{CANARY_QUOTED}@{postgres['host']}:{postgres['port']}/shop"


@pytest_asyncio.fixture
async def broker():
    made = Broker()
    yield made
    await made.close()


@pytest.fixture
def out_path(tmp_path):
    return str(tmp_path / f"{secrets.token_hex(8)}.arrow")
