"""The bin of cells and of notebooks: what is in it, bringing back, deleting for ever. On both databases."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from notebooks_app import binning, notebooks, restoring, versions
from notebooks_app.errors import BadRequest, NotFound
from notebooks_app.models import Cell, CellRun, Change, KernelSession, Membership, Notebook, Output, OutputFile
from notebooks_app.services import Accepted
from tests.history.conftest import Replay, Workbench, many_cells, queries

pytestmark = [pytest.mark.database, pytest.mark.django_db]


def bring_back(bench: Workbench, *cells: uuid.UUID) -> Accepted:
    return binning.restore_cells(bench.pk, cells or None, **bench.who())


def in_bin(bench: Workbench) -> list[uuid.UUID]:
    return [cell.pk for cell in binning.deleted_cells(bench.pk)]


# --- Cells -----------------------------------------------------------------------------------------------------------


def test_the_bin_shows_deleted_cells_the_last_first(bench: Workbench):
    a, b, c = (bench.add(source) for source in ("a = 1", "b" * 500, "c = 1"))
    bench.delete(a)
    bench.delete(b)
    shown = [binning.cell_document(cell) for cell in binning.deleted_cells(bench.pk)]
    assert [cell["id"] for cell in shown] == [str(b), str(a)]
    assert [(len(cell["source"]), cell["is_cut"]) for cell in shown] == [(400, True), (5, False)]
    assert bench.order() == [c]


def test_deleted_cells_come_back_to_where_they_stood(bench: Workbench):
    a, b, c, d = (bench.add(source) for source in "abcd")
    bench.delete(b, c)
    bench.delete(a)
    page = Replay(bench.pk)
    page.apply(bring_back(bench, c).event)
    assert bench.order() == [c, d]
    page.apply(bring_back(bench, a, b).event)
    assert bench.order() == [a, b, c, d]
    assert page.agrees_with(bench.pk)
    assert in_bin(bench) == []


def test_all_cells_of_the_bin_come_back_in_one_change_that_can_be_undone(bench: Workbench):
    cells = [bench.add(source) for source in "abcd"]
    bench.delete(cells[2])
    bench.delete(cells[0])
    accepted = bring_back(bench)
    assert bench.order() == cells
    bench.undo(accepted)
    assert bench.order() == [cells[1], cells[3]]


def test_cells_that_a_restored_version_put_away_come_back_too(bench: Workbench):
    first, last = bench.add("first"), bench.add("last")
    version = versions.name_version(bench.pk, "v", author=bench.author)
    middle = bench.add("middle", after=first)
    restoring.restore_version(bench.pk, version.pk, **bench.who())
    assert in_bin(bench) == [middle]
    bring_back(bench)
    assert bench.order() == [first, middle, last]


def test_many_cells_come_back_in_as_many_queries_as_some(bench: Workbench, owner: Any):
    def cost(count: int) -> int:
        notebook = Notebook.objects.create(owner=owner, name=f"{count}")
        cells, other = many_cells(notebook, count), Workbench(notebook, bench.author)
        other.delete(*cells[::2])
        made = queries(lambda: bring_back(other))
        assert other.order() == cells
        return made

    assert cost(20) == cost(400)


def test_a_retry_gets_the_first_answer(bench: Workbench):
    cell = bench.add("a")
    bench.delete(cell)
    who = bench.who()
    first = binning.restore_cells(bench.pk, None, **who)
    assert binning.restore_cells(bench.pk, None, **who).seq == first.seq
    assert Change.objects.count() == 3


def test_what_is_not_in_the_bin_cannot_be_brought_back(bench: Workbench, owner: Any):
    there = bench.add("a")
    other = Workbench(Notebook.objects.create(owner=owner, name="Other"), bench.author)
    strange = other.add("b")
    other.delete(strange)
    for cells in ([there], [strange], [uuid.uuid4()]):
        with pytest.raises(NotFound):
            bring_back(bench, *cells)
    with pytest.raises(NotFound):
        bring_back(bench)
    with pytest.raises(BadRequest):
        binning.restore_cells(bench.pk, [], **bench.who())
    assert Change.objects.filter(notebook=bench.pk).count() == 1


def test_emptying_deletes_cells_with_what_they_own_and_no_others(bench: Workbench):
    kept, gone, later = bench.add("kept"), bench.add("gone"), bench.add("later")
    for cell in (kept, gone):
        Output.objects.create(cell_id=cell, index=0, kind="stream", data={"name": "stdout", "text": "1"})
        CellRun.objects.create(cell_id=cell, cell_version=1, source_hash="")
    bench.delete(gone)
    bench.delete(later)
    Cell.objects.filter(pk=gone).update(deleted_at=timezone.now() - timedelta(days=9))
    assert binning.empty_cells(bench.pk, older_than=timezone.now() - timedelta(days=8)) == 1
    assert in_bin(bench) == [later]
    assert binning.empty_cells(bench.pk) == 1
    assert [row.cell_id for row in (*Output.objects.all(), *CellRun.objects.all())] == [kept, kept]


# --- Notebooks -------------------------------------------------------------------------------------------------------


def test_a_deleted_notebook_lies_in_its_owners_bin_alone(bench: Workbench, owner: Any):
    editor = get_user_model().objects.create_user("editor")
    stranger = get_user_model().objects.create_user("stranger")
    Membership.objects.create(notebook=bench.notebook, user=editor, role="editor")
    bench.add("a")
    notebooks.delete_notebook(bench.notebook)
    (shown,) = [binning.notebook_document(row) for row in binning.deleted_notebooks(owner)]
    assert (shown["id"], shown["name"], shown["cell_count"]) == (str(bench.pk), "Sales", 1)
    assert list(binning.deleted_notebooks(editor)) == []
    assert [binning.find_deleted(user, bench.pk) is not None for user in (owner, editor, stranger)] == [
        True,
        True,
        False,
    ]
    for user in (editor, stranger):
        for call in (binning.restore_notebook, binning.delete_for_ever):
            with pytest.raises(NotFound):
                call(user, bench.pk)


def test_a_notebook_comes_back_as_it_was(bench: Workbench, owner: Any):
    cell = bench.add("a")
    notebooks.delete_notebook(bench.notebook)
    binning.restore_notebook(owner, bench.pk)
    assert Notebook.objects.alive().filter(pk=bench.pk).exists()
    assert bench.order() == [cell]
    with pytest.raises(NotFound):
        binning.restore_notebook(owner, bench.pk)


def test_a_second_demo_comes_back_as_a_plain_notebook(owner: Any):
    first = Notebook.objects.create(owner=owner, name="Demo", kind="demo")
    notebooks.delete_notebook(first)
    Notebook.objects.create(owner=owner, name="Demo", kind="demo")
    assert binning.restore_notebook(owner, first.pk).kind == "normal"


def test_deleting_ends_the_lease_of_a_kernel_elsewhere(bench: Workbench):
    now = timezone.now()
    epoch = KernelSession.objects.claim(bench.pk, host="other server", now=now, ttl=timedelta(seconds=30))
    assert epoch is not None
    notebooks.delete_notebook(bench.notebook)
    assert not KernelSession.objects.renew(bench.pk, epoch=epoch, now=now, ttl=timedelta(seconds=30))
    assert Notebook.objects.next_run_seq(bench.pk, epoch=epoch) is None


def test_a_notebook_deleted_for_ever_leaves_nothing_behind(bench: Workbench, owner: Any):
    cell = bench.add("a")
    versions.name_version(bench.pk, "v", author=bench.author)
    output = Output.objects.create(cell_id=cell, index=0, kind="stream", data={})
    OutputFile.objects.create(
        notebook=bench.notebook, output=output, sha256="0" * 64, mime_type="text/plain", size_bytes=1
    )
    with pytest.raises(NotFound):
        binning.delete_for_ever(owner, bench.pk)
    notebooks.delete_notebook(bench.notebook)
    binning.delete_for_ever(owner, bench.pk)
    for model in (Notebook, Cell, Change, Output, OutputFile):
        assert not model.objects.exists(), model


def test_the_command_deletes_what_is_old_enough_and_says_so(bench: Workbench, owner: Any, capsys: Any):
    old = Notebook.objects.create(
        owner=owner, name="Old", deleted_at=timezone.now() - timedelta(days=31), kind="normal"
    )
    young = Notebook.objects.create(owner=owner, name="Young", deleted_at=timezone.now() - timedelta(days=2))
    cell = bench.add("a")
    bench.delete(cell)
    Cell.objects.filter(pk=cell).update(deleted_at=timezone.now() - timedelta(days=31))

    call_command("empty_bin", "--older-than", "30", "--dry-run")
    assert (Notebook.objects.count(), Cell.objects.count()) == (3, 1)
    dry = capsys.readouterr().out
    call_command("empty_bin", "--older-than", "30")

    done = capsys.readouterr().out
    assert dry == done.replace("deleted", "would be deleted")
    assert done.splitlines() == [
        f"notebook {old.pk} “Old” (owner, 0 cells): deleted",
        f"notebook {bench.pk} “Sales”: 1 cell deleted",
        "1 notebook and 1 cell deleted.",
    ]
    assert set(Notebook.objects.values_list("pk", flat=True)) == {bench.pk, young.pk}
    assert not Cell.objects.exists()


def test_the_command_wants_an_age():
    with pytest.raises(CommandError):
        call_command("empty_bin")
    with pytest.raises(CommandError):
        call_command("empty_bin", "--older-than", "-1")
