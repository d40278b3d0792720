"""`manage.py import_notebooks`: what it stores, says and refuses."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from notebooks_app.models import Notebook

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def notebook_file(folder: Path, name: str, source: str = "x = 1") -> str:
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    path = folder / name
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}))
    return str(path)


def run(*arguments: str) -> tuple[str, str, str]:
    """What it printed, what it printed as errors, and the sentence it ended with if it failed."""
    out, err = StringIO(), StringIO()
    try:
        call_command("import_notebooks", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), err.getvalue(), str(error)
    return out.getvalue(), err.getvalue(), ""


def test_each_file_becomes_a_notebook_of_the_owner_with_a_line_that_says_where(owner: Any, tmp_path: Path):
    out, err, failure = run(notebook_file(tmp_path, "Sales.ipynb"), "--owner", "owner")
    made = Notebook.objects.get(name="Sales", owner=owner)
    assert f"Sales.ipynb: imported as {made.id}, {reverse('notebook', args=[made.id])}" in out
    assert (out.splitlines()[-1], err, failure) == ("1 imported.", "", "")
    assert [cell.source for cell in made.cells.all()] == ["x = 1"]


def test_the_first_user_is_the_owner_in_single_mode(owner: Any, stranger: Any, tmp_path: Path, settings: Any):
    settings.RILLBOOK_MODE = "single"
    run(notebook_file(tmp_path, "a.ipynb"))
    assert Notebook.objects.get(name="a").owner == owner


def test_with_accounts_the_owner_must_be_said(owner: Any, tmp_path: Path, settings: Any):
    settings.RILLBOOK_MODE = "multi"
    assert "It does not say whose it is: give --owner." in run(notebook_file(tmp_path, "a.ipynb"))[1]
    assert run(notebook_file(tmp_path, "a.ipynb"), "--owner", "nobody")[2] == "There is no user 'nobody'."
    assert not Notebook.objects.exists()


def test_the_same_content_again_changes_nothing(owner: Any, tmp_path: Path):
    path = notebook_file(tmp_path, "a.ipynb")
    run(path, "--owner", "owner")
    made = Notebook.objects.get()
    out, _, failure = run(path, "--owner", "owner")
    assert f"a.ipynb: unchanged as {made.id}" in out
    assert (out.splitlines()[-1], failure) == ("1 unchanged.", "")
    assert Notebook.objects.get() == made


def test_another_content_and_another_owner_are_imported(owner: Any, stranger: Any, tmp_path: Path):
    path = notebook_file(tmp_path, "a.ipynb")
    run(path, "--owner", "owner")
    run(path, "--owner", "stranger")
    assert Notebook.objects.count() == 2
    run(notebook_file(tmp_path, "a.ipynb", "x = 2"), "--owner", "owner")
    assert Notebook.objects.count() == 3


def test_bad_files_are_named_with_their_reason_and_stop_no_other(owner: Any, tmp_path: Path):
    (tmp_path / "bad.ipynb").write_text('{"cells": [')
    (tmp_path / "nul.py").write_bytes(b"# %%\nx = '\x00'\n")
    good = notebook_file(tmp_path, "good.ipynb")
    names = [str(tmp_path / name) for name in ("bad.ipynb", "missing.ipynb", "nul.py")]
    out, err, failure = run(*names, good, "--owner", "owner")
    assert failure == ""
    reasons = [line.rsplit("not imported: ", 1)[1] for line in err.splitlines() if "not imported" in line]
    assert reasons[0].startswith("bad.ipynb: this is not a notebook: line 1 is not JSON")
    assert reasons[1] == "No such file or directory"
    assert reasons[2] == "nul.py, line 2: a source cannot hold the character NUL."
    assert out.splitlines()[-1] == "1 imported, 3 failed."
    assert Notebook.objects.get().name == "good"


def test_the_command_fails_where_all_failed(owner: Any, tmp_path: Path):
    (tmp_path / "bad.ipynb").write_text('{"cells": [')
    assert run(str(tmp_path), "--owner", "owner")[2] == "None of 1 could be imported."


def test_a_notebook_with_one_cell_too_large_is_not_stored_at_all(owner: Any, tmp_path: Path, settings: Any):
    settings.SOURCE_MAX_BYTES = 10
    path = tmp_path / "a.py"
    path.write_text("# %%\nx = 1\n# %%\ny = 'longer than that'\n")
    _, err, failure = run(str(path), "--owner", "owner")
    assert "22 bytes are more than the 10" in err
    assert failure
    assert not Notebook.objects.exists()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(owner: Any, tmp_path: Path):
    out, _, _ = run(notebook_file(tmp_path, "a.ipynb"), "--owner", "owner", "--dry-run")
    assert "a.ipynb: would be imported" in out
    assert not Notebook.objects.exists()


def test_a_file_of_the_origin_is_imported_without_its_password(owner: Any, tmp_path: Path):
    path = tmp_path / "old.py"
    head = "# Notebook: Old\n# DB: postgresql://me:hunter2@h/d\n\n"
    path.write_text(f"{head}# %% sql [a]\nSELECT {{x}}\n# %% python [b]\nx = 1\n")
    run(str(path), "--owner", "owner")
    made = Notebook.objects.get(name="Old")
    assert [(cell.type, cell.source) for cell in made.cells.in_order()] == [("sql", "SELECT {x}"), ("python", "x = 1")]
    assert "hunter2" not in repr([made.metadata, *made.cells.values_list("source", "metadata")])
    assert made.connection is not None
    assert (made.connection.name, made.connection.dsn()) == ("database of Old", "postgresql://me:hunter2@h/d")
    assert b"hunter2" not in bytes(made.connection.secret)
