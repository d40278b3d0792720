"""The broker as a process: what it may know, how it dies and comes back, and files it refuses to open."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pytest

from kernels_app.broker import Broker, BrokerDied, ConnectionRefused, QueryCancelled, QueryError, QueryTimeout
from kernels_app.broker.errors import scrub
from kernels_app.broker.statements import split
from kernels_app.broker.values import decode

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def read(path):
    with pa.OSFile(path, "rb") as source:
        return pa.ipc.open_file(source).read_all()


@pytest.fixture
def shop(tmp_path):
    """A SQLite file of an operator, and another one beside it that nobody may reach."""
    for name in ("shop", "secret"):
        with sqlite3.connect(tmp_path / f"{name}.db") as file:
            file.execute("CREATE TABLE t (id INTEGER, name TEXT, price REAL)")
            file.executemany(
                "INSERT INTO t VALUES (?, ?, ?)", [(1, "a", 1.5), (2, None, 2.5), (3, name, None)]
            )
        file.close()
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.mark.asyncio
async def test_a_sqlite_file_of_an_operator_answers(broker, shop, out_path):
    result = await broker.run_query(
        shop, "SELECT * FROM t WHERE id >= $1 ORDER BY id", [2], out_path=out_path
    )
    assert read(out_path).to_pydict() == {"id": [2, 3], "name": [None, "shop"], "price": [2.5, None]}
    assert result.rows == 2
    tables = await broker.schema(shop)
    assert [table["table"] for table in tables] == ["t"] and tables[0]["columns"][0]["name"] == "id"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH 'FOLDER/secret.db' AS other",
        "VACUUM INTO 'FOLDER/copy.db'",
        "PRAGMA database_list",
        "PRAGMA journal_mode = DELETE",
        "INSERT INTO t VALUES (9, 'x', 1)",
        "DROP TABLE t",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
    ],
)
async def test_sqlite_reaches_no_other_file_and_writes_nothing(broker, shop, out_path, tmp_path, sql):
    before = (tmp_path / "shop.db").read_bytes()
    with pytest.raises(QueryError):
        await broker.run_query(shop, sql.replace("FOLDER", str(tmp_path)), [], out_path=out_path)
    assert (tmp_path / "shop.db").read_bytes() == before and not (tmp_path / "copy.db").exists()
    assert not os.path.exists(out_path)


@pytest.mark.asyncio
async def test_a_missing_sqlite_file_is_not_made(broker, tmp_path, out_path):
    with pytest.raises(ConnectionRefused):
        await broker.run_query(f"sqlite:///{tmp_path}/none.db", "SELECT 1", [], out_path=out_path)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.asyncio
async def test_sqlite_queries_are_timed_cancelled_and_capped(broker, shop, out_path):
    with pytest.raises(QueryTimeout):
        await broker.run_query(shop, ENDLESS, [], out_path=out_path, timeout_s=0.3)
    task = asyncio.create_task(broker.run_query(shop, ENDLESS, [], out_path=out_path, query_id="q"))
    while not await broker.cancel("q"):
        await asyncio.sleep(0.01)
    with pytest.raises(QueryCancelled):
        await task
    rows = ENDLESS.replace("count(*)", "i")
    result = await broker.run_query(shop, rows, [], out_path=out_path, row_cap=50)
    assert (result.rows, result.capped) == (50, "rows")


@pytest.mark.asyncio
async def test_a_broker_that_died_is_told_and_comes_back(broker, dsn, out_path):
    task = asyncio.create_task(broker.run_query(dsn, "SELECT pg_sleep(30)", [], out_path=out_path))
    while broker.pid is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    first = broker.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(BrokerDied):
        await asyncio.wait_for(task, 5)
    result = await broker.run_query(dsn, "SELECT 1 AS one", [], out_path=out_path + "2")
    assert result.rows == 1 and broker.pid != first


@pytest.mark.asyncio
async def test_the_child_knows_nothing_of_the_servers_environment(dsn, out_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "canary-key")
    monkeypatch.setenv("PGHOST", "elsewhere.invalid")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nowhere")
    broker = Broker()
    try:
        await broker.run_query(dsn, "SELECT * FROM sales.orders", [], out_path=out_path)
        environment = Path(f"/proc/{broker.pid}/environ").read_bytes()
        arguments = Path(f"/proc/{broker.pid}/cmdline").read_bytes()
        assert (
            b"canary-key" not in environment
            and b"elsewhere" not in environment
            and b"PGOPTIONS" not in environment
        )
        assert b"c4nary" not in environment + arguments
    finally:
        await broker.close()


@pytest.mark.asyncio
async def test_a_result_larger_than_its_memory_fails_alone(dsn, out_path):
    broker = Broker(memory_bytes=350 * 1024**2)
    try:
        with pytest.raises((QueryError, BrokerDied)):
            sql = "SELECT repeat('x', 100000000) FROM generate_series(1, 8)"
            await broker.run_query(dsn, sql, [], out_path=out_path)
        result = await broker.run_query(dsn, "SELECT 1", [], out_path=out_path + "2")
        assert result.rows == 1 and not os.path.exists(out_path)
    finally:
        await broker.close()


def test_the_child_ends_with_a_server_that_is_killed():
    program = textwrap.dedent("""
        import asyncio, os, signal
        from kernels_app.broker import Broker
        async def main():
            broker = Broker()
            await broker.start()
            print(broker.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    child = int(done.stdout)
    for _ in range(500):
        try:
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    pytest.fail("the broker outlived its server")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", [("SELECT 1", ())]),
        ("SELECT ';', $2; SELECT $1, $2", [("SELECT ';', $1", (2,)), (" SELECT $1, $2", (1, 2))]),
        (
            "SELECT $$a;$1$$, $f$;$f$, \"x;y\", E'\\';', $1",
            [("SELECT $$a;$1$$, $f$;$f$, \"x;y\", E'\\';', $1", (1,))],
        ),
        ("/* ; /* nested ; */ */ SELECT 1; -- ; end\n", [("/* ; /* nested ; */ */ SELECT 1", ())]),
        ("SELECT a$1 FROM t;;", [("SELECT a$1 FROM t", ())]),
        ("", []),
        ("-- only\n/* comments */;", []),
    ],
)
def test_statements_are_split_where_postgresql_would(sql, expected):
    assert [(statement.text, statement.parameters) for statement in split(sql)] == expected


@pytest.mark.parametrize(
    "value",
    [{"type": "float"}, {"type": "nope", "value": 1}, {"type": "bytes", "value": "?"}, "a\0b", "\ud800", [1],
     {"type": "list", "value": [0] * 10_001}, {"type": "date", "value": "yesterday"}],
)  # fmt: skip
def test_forged_values_are_refused(value):
    with pytest.raises(QueryError, match=r"Parameter \$1"):
        decode([value])


def test_scrubbing_takes_secrets_out_in_every_form():
    assert scrub("x p@ss/1 p%40ss%2F1 y", ("p@ss/1",)) == "x … … y"
    assert scrub("an ana a", ("a",)) == "an ana …"
    assert len(scrub("z" * 10_000, ())) == 4_000
