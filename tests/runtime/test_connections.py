"""SQL cells on a connection, end to end: a real PostgreSQL, the broker, a real kernel."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from kernels_app.queries import without_place
from kernels_app.schedule import PlanItem, Stop
from notebooks_app import db
from notebooks_app.models import Connection, Membership
from tests.runtime.lab import WAIT_S, Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def shop(postgres: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS sales")
        admin.execute("CREATE TABLE sales (region text, amount numeric)")
        admin.execute("INSERT INTO sales SELECT 'r' || n % 3, n FROM generate_series(1, 300) n")
    return postgres


async def connect(lab: Lab, dsn: str) -> str:
    def make() -> str:
        connection = Connection(owner=lab.notebook.owner, name="shop")
        connection.set_dsn(dsn)
        connection.save()
        return str(connection.id)

    return await db.write(make)


async def on_connection(lab: Lab, shop: str, **cells: str) -> None:
    await lab.add(**cells)
    connection = await connect(lab, shop)
    for name, source in cells.items():
        if source.startswith("SELECT"):
            await lab.update(name, connection=connection)


async def test_a_query_binds_values_and_its_result_is_a_dataframe(lab: Lab, shop: str):
    await on_connection(
        lab,
        shop,
        least="least = 100",
        totals="SELECT region, sum(amount) AS total FROM sales WHERE amount > {least} GROUP BY 1 ORDER BY 1",
        use="(len(totals), float(totals.total.sum()))",
    )
    assert await lab.run() == ["least", "totals", "use"]
    assert await lab.text("use") == "(3, 40100.0)"
    [table] = await lab.outputs("totals")
    assert table["data"]["application/vnd.rillbook.table+json"]["row_count"] == 3
    note = (await lab.states())["totals"]["note"]
    assert "3 rows" in note and "on shop" in note and "least = 100" in note
    await lab.edit("least", "least = 200")
    assert await lab.run("least") == ["least", "totals", "use"]
    assert await lab.text("use") == "(3, 25050.0)"


async def test_stop_reaches_the_database(lab: Lab, shop: str):
    await on_connection(lab, shop, slow="SELECT pg_sleep(60)", after="after = slow")
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    await lab.until("slow", "running")
    await asyncio.to_thread(wait_for_queries, shop, 1)
    await runtime.stop()
    assert await runtime.wait(run, WAIT_S)
    await asyncio.to_thread(wait_for_queries, shop, 0)
    assert (await lab.states())["slow"]["outcome"] == "interrupted"


async def test_an_error_of_the_database_is_the_cells_and_blocks_what_needs_it(lab: Lab, shop: str):
    await on_connection(lab, shop, bad="SELECT nonsense FROM sales", after="len(bad)")
    assert await lab.run() == ["bad"]
    [error] = await lab.outputs("bad")
    assert "nonsense" in error["evalue"]
    assert await lab.freshness() == {"bad": "failed", "after": "blocked"}


async def test_a_parameter_without_a_value_is_named(lab: Lab, shop: str):
    await on_connection(lab, shop, q="SELECT * FROM sales WHERE region = {missing_name}")
    await lab.run()
    [error] = await lab.outputs("q")
    assert "missing_name" in error["evalue"]


async def test_user_code_cannot_see_the_password(lab: Lab, shop: str):
    secret = shop.replace("rillbook@", "rillbook:c4nary-secret@")
    await on_connection(
        lab,
        secret,
        q="SELECT count(*) AS n FROM sales",
        spy="import os, gc\nlen(q)\n'c4nary-secret' in str(os.environ) + str([o for o in gc.get_objects()"
        " if isinstance(o, str) and o.startswith('postgresql')])",
    )
    await lab.run()
    assert await lab.text("spy") == "False"


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("sqlite:///{file}", "driver: sqlite names a file of the server"),
        ("{shop}?options=-csearch_path%3Dx", "options: only"),
    ],
)
async def test_a_connection_whose_dsn_is_refused_is_not_used(lab: Lab, shop: str, tmp_path: Any, dsn: str, reason: str):
    file = tmp_path / "shop.db"
    sqlite3.connect(file).close()
    await lab.add(q="SELECT 1 AS one")

    def make() -> str:
        connection = Connection(owner=lab.notebook.owner, name="shop")
        connection.keep_dsn(dsn.format(file=file, shop=shop))
        connection.save()
        return str(connection.id)

    await lab.update("q", connection=await db.write(make))
    await lab.run()
    [error] = await lab.outputs("q")
    assert error["ename"] == "ConnectionRefused"
    assert error["evalue"].startswith(f"The connection shop is not used here: {reason}")
    assert str(file) not in str(error) and urlsplit(shop).netloc not in str(error)
    assert lab.host.broker.pid is None  # nobody was asked


async def test_readers_are_not_told_where_a_connection_leads_and_as_whom(lab: Lab, shop: str):
    parts = urlsplit(shop)
    wrong = f"postgresql://nobody_here:c4nary@{parts.hostname}:{parts.port}/no_such_database"
    await on_connection(lab, wrong, q="SELECT 1")
    await lab.run()
    [error] = await lab.outputs("q")
    assert error["evalue"].startswith("Cannot connect to shop: ") and "does not exist" in error["evalue"]
    told = str(error)
    assert not any(word in told for word in ("nobody_here", "no_such", "c4nary", str(parts.hostname), str(parts.port)))


@pytest.mark.parametrize("moment", ["while it waits for its turn", "before its first step"])
async def test_a_query_that_is_stopped_at_once_never_begins(
    lab: Lab, shop: str, monkeypatch: pytest.MonkeyPatch, moment: str
):
    await on_connection(lab, shop, q="SELECT count(*) AS n FROM sales")
    await lab.run()
    runtime = await lab.runtime()
    begin, begun = runtime._begin_query, []

    def stopped(item: PlanItem) -> None:
        if moment == "before its first step":
            begin(item)
        runtime._decide(Stop())
        if moment == "while it waits for its turn":
            begin(item)

    async def run_query(*_: Any, **__: Any) -> Any:
        begun.append(1)

    monkeypatch.setattr(runtime, "_begin_query", stopped)
    monkeypatch.setattr("kernels_app.runtime.run_query", run_query)
    assert await lab.run() == ["q"]
    assert begun == [] and (await lab.states())["q"]["outcome"] == "interrupted"


async def test_a_connection_serves_only_while_its_owner_may_write_the_notebook(lab: Lab, shop: str, django_user_model):
    def share() -> Any:
        guest = django_user_model.objects.create_user("guest")
        Connection.objects.update(owner=guest)
        return Membership.objects.create(notebook=lab.notebook, user=guest, role="editor"), guest

    def is_now(**fields: Any) -> Any:
        return db.write(lambda: Membership.objects.filter(pk=membership.pk).update(**fields))

    async def outcome() -> str:
        await lab.run()
        return str((await lab.states())["q"]["outcome"])

    await on_connection(lab, shop, q="SELECT count(*) AS n FROM sales")
    membership, guest = await db.write(share)
    assert await outcome() == "ok"
    await is_now(role="runner")
    assert await outcome() == "error"
    [error] = await lab.outputs("q")
    assert error["ename"] == "ConnectionMissing" and "may not edit this notebook any more" in error["evalue"]
    await is_now(role="editor")
    assert await outcome() == "ok"
    await db.write(lambda: django_user_model.objects.filter(pk=guest.pk).update(is_active=False))
    assert await outcome() == "error"
    await db.write(lambda: Connection.objects.update(owner=None))
    assert await outcome() == "ok"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Cannot connect to d on db.internal:5432: timeout expired", "timeout expired"),
        ("Cannot connect to d on db.internal:5432: FATAL: no pg_hba.conf entry for host \"10.1.2.3\", user \"app\"",
         'FATAL: no pg_hba.conf entry for host "…", user "…"'),
        ("Cannot connect to d on db.internal:5432: cannot reach fd00:12:34::1, db.internal", "cannot reach …, …"),
    ],
)  # fmt: skip
async def test_addresses_and_names_in_a_drivers_words_are_left_out(message: str, told: str):
    assert without_place(message, "shop", "postgresql://app:secret@db.internal/d") == f"Cannot connect to shop: {told}"


def wait_for_queries(dsn: str, count: int) -> None:
    """Until so many of our slow queries run in the database."""
    import time

    until = time.monotonic() + WAIT_S
    with psycopg.connect(dsn, autocommit=True) as admin:
        while True:
            [found] = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
            if found == count:
                return
            assert time.monotonic() < until, f"{found} queries run, not {count}"
            time.sleep(0.05)


async def test_a_lost_key_is_said_in_the_cell_and_the_rest_runs(lab: Lab, shop: str, settings):
    settings.CONNECTION_KEYS = [base64.b64encode(b"1" * 32).decode()]
    await on_connection(lab, shop, q="SELECT count(*) AS n FROM sales", other="1 + 1")
    settings.CONNECTION_KEYS = [base64.b64encode(b"2" * 32).decode()]
    assert await lab.run() == ["q", "other"]
    [error] = await lab.outputs("q")
    assert error["ename"] == "ConnectionLocked" and "CONNECTION_KEYS" in error["evalue"]
    assert await lab.text("other") == "2"
    assert await lab.freshness() == {"q": "failed", "other": "current"}
