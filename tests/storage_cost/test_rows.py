"""CellRows reads again what changed and nothing else, and always says what the rows say."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks import scenes
from benchmarks.scenes import Scene
from kernels_app import greeting, stale
from kernels_app.records import AttemptRecord, Batch, SessionRecord
from kernels_app.saver import write_batches
from notebooks_app import reading, restoring, services, versions
from notebooks_app.models import Cell, CellRun, Connection, Notebook

pytestmark = [pytest.mark.django_db, pytest.mark.database]

# Deferred, or of no reader's interest.
LEFT_OUT = {"source", "metadata", "updated_at"}


def columns(cell: Cell) -> dict[str, Any]:
    def of(row: Any) -> dict[str, Any]:
        names = [field.attname for field in row._meta.concrete_fields if field.name not in LEFT_OUT]
        return {name: getattr(row, name) for name in names}

    return of(cell) | {"last_run": of(cell.last_run) if cell.last_run else None}


def undo_of_a_deletion(scene: Scene) -> None:
    operation = uuid.uuid4()
    services.delete_cells(scene.notebook_id, list(scene.cells[2:4]), author=scene.author, operation_id=operation)
    services.undo(scene.notebook_id, operation, new_operation_id=uuid.uuid4(), author=scene.author)


def values_without_a_run(scene: Scene) -> None:
    """What equal values kept: the attempt is written, its cell is not."""
    run = CellRun.objects.get(cell=scene.cells[4])
    batch = Batch(scene.notebook_id, 1, SessionRecord("idle", "", 1))
    batch.attempts[str(run.pk)] = AttemptRecord(
        str(run.pk), str(run.cell_id), 1, run.source_hash, values={"x4": "another"}, outcome="ok"
    )
    assert write_batches([batch]) != [None]


def a_connection_that_is_deleted(scene: Scene) -> None:
    owner = scenes.make_person(scene.author.name)
    target = Connection.objects.create(owner=owner, name="warehouse", driver="sqlite", secret=b"")
    Cell.objects.filter(pk=scene.cells[3]).update(connection=target, version=2)
    reading.small_cells(scene.notebook_id)
    services.delete_connection(target, author=scene.author)


def a_server_that_was_killed(scene: Scene) -> None:
    CellRun.objects.filter(cell=scene.cells[5]).update(outcome="")
    Cell.objects.filter(pk=scene.cells[5]).update(status="running", run_seq=7)
    later = timezone.now() + timedelta(hours=1)
    stale.clear(scene.notebook_id, later, later)


WRITES: dict[str, Callable[[Scene], Any]] = {
    "edit": scenes.edit,
    "insert": scenes.insert,
    "move": scenes.move,
    "delete": scenes.delete,
    "run": scenes.WRITES["save a run"],
    "undo": undo_of_a_deletion,
    "values": values_without_a_run,
    "connection": a_connection_that_is_deleted,
    "killed": a_server_that_was_killed,
    "analysis": lambda scene: (scenes.edit(scene), services.analyse_pending(scene.notebook_id)),
    "update": lambda scene: services.update_cell(
        scene.notebook_id, scene.cells[1], {"disabled": True}, author=scene.author, operation_id=uuid.uuid4()
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_after_any_write_it_reads_what_the_rows_say(small: Scene, write: str):
    rows = reading.CellRows(small.notebook_id)
    rows.read()
    WRITES[write](small)
    found = rows.read()
    now = reading.small_cells(small.notebook_id)
    assert [columns(cell) for cell in found] == [columns(cell) for cell in now]
    assert list(rows.known.values()) == [cell.facts() for cell in now]
    assert reading.states_of(found, None, rows.known) == reading.states_of(now, None)


def test_what_did_not_change_is_not_read_again(large: Scene):
    rows = reading.CellRows(large.notebook_id)
    before = {cell.pk: cell for cell in rows.read()}
    facts = dict(rows.known)
    scenes.edit(large)
    with CaptureQueriesContext(connection) as captured:
        after = {cell.pk: cell for cell in rows.read()}
    assert len(captured) == 2
    changed = {pk for pk, cell in after.items() if before[pk] is not cell}
    assert len(changed) == 1
    assert {pk for pk, fact in rows.known.items() if facts[pk] is not fact} == {str(pk) for pk in changed}


def test_a_restored_version_is_read_as_it_is(small: Scene, owner: Any):
    notebook = Notebook.objects.get(pk=small.notebook_id)
    version = versions.name_version(notebook.pk, "start", author=small.author)
    rows = reading.CellRows(small.notebook_id)
    rows.read()
    scenes.edit(small)
    scenes.delete(small)
    rows.read()
    restoring.restore_version(notebook.pk, version.pk, author=small.author, operation_id=uuid.uuid4())
    assert [columns(cell) for cell in rows.read()] == [columns(cell) for cell in reading.small_cells(notebook.pk)]


def test_a_cell_that_came_after_the_states_is_told_as_one_that_never_ran(small: Scene):
    states = reading.states_now(small.notebook_id)
    services.insert_cell(
        small.notebook_id, new := uuid.uuid4(), after=small.cells[0], cell_type="python", source="late",
        author=small.author, operation_id=uuid.uuid4(),
    )  # fmt: skip
    told = {cell["id"]: cell for cell in greeting.snapshot_cells(small.notebook_id, states)}
    assert len(told) == len(small.cells) + 1
    assert (told[str(new)]["source"], told[str(new)]["state"]["freshness"]) == ("late", "new")
