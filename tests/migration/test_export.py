"""`manage.py export_notebooks`: everything comes back as files, and those come back as the same notebooks."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from django.core.files.storage import storages

from notebooks_app import exporting
from notebooks_app.demo import demo_notebook
from notebooks_app.formats import ipynb, legacy
from notebooks_app.import_rows import notebook_id
from notebooks_app.models import Cell, Connection, Notebook, Output, OutputFile, StreamChunk
from notebooks_app.notebooks import import_notebook
from tests.migration.conftest import DSN, cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

CARS = Path(__file__).parent.parent / "formats" / "real" / "cars.ipynb"
Old = Callable[..., Path]


def large() -> dict[str, Any]:
    item = {"mime_type": "application/vnd.plotly.v1+json", "data": {"y": list(range(50_000))}, "metadata": {}}
    return cell("c9", stdout="line of text\n" * 50_000, outputs=[item])


def without_status(found: dict[str, Any]) -> dict[str, Any]:
    cells = [{key: value for key, value in one.items() if key != "status"} for one in found["cells"]]
    return {**found, "cells": cells}


def export(folder: Path, *more: str) -> Any:
    return run("export_notebooks", "--output", str(folder), *more)


def test_what_is_saved_in_pieces_is_exported_too(owner: Any):
    notebook = Notebook.objects.create(owner=owner, name="Running")
    ended = Cell.objects.create(notebook=notebook, position=1)
    runs = Cell.objects.create(notebook=notebook, position=2)
    attempt = uuid.uuid4()
    data = {"name": "stdout", "text": "a\n", "cut": None}
    Output.objects.create(cell=ended, attempt=attempt, index=0, kind="stream", data=data)
    Output.objects.create(cell=runs, attempt=uuid.uuid4(), index=0, kind="stream", data={**data, "text": "old\n"})
    StreamChunk.objects.create(
        cell=ended, attempt=attempt, ops=[{"op": "text", "item": 0, "name": "stdout", "from": 2, "text": "late\n"}]
    )
    StreamChunk.objects.create(
        cell=runs, attempt=uuid.uuid4(), ops=[{"op": "text", "item": 0, "name": "stdout", "from": 0, "text": "new\n"}]
    )
    texts = [[output["text"] for output in one.outputs] for one in exporting.load(notebook).cells]
    assert texts == [["a\nlate\n"], ["new\n"]]


def test_an_old_notebook_comes_back_as_it_was(owner: Any, old: Old, tmp_path: Path):
    times = {"created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-02-03T04:05:06Z"}
    cells = [*document()["cells"], large()]
    path = old(document("sales-2019", name=None, cells=cells, **times))
    run("import_notebooks", str(path), "--owner", "owner")
    ran = export(tmp_path / "out", "--with-dsn")
    assert ran.failure == ""
    before, after = json.loads(path.read_text()), json.loads((tmp_path / "out" / "sales-2019.json").read_text())
    for one in before["cells"]:
        one["code"] = one["code"].replace("\r\n", "\n")
    for one in after["cells"]:
        del one["updated_at"]
        one["reads"], one["writes"] = [], []
    for one in before["cells"]:
        one["reads"], one["writes"] = [], []
    assert without_status(after).pop("rillbook") == {"connection": "database of Untitled"}
    after.pop("rillbook")
    assert without_status(after) == without_status(before)


def test_what_an_old_output_says_beyond_its_shape_is_kept(owner: Any, old: Old, tmp_path: Path):
    items = [
        {"mime_type": "text/plain", "data": "a", "metadata": {}, "title": "t", "nul\0": [None, 1.5]},
        {"mime_type": "image/png", "data": "AAAA", "metadata": {"width": 1, "rillbook": {"x": 1}}, "size": {"w": 2}},
        {"mime_type": "text/html", "data": "<b>", "metadata": ["none"], "rillbook": "theirs"},
        {"mime_type": "text/plain", "data": "b", "metadata": None, "rillbook": None},
    ]
    path = old(document("n", cells=[cell("a", outputs=items)], db_conn_string=None))
    assert run("import_notebooks", str(path), "--owner", "owner", "--verify").failure == ""
    assert Output.objects.get(index=0).metadata == {"rillbook": {"legacy": {"title": "t", "nul\ufffd": [None, 1.5]}}}
    export(tmp_path / "out")
    [after] = json.loads((tmp_path / "out" / "n.json").read_text())["cells"]
    items[0]["nul\ufffd"] = items[0].pop("nul\0")
    items[3] = {"mime_type": "text/plain", "data": "b", "metadata": {}}
    assert after["outputs"] == items
    again = run("import_notebooks", str(tmp_path / "out"), "--owner", "owner", "--verify")
    assert again.out.splitlines()[-1].endswith(", 1 verified the same, 0 different.")
    Output.objects.filter(index=0).update(metadata={})
    lost = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert "cell 1: outputs[0]: metadata: {} for {'rillbook': {'legacy': {'title': 't'" in lost.err


@pytest.mark.parametrize("ending", ["json", "ipynb", "py"])
def test_what_was_exported_imports_and_verifies_clean(owner: Any, editor: Any, old: Old, tmp_path: Path, ending: str):
    run("import_notebooks", str(old(cells=[*document()["cells"], large()])), "--owner", "owner")
    import_notebook(owner, ipynb.read("cars.ipynb", CARS.read_bytes()))
    import_notebook(owner, demo_notebook())
    assert export(tmp_path / "out", "--format", ending).failure == ""
    assert len(list((tmp_path / "out").iterdir())) == 3
    if ending == "json":
        Notebook.objects.all().delete()
    ran = run("import_notebooks", str(tmp_path / "out"), "--owner", "editor", "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert ran.out.splitlines()[-1] == "3 imported, 3 verified the same, 0 different."


def test_notebooks_survive_the_way_out_and_in_unchanged(owner: Any, old: Old, tmp_path: Path):
    run("import_notebooks", str(old(cells=[*document()["cells"], large()])), "--owner", "owner")
    import_notebook(owner, ipynb.read("cars.ipynb", CARS.read_bytes()))
    before = {one.pk: exporting.load(one, with_dsn=True) for one in Notebook.objects.all()}
    export(tmp_path / "out", "--with-dsn")
    Notebook.objects.all().delete()
    Connection.objects.all().delete()
    run("import_notebooks", str(tmp_path / "out"), "--owner", "owner")
    after = {one.pk: exporting.load(one, with_dsn=True) for one in Notebook.objects.all()}
    for pk, one in before.items():
        same = [
            (cell.id, cell.type, cell.source, cell.outputs, cell.result_name, cell.execution_count, cell.updated_at)
            for cell in one.cells
        ]
        assert same == [
            (cell.id, cell.type, cell.source, cell.outputs, cell.result_name, cell.execution_count, cell.updated_at)
            for cell in after[pk].cells
        ]
        assert (one.name, one.revision, one.created_at, one.updated_at, one.dsn) == (
            after[pk].name, after[pk].revision, after[pk].created_at, after[pk].updated_at, after[pk].dsn,
        )  # fmt: skip


def test_ipynb_files_are_valid_and_hold_what_is_kept_in_files(owner: Any, old: Old, tmp_path: Path):
    run("import_notebooks", str(old(cells=[large()])), "--owner", "owner")
    assert OutputFile.objects.count() == 2
    export(tmp_path / "out", "--format", "ipynb")
    [path] = (tmp_path / "out").iterdir()
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    stream, plot = found.cells[0].outputs
    assert stream.text == "line of text\n" * 50_000
    assert plot.data["application/vnd.plotly.v1+json"]["y"][-1] == 49_999


def test_passwords_leave_only_where_the_operator_says_so(owner: Any, old: Old, tmp_path: Path):
    run("import_notebooks", str(old()), "--owner", "owner")
    for ending in ("json", "ipynb", "py"):
        ran = export(tmp_path / ending, "--format", ending)
        assert ran.out.splitlines()[-1] == "1 written, 1 without its DSN."
        [path] = (tmp_path / ending).iterdir()
        assert "hunter2" not in path.read_text()
    export(tmp_path / "with", "--with-dsn")
    [path] = (tmp_path / "with").iterdir()
    assert json.loads(path.read_text())["db_conn_string"] == DSN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_of_files_are_stable_and_never_meet(owner: Any, tmp_path: Path):
    for _ in range(2):
        Notebook.objects.create(owner=owner, name="a/b: ../Ü?")
    Notebook.objects.create(owner=owner, name="x", external_id="../../etc/passwd")
    Notebook.objects.create(owner=owner, name="x", external_id="..-..-etc-passwd")
    Notebook.objects.create(owner=owner, name="x", external_id="A" * 200)
    for ending in ("json", "ipynb"):
        export(tmp_path / ending, "--format", ending)
        first = sorted(path.name for path in (tmp_path / ending).iterdir())
        assert len(first) == 5
        ran = export(tmp_path / ending, "--format", ending)
        assert ran.out.splitlines()[-1] == "5 unchanged."
        assert sorted(path.name for path in (tmp_path / ending).iterdir()) == first


def test_named_notebooks_and_those_of_one_owner_are_exported(owner: Any, editor: Any, tmp_path: Path):
    mine = Notebook.objects.create(owner=owner, name="mine")
    Notebook.objects.create(owner=owner, name="old", external_id="old-1")
    Notebook.objects.create(owner=editor, name="theirs")
    assert export(tmp_path / "a", str(mine.pk), "old-1").out.splitlines()[-1] == "2 written."
    assert export(tmp_path / "b", "--owner", "editor").out.splitlines()[-1] == "1 written."
    assert export(tmp_path / "c", "nothing").failure == "There is no notebook 'nothing'."
    assert export(tmp_path / "d", "--owner", "nobody").failure == "There is no user 'nobody'."


def test_a_full_disk_fails_in_words_and_leaves_no_part_of_a_file(
    owner: Any, old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run("import_notebooks", str(old()), "--owner", "owner")
    kept = export(tmp_path / "out")
    [path] = (tmp_path / "out").iterdir()
    before = path.read_bytes()
    Notebook.objects.update(name="Changed")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    ran = export(tmp_path / "out")
    assert "(Changed): not exported: No space left on device" in ran.err
    assert (kept.failure, ran.failure) == ("", "1 of 1 notebooks could not be exported.")
    assert [one.read_bytes() for one in (tmp_path / "out").iterdir()] == [before]


def test_an_output_that_cannot_be_read_fails_its_notebook_and_no_other(owner: Any, old: Old, tmp_path: Path):
    old()
    run("import_notebooks", str(old(document("large", cells=[large()])).parent), "--owner", "owner")
    storages["outputs"].delete(OutputFile.objects.first().key)
    ran = export(tmp_path / "out")
    assert "cannot be read (FileNotFoundError)" in ran.err
    assert ran.out.splitlines()[-1] == "1 written, 1 without its DSN, 1 failed."
    assert ran.failure == "1 of 2 notebooks could not be exported."


def test_a_notebook_that_finds_a_fault_of_ours_stops_no_other(
    owner: Any, old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old()
    run("import_notebooks", str(old(document("other", name="Other")).parent), "--owner", "owner")

    def write(notebook: Any) -> str:
        if notebook.name == "Sales":
            raise TypeError("a fault")
        return legacy.write(notebook)

    monkeypatch.setitem(exporting.WRITERS, "json", write)
    ran = export(tmp_path / "out")
    assert "not exported: a fault of Rillbook itself (TypeError)" in ran.err
    assert ran.out.splitlines()[-1] == "1 written, 1 without its DSN, 1 failed."


def test_a_folder_that_cannot_be_made_is_said(owner: Any, tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert export(tmp_path / "file" / "out").failure.endswith("Not a directory")


def test_cells_of_one_old_id_come_back_apart(owner: Any, tmp_path: Path):
    script = tmp_path / "twice.py"
    script.write_text("# %% python [a]\nx = 1\n\n# %% python [a]\ny = 2\n")
    assert run("import_notebooks", str(script), "--owner", "owner", "--verify").failure == ""
    before = list(Cell.objects.in_order().values_list("pk", "source"))
    assert export(tmp_path / "out").failure == ""
    Notebook.objects.all().delete()
    ran = run("import_notebooks", str(tmp_path / "out"), "--owner", "owner", "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert list(Cell.objects.in_order().values_list("source", flat=True)) == ["x = 1", "y = 2"]
    assert Cell.objects.in_order().last().pk == before[1][0]


@pytest.mark.parametrize("ending", ["json", "ipynb", "py", "html"])
@pytest.mark.parametrize("letter", ["売", "𠮷", "é", "a"])
def test_a_file_has_a_name_that_every_folder_takes(owner: Any, tmp_path: Path, letter: str, ending: str):
    old_id = letter * 200
    facts = {"rillbook": {"import": {"id": old_id}}}
    Notebook.objects.create(owner=owner, name=letter * 200, id=notebook_id(old_id), metadata=facts)
    assert export(tmp_path / "out", "--format", ending).failure == ""
    [file] = (tmp_path / "out").iterdir()
    assert file.name.startswith(letter * 50)
    assert len(file.name.encode()) <= 255


def test_an_old_id_that_is_a_files_name_stays_it(owner: Any, tmp_path: Path):
    for old_id in ("é" * 120, "売" * 85):
        facts = {"rillbook": {"import": {"id": old_id}}}
        Notebook.objects.create(owner=owner, name="x", id=notebook_id(old_id), metadata=facts)
    assert export(tmp_path / "out").failure == ""
    names = sorted(file.stem for file in (tmp_path / "out").iterdir())
    assert names == ["é" * 120, f"{'売' * 66}-{notebook_id('売' * 85)}"]
