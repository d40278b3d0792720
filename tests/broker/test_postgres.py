"""SQL on PostgreSQL through the broker: values, types, caps, time, cancel, errors, and the password in none
of them."""

import asyncio
import os
import stat
import time
import traceback

import psycopg
import pyarrow as pa
import pytest

from kernels_app.broker import ConnectionRefused, QueryCancelled, QueryError, QueryTimeout
from notebooks_app.connections import parse_dsn

from .conftest import CANARY, CANARY_QUOTED

pytestmark = pytest.mark.asyncio

SLOW = "SELECT sum(sqrt(n)) FROM generate_series(1, 1000000000000) n"
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rillbook'"


def read(path):
    with pa.OSFile(path, "rb") as source:
        return pa.ipc.open_file(source).read_all()


async def ask(broker, dsn, path, sql, values=(), **options):
    result = await broker.run_query(dsn, sql, values, out_path=path, **options)
    return result, read(result.path) if result.path else None


async def failure(broker, dsn, path, sql, values=(), **options):
    with pytest.raises(Exception) as caught:
        await broker.run_query(dsn, sql, values, out_path=path, **options)
    assert not os.path.exists(path)
    text = "".join(traceback.format_exception(caught.value, chain=True)) + repr(caught.value)
    assert CANARY not in text and CANARY_QUOTED not in text
    return caught.value


def running(postgres):
    """How many of our queries the database is computing: in a FETCH, for the cursor itself is declared at
    once."""
    ours = "application_name = 'rillbook' AND query LIKE 'FETCH%' AND state = 'active'"
    return postgres["admin"].execute(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}").fetchone()[0]


async def until(condition, timeout_s=8.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        await asyncio.sleep(0.02)


async def test_values_are_bound_and_the_result_is_an_arrow_file(broker, dsn, out_path):
    result, table = await ask(
        broker, dsn, out_path,
        "SELECT region, sum(amount * (1 - $1)) AS net FROM sales.orders WHERE region = "
        "ANY($2) GROUP BY 1 ORDER BY 1",
        [{"type": "float", "value": "0.5"}, {"type": "list", "value": ["r1", "r2"]}],
    )  # fmt: skip
    assert table.to_pydict()["region"] == ["r1", "r2"]
    assert table.to_pydict()["net"][0] == pytest.approx(
        sum(n * 1.25 for n in range(1, 1001) if n % 4 == 1) / 2
    )
    assert (result.rows, result.capped, result.statement) == (2, "", "select")
    assert result.columns[0] == {"name": "region", "type": "text"}


async def test_a_value_that_looks_like_sql_stays_a_value(broker, dsn, out_path):
    _, table = await ask(broker, dsn, out_path, "SELECT $1::text AS t", ["'; DROP TABLE sales.orders; --"])
    assert table.to_pydict() == {"t": ["'; DROP TABLE sales.orders; --"]}
    _, left = await ask(broker, dsn, out_path + "2", "SELECT count(*) AS n FROM sales.orders")
    assert left.to_pydict() == {"n": [1000]}


async def test_every_kind_of_value_can_be_bound(broker, dsn, out_path):
    values = [
        1, True, None, {"type": "int", "value": str(2**62)}, {"type": "decimal", "value": "1.10"},
        {"type": "date", "value": "2026-03-01"}, {"type": "datetime", "value": "2026-03-01T10:00:00+01:00"},
        {"type": "uuid", "value": "12345678-1234-5678-1234-567812345678"}, {"type": "bytes", "value": "AAE="},
        {"type": "timedelta", "value": [1, 0, 0]}, {"type": "json", "value": {"a": 1}}, {"type": "list",
        "value": []},
    ]  # fmt: skip
    sql = (
        "SELECT $1::int a, $2::bool b, $3::text c, $4::bigint d, $5::numeric::text e, "
        "$6::date f, $7::timestamptz g,"
        " $8::uuid h, $9::bytea i, (now() + $10 > now()) j, $11::jsonb->>'a' k, cardinality($12::int[]) l"
    )
    _, table = await ask(broker, dsn, out_path, sql, values)
    row = [value[0] for value in table.to_pydict().values()]
    assert row[:5] == [1, True, None, 2**62, "1.10"] and row[8:] == [b"\x00\x01", True, "1", 0]
    assert row[6].isoformat() == "2026-03-01T09:00:00+00:00"


async def test_a_list_of_several_kinds_of_numbers_is_an_array_of_one(broker, dsn, out_path):
    several = [
        [1, 2.5, None],
        [1, {"type": "decimal", "value": "1.10"}],
        [{"type": "list", "value": [1, 2]}, {"type": "list", "value": [0.5, 4]}],
    ]
    values = [{"type": "list", "value": each} for each in several]
    sql = "SELECT $1::float8[] a, $2::numeric[]::text b, $3::float8[] c, 2.5 = ANY($1) d"
    _, table = await ask(broker, dsn, out_path, sql, values)
    row = [value[0] for value in table.to_pydict().values()]
    assert row == [[1.0, 2.5, None], "{1,1.10}", [[1.0, 2.0], [0.5, 4.0]], True]


@pytest.mark.parametrize(
    ("sql", "value", "words"),
    [
        ("SELECT $1", {"type": "list", "value": [1, "a"]}, "items of one type; this one has several (int, str)"),
        ("UPDATE sales.orders SET region = $1", {"type": "list", "value": [1, True]}, "several (bool, int)"),
        ("SELECT $1", {"type": "list", "value": [{"type": "int", "value": "9" * 400}, 1.5]}, "several (float, int)"),
        ("SELECT $1", {"type": "json", "value": {"a": {"type": "bytes", "value": "AAE="}}}, "JSON, which has no bytes"),
        ("COPY sales.orders TO STDOUT", None, "COPY FROM STDIN and TO STDOUT need a file"),
        ("COPY sales.orders FROM STDIN", None, "COPY FROM STDIN and TO STDOUT need a file"),
    ],
)  # fmt: skip
async def test_what_the_driver_refuses_is_no_lost_connection(broker, dsn, out_path, sql, value, words):
    error = await failure(broker, dsn, out_path, sql, [] if value is None else [value])
    assert type(error) is QueryError and words in error.message


async def test_types_keep_their_meaning(broker, dsn, out_path):
    _, table = await ask(
        broker, dsn, out_path,
        "SELECT 1.5::numeric(10,2) n, 12345678901::numeric(12,0) w, "
        "(2::numeric^70)::numeric(30,0) big, 'NaN'::numeric nan,"
        " now() tz, timestamp '2026-01-01 10:00' ts, date '2026-01-01' d, time '10:00' t, "
        "'{\"a\": [1]}'::jsonb j,"
        " ARRAY[1, NULL, 3] l, ARRAY[[1,2],[3,4]] m, ARRAY['x'] s, ARRAY[1.5] nl, "
        "gen_random_uuid() u, '\\x00ff'::bytea b,"
        " 'calm'::mood e, ARRAY['calm']::mood[] ea, interval '1 month 2 days' iv, "
        "int4range(1,5) r, row(1,'a') c,"
        " '10.0.0.1'::inet ip, true bo, 1::int2 i2, 'x'::char(3) ch, NULL nothing, 1 AS x, 2 AS x",
    )  # fmt: skip
    types = {field.name: str(field.type) for field in table.schema}
    values = {name: table.column(name)[0].as_py() for name in table.column_names}
    assert (types["n"], types["w"], types["big"]) == ("double", "int64", "decimal128(30, 0)")
    assert values["n"] == 1.5 and values["w"] == 12345678901 and int(values["big"]) == 2**70
    assert (
        types["tz"] == "timestamp[us, tz=UTC]" and types["d"] == "date32[day]" and types["t"] == "time64[us]"
    )
    assert values["j"] == '{"a": [1]}' and values["l"] == [1, None, 3] and values["m"] == [[1, 2], [3, 4]]
    assert (
        values["s"] == ["x"]
        and values["nl"] == [1.5]
        and values["b"] == b"\x00\xff"
        and values["e"] == "calm"
    )
    assert values["iv"] == "1 mon 2 days" and values["r"] == "[1,5)" and values["c"] == "(1,a)"
    assert values["ea"] in ("{calm}", ["calm"]) and values["ip"] == "10.0.0.1" and types["i2"] == "int16"
    assert (
        values["nan"] != values["nan"]
        and values["nothing"] is None
        and (values["x"], values["x_1"]) == (1, 2)
    )
    assert len(values["u"]) == 36


async def test_dates_that_python_lacks_are_missing_and_it_says_so(broker, dsn, out_path):
    sql = (
        "SELECT 'infinity'::date a, '0044-03-15 BC'::date b, '-infinity'::timestamptz c, date '2026-01-01' d"
    )
    result, table = await ask(broker, dsn, out_path, sql)
    assert [value[0] for value in table.to_pydict().values()][:3] == [None, None, None]
    assert "3 dates" in result.notes[0]


async def test_rows_are_capped_and_it_says_so(broker, dsn, out_path):
    started = time.monotonic()
    sql = "SELECT generate_series(1, 1000000000) n, repeat('x', 100)"
    result, table = await ask(broker, dsn, out_path, sql, row_cap=1500)
    assert (result.rows, result.capped, table.num_rows) == (1500, "rows", 1500)
    assert time.monotonic() - started < 10


async def test_exactly_the_cap_is_not_capped(broker, dsn, out_path):
    result, _ = await ask(broker, dsn, out_path, "SELECT n FROM generate_series(1, 1500) n", row_cap=1500)
    assert (result.rows, result.capped) == (1500, "")


async def test_bytes_are_capped_and_it_says_so(broker, dsn, out_path):
    sql = "SELECT repeat('x', 1000000) t FROM generate_series(1, 10000) n"
    result, table = await ask(broker, dsn, out_path, sql, byte_cap=5_000_000)
    assert result.capped == "bytes" and 0 < result.rows < 6
    assert os.path.getsize(out_path) < 6_000_000


async def test_a_capped_select_keeps_what_its_functions_did(broker, dsn, out_path):
    await ask(broker, dsn, out_path, "CREATE TABLE sales.log (n int)")
    await ask(
        broker, dsn, out_path,
        "CREATE FUNCTION sales.note(n int) RETURNS int LANGUAGE sql AS 'INSERT INTO sales.log "
        "VALUES (n) RETURNING n'",
    )  # fmt: skip
    result, _ = await ask(
        broker, dsn, out_path, "SELECT sales.note(n) FROM generate_series(1, 500) n", row_cap=10
    )
    assert result.capped == "rows"
    _, kept = await ask(broker, dsn, out_path + "2", "SELECT count(*) AS n FROM sales.log")
    assert kept.to_pydict()["n"][0] >= 10


async def test_a_writing_query_runs_to_its_end_though_its_rows_are_capped(broker, dsn, out_path):
    await ask(broker, dsn, out_path, "CREATE TABLE sales.made (n int)")
    sql = "WITH new AS (INSERT INTO sales.made SELECT generate_series(1, 3000) RETURNING n) SELECT * FROM new"
    result, _ = await ask(broker, dsn, out_path, sql, row_cap=5)
    assert (result.rows, result.capped) == (5, "rows")
    result, _ = await ask(broker, dsn, out_path + "1", "DELETE FROM sales.made RETURNING n", row_cap=7)
    assert (result.rows, result.capped) == (7, "rows")
    _, left = await ask(broker, dsn, out_path + "2", "SELECT count(*) AS n FROM sales.made")
    assert left.to_pydict() == {"n": [0]}


async def test_statements_without_rows_say_how_many_they_changed(broker, dsn, out_path):
    result, table = await ask(broker, dsn, out_path, "CREATE TABLE sales.five (n int)")
    assert (result.path, table, result.rows) == (None, None, 0)
    result, _ = await ask(broker, dsn, out_path, "INSERT INTO sales.five SELECT generate_series(1, 5)")
    assert result.rows == 5
    assert not os.path.exists(out_path)


async def test_several_statements_show_the_last_ones_rows(broker, dsn, out_path):
    sql = (
        "SET search_path = sales; CREATE TEMP TABLE t AS SELECT $2::int a; SELECT a, $1::text "
        "b, ';' c FROM t; -- end"
    )
    result, table = await ask(broker, dsn, out_path, sql, ["x", 7])
    assert table.to_pydict() == {"a": [7], "b": ["x"], "c": [";"]}


async def test_explain_show_and_empty_results_have_columns(broker, dsn, out_path):
    _, plan = await ask(broker, dsn, out_path, "EXPLAIN SELECT 1")
    assert plan.column_names == ["QUERY PLAN"]
    _, empty = await ask(broker, dsn, out_path + "2", "SELECT 1 AS a WHERE false")
    assert (empty.column_names, empty.num_rows) == (["a"], 0)
    _, shown = await ask(broker, dsn, out_path + "3", "SHOW server_encoding")
    assert shown.to_pydict() == {"server_encoding": ["UTF8"]}


async def test_the_file_is_private_and_never_written_through_a_link(broker, dsn, tmp_path, out_path):
    await ask(broker, dsn, out_path, "SELECT 1")
    assert stat.S_IMODE(os.stat(out_path).st_mode) == 0o600
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("kept")
    link.symlink_to(victim)
    with pytest.raises(QueryError, match="cannot be written"):
        await broker.run_query(dsn, "SELECT 1", [], out_path=str(link))
    folder = tmp_path / "folder"
    folder.symlink_to(tmp_path)
    with pytest.raises(QueryError, match="cannot be written"):
        await broker.run_query(dsn, "SELECT 1", [], out_path=str(folder / "x"))
    assert victim.read_text() == "kept" and not (tmp_path / "x").exists()


async def test_cancel_reaches_the_database(broker, dsn, out_path, postgres):
    task = asyncio.create_task(broker.run_query(dsn, SLOW, [], out_path=out_path, query_id="q1"))
    await until(lambda: running(postgres) == 1)
    assert await broker.cancel("q1")
    with pytest.raises(QueryCancelled):
        await task
    await until(lambda: running(postgres) == 0)
    assert not os.path.exists(out_path) and not await broker.cancel("q1")


async def test_cancelling_the_task_that_waits_cancels_the_query(broker, dsn, out_path, postgres):
    task = asyncio.create_task(broker.run_query(dsn, SLOW, [], out_path=out_path))
    await until(lambda: running(postgres) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: running(postgres) == 0)


async def test_a_query_past_its_time_is_stopped_in_the_database(broker, dsn, out_path, postgres):
    error = await failure(broker, dsn, out_path, SLOW, timeout_s=0.5)
    assert type(error) is QueryTimeout and "0.5 s" in error.message
    await until(lambda: running(postgres) == 0)


async def test_queries_run_at_the_same_time(broker, dsn, out_path, postgres):
    asked = [asyncio.create_task(broker.run_query(dsn, SLOW, [], out_path=f"{out_path}{n}")) for n in range(6)]
    await until(lambda: running(postgres) == 6, timeout_s=60)
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_an_error_names_its_line_and_nothing_else_of_ours(broker, dsn, out_path):
    error = await failure(broker, dsn, out_path, "SELECT 1;\nSELECT 2,\n  nope\nFROM sales.orders")
    assert type(error) is QueryError and 'column "nope" does not exist' in error.message and error.line == 3
    error = await failure(broker, dsn, out_path, "SELEC 1")
    assert "syntax error" in error.message and error.line == 1 and error.position == 1
    error = await failure(broker, dsn, out_path, "SELECT * FROM public.hidden")
    assert "permission denied" in error.message
    error = await failure(broker, dsn, out_path, "SELECT 1/n FROM generate_series(0, 3) n")
    assert "division by zero" in error.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("shop", "nowhere"), "does not exist"),
        ((CANARY_QUOTED, CANARY_QUOTED + "x"), "password authentication failed"),
        (("ana:", "nobody:"), "password authentication failed"),
        (("127.0.0.1", "host.invalid"), "host.invalid"),
        (("127.0.0.1:", "127.0.0.1:1"), ""),
    ],
)
async def test_a_failed_connection_says_why_and_not_the_password(broker, dsn, out_path, change, words):
    changed = dsn.replace(*change) if change[1] != "127.0.0.1:1" else dsn.rpartition(":")[0] + ":1/shop"
    error = await failure(broker, changed, out_path, "SELECT 1")
    assert type(error) is ConnectionRefused and words in error.message


async def test_an_error_that_repeats_the_password_is_scrubbed(broker, dsn, out_path):
    quoted = CANARY.replace("'", "''")
    error = await failure(broker, dsn, out_path, f"SELECT '{quoted}'::int")
    assert "invalid input syntax" in error.message and "…" in error.message
    error = await failure(broker, dsn.replace("postgresql", "duckdb"), out_path, "SELECT 1")
    assert error.message.startswith("driver:")


async def test_the_arguments_of_a_running_query_show_no_password(broker, dsn, out_path):
    task = asyncio.create_task(
        broker.run_query(parse_dsn(dsn), "SELECT pg_sleep(0.3)", [], out_path=out_path)
    )
    await asyncio.sleep(0.1)
    frames = [frame for frame in task.get_stack() if frame.f_code.co_name == "run_query"]
    assert CANARY not in repr(parse_dsn(dsn)) and CANARY not in repr(vars(broker))
    assert all(type(v).__name__ != "str" or CANARY not in v for f in frames for v in f.f_locals.values())
    await task


async def test_the_schema_lists_what_this_user_may_read(broker, dsn):
    tables = {(table["schema"], table["table"]): table for table in await broker.schema(dsn)}
    orders = tables["sales", "orders"]
    assert [column["name"] for column in orders["columns"]] == ["order_id", "region", "amount"]
    assert orders["columns"][2]["type"] == "numeric(12,2)" and tables["sales", "regions"]["kind"] == "view"
    assert ("public", "hidden") not in tables


async def test_the_line_is_cut_when_the_database_does_not_answer_a_cancel(broker, postgres, dsn, out_path):
    async def swallow(reader, writer):
        """A wire that forwards everything until told to stop, and then nothing, as a lost network does."""
        there, back = await asyncio.open_connection("127.0.0.1", postgres["port"])

        async def pump(source, sink):
            while data := await source.read(65536):
                if not lost.is_set():
                    sink.write(data)

        pumps.append(asyncio.gather(pump(reader, back), pump(there, writer)))

    lost, pumps = asyncio.Event(), []
    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = dsn.replace(f":{postgres['port']}/", f":{port}/") + "?sslmode=disable"
    task = asyncio.create_task(broker.run_query(through, SLOW, [], out_path=out_path, timeout_s=1))
    await until(lambda: running(postgres) == 1)
    lost.set()
    with pytest.raises(QueryTimeout):
        await asyncio.wait_for(task, 15)
    server.close()
    for pump in pumps:
        pump.cancel()
    postgres["admin"].execute(END)
    await until(lambda: running(postgres) == 0)


async def test_a_session_ended_by_the_database_is_told(broker, dsn, out_path, postgres):
    task = asyncio.create_task(broker.run_query(dsn, SLOW, [], out_path=out_path))
    await until(lambda: running(postgres) == 1)
    postgres["admin"].execute(END)
    with pytest.raises(QueryError, match="administrator"):
        await task


async def test_psycopg_can_cancel_safely():
    assert psycopg.capabilities.has_cancel_safe()
