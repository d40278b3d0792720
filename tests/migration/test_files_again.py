"""Files without an id of their own, imported again: the same ones, copies, deleted ones, two imports at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError

from notebooks_app import binning, importing
from notebooks_app.import_owners import Owners
from notebooks_app.import_sources import FileSource
from notebooks_app.models import Notebook
from notebooks_app.notebooks import delete_notebook
from tests.migration.conftest import Ran, cell, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]


def code(source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None, **more}


def ipynb(path: Path, *cells: dict[str, Any], **metadata: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells}))
    return path


def import_(path: Path, *more: str) -> Ran:
    return run("import_notebooks", str(path), "--owner", "owner", *more)


def last_line(ran: Ran) -> str:
    return ran.out.splitlines()[-1]


@pytest.mark.parametrize("version", [2, 3])
def test_notebooks_of_an_old_nbformat_are_the_same_at_each_reading(owner: Any, tmp_path: Path, version: int):
    cells = [{"cell_type": "code", "input": source, "outputs": [], "language": "python"} for source in ("x = 1", "x")]
    made = {"nbformat": version, "nbformat_minor": 0, "metadata": {"name": "Old"}, "worksheets": [{"cells": cells}]}
    (path := tmp_path / "old.ipynb").write_text(json.dumps(made))
    for outcome in ("imported", "unchanged"):
        ran = import_(path, "--verify")
        assert (ran.failure, ran.err) == ("", "")
        assert last_line(ran) == f"1 {outcome}, 1 verified the same, 0 different."


# --- Copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["ipynb", "py"])
def test_a_copy_in_a_tree_is_the_same_notebook_and_its_name_a_note(owner: Any, tmp_path: Path, ending: str):
    folder = ipynb(tmp_path / "in" / "a.ipynb", code("x = 1")).parent
    (folder / "a.py").write_text("# %%\ny = 1\n")
    first = folder / f"a.{ending}"
    shutil.copy(first, folder / f"b-Copy1.{ending}")
    for _ in range(2):
        ran = import_(folder, "--verify")
        assert (ran.failure, ran.err) == ("", "")
        assert f"note: name: it is 'a' here, from 'a.{ending}', which has the same content." in ran.out
    assert list(Notebook.objects.values_list("name", flat=True)) == ["a", "a"]


def test_a_notebook_that_was_renamed_here_differs_from_its_own_file_alone(owner: Any, tmp_path: Path):
    path = ipynb(tmp_path / "in" / "a.ipynb", code("x = 1"))
    shutil.copy(path, path.with_name("b.ipynb"))
    import_(path.parent)
    Notebook.objects.update(name="Renamed")
    ran = import_(path.parent, "--verify")
    assert "difference: name: 'Renamed' for 'a'." in ran.err
    assert ran.failure == "1 of 2 notebooks differ from their source."


def test_a_name_that_a_file_says_is_compared_whatever_the_file_is_called(owner: Any, tmp_path: Path):
    path = ipynb(tmp_path / "in" / "a.ipynb", code("x = 1"), title="Sales")
    shutil.copy(path, path.with_name("b.ipynb"))
    assert import_(path.parent, "--verify").failure == ""
    Notebook.objects.update(name="Renamed")
    assert import_(path.parent, "--verify").failure == "2 of 2 notebooks differ from their source."


# --- Deleted ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.ipynb", "a.py"])
def test_a_notebook_of_a_file_that_was_deleted_stays_in_the_bin_until_that_is_emptied(
    owner: Any, tmp_path: Path, name: str
):
    path = ipynb(tmp_path / "a.ipynb", code("x = 1"))
    if name.endswith("py"):
        (path := tmp_path / name).write_text("# %%\nx = 1\n")
    import_(path)
    delete_notebook(Notebook.objects.get())
    assert last_line(import_(path)) == "1 in the bin, and kept there."
    assert "difference: It is in the bin." in import_(path, "--verify", "--dry-run").err
    binning.delete_for_ever(owner, Notebook.objects.get().pk)
    assert last_line(import_(path, "--verify")) == "1 imported, 1 verified the same, 0 different."


def test_a_living_notebook_of_a_file_counts_before_one_in_the_bin(owner: Any, tmp_path: Path):
    path = ipynb(tmp_path / "a.ipynb", code("x = 1"))
    import_(path)
    living = Notebook.objects.get()
    # As imports made another one, before they looked into the bin.
    binned = Notebook.objects.create(owner=owner, name="a", metadata=living.metadata)
    delete_notebook(binned)
    ran = import_(path)
    assert last_line(ran) == "1 unchanged."
    assert str(living.pk) in ran.out


# --- At once ---------------------------------------------------------------------------------------------------------


def options(owner: Any) -> importing.Options:
    return importing.Options(Owners(mapping={}, fallback=owner, by_name=False))


def test_a_file_that_another_import_has_taken_since_this_one_began_is_unchanged(owner: Any, tmp_path: Path):
    source = FileSource(ipynb(tmp_path / "a.ipynb", code("x = 1")))
    late = options(owner)
    assert late.files_of(owner) == {}
    made = importing.import_source(source, options(owner)).notebook
    result = importing.import_source(source, late)
    assert (result.outcome, result.notebook) == (importing.Imported.UNCHANGED, made)
    assert Notebook.objects.count() == 1


def test_of_two_imports_that_store_one_file_at_the_same_moment_one_fails(
    owner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = FileSource(ipynb(tmp_path / "a.ipynb", code("x = 1")))
    store = importing.import_notebook

    def store_after_another(*args: Any, **fields: Any) -> Notebook:
        monkeypatch.undo()
        importing.import_source(source, options(owner))
        return store(*args, **fields)

    monkeypatch.setattr(importing, "import_notebook", store_after_another)
    with pytest.raises(IntegrityError):
        importing.import_source(source, options(owner))
    assert Notebook.objects.count() == 1


def test_a_file_whose_notebook_belongs_to_another_account_now_is_imported_anew(owner: Any, editor: Any, tmp_path: Path):
    path = ipynb(tmp_path / "a.ipynb", code("x = 1"))
    import_(path)
    Notebook.objects.update(owner=editor)
    assert last_line(import_(path)) == "1 imported."
    assert last_line(import_(path)) == "1 unchanged."


# --- Numbers ---------------------------------------------------------------------------------------------------------

CHART = {"mime_type": "application/vnd.plotly.v1+json", "data": {"y": [1.0, 2.5, -0.0, 1e22, 3]}, "metadata": {}}


def test_a_notebook_that_was_imported_before_whole_floats_were_as_ints_is_unchanged(owner: Any, old: Old):
    path = old(cells=[cell("a", outputs=[CHART])])
    import_(path)
    made, loaded = Notebook.objects.get(), FileSource(path).load(10)
    assert made.metadata["rillbook"]["import"]["sha256"] == loaded.sha256 != loaded.earlier
    made.metadata["rillbook"]["import"]["sha256"] = loaded.earlier
    made.save(update_fields=["metadata"])
    assert last_line(import_(path, "--verify")) == "1 unchanged, 1 verified the same, 0 different."


# --- Hostile ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [["#2", None], [None, "#1"]])
def test_an_id_that_looks_like_the_place_of_a_cell_without_one_is_no_difference(
    owner: Any, old: Old, ids: list[str | None]
):
    path = old({"id": "n", "cells": [cell(one or "", f"x = {number}") for number, one in enumerate(ids)]})
    ran = import_(path, "--verify")
    assert (ran.failure, ran.err) == ("", "")


def test_metadata_under_our_key_for_ids_in_an_old_notebook_is_no_difference(owner: Any, old: Old):
    ours = {"metadata": {"rillbook_id": "x", "kept": 1}}
    ran = import_(old(cells=[cell("a", rillbook=ours), cell("", rillbook=ours)]), "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert [one.metadata.get("kept") for one in Notebook.objects.get().cells.in_order()] == [1, 1]
