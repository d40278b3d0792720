"""The one writer of what runtimes produce: all runtimes of the process in one transaction every 50 ms.

Each runtime's part is conditional on its epoch: a runtime that was replaced writes nothing and is told so.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable
from typing import Protocol

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from kernels_app.records import Batch
from notebooks_app import db, events, logs, metrics, wakeups
from notebooks_app.models import Cell, CellRun, KernelSession, Notebook, Output, OutputFile, Run, StreamChunk
from notebooks_app.notebooks import output_row

log = logging.getLogger("rillbook.saver")

GATHER_S = 0.05
RETRY_S = 1.0
UNSAVABLE = -1
UNSAVABLE_WORDS = "The database refused this notebook's outputs; the server's log says why."
REFUSED = (IntegrityError, DataError, ValueError)  # by what it holds; an outage is an OperationalError

ATTEMPT_FIELDS = [
    "run", "number", "reason", "inputs", "values", "warnings", "note", "outcome",
    "started_at", "finished_at", "duration_ms",
]  # fmt: skip
RUN_FIELDS = ["outcome", "attempts", "finished_at"]


class Savable(Protocol):
    """What the saver needs of a runtime."""

    def take_batch(self) -> Batch | None: ...

    def saved(self, batch: Batch) -> None: ...

    def fenced(self, why: str = ...) -> None: ...


class Saver:
    def __init__(self) -> None:
        self._dirty: dict[Savable, None] = {}
        self._unsaved: list[tuple[Savable, Batch]] = []
        self._has_failed = False
        self._waiting_since = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()

    @property
    def is_behind(self) -> bool:
        """Whether the last attempt to save failed: runtimes hold their kernels until it succeeds."""
        return self._has_failed

    @property
    def lag_s(self) -> float:
        """How long the oldest unsaved output has waited."""
        return time.monotonic() - self._waiting_since if self._dirty or self._unsaved else 0.0

    def mark(self, runtime: Savable) -> None:
        """Say that a runtime has something to save."""
        if not self._dirty and not self._unsaved:
            self._waiting_since = time.monotonic()
        self._dirty[runtime] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="saver", context=logs.context_of())
        self._wake.set()

    async def flush(self) -> None:
        """Save now what there is."""
        async with self._saving:
            await self._save()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        try:
            await self.flush()
        except Exception:
            log.exception("the last outputs could not be saved")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            try:
                await self.flush()
                self._has_failed = False
            except Exception:
                self._has_failed = True
                metrics.save_failed()
                log.exception("outputs of %s notebooks could not be saved; trying again", len(self._unsaved))
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _save(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for runtime in dirty:
            batch = runtime.take_batch()
            if batch is not None:
                self._unsaved.append((runtime, batch))
        if not self._unsaved:
            return
        work = list(self._unsaved)
        started = time.monotonic()
        numbers = await db.write(lambda: write_batches(batch for _, batch in work))
        del self._unsaved[: len(work)]
        metrics.saved(time.monotonic() - started)
        self._waiting_since = started  # what came meanwhile came after this
        for (runtime, batch), seq in zip(work, numbers, strict=True):
            if seq is None:
                runtime.fenced()
                continue
            if seq == UNSAVABLE:
                runtime.fenced(UNSAVABLE_WORDS)
                continue
            await self._announce(batch, seq)
            runtime.saved(batch)

    async def _announce(self, batch: Batch, seq: int) -> None:
        message = events.envelope(batch.notebook_id, seq, batch.events()) | batch.mark
        await wakeups.send(events.group_name(batch.notebook_id), message)


def write_batches(batches: Iterable[Batch]) -> list[int | None]:
    """Write each batch under its notebook's next seq; None for one whose runtime was replaced. One transaction.

    If the database refuses what they hold, each gets its own, so that none holds up the others: UNSAVABLE for one that
    is refused even so.
    """
    work = list(batches)
    try:
        with transaction.atomic():
            return [_write(batch) for batch in work]
    except REFUSED:
        log.warning("what %s notebooks save was refused; each is saved by itself", len(work), exc_info=True)
    return [_write_alone(batch) for batch in work]


def _write_alone(batch: Batch) -> int | None:
    try:
        with transaction.atomic():
            _leave_out_gone(batch)
            return _write(batch)
    except REFUSED:
        log.exception("outputs of notebook %s can not be saved", batch.notebook_id)
        return UNSAVABLE


def _leave_out_gone(batch: Batch) -> None:
    """Cells and people that were deleted for ever since: nothing can point to them any more."""
    touched = {record.cell for record in batch.attempts.values()} | set(batch.cells) | set(batch.outputs)
    touched |= {cell for cell, _, _ in batch.chunks}
    kept = {str(pk) for pk in Cell.objects.filter(pk__in=touched).values_list("pk", flat=True)}
    batch.attempts = {key: record for key, record in batch.attempts.items() if record.cell in kept}
    batch.cells = {cell: record for cell, record in batch.cells.items() if cell in kept}
    batch.outputs = {cell: record for cell, record in batch.outputs.items() if cell in kept}
    batch.chunks = [chunk for chunk in batch.chunks if chunk[0] in kept]
    users = {run.user_id for run in batch.runs.values()}
    known = set(get_user_model().objects.filter(pk__in=users - {None}).values_list("pk", flat=True))
    for run in batch.runs.values():
        run.user_id = run.user_id if run.user_id in known else None


def _write(batch: Batch) -> int | None:
    seq = Notebook.objects.next_run_seq(batch.notebook_id, epoch=batch.epoch)
    if seq is None:
        return None
    KernelSession.objects.filter(notebook_id=batch.notebook_id, epoch=batch.epoch).update(
        state=batch.session.state, detail=batch.session.detail[:500], executions=batch.session.executions
    )
    _write_runs(batch)
    _write_attempts(batch)
    _write_cells(batch, seq)
    _write_outputs(batch, seq)
    return seq


def _write_runs(batch: Batch) -> None:
    rows = [
        Run(
            id=uuid.UUID(run.id),
            notebook_id=batch.notebook_id,
            started_by_id=run.user_id,
            kind=run.kind,
            outcome=run.outcome,
            attempts=run.attempts,
            epoch=batch.epoch,
            started_at=run.started_at,
            finished_at=run.finished_at,
        )
        for run in batch.runs.values()
    ]
    Run.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=RUN_FIELDS)


def _write_attempts(batch: Batch) -> None:
    rows = [
        CellRun(
            id=uuid.UUID(record.id),
            run_id=uuid.UUID(record.run) if record.run else None,
            cell_id=uuid.UUID(record.cell),
            number=record.number,
            cell_version=record.version,
            source_hash=record.source_hash,
            inputs=record.inputs,
            values=record.values,
            reason=record.reason,
            warnings=list(record.warnings),
            note=record.note[:500],
            outcome=record.outcome,
            epoch=batch.epoch,
            started_at=record.started_at,
            finished_at=record.finished_at,
            duration_ms=record.duration_ms,
        )
        for record in batch.attempts.values()
    ]
    CellRun.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["id"], update_fields=ATTEMPT_FIELDS, batch_size=500
    )


def _write_cells(batch: Batch, seq: int) -> None:
    """One prepared statement for all cells: bulk_update's CASE of 200 cells costs more than their run."""
    columns = ("status", "status_epoch", "execution_count", "last_run", "run_seq", "id")
    fields = [Cell._meta.get_field(name) for name in columns]
    rows = [
        [
            field.get_db_prep_save(value, connection)  # type: ignore
            for field, value in zip(
                fields,
                (cell.status, batch.epoch, cell.execution_count, cell.attempt, seq, cell.id),
                strict=True,
            )
        ]
        for cell in batch.cells.values()
    ]
    if not rows:
        return
    quote = connection.ops.quote_name
    *names, key = (quote(str(field.column)) for field in fields)  # type: ignore
    assignments = ", ".join(f"{name} = %s" for name in names)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {quote(Cell._meta.db_table)} SET {assignments} WHERE {key} = %s", rows)


def _write_outputs(batch: Batch, seq: int) -> None:
    StreamChunk.objects.bulk_create(
        [
            StreamChunk(cell_id=uuid.UUID(cell), attempt=uuid.UUID(attempt), ops=ops)
            for cell, attempt, ops in batch.chunks
        ]
    )
    touched = {uuid.UUID(cell) for cell, _, _ in batch.chunks} | {uuid.UUID(cell) for cell in batch.outputs}
    touched |= {uuid.UUID(record.cell) for record in batch.attempts.values()}
    Cell.objects.filter(pk__in=touched - {uuid.UUID(cell) for cell in batch.cells}).update(run_seq=seq)
    if not batch.outputs:
        return
    ids = [uuid.UUID(cell) for cell in batch.outputs]
    Output.objects.filter(cell_id__in=ids).delete()
    StreamChunk.objects.filter(cell_id__in=ids).delete()
    rows = [
        output_row(record.cell, record.attempt, index, item)
        for record in batch.outputs.values()
        for index, item in enumerate(record.outputs)
    ]
    Output.objects.bulk_create(rows, batch_size=200)
    link_files(rows, [item for record in batch.outputs.values() for item in record.outputs])


def link_files(rows: list[Output], items: list[dict[str, object]]) -> None:
    """Let each output's files point to its row, so that collection knows what is in use."""
    for row, item in zip(rows, items, strict=True):
        for file in item.get("files", {}).values():  # type: ignore[attr-defined]
            file_id = str(file["url"]).rstrip("/").rsplit("/", 1)[-1]
            OutputFile.objects.filter(pk=file_id).update(output=row)


def session_ended(notebook_id: uuid.UUID, epoch: int, detail: str) -> None:
    """Give the lease back; its `seq` tells everybody that the kernel is gone."""
    with transaction.atomic():
        KernelSession.objects.release(notebook_id, epoch=epoch, now=timezone.now(), detail=detail)
        Notebook.objects.filter(pk=notebook_id).update(seq=F("seq") + 1)
