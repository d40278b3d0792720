"""`--verify` finds every kind of difference between a notebook here and its source."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db.models import F

from notebooks_app.models import Cell, Connection, Notebook, Output, OutputFile
from notebooks_app.notebooks import delete_notebook
from tests.migration.conftest import cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]


def whole() -> dict[str, Any]:
    large = {"mime_type": "text/html", "data": "<b>" * 100_000, "metadata": {}}
    found = document(created_at="2024-01-02T03:04:05Z", updated_at="2024-02-03T04:05:06Z", color="red")
    return found | {"cells": [*found["cells"], cell("c4", outputs=[large], shade="dark")]}


def cells() -> Any:
    return Cell.objects.in_order()


def output(number: int, index: int) -> Output:
    return cells()[number - 1].outputs.get(index=index)


def edit_output(number: int, index: int, **fields: Any) -> None:
    Output.objects.filter(pk=output(number, index).pk).update(**fields)


def edit_cell(number: int, **fields: Any) -> None:
    Cell.objects.filter(pk=cells()[number - 1].pk).update(**fields)


def swap() -> None:
    first, second = cells()[0], cells()[1]
    Cell.objects.filter(pk=first.pk).update(position=1)
    Cell.objects.filter(pk=second.pk).update(position=first.position)
    Cell.objects.filter(pk=first.pk).update(position=second.position)


def change_dsn() -> None:
    connection = Connection.objects.get()
    connection.set_dsn("postgresql://me:other@db.example/shop")
    connection.save()


def change_metadata() -> None:
    made = Notebook.objects.get()
    made.metadata["rillbook"]["legacy"] = {"color": "blue"}
    made.save(update_fields=["metadata"])


def damage_file() -> None:
    file = OutputFile.objects.get()
    with storages["outputs"].open(file.key, "wb") as found:
        found.write(b"<i>" * 100_000)


def move_id() -> None:
    Cell.objects.filter(pk=cells()[0].pk).update(id=uuid.uuid4())


TAMPERED: dict[str, tuple[Callable[[], Any], str]] = {
    "name": (lambda: Notebook.objects.update(name="Other"), "name: 'Other' for 'Sales'."),
    "revision": (lambda: Notebook.objects.update(revision=41), "revision: 41 for 42."),
    "created": (lambda: Notebook.objects.update(created_at=F("created_at") + timedelta(1)), "created_at: 2024-01-03T"),
    "updated": (lambda: Notebook.objects.update(updated_at=F("updated_at") + timedelta(1)), "updated_at: 2024-02-04T"),
    "old id": (lambda: Notebook.objects.update(external_id="x"), "external_id: 'x' for ''."),
    "metadata": (change_metadata, "metadata: {'rillbook': {'legacy': {'color': 'blue'}}} for"),
    "no connection": (lambda: Notebook.objects.update(connection=None), "connection: the source has a database, and"),
    "connection": (change_dsn, "connection: the source has a database, and the notebook here has another."),
    "cell's connection": (lambda: edit_cell(2, connection=None), "cell 2: connection: it is not the notebook's."),
    "order": (swap, "cells: they are in another order."),
    "missing": (lambda: cells()[0].delete(), "cell 1: it is missing here."),
    "in the bin": (lambda: edit_cell(3, deleted_at="2025-01-01T00:00:00Z", position=-1), "cell 3: it is missing here."),
    "extra": (
        lambda: Cell.objects.create(notebook=Notebook.objects.get(), position=10**9),
        "cell 5 here is not in the source.",
    ),
    "cell's id": (lambda: edit_cell(1, external_id="x"), "cell 1: external_id: 'x' for 'c1'."),
    "source": (lambda: edit_cell(1, source="x = 1\nprint(y)"), "cell 1: source: it differs from line 2 on"),
    "type": (lambda: edit_cell(1, type="sql"), "cell 1: type: 'sql' for 'python'."),
    "result name": (lambda: edit_cell(2, result_name="top"), "cell 2: result_name: 'top' for ''."),
    "disabled": (lambda: edit_cell(2, disabled=True), "cell 2: disabled: True for False."),
    "hidden": (lambda: edit_cell(2, code_hidden=True), "cell 2: code_hidden: True for False."),
    "cell's metadata": (lambda: edit_cell(4, metadata={"rillbook_id": "c4"}), "cell 4: metadata: {} for {'rillbook'"),
    "stdout": (
        lambda: edit_output(1, 0, data={"name": "stdout", "text": "1\n\ttwo\n", "cut": None}),
        "cell 1: outputs[0]: stdout: it differs from line 2 on (7 characters for 8).",
    ),
    "stream": (
        lambda: edit_output(1, 0, data={"name": "stderr", "text": "1\n\ttwo\r\n", "cut": None}),
        "cell 1: outputs[0]: name: 'stderr' for 'stdout'.",
    ),
    "error": (
        lambda: edit_output(3, 1, data=output(3, 1).data | {"evalue": "x"}),
        "cell 3: outputs[1]: error evalue: 'x' for",
    ),
    "traceback": (lambda: edit_output(3, 1, data=output(3, 1).data | {"traceback": []}), "error traceback: [] for"),
    "picture": (
        lambda: edit_output(2, 0, data={"image/png": "AAAA"}),
        "cell 2: outputs[0]: image/png: it differs from line 1 on",
    ),
    "json": (
        lambda: edit_output(2, 3, data={"application/vnd.plotly.v1+json": {"data": [{"y": [1.5, True]}]}}),
        "cell 2: outputs[3]: application/vnd.plotly.v1+json: {'data': [{'y': [1.5, True]}]} for",
    ),
    "mime type": (lambda: edit_output(2, 1, data={"text/plain": "3"}), "outputs[1]: text/html is missing here."),
    "output's metadata": (lambda: edit_output(2, 0, metadata={}), "outputs[0]: metadata: {} for {'width': 1}."),
    "kind": (lambda: edit_output(2, 1, kind="execute_result"), "outputs[1]: it is execute_result and not display"),
    "fewer outputs": (lambda: output(2, 4).delete(), "cell 2: outputs: the source has 5, here are 4."),
    "file's bytes": (damage_file, "cell 4: outputs[0]: text/html: it differs from line 1 on"),
    "file": (lambda: storages["outputs"].delete(OutputFile.objects.get().key), "cannot be read (FileNotFoundError)"),
    "file's row": (lambda: OutputFile.objects.update(output=None), "cell 4: outputs[0]: text/html is missing here."),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_each_difference_is_found_and_fails_the_command(owner: Any, old: Old, what: str):
    path = old(whole())
    assert run("import_notebooks", str(path), "--owner", "owner", "--verify").failure == ""
    tamper, words = TAMPERED[what]
    tamper()
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify", "--dry-run")
    differences = [line for line in ran.err.splitlines() if "difference:" in line]
    assert any(words in line for line in differences), ran.err
    assert ran.failure == "1 of 1 notebooks differ from their source."
    assert "hunter2" not in ran.out + ran.err


def test_another_primary_key_of_a_cell_is_found(owner: Any, old: Old):
    path = old({"id": "n", "cells": [cell("c1")]})
    run("import_notebooks", str(path), "--owner", "owner")
    move_id()
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert "cell 1: id: it is not the one that 'c1' maps to." in ran.err


def test_a_notebook_that_is_not_here_or_in_the_bin_is_a_difference(owner: Any, old: Old):
    path = old()
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify", "--dry-run")
    assert "difference: It is not here." in ran.err
    assert ran.failure == "1 of 1 notebooks differ from their source."
    run("import_notebooks", str(path), "--owner", "owner")
    delete_notebook(Notebook.objects.get())
    assert "difference: It is in the bin." in run("import_notebooks", str(path), "--owner", "owner", "--verify").err


def test_names_that_analysis_finds_otherwise_are_notes_and_no_differences(owner: Any, old: Old):
    path = old(cells=[cell("a", "x = y", reads=["z"], writes=["x"])])
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert "note: cell 1: reads: y by analysis, z in the source." in ran.out


def test_what_was_edited_here_since_is_said_with_the_differences(owner: Any, old: Old):
    path = old()
    run("import_notebooks", str(path), "--owner", "owner")
    edit_cell(1, source="x = 2")
    Notebook.objects.update(seq=F("seq") + 1)
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert "It was changed or run here since it was imported." in ran.err
