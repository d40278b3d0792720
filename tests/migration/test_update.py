"""Numbers that go on where a changed source takes an imported notebook's place: revisions, cells' versions, places."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notebooks_app import restoring, services, versions
from notebooks_app.errors import Conflict
from notebooks_app.models import Cell, Notebook, Version
from notebooks_app.services import Author
from tests.migration.conftest import cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]
CELL_ID = uuid.UUID("0c5f1c1e-2f8b-4c0e-9b0a-7d1f0a1b2c3d")


def take(path: Path, *more: str) -> Notebook:
    ran = run("import_notebooks", str(path), "--owner", "owner", "--verify", *more)
    assert (ran.failure, ran.err) == ("", "")
    return Notebook.objects.get()


def with_code(code: str, revision: int = 42) -> dict[str, Any]:
    return document(revision=revision, db_conn_string=None, cells=[cell(str(CELL_ID), code)])


@pytest.mark.parametrize("revision", [2**47, 1_700_000_000_000_000, 2**53 - 1])
def test_cells_of_a_notebook_of_any_revision_are_moved_and_deleted(owner: Any, old: Old, revision: int):
    made = take(old(revision=revision))
    author = Author.of(owner)
    first, second, third = made.cells.in_order()
    services.move_cells(made.pk, [third.pk], after=None, author=author, operation_id=uuid.uuid4())
    services.delete_cells(made.pk, [first.pk], author=author, operation_id=uuid.uuid4())
    assert list(made.cells.alive().in_order()) == [third, second]
    assert Notebook.objects.get().revision == revision + 2
    Notebook.objects.update(seq=revision)  # as imports left it before
    services.delete_cells(made.pk, [second.pk], author=author, operation_id=uuid.uuid4())
    assert list(made.cells.alive().in_order()) == [third]


def test_what_an_update_replaces_cannot_be_taken_for_a_version_of_the_same_revision(owner: Any, old: Old):
    made = take(old(with_code("old = 1")))
    author = Author.of(owner)
    version = versions.name_version(made.pk, "first", author=author)
    take(old(with_code("new = 2")), "--update")
    Notebook.objects.update(revision=42)  # as updates left it before
    restoring.restore_version(made.pk, version.pk, author=author, operation_id=uuid.uuid4())
    kept = Version.objects.exclude(pk=version.pk).get()
    assert kept.name == "Before restoring “first”"
    assert versions.sources_of_version(kept, [CELL_ID]) == {CELL_ID: "new = 2"}


def test_an_edit_of_what_an_update_replaced_is_a_conflict(owner: Any, old: Old):
    made = take(old(with_code("old = 1")))
    take(old(with_code("new = 2")), "--update")
    assert Cell.objects.get().version == 2
    with pytest.raises(Conflict):
        services.edit_cell(
            made.pk, CELL_ID, version=1, source="mine", author=Author.of(owner), operation_id=uuid.uuid4()
        )


@pytest.mark.parametrize(("source", "here"), [(42, 43), (7, 43), (50, 50)])
def test_an_update_never_takes_the_revision_back_and_exports_that_of_its_source(
    owner: Any, old: Old, tmp_path: Path, source: int, here: int
):
    take(old(with_code("old = 1")))
    path = old(with_code("new = 2", revision=source))
    made = take(path, "--update")
    assert made.revision == here
    run("export_notebooks", "--output", str(tmp_path / "out"))
    run("import_notebooks", str(tmp_path / "out"), "--owner", "owner", "--verify")
    exported = (tmp_path / "out" / path.name).read_text()
    assert f'"revision": {source},' in exported
