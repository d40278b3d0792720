"""Imports are bounded as running cells are: before memory is taken, in rows and frames, and nothing of them is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from notebooks_app import exporting, import_outputs
from notebooks_app.formats import FormatError, read_file, read_upload
from notebooks_app.formats.bundles import size_of
from notebooks_app.models import Notebook, Output, OutputFile
from notebooks_app.outputs import MAX_INLINE, MAX_ITEMS
from tests.migration.conftest import cell, document, run

Old = Callable[..., Path]
NO_IMAGE = "iVBORw0KGgo" * 20_000 + "!"  # a picture that was cut off: no base64


def plain(text: str, **more: Any) -> dict[str, Any]:
    return {"mime_type": "text/plain", "data": text, "metadata": {}, **more}


def ipynb_of(version: int, *cells: Any) -> bytes:
    made: dict[str, Any] = {"nbformat": version, "nbformat_minor": 0, "metadata": {}}
    return json.dumps(
        made | ({"cells": cells} if version == 4 else {"worksheets": [{"cells": cells[:2]}] * 2})
    ).encode()


CODE = {"cell_type": "code", "source": "", "input": "", "metadata": {}, "outputs": [], "language": "python"}
FILES = {
    "a.ipynb": ipynb_of(4, *[CODE] * 4),
    "b.ipynb": ipynb_of(3, *[CODE] * 2),
    "c.json": json.dumps({"cells": [{}] * 4}).encode(),
    "d.py": b"# %%\n" * 4,
}


@pytest.mark.parametrize("name", FILES)
def test_cells_are_counted_before_one_is_made(name: str, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    for target in ("ipynb.read_cell", "ipynb._upgrade", "legacy._cell", "percent._cell", "percent._join_strings"):
        monkeypatch.setattr(f"notebooks_app.formats.{target}", lambda *_: made.append("one"))
    with pytest.raises(FormatError, match=f"{name}: 4 cells are more than the 3 a notebook may have."):
        read_file(name, FILES[name], max_cells=3)
    assert made == []


@pytest.mark.parametrize("name", ["a.ipynb", "a.json"])
def test_outputs_of_a_file_are_counted_before_one_is_made(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("notebooks_app.formats.base.MAX_OUTPUTS", 3)
    cells = [CODE | {"outputs": [{}, {}]}] * 2
    data = ipynb_of(4, *cells) if name == "a.ipynb" else json.dumps({"cells": cells}).encode()
    with pytest.raises(FormatError, match=f"{name}: cell 2: that is more than the 3 outputs a file may have."):
        read_file(name, data)


def test_a_script_of_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("notebooks_app.formats.percent.MAX_LINES", 3)
    with pytest.raises(FormatError, match=r"x.py: 4 lines are more than the 3 that are read of a script."):
        read_file("x.py", b"\n\n\n")


def test_an_upload_of_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("notebooks_app.formats.MAX_VALUES", 3)
    monkeypatch.setattr("notebooks_app.formats.legacy.parse", pytest.fail)
    with pytest.raises(FormatError, match=r"x.json: 5 lists and objects are more than are read here"):
        read_upload("x.json", b'{"cells": [{}, {}, {}]}', max_cells=100)
    assert len(read_upload("x.py", b"# %%\n[[[[]]]]", max_cells=100).cells) == 1


@pytest.mark.django_db
def test_the_page_refuses_more_cells_than_a_notebook_may_have(client: Client, owner: Any, settings: Any):
    settings.NOTEBOOK_MAX_CELLS = 40  # the demo has 31
    client.force_login(owner)
    file = SimpleUploadedFile("a.ipynb", ipynb_of(4, *[CODE] * 41))
    page = client.post(reverse("notebook_import"), {"file": file}, follow=True)
    assert b"a.ipynb: 41 cells are more than the 40 a notebook may have." in page.content


def imported(old: Old, *outputs: dict[str, Any], **more: Any) -> list[Output]:
    """The rows of a cell with these outputs, after --verify has found all of it, and an export has given it back."""
    path = old(document(cells=[cell("c1", outputs=list(outputs), **more)], db_conn_string=None))
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert ran.out.splitlines()[-1] == "1 imported, 1 verified the same, 0 different.", ran.err
    given = json.loads(exporting.text_of(Notebook.objects.get(), "json"))["cells"][0]
    assert (given["outputs"], given.get("error")) == (list(outputs), more.get("error"))
    return list(Output.objects.order_by("index"))


def rest_of(row: Output) -> Any:
    return json.loads(exporting.read_file(OutputFile.objects.get(output=row, mime_type=import_outputs.REST)))


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("more", [0, 1, 500])
def test_a_cell_has_no_more_rows_than_a_run_makes(owner: Any, old: Old, more: int):
    rows = imported(old, *[plain(str(number)) for number in range(MAX_ITEMS + more)])
    assert len(rows) == MAX_ITEMS
    assert OutputFile.objects.count() == bool(more)
    if more:
        assert [one["data"]["text/plain"] for one in rest_of(rows[-1])["outputs"]][:2] == ["999", "1000"]


@pytest.mark.django_db
@pytest.mark.database
def test_past_its_rows_a_notebook_has_one_for_each_cell(owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("notebooks_app.import_rows.MANY_OUTPUTS", 3)
    cells = [cell(name, outputs=[plain("1"), plain("2"), plain("3")]) for name in "abc"]
    path = old(document(cells=cells, db_conn_string=None))
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert Output.objects.count() == 5


@pytest.mark.django_db
@pytest.mark.database
def test_a_long_error_is_cut_in_its_row_and_kept_whole(owner: Any, old: Old):
    error = "\n".join(f"line {number}" for number in range(50_000)) + "\nValueError: " + "x" * 100_000
    [row] = imported(old, error=error)
    assert size_of(row.data) < 200_000
    assert row.data["traceback"][0] == "line 0"
    assert row.data["traceback"][100] == "[49,801 lines left out]"
    assert row.data["ename"] == "ValueError"
    assert rest_of(row)["evalue"] == "x" * 100_000


@pytest.mark.django_db
@pytest.mark.database
def test_what_is_no_picture_and_large_metadata_are_kept_in_a_file(owner: Any, old: Old):
    picture = {"mime_type": "image/png", "data": NO_IMAGE, "metadata": {}}
    described = plain("small", metadata={"about": "y" * 100_000})
    one, other = imported(old, picture, described)
    assert (one.data, other.data, other.metadata) == ({}, {"text/plain": "small"}, {})
    assert rest_of(one) == {"data": {"image/png": NO_IMAGE}}


@pytest.mark.django_db
@pytest.mark.database
def test_a_file_that_calls_itself_the_rest_is_a_value_like_others(owner: Any, old: Old):
    [row] = imported(old, {"mime_type": import_outputs.REST, "data": '{"outputs": []}' + " " * 100_000, "metadata": {}})
    assert list(rest_of(row)["data"]) == [import_outputs.REST]


@pytest.mark.django_db
@pytest.mark.database
def test_many_pictures_of_a_cell_become_files_before_its_page_is_too_large(owner: Any, old: Old):
    picture = {"mime_type": "image/png", "data": "A" * 48_000, "metadata": {}}
    rows = imported(old, *[picture] * 250)
    assert sum(size_of(row.data) for row in rows) < MAX_INLINE
    assert len(rows) == 250
    assert set(OutputFile.objects.values_list("mime_type", flat=True)) == {"image/png"}


@pytest.mark.django_db
@pytest.mark.database
def test_what_no_file_of_its_own_can_make_smaller_is_kept_together(owner: Any, old: Old):
    rows = imported(old, *[plain("z" * 16_000)] * 700)
    assert sum(size_of(row.data) for row in rows) < MAX_INLINE + 100_000
    assert len(rows) + len(rest_of(rows[-1])["outputs"]) == 701


def test_a_bundle_of_many_types_has_few_in_its_row():
    data = {f"a/b{number}": "x" for number in range(100)} | {"a/" + "c" * 200: "y" * 100_000}
    output = {"kind": "display_data", "data": data, "metadata": {}, "display_id": None, "files": {}}
    [one] = import_outputs.prepare([output])
    assert len(one.output["data"]) == 32
    [rest] = one.large
    assert import_outputs.restored(one.output, json.loads(rest.data)) == [output]
