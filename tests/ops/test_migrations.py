"""Migrations run both ways with rows in the tables, on a database of their own; settings are fit for production."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.with_postgres import temporary_postgres

ROOT = Path(__file__).resolve().parents[2]

# Forth, filled, one by one back with the rows that are there, to nothing, and forth again.
BOTH_WAYS = """
from django.core.management import call_command
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone
from notebooks_app.models import *

def migrate(*target):
    call_command("migrate", *target, verbosity=0)

def fill(name):
    owner = get_user_model().objects.create_user(name)
    notebook = Notebook.objects.create(owner=owner, name="n")
    cell = Cell.objects.create(notebook=notebook, position=1, source="x = 1")
    run = Run.objects.create(notebook=notebook, started_at=timezone.now())
    attempt = CellRun.objects.create(run=run, cell=cell, cell_version=1, source_hash="", started_at=timezone.now())
    Cell.objects.update(last_run=attempt)
    output = Output.objects.create(cell=cell, index=0, kind="stream", data={})
    OutputFile.objects.create(notebook=notebook, output=output, sha256="0", mime_type="a/b", size_bytes=1)
    KernelSession.objects.create(notebook=notebook, expires=timezone.now())
    Version.objects.create(notebook=notebook, name="v", seq=1, revision=1)

def cells():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notebooks_app_cell")
        return cursor.fetchone()[0]

migrate()
fill("first")
for name in NAMES:
    migrate("notebooks_app", name)
    assert cells() == 1, name
migrate()
assert cells() == 1
migrate("notebooks_app", "zero")
assert not [table for table in connection.introspection.table_names() if table.startswith("notebooks_app_")]
migrate()
assert cells() == 0
fill("second")
assert cells() == 1
print("both ways")
"""


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "RILLBOOK_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "notebook_project.settings", **more}


def names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "notebooks_app/migrations").glob("[0-9]*.py"))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_migrations_run_back_and_forth_with_rows_in_the_tables(engine, tmp_path):
    code = BOTH_WAYS.replace("NAMES", repr(names()[::-1]))
    with contextlib.ExitStack() as stack:  # a server with nothing in it: other tests fill the shared one
        more = {"DATABASE_URL": stack.enter_context(temporary_postgres())} if engine == "postgresql" else {}
        assert "both ways" in manage(environment(tmp_path, **more), "shell", "--no-imports", "-c", code)


def test_no_migration_is_missing(tmp_path):
    assert "No changes detected" in manage(environment(tmp_path), "makemigrations", "--check", "--dry-run")


def test_production_settings_pass_the_deployment_check(tmp_path):
    own = environment(
        tmp_path,
        RILLBOOK_MODE="multi",
        SECRET_KEY=secrets.token_urlsafe(48),
        CONNECTION_KEYS=base64.b64encode(secrets.token_bytes(32)).decode(),
        ALLOWED_HOSTS="notebooks.example.com",
        CSRF_TRUSTED_ORIGINS="https://notebooks.example.com",
        DATABASE_URL="postgresql://rillbook:x@db.example.com/rillbook?sslmode=verify-full",
        REDIS_URL="redis://cache.example.com:6379/0",
        OUTPUTS_BUCKET="outputs",
        BEHIND_PROXY="true",
        EMAIL_URL="smtp://rillbook:x@mail.example.com",
        METRICS_TOKEN="m" * 40,
        LOG_FORMAT="json",
    )
    assert "no issues" in manage(own, "check", "--deploy", "--fail-level", "INFO")
