"""What is read of a notebook, in a fixed number of queries: cells, states, outputs, what happened since.

Documents have the shape of docs/architecture.md, section 2.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import batched
from typing import Any

from django.db.models import Case, When
from django.db.models.functions import Left

from notebooks_app import facts, freshness, graph, headings, output_ops
from notebooks_app.models import Cell, Change, KernelSession, Notebook, Output, OutputFile, StreamChunk

type Document = dict[str, Any]

STOPPED = {"state": "stopped", "detail": ""}
HEADINGS_WITHIN = 4_000  # characters of a far text cell that are searched for headings
HEADINGS_AT_MOST = 10
FIRST_LINE_WITHIN = 400  # characters of another far cell that are searched for its first line
HEAD_LENGTH = 80


def small_cells(notebook_id: uuid.UUID) -> list[Cell]:
    """All cells in order with their last attempt, without sources: one query of small columns."""
    return list(Cell.objects.alive().filter(notebook_id=notebook_id).small().in_order())


class CellRows:
    """The cells of one notebook as `small_cells` gives them, kept: only rows that changed are read again.

    The same object stands for a row until it changes. For one thread at a time.
    """

    # Every write to a row's small columns, or to those of its last attempt, changes one of these.
    MARKS = ("position", "version", "analysis_hash", "run_seq", "last_run_id", "last_run__outcome", "connection_id")

    def __init__(self, notebook_id: uuid.UUID) -> None:
        self._notebook_id = notebook_id
        self._marks: dict[uuid.UUID, tuple[Any, ...]] = {}
        self._cells: dict[uuid.UUID, Cell] = {}
        self._facts: dict[str, facts.CellFacts] = {}

    def read(self) -> list[Cell]:
        """All cells in order: one query of marks, and one for each 500 rows that changed (or one, if most did)."""
        rows = Cell.objects.alive().filter(notebook_id=self._notebook_id).in_order()
        marks = {pk: tuple(mark) for pk, *mark in rows.values_list("pk", *self.MARKS)}
        changed = [pk for pk, mark in marks.items() if self._marks.get(pk) != mark]
        if 2 * len(changed) > len(marks):
            found = {cell.pk: cell for cell in small_cells(self._notebook_id)}
        else:
            found = {cell.pk: cell for group in batched(changed, 500) for cell in rows.filter(pk__in=group).small()}
        cells = {pk: cell for pk in marks if (cell := found.get(pk) or self._cells.get(pk)) is not None}
        # A row that changed between the two queries keeps its older mark, so that it is read again.
        self._marks = {pk: marks[pk] for pk in cells}
        self._facts = {str(pk): self._facts_of(cell) for pk, cell in cells.items()}
        self._cells = cells
        return list(cells.values())

    @property
    def known(self) -> Mapping[str, facts.CellFacts]:
        """The facts of what was read last, by id, in order."""
        return self._facts

    def _facts_of(self, cell: Cell) -> facts.CellFacts:
        known = self._facts.get(str(cell.pk)) if self._cells.get(cell.pk) is cell else None
        return known or cell.facts()


def session_of(notebook_id: uuid.UUID) -> KernelSession | None:
    return KernelSession.objects.filter(notebook_id=notebook_id).first()


def kernel_document(session: KernelSession | None) -> Document:
    """The kernel in words; a lease that ran out while its kernel lived reads as lost."""
    if session is None:
        return dict(STOPPED)
    if session.is_live():
        return {"state": session.state, "detail": session.detail}
    if session.host:
        return {
            "state": "dead",
            "detail": "The server that ran this kernel went away. Outputs are kept; variables are gone.",
        }
    return {"state": session.state if session.state == "dead" else "stopped", "detail": session.detail}


def states_of(
    cells: list[Cell],
    session: KernelSession | None,
    known: Mapping[str, facts.CellFacts] | None = None,
) -> dict[str, facts.CellState]:
    """The state of each cell as the database tells it: a status counts only under its epoch's live lease.

    `known`: the cells' facts, if somebody has them.
    """
    if known is None:
        known = {str(cell.id): cell.facts() for cell in cells}
    derived = freshness.derive(known, graph.build(known.values()))
    live_epoch = session.epoch if session is not None and session.is_live() else None
    return {str(cell.id): _state(cell, derived[str(cell.id)], live_epoch) for cell in cells}


def _state(cell: Cell, derived: facts.Derived, live_epoch: int | None) -> facts.CellState:
    last = cell.last_run
    is_live = live_epoch is not None and cell.status_epoch == live_epoch
    ran_here = is_live and last is not None and last.epoch == live_epoch
    return facts.CellState(
        derived=derived,
        status=facts.Status(cell.status) if is_live else facts.Status.IDLE,
        loaded=bool(ran_here and last and last.outcome == "ok"),
        execution_count=cell.execution_count,
        **attempt_fields(last),
    )


def attempt_fields(last: Any) -> dict[str, Any]:
    """What a state tells of the last attempt (a CellRun), as arguments of CellState."""
    if last is None:
        return {}
    return {
        "attempt": str(last.id),
        "outcome": facts.Outcome(last.outcome) if last.outcome else None,
        "started_at": last.started_at,
        "finished_at": last.finished_at,
        "duration_ms": last.duration_ms,
        "reason": last.reason or None,
        "warnings": tuple(last.warnings),
        "note": last.note,
    }


def states_now(notebook_id: uuid.UUID) -> dict[str, facts.CellState]:
    return states_of(small_cells(notebook_id), session_of(notebook_id))


def cell_documents(
    notebook_id: uuid.UUID,
    *,
    states: Mapping[str, facts.CellState],
    cell_ids: Iterable[uuid.UUID] | None = None,
    with_outputs: bool = True,
    sources_of: Collection[uuid.UUID] | None = None,
    from_bin: bool = False,
) -> list[Document]:
    """Cells in order, with source, state and outputs (or without that key); all of them, or those named.

    `sources_of`: the source of every other cell is null. `from_bin`: also those that were deleted and are there still.
    """
    rows_of = Cell.objects.all() if from_bin else Cell.objects.alive()
    cells = rows_of.filter(notebook_id=notebook_id).defer("metadata").in_order()
    if cell_ids is not None:
        cells = cells.filter(pk__in=list(cell_ids))
    if sources_of is None:
        rows = list(cells)
        fields = {cell.pk: cell.as_fields() for cell in rows}
    else:
        rows = list(cells.defer("source", "metadata"))
        sources = dict(Cell.objects.filter(pk__in=sources_of).values_list("pk", "source"))
        fields = {cell.pk: cell.as_small_fields() | {"source": sources.get(cell.pk)} for cell in rows}
    documents = {pk: found | {"state": _state_in(states, pk).as_json()} for pk, found in fields.items()}
    if with_outputs:
        found = outputs_of(list(documents), running=_running(rows, states))
        for pk, document in documents.items():
            document["outputs"] = found.get(pk, [])
    return list(documents.values())


def cell_heads(cell_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """What a far cell is known by, by id: a text cell's headings, one a line, else its first line. One query."""
    start = Case(When(type="markdown", then=Left("source", HEADINGS_WITHIN)), default=Left("source", FIRST_LINE_WITHIN))
    rows = Cell.objects.filter(pk__in=list(cell_ids)).annotate(start=start).values_list("pk", "type", "start")
    return {pk: _head(cell_type, text) for pk, cell_type, text in rows}


def _head(cell_type: str, text: str) -> str:
    if cell_type == "markdown" and (found := headings.of(text)):
        return "\n".join(f"{'#' * level} {title}" for level, title in found[:HEADINGS_AT_MOST])
    return next((line.strip()[:HEAD_LENGTH] for line in text.split("\n") if line.strip()), "")


def cell_numbers(notebook_id: uuid.UUID) -> dict[str, int]:
    """Each cell's place on the page, from 1."""
    ids = Cell.objects.alive().filter(notebook_id=notebook_id).in_order().values_list("pk", flat=True)
    return {str(cell): number for number, cell in enumerate(ids, start=1)}


def _running(cells: list[Cell], states: Mapping[str, facts.CellState]) -> dict[uuid.UUID, uuid.UUID]:
    """The attempts whose output is still in chunks, by cell."""
    unfinished = (cell for cell in cells if _state_in(states, cell.pk).outcome is None)
    return {cell.pk: cell.last_run_id for cell in unfinished if cell.last_run_id}


def _state_in(states: Mapping[str, facts.CellState], cell: uuid.UUID) -> facts.CellState:
    """A cell that came after its notebook's states were derived has not run; they follow it."""
    return states.get(str(cell), facts.NEVER_RUN)


def outputs_of(
    cell_ids: list[uuid.UUID], *, running: Mapping[uuid.UUID, uuid.UUID] | None = None
) -> dict[uuid.UUID, list[Document]]:
    """The outputs of cells by cell: saved rows, and what chunks of the same attempt add to them."""
    rows = Output.objects.filter(cell_id__in=cell_ids).order_by("cell_id", "index")
    files: dict[int, dict[str, Document]] = defaultdict(dict)
    for file in OutputFile.objects.filter(output__cell_id__in=cell_ids):
        files[file.output_id or 0][file.mime_type] = file.as_json()
    found: dict[uuid.UUID, list[Document]] = defaultdict(list)
    attempts: dict[uuid.UUID, uuid.UUID | None] = {}
    for row in rows:
        attempts[row.cell_id] = row.attempt
        found[row.cell_id].append(row.as_json(files.get(row.pk, {})))
    for (cell_id, attempt), ops in pieces_of(cell_ids, running or {}).items():
        saved = attempts.get(cell_id) == attempt  # else the rows are those of the attempt before
        found[cell_id] = output_ops.apply(found[cell_id] if saved else [], ops)
    return found


def pieces_of(
    cell_ids: list[uuid.UUID], running: Mapping[uuid.UUID, uuid.UUID]
) -> dict[tuple[uuid.UUID, uuid.UUID], list[Document]]:
    """Operations, by (cell, attempt), that are saved in pieces on top of the attempt's rows.

    Of a cell that runs, those of that attempt alone (`running`), else the last attempt's.
    """
    ops: dict[tuple[uuid.UUID, uuid.UUID], list[Document]] = defaultdict(list)
    last: dict[uuid.UUID, uuid.UUID] = {}
    chunks = StreamChunk.objects.filter(cell__in=cell_ids).order_by("id")
    for cell_id, attempt, piece in chunks.values_list("cell_id", "attempt", "ops"):
        ops[cell_id, attempt].extend(piece)
        last[cell_id] = running.get(cell_id, attempt)
    return {key: found for key, found in ops.items() if last[key[0]] == key[1]}


def notebook_document(notebook: Notebook) -> Document:
    return {
        "id": str(notebook.id),
        "name": notebook.name,
        "kind": notebook.kind,
        "run_mode": notebook.run_mode,
        "connection": str(notebook.connection_id) if notebook.connection_id else None,
        "seq": notebook.seq,
        "revision": notebook.revision,
        "created_at": notebook.created_at.isoformat(),
        "updated_at": notebook.updated_at.isoformat(),
    }


def changes_since(
    notebook_id: uuid.UUID, seq: int, limit: int, limit_bytes: int | None = None
) -> list[Document] | None:
    """The logged events after `seq`, oldest first; None if they are more than `limit` or longer than `limit_bytes`."""
    found: list[Document] = []
    size = 0
    changes = Change.objects.filter(notebook_id=notebook_id, seq__gt=seq).order_by("seq")[: limit + 1]
    for change in changes.iterator(chunk_size=50):
        found.append(change.as_event())
        size += len(json.dumps(found[-1])) if limit_bytes is not None else 0
        if len(found) > limit or (limit_bytes is not None and size > limit_bytes):
            return None
    return found


def cells_run_since(notebook_id: uuid.UUID, seq: int) -> list[uuid.UUID]:
    """Cells whose outputs or attempts a runtime saved after `seq`."""
    cells = Cell.objects.alive().filter(notebook_id=notebook_id, run_seq__gt=seq)
    return list(cells.values_list("pk", flat=True))


def cells_run_between(notebook_id: uuid.UUID, after: int, upto: int, most: int) -> tuple[list[uuid.UUID], int]:
    """Cells that a runtime saved last after `after` and up to `upto`, and the number they reach to.

    It is `upto`, or less where there are more than `most`: cells saved under one number stay together.
    """
    cells = Cell.objects.alive().filter(notebook_id=notebook_id, run_seq__gt=after, run_seq__lte=upto)
    found = list(cells.order_by("run_seq").values_list("pk", "run_seq")[: most + 1])
    if len(found) > most:
        last = found[-1][1]
        whole = [pair for pair in found if pair[1] < last]
        upto = whole[-1][1] if whole else last
        found = whole or list(cells.filter(run_seq=last).values_list("pk", "run_seq"))
    return [pk for pk, _ in found], upto
