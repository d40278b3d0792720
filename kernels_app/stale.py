"""Ends on paper what a server left open when it went away: leases, runs, attempts, cells that read queued or running.

Readers take a status for true only under its epoch's live lease, so nothing is wrong without this; but lists of runs
and other programs read the rows. A server that comes back is fenced: the lease's epoch grows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from kernels_app.saver import link_files
from notebooks_app import reading
from notebooks_app.models import Cell, CellRun, KernelSession, Notebook, Output, Run, StreamChunk
from notebooks_app.notebooks import output_row

GONE = "The server that ran this kernel went away. Outputs are kept; variables are gone."
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was (or would be) ended in one notebook."""

    notebook_id: uuid.UUID
    name: str
    lease: bool
    runs: int
    attempts: int
    cells: int

    def __bool__(self) -> bool:
        return self.lease or bool(self.runs or self.attempts or self.cells)


def stale_notebooks(before: datetime) -> Iterator[uuid.UUID]:
    """Notebooks whose lease ran out before `before`, or with runs from before then that no live lease holds."""
    expired = KernelSession.objects.exclude(host="").filter(expires__lt=before)
    yield from expired.order_by("expires").values_list("pk", flat=True)
    seen = set(expired.values_list("pk", flat=True))
    runs = Run.objects.filter(outcome="", started_at__lt=before).exclude(Q(notebook__in=_held()) & _same_epoch())
    for notebook_id in runs.order_by("notebook").values_list("notebook", flat=True).distinct():
        if notebook_id not in seen:
            yield notebook_id


def clear(notebook_id: uuid.UUID, before: datetime, now: datetime, *, dry_run: bool = False) -> Cleared:
    """End what is stale in one notebook, in one transaction."""
    with transaction.atomic():
        # Under the notebook's lock, as each saver writes: what it saves now it has saved before we look.
        notebook = Notebook.objects.select_for_update().only("id", "name", "seq").get(pk=notebook_id)
        session = KernelSession.objects.filter(pk=notebook_id).first()
        lease = session is not None and bool(session.host) and not session.is_live() and session.expires < before
        live_epoch = session.epoch if session is not None and session.is_live() else None
        work = _find(notebook_id, live_epoch, before)
        if session is not None and session.host and live_epoch is None and not lease:
            # Out, but not for long enough: its server may still come back and go on.
            return Cleared(notebook_id, notebook.name, False, 0, 0, 0)
        found = Cleared(notebook_id, notebook.name, lease, work.runs.count(), work.attempts.count(), work.cells.count())
        if found and not dry_run:
            _end(notebook, work, now, lease=lease)
    return found


@dataclass(frozen=True, slots=True)
class _Work:
    runs: QuerySet[Run]
    attempts: QuerySet[CellRun]
    cells: QuerySet[Cell]


def _find(notebook_id: uuid.UUID, live_epoch: int | None, before: datetime) -> _Work:
    runs = Run.objects.filter(notebook_id=notebook_id, outcome="", started_at__lt=before)
    cells = Cell.objects.filter(notebook_id=notebook_id).exclude(status=Cell.Status.IDLE)
    last = Cell.objects.filter(notebook_id=notebook_id, last_run__outcome="")
    if live_epoch is not None:
        runs = runs.exclude(epoch=live_epoch)
        cells = cells.exclude(status_epoch=live_epoch)
        last = last.exclude(last_run__epoch=live_epoch)
    ids = set(runs.values_list("pk", flat=True))
    attempts = CellRun.objects.filter(outcome="").filter(
        Q(run__in=ids) | Q(pk__in=list(last.values_list("last_run", flat=True)))
    )
    if live_epoch is not None:
        attempts = attempts.exclude(epoch=live_epoch)
    return _Work(Run.objects.filter(pk__in=ids), attempts, cells)


def _end(notebook: Notebook, work: _Work, now: datetime, *, lease: bool) -> None:
    Notebook.objects.filter(pk=notebook.pk).update(seq=F("seq") + 1)
    seq = notebook.seq + 1
    if lease:
        KernelSession.objects.filter(pk=notebook.pk).update(
            host="", epoch=F("epoch") + 1, state=KernelSession.State.STOPPED, detail=GONE
        )
    attempts = list(work.attempts.values_list("pk", "cell_id"))
    for attempt, cell in attempts:
        _fold(attempt, cell)
    touched = {cell for _, cell in attempts} | set(work.cells.values_list("pk", flat=True))
    CellRun.objects.filter(pk__in=[attempt for attempt, _ in attempts]).update(outcome=INTERRUPTED, finished_at=now)
    work.runs.update(outcome=INTERRUPTED, finished_at=now)
    work.cells.update(status=Cell.Status.IDLE)
    Cell.objects.filter(pk__in=touched).update(run_seq=seq)


def _fold(attempt: uuid.UUID, cell: uuid.UUID) -> None:
    """Make the output that was saved in pieces while the attempt ran the cell's output."""
    chunks = StreamChunk.objects.filter(cell_id=cell, attempt=attempt)
    if not chunks.exists():
        return
    items = reading.outputs_of([cell], running={cell: attempt}).get(cell, [])
    Output.objects.filter(cell_id=cell).delete()
    rows = [output_row(cell, attempt, index, item) for index, item in enumerate(items)]
    Output.objects.bulk_create(rows, batch_size=200)
    link_files(rows, items)
    chunks.delete()


def _held() -> Any:
    return KernelSession.objects.live().values("pk")


def _same_epoch() -> Q:
    return Q(epoch=F("notebook__session__epoch"))
