"""Every shape that old notebooks were ever written in, through the command: kept, the same when run again, verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notebooks_app import exporting
from notebooks_app.models import Notebook, Output
from tests.migration.conftest import DSN, PNG, TABLE, cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

UPPER = "0C5F1C1E-2F8B-4C0E-9B0A-7D1F0A1B2C3D"
PLOT = {"data": [{"y": [1, 2.5, None], "type": "bar"}], "layout": {"title": {"text": "é"}}}
ITEMS: dict[str, Any] = {
    "image/png": PNG,
    "image/jpeg": "/9j/4AAQSkZJRg==",
    "image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "text/plain": "plain\r\n\tof two lines",
    "text/html": "<table><tr><td>1</td></tr></table>",
    "text/markdown": "# é",
    "application/vnd.plotly.v1+json": PLOT,
    "application/vnd.vegalite.v5+json": {"mark": "bar", "encoding": {}},
    "application/vnd.vegalite.v6+json": {"mark": {"type": "line"}},
    "application/json": TABLE,
    "application/javascript": "alert(1)",
    "application/x-anything": "what nobody draws",
}


def shapes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Old notebooks by what is special about them."""
    yield "whole", document()
    yield "oldest", {"id": "a", "cells": [{"id": "1", "type": "python", "code": "x = 1"}]}
    for key in ("user_id", "name", "revision", "db_conn_string"):
        yield f"without_{key}", {one: value for one, value in document().items() if one != key}
        yield f"null_{key}", document(**{key: None})
    for key in ("status", "stdout", "outputs", "error", "reads", "writes", "type", "code", "id"):
        yield f"cell_without_{key}", document(cells=[{k: v for k, v in cell("a").items() if k != key}])
        yield f"cell_null_{key}", document(cells=[cell("a") | {key: None}])
    for status in ("idle", "running", "success", "error", "blocked"):
        yield f"status_{status}", document(cells=[cell("a", status=status)])
    for at, (mime, data) in enumerate(ITEMS.items()):
        item = {"mime_type": mime, "data": data, "metadata": {"width": 3, "isolated": True}}
        yield f"item_{at}", document(cells=[cell("a", outputs=[item, item])])
    yield "without_cells", document(cells=[])
    yield "many_ids", document(cells=[cell(one) for one in ("1", UPPER, UPPER.lower(), "é/../x", "x" * 300, " ")])
    yield "extra", document(theme={"dark": True}, cells=[cell("a", folded=True, tags=["x"])])
    yield "long_name", document(name="n" * 500)
    yield "name_of_lines", document(name="a\nb\tc")
    yield "empty_name", document(name="")
    yield "markdown", document(cells=[cell("a", "# T", type="markdown")])
    yield "lines", document(cells=[cell("a", "a\r\nb\rc\n\n", stdout="50%\r100%\n")])
    yield "nothing_to_see", document(cells=[cell("a", "", stdout="\x1b[31mred\x1b[0m \u2028 \U0001f600")])
    yield "times", document(created_at="2030-01-01T00:00:00", updated_at="2024-02-03T04:05:06.123456+02:00")
    yield "wrong_times", document(created_at="yesterday", updated_at=17)
    yield "numbers", document(cells=[cell("a", outputs=[{"mime_type": "application/json", "data": [10**40, 1e300]}])])
    yield "user_number", document(user_id=7)


@pytest.mark.parametrize("name", [name for name, _ in shapes()])
def test_every_shape_is_imported_whole_and_the_same_again_changes_nothing(owner: Any, tmp_path: Path, name: str):
    (path := tmp_path / f"{name}.json").write_text(json.dumps(dict(shapes())[name] | {"id": name}))
    first = run("import_notebooks", str(path), "--owner", "owner", "--verify")
    assert (first.failure, first.err) == ("", "")
    assert first.out.splitlines()[-1] == "1 imported, 1 verified the same, 0 different."
    again = run("import_notebooks", str(path), "--owner", "owner", "--verify", "--update", "--overwrite")
    assert again.out.splitlines()[-1] == "1 unchanged, 1 verified the same, 0 different."


def test_all_shapes_come_out_and_in_again_as_the_same_notebooks(owner: Any, tmp_path: Path):
    """Old JSON, Rillbook, JSON, Rillbook: equal, with their ids, times, outputs and the database's password."""
    (folder := tmp_path / "old").mkdir()
    for name, found in shapes():
        (folder / f"{name}.json").write_text(json.dumps(found | {"id": name}))
    assert run("import_notebooks", str(folder), "--owner", "owner").failure == ""
    before = {one.pk: exporting.load(one, with_dsn=True) for one in Notebook.objects.all()}
    assert run("export_notebooks", "--output", str(tmp_path / "out"), "--with-dsn").failure == ""
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert names == {name for name, _ in shapes()}
    Notebook.objects.all().delete()
    ran = run("import_notebooks", str(tmp_path / "out"), "--owner", "owner", "--verify")
    assert ran.err == "" and ran.failure == ""
    after = {one.pk: exporting.load(one, with_dsn=True) for one in Notebook.objects.all()}
    assert before.keys() == after.keys()
    for pk, one in before.items():
        assert one.cells == after[pk].cells
        assert (one.id, one.name, one.dsn, one.revision) == (
            after[pk].id, after[pk].name, after[pk].dsn, after[pk].revision,
        )  # fmt: skip
        assert (one.created_at, one.updated_at) == (after[pk].created_at, after[pk].updated_at)


def test_an_image_of_five_megabytes_is_kept_as_a_file_to_the_last_byte(
    owner: Any, old: Callable[..., Path], tmp_path: Path
):
    data = PNG.rstrip("=") + "A" * (5 * 2**20 + 2)
    items = [{"mime_type": "image/png", "data": data, "metadata": {}}]
    ran = run("import_notebooks", str(old(cells=[cell("a", outputs=items)])), "--owner", "owner", "--verify")
    assert (ran.failure, ran.out.splitlines()[-1]) == ("", "1 imported, 1 verified the same, 0 different.")
    assert Output.objects.get().data == {}
    [kept] = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert kept.stat().st_size > 3_900_000


@pytest.mark.soak
def test_a_tree_of_thousands_is_imported_once_and_again(owner: Any, tmp_path: Path):
    (folder := tmp_path / "old").mkdir()
    for number in range(40):
        for name, found in shapes():
            (folder / f"{name}-{number}.json").write_text(json.dumps(found | {"id": f"{name}-{number}"}))
    count = 40 * len(dict(shapes()))
    ran = run("import_notebooks", str(folder), "--owner", "owner", "--verify")
    assert ran.out.splitlines()[-1] == f"{count:,} imported, {count:,} verified the same, 0 different."
    again = run("import_notebooks", str(folder), "--owner", "owner")
    assert again.out.splitlines()[-1] == f"{count:,} unchanged."
    assert DSN not in ran.out + again.out + ran.err + again.err
