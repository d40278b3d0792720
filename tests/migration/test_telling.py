"""What an operator sees of an import: a bar on a terminal, plain lines without one, and a summary that is enough."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notebooks_app.importing import Imported, Result
from notebooks_app.management.tally import MAX_FAILURES, MAX_USERS, Failure, Tally
from notebooks_app.models import Connection, Notebook
from tests.migration.conftest import DSN, cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]
DRIVER = """
import django
django.setup()
from django.core.management import call_command
import sys
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
get_user_model().objects.get_or_create(username="me")
call_command("import_notebooks", sys.argv[1], "--owner", "me", "--dry-run")
"""


def test_the_summary_lists_what_failed_and_the_users_who_need_an_account(owner: Any, old: Old):
    for number in range(3):
        old(document(f"a{number}", user_id="user_A"))
    old(document("b", user_id="user_B"))
    old(document("c", user_id=None))
    folder = old(document("twice", user_id=None, cells=[cell("x"), cell("x")])).parent
    ran = run("import_notebooks", str(folder))
    lines = ran.err.splitlines()
    at = lines.index("Failed:")
    assert lines[at + 1] == (
        f"    {folder}/a0.json: Its user id 'user_A' is nobody's here: name its account in --user-map, or --owner."
    )
    assert f"    {folder}/c.json: It does not say whose it is: give --owner." in lines[at:]
    assert lines[-3:] == ["Old users who are nobody here (user id, notebooks):", "    user_A,3", "    user_B,1"]
    assert ran.out.splitlines()[-1] == "none imported, 6 failed."
    assert ran.failure == "None of 6 could be imported."


def test_a_summary_of_very_many_failures_stays_short():
    tally = Tally()
    for number in range(5_000):
        tally.fail(Failure(f"f{number}", "why", f"user{number}"))
    tally.add(Result(Imported.IMPORTED))
    lines = list(tally.failure_lines())
    assert len(lines) == MAX_FAILURES + MAX_USERS + 4
    assert f"    and {5_000 - MAX_FAILURES:,} more, said above" in lines
    assert tally.words(verified=False) == "1 imported, 5,000 failed."


def test_a_map_of_users_moves_each_notebook_to_its_account(owner: Any, editor: Any, old: Old, tmp_path: Path):
    (path := tmp_path / "users.csv").write_bytes('\ufeffid,username\r\n"user,A",owner\r\nuser_B,editor\r\n'.encode())
    old(document("a", user_id="user,A"))
    old(document("demo-user_B", user_id=None))
    folder = old(document("c", user_id="user_C")).parent
    ran = run("import_notebooks", str(folder), "--user-map", str(path))
    assert ran.out.splitlines()[-1] == "2 imported, 1 failed."
    assert Notebook.objects.get(external_id="a").owner == owner
    assert Notebook.objects.get(external_id="demo-user_B").owner == editor


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"a,\x00\n", "there is no user '\\ufffd'"), (b"[" * 9, "is not `user id,username`"), (b'{"a": [', "not JSON")],
)
def test_a_map_that_is_none_is_refused_with_its_place(owner: Any, old: Old, tmp_path: Path, data: bytes, words: str):
    (path := tmp_path / "users").write_bytes(data)
    assert words in run("import_notebooks", str(old()), "--user-map", str(path)).failure.replace("\ufffd", "\\ufffd")


def test_a_connection_that_was_changed_here_is_a_difference_without_its_secret(owner: Any, old: Old):
    with_dsn, without = old(), old(document("none", db_conn_string=None))
    run("import_notebooks", str(with_dsn.parent), "--owner", "owner")
    made = Connection.objects.get()
    Notebook.objects.filter(external_id="none").update(connection=made)
    ran = run("import_notebooks", str(without), "--owner", "owner", "--verify")
    assert "difference: connection: 'database of Sales' for 'none'." in ran.err
    made.set_dsn(DSN.replace("hunter2", "other"))
    made.save()
    ran = run("import_notebooks", str(with_dsn), "--owner", "owner", "--verify", "--dry-run")
    assert "difference: connection: the source has a database, and the notebook here has another." in ran.err
    assert ran.failure == "1 of 1 notebooks differ from their source."
    assert not {"hunter2", "other@"} & set((ran.out + ran.err).replace("@", " ").split())


def test_exports_say_when_passwords_are_in_them(owner: Any, old: Old, tmp_path: Path):
    run("import_notebooks", str(old()), "--owner", "owner")
    ran = run("export_notebooks", "--output", str(tmp_path / "out"), "--with-dsn")
    assert ran.out.splitlines()[-1] == "1 written, 1 with its DSN and password."
    ran = run("export_notebooks", "--output", str(tmp_path / "out"), "--with-dsn", "--format", "ipynb")
    assert ran.failure == "An .ipynb file has no place for a DSN: --with-dsn needs another --format."


def test_another_notebooks_facts_of_import_never_take_its_file(owner: Any, old: Old, tmp_path: Path):
    """Metadata may have been copied: the id in it is another notebook's."""
    run("import_notebooks", str(old(document("sales"))), "--owner", "owner")
    first = Notebook.objects.get()
    copy = Notebook.objects.create(owner=owner, name="Copy", metadata=first.metadata)
    run("export_notebooks", "--output", str(tmp_path / "out"))
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"sales", str(copy.pk)}


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What a command writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    parts: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                parts.append(data)
        except OSError:  # the other side is closed
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    subprocess.run(command, env=environment, stdout=theirs, stderr=theirs, check=True, timeout=120)
    os.close(theirs)
    reader.join(30)
    os.close(ours)
    return b"".join(parts).decode()


def test_a_terminal_has_a_bar_and_a_log_has_plain_lines(tmp_path: Path):
    (folder := tmp_path / "old").mkdir()
    for number in range(3):
        (folder / f"n{number}.json").write_text(json.dumps(document(f"n{number}", user_id=None)))
    environment = {
        **os.environ,
        "RILLBOOK_DATA_DIR": str(tmp_path / "data"),
        "DJANGO_SETTINGS_MODULE": "notebook_project.settings",
        "DATABASE_URL": "",
        "PYTHONPATH": os.getcwd(),
        "TERM": "xterm",
    }
    command = [sys.executable, "-c", DRIVER, str(folder)]
    shown = on_a_terminal(command, environment)
    assert "importing:" in shown and "3/3" in shown and "notebooks/s" in shown
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert plain.stderr == ""
    assert [line.rpartition(": ")[2] for line in plain.stdout.splitlines()] == [
        *["would be imported"] * 3,
        "3 would be imported.",
    ]
