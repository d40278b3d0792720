"""DATABASE_URL and what follows from it: parameters, limits of a session, and a pool that outlives its database."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection

from notebook_project.env import env_database, env_mailer
from notebooks_app import db_hooks, usage
from notebooks_app.models import Cell, Notebook, Output, OutputFile
from scripts.with_postgres import temporary_postgres


def database(monkeypatch: pytest.MonkeyPatch, url: str, **settings: str) -> dict[str, Any]:
    monkeypatch.setenv("DATABASE_URL", url)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return env_database("DATABASE_URL", Path("/nowhere/x.sqlite3"))


def test_a_url_gives_name_people_and_parameters_unquoted(monkeypatch):
    parameters = "sslmode=verify-full&sslrootcert=%2Fca.pem"
    found = database(monkeypatch, f"postgresql://an%40na:p%2Fw@db.example.com:5433/shop?{parameters}")
    assert (found["USER"], found["PASSWORD"]) == ("an@na", "p/w")
    assert (found["HOST"], found["PORT"]) == ("db.example.com", "5433")
    assert found["NAME"] == "shop"
    options = found["OPTIONS"]
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert options["application_name"] == "rillbook"
    assert options["pool"]["max_size"] == 16


def test_limits_are_settings_and_zero_leaves_them_to_the_server(monkeypatch):
    found = database(
        monkeypatch, "postgresql://u@h/d?options=-c%20search_path%3Dx",
        DATABASE_STATEMENT_TIMEOUT_S="7", DATABASE_IDLE_TRANSACTION_TIMEOUT_S="0", DATABASE_POOL_SIZE="3",
        DATABASE_CONNECT_TIMEOUT_S="2",
    )  # fmt: skip
    options = found["OPTIONS"]
    assert options["options"] == "-c statement_timeout=7000 -c search_path=x"
    assert (options["pool"]["max_size"], options["connect_timeout"]) == (3, 2)


def test_a_parameter_of_the_url_goes_before_ours(monkeypatch):
    found = database(monkeypatch, "postgresql://u@h/d?application_name=mine&connect_timeout=1")
    assert (found["OPTIONS"]["application_name"], found["OPTIONS"]["connect_timeout"]) == ("mine", "1")


def test_a_malformed_limit_stops_the_start(monkeypatch):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_POOL_SIZE"):
        database(monkeypatch, "postgresql://u@h/d", DATABASE_POOL_SIZE="many")


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"), [("smtp://u:p@h", 587, True, False), ("smtps://h:1", 1, False, True)]
)
def test_mail_goes_where_its_url_says(monkeypatch, url, port, tls, ssl):
    monkeypatch.setenv("EMAIL_URL", url)
    options: Any = env_mailer("EMAIL_URL")["OPTIONS"]
    assert (options["host"], options["port"], options["use_tls"], options["use_ssl"]) == ("h", port, tls, ssl)
    monkeypatch.setenv("EMAIL_URL", "http://h")
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL"):
        env_mailer("EMAIL_URL")


def on_postgres(postgres: str, tmp_path: Path, code: str, **more: str) -> str:
    """Run code with the product's settings on a PostgreSQL; what it printed."""
    from tests.ops.test_migrations import environment, manage

    return manage(environment(tmp_path, DATABASE_URL=postgres, **more), "shell", "--no-imports", "-c", code).strip()


SESSION = """
from django.db import connection
def show(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]
names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout")
print("|".join(show(name) for name in names))
"""


def test_each_session_carries_its_name_and_its_limits(postgres, tmp_path):
    assert on_postgres(postgres, tmp_path, SESSION) == "rillbook|30s|1min"


POOLED = """
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils.timezone import now
def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
with connection.schema_editor() as editor:
    editor.create_model(Session)
Session.objects.bulk_create(Session(session_key=str(number), expire_date=now()) for number in range(9))
for _ in range(9):  # psycopg would prepare a statement at the sixth time
    Session.objects.get(session_key="1")
rows = Session.objects.iterator(chunk_size=2)
next(rows)
counted = [ask(f"SELECT count(*) FROM {view}") for view in ("pg_cursors WHERE name <> ''", "pg_prepared_statements")]
print(*counted, ask("SHOW statement_timeout"), ask("SHOW idle_in_transaction_session_timeout"), 1 + len(list(rows)))
"""


@pytest.mark.parametrize(("pooler", "found"), [("false", "1 0 30s 1min 9"), ("true", "0 0 0 0 9")])
def test_behind_a_pooler_nothing_is_left_to_a_session(tmp_path, pooler, found):
    """No cursor outlives a statement, nothing is prepared, and limits are those of the role (docs/scaling.md)."""
    with temporary_postgres() as url:
        assert on_postgres(url, tmp_path, POOLED, DATABASE_POOLER=pooler) == found


KILLED = """
import psycopg
from django.db import close_old_connections, connection
from django.conf import settings
from django.contrib.auth import get_user_model

def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    close_old_connections()  # as after each request: back to the pool
    return pid

before = {ask() for _ in range(3)}
options = settings.DATABASES["default"]
end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rillbook'"
with psycopg.connect(host=options["HOST"], port=options["PORT"], user=options["USER"], dbname=options["NAME"]) as other:
    ended = len(other.execute(end).fetchall())
after = {ask() for _ in range(3)}
print(ended >= len(before), before & after)
"""


def test_a_database_that_was_restarted_fails_no_request_after_it(postgres, tmp_path):
    assert on_postgres(postgres, tmp_path, KILLED) == "True set()"


@pytest.mark.django_db
@pytest.mark.database
def test_a_migration_may_take_longer_than_a_request_and_only_it():
    if connection.vendor == "sqlite":
        db_hooks._without_limit("default")  # knows no such limit, and is not asked
        return
    shown = []
    for step in (None, db_hooks._without_limit, db_hooks._with_limit):
        if step is not None:
            step("default")
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            shown.append(cursor.fetchone()[0])
    assert shown == ["30s", "0", "30s"]


# --- notebook_stats --------------------------------------------------------------------------------------------------


def fill(owner: Any, name: str, size: int, files: int = 0) -> Notebook:
    notebook = Notebook.objects.create(owner=owner, name=name)
    cell = Cell.objects.create(notebook=notebook, position=1, source="the_source = 1")
    Output.objects.create(cell=cell, index=0, kind="stream", data={"text": "the_output"}, size_bytes=size)
    if files:
        OutputFile.objects.create(notebook=notebook, sha256="0" * 64, mime_type="image/png", size_bytes=files)
    return notebook


@pytest.mark.django_db
@pytest.mark.database
def test_stats_tell_what_is_large_and_whose(owner, editor):
    small, large = fill(owner, "small", 10), fill(editor, "large", 2_000, files=3_000)
    out = io.StringIO()
    call_command("notebook_stats", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert [(row["id"], row["size_bytes"], row["cells"]) for row in found["largest_notebooks"]] == [
        (str(large.pk), 5_000, 1),
        (str(small.pk), 10, 1),
    ]
    assert found["storage_by_owner"][0] == {
        "owner": "editor", "notebooks": 1, "output_bytes": 2_000, "file_bytes": 3_000,
    }  # fmt: skip
    assert {row["table"] for row in found["tables"]} >= {"notebooks_app_cell", "notebooks_app_output"}
    assert found["database"]["size_bytes"] > 0
    if connection.vendor == "sqlite":
        assert found["database"]["journal_mode"] == "wal"
        assert next(row["rows"] for row in found["tables"] if row["table"] == "notebooks_app_cell") == 2


@pytest.mark.django_db
@pytest.mark.database
def test_stats_as_text_hold_no_source_and_no_output(owner):
    fill(owner, "one", 2048)
    out = io.StringIO()
    call_command("notebook_stats", stdout=out)
    assert "2.0 KB" in out.getvalue()
    assert "the_source" not in out.getvalue()
    assert "the_output" not in out.getvalue()


@pytest.mark.parametrize("limit", ["-1", "0", "9223372036854775808"])
def test_stats_of_a_senseless_number_of_lines_are_refused(limit: str):
    with pytest.raises(CommandError, match="--limit: a number from 1 to 10,000."):
        call_command("notebook_stats", f"--limit={limit}")


@pytest.mark.django_db
@pytest.mark.database
def test_slow_statements_are_told_only_where_the_database_counts_them():
    assert usage.slowest_statements() is None


STATEMENTS = """
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("CREATE EXTENSION pg_stat_statements")
from notebooks_app.models import Notebook
from notebooks_app import usage
list(Notebook.objects.filter(name="zqsecret"))
found = usage.slowest_statements(500)
print(any("notebooks_app_notebook" in row["statement"] for row in found), "zqsecret" in repr(found))
"""


def test_slow_statements_come_without_their_values(tmp_path):
    with temporary_postgres("-c", "shared_preload_libraries=pg_stat_statements") as url:
        assert on_postgres(url, tmp_path, STATEMENTS).endswith("True False")
