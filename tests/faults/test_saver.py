"""What the database refuses of one notebook holds up no other."""

from __future__ import annotations

import uuid

import pytest

from kernels_app.records import AttemptRecord, Batch, SessionRecord
from kernels_app.saver import write_batches
from notebooks_app.models import Cell, CellRun, KernelSession, Notebook

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def batch_for(notebook: Notebook, *cells: uuid.UUID) -> Batch:
    batch = Batch(notebook.pk, 0, SessionRecord("idle", "", 1))
    for cell in cells:
        attempt = str(uuid.uuid4())
        batch.attempts[attempt] = AttemptRecord(attempt, str(cell), 1, "", outcome="ok")
    return batch


def test_a_cell_that_was_deleted_for_ever_during_its_run_holds_up_nobody(owner):
    batches = []
    for _ in range(2):
        notebook = Notebook.objects.create(owner=owner)
        KernelSession.objects.create(notebook=notebook, expires=notebook.created_at)
        cell = Cell.objects.create(notebook=notebook, position=1)
        batches.append(batch_for(notebook, cell.pk))
    batches[0] = batch_for(Notebook.objects.get(pk=batches[0].notebook_id), uuid.uuid4())
    assert write_batches(batches) == [1, 1]
    assert CellRun.objects.count() == 1
