"""Notebooks of a given size made by bulk inserts, and the operations whose cost is counted.

Shared by benchmarks/storage.py and tests/storage_cost/, so that both speak of the same thing. Needs Django set up.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from kernels_app.records import AttemptRecord, Batch, CellRecord, OutputRecord, RunRecord, SessionRecord
from kernels_app.saver import write_batches
from notebooks_app import reading, services
from notebooks_app.facts import source_hash
from notebooks_app.models import Cell, CellRun, Change, KernelSession, Notebook, Output
from notebooks_app.notebooks import output_row
from notebooks_app.services import Author

OUTPUT_BYTES = 10 * 1024
GAP = 1 << 20  # positions.py leaves room of this order between cells
MIDDLE = 0.5


@dataclass(frozen=True)
class Scene:
    """A notebook whose cells have run, and its owner."""

    notebook_id: uuid.UUID
    cells: tuple[uuid.UUID, ...]
    author: Author

    def middle(self, offset: int = 0) -> uuid.UUID:
        return self.cells[int(len(self.cells) * MIDDLE) + offset]


def make_person(name: str) -> Any:
    return get_user_model().objects.get_or_create(username=name)[0]


def make(owner: Any, cell_count: int, *, outputs_a_cell: int = 1, output_bytes: int = OUTPUT_BYTES) -> Scene:
    """A chain of cells, each analysed, run once, and with its outputs."""
    return make_many(owner, 1, cell_count, outputs_a_cell=outputs_a_cell, output_bytes=output_bytes)[0]


def make_many(
    owner: Any, count: int, cell_count: int, *, outputs_a_cell: int = 1, output_bytes: int = OUTPUT_BYTES
) -> list[Scene]:
    scenes = []
    for number in range(count):
        notebook = Notebook.objects.create(owner=owner, name=f"{cell_count} cells, {number}")
        KernelSession.objects.create(notebook=notebook, expires=timezone.now(), epoch=1, host="bench:1:x")
        cells = [_cell(notebook, place) for place in range(cell_count)]
        runs = [_attempt(cell) for cell in cells]
        outputs = (
            output_row(str(cell.id), str(cell.last_run_id), index, _stream(index, output_bytes, place))
            for place, cell in enumerate(cells)
            for index in range(outputs_a_cell)
        )
        with transaction.atomic():  # foreign keys are checked at its end: cells and attempts name each other
            Cell.objects.bulk_create(cells, batch_size=500)
            CellRun.objects.bulk_create(runs, batch_size=500)
            Output.objects.bulk_create(outputs, batch_size=200)
        scenes.append(Scene(notebook.pk, tuple(cell.id for cell in cells), Author.of(owner)))
    return scenes


def _cell(notebook: Notebook, place: int) -> Cell:
    source = f"x{place} = x{place - 1} + 1\nprint(x{place})" if place else "x0 = 0"
    digest = source_hash("python", source)
    return Cell(
        notebook=notebook,
        position=(place + 1) * GAP,
        source=source,
        source_hash=digest,
        analysis_hash=digest,
        definitions=[f"x{place}"],
        references=[f"x{place - 1}"] if place else [],
        last_run_id=uuid.uuid4(),
    )


def _attempt(cell: Cell) -> CellRun:
    now = timezone.now()
    return CellRun(
        id=cell.last_run_id,
        cell=cell,
        cell_version=1,
        epoch=1,
        source_hash=cell.source_hash,
        values={name: str(uuid.uuid4()) for name in cell.definitions},
        outcome="ok",
        started_at=now,
        finished_at=now,
        duration_ms=1,
    )


def _stream(index: int, size: int, salt: int) -> dict[str, Any]:
    """Text that compresses about as well as what people print."""
    line = f"row {salt:08d} " + " ".join(f"{(salt * 7919 + n * 104729) % 1_000_003:07d}" for n in range(8)) + "\n"
    text = "".join(line.replace("row", f"{n:04d}") for n in range(size // len(line) + 1))[:size]
    return {"index": index, "kind": "stream", "name": "stdout", "text": text, "cut": None, "files": {}}


# --- Operations ------------------------------------------------------------------------------------------------------


def edit(scene: Scene, round_: int = 0) -> None:
    cell = scene.middle(round_ % 3)
    version = Cell.objects.values_list("version", flat=True).get(pk=cell)
    services.edit_cell(
        scene.notebook_id, cell, version=version, source=f"y = {uuid.uuid4().int}",
        author=scene.author, operation_id=uuid.uuid4(),
    )  # fmt: skip


def insert(scene: Scene, round_: int = 0) -> None:
    services.insert_cell(
        scene.notebook_id, uuid.uuid4(), after=scene.middle(), cell_type="python", source="z = 1",
        author=scene.author, operation_id=uuid.uuid4(),
    )  # fmt: skip


def move(scene: Scene, round_: int = 0) -> None:
    services.move_cells(
        scene.notebook_id, [scene.middle(1 + round_ % 2)], after=scene.cells[round_ % 3],
        author=scene.author, operation_id=uuid.uuid4(),
    )  # fmt: skip


def delete(scene: Scene, round_: int = 0) -> None:
    """One of the last three cells; `restore` before it is its turn again."""
    services.delete_cells(
        scene.notebook_id, [scene.cells[-1 - round_ % 3]], author=scene.author, operation_id=uuid.uuid4()
    )


def restore(scene: Scene) -> None:
    """Take the last change back."""
    last = Change.objects.filter(notebook_id=scene.notebook_id).order_by("-seq").values_list("operation_id", flat=True)
    services.undo(scene.notebook_id, last[:1][0], new_operation_id=uuid.uuid4(), author=scene.author)


def save_run(scene: Scene, round_: int = 0) -> None:
    """What one run of one cell writes: its start, then its end with 10 KB of output."""
    cell, now = scene.middle(round_ % 3), timezone.now()
    run, attempt = str(uuid.uuid4()), str(uuid.uuid4())
    for is_over in (False, True):
        outcome = "ok" if is_over else ""
        batch = Batch(scene.notebook_id, 1, SessionRecord("idle" if is_over else "running", "", round_))
        batch.runs[run] = RunRecord(run, "requested", scene.author.user_id, now, outcome, [attempt])
        batch.attempts[attempt] = AttemptRecord(
            attempt, str(cell), 1, "0" * 64, run, outcome=outcome, started_at=now, finished_at=now if is_over else None
        )
        batch.cells[str(cell)] = CellRecord(str(cell), "idle" if is_over else "running", 1, attempt)
        if is_over:
            batch.outputs[str(cell)] = OutputRecord(str(cell), attempt, (_stream(0, OUTPUT_BYTES, round_),))
        assert write_batches([batch]) != [None]


WRITES: dict[str, Callable[[Scene, int], None]] = {
    "edit": edit,
    "insert": insert,
    "move": move,
    "delete": delete,
    "save a run": save_run,
}


def read_cell(scene: Scene, round_: int = 0) -> None:
    """One cell with its outputs, its states known: what a browser asks for."""
    states = {str(cell): _STATE for cell in [scene.middle()]}
    assert reading.cell_documents(scene.notebook_id, states=states, cell_ids=[scene.middle()])


def open_states(scene: Scene, round_: int = 0) -> None:
    """The small columns of all cells and their states: what opening a notebook reads of every cell."""
    assert len(reading.states_now(scene.notebook_id)) >= 1


def open_whole(scene: Scene, round_: int = 0) -> None:
    """All cells with all outputs: what an export reads."""
    states = reading.states_now(scene.notebook_id)
    assert reading.cell_documents(scene.notebook_id, states=states)


READS: dict[str, Callable[[Scene, int], None]] = {
    "read a cell": read_cell,
    "open: states": open_states,
    "open: everything": open_whole,
}


def _make_state() -> Any:
    from notebooks_app.facts import CellState, Derived, Freshness

    return CellState(derived=Derived(Freshness.CURRENT))


_STATE = _make_state()
