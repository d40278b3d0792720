"""What a runtime wants saved: plain values, gathered between two commits. Pure.

saver.py writes them; runtime.py fills them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

type Json = dict[str, Any]


@dataclass(slots=True)
class AttemptRecord:
    """One attempt of a cell as it will stand in CellRun; it is changed until its end is saved."""

    id: str
    cell: str
    version: int
    source_hash: str
    run: str | None = None
    number: int | None = None
    reason: Json = field(default_factory=dict)
    inputs: Json = field(default_factory=dict)
    values: Json = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    note: str = ""
    outcome: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None


@dataclass(slots=True)
class RunRecord:
    id: str
    kind: str
    user_id: int | None
    started_at: datetime
    outcome: str = ""
    attempts: list[str] = field(default_factory=list)
    finished_at: datetime | None = None

    def copy(self) -> RunRecord:
        return replace(self, attempts=list(self.attempts))


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell's columns that runs change."""

    id: str
    status: str
    execution_count: int | None
    attempt: str | None


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """All outputs of a cell's last attempt; `files` are those its items refer to."""

    cell: str
    attempt: str
    outputs: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    state: str
    detail: str
    executions: int


@dataclass(slots=True)
class Batch:
    """Everything of one notebook that changed since the last commit."""

    notebook_id: uuid.UUID
    epoch: int
    session: SessionRecord
    runs: dict[str, RunRecord] = field(default_factory=dict)
    attempts: dict[str, AttemptRecord] = field(default_factory=dict)
    cells: dict[str, CellRecord] = field(default_factory=dict)
    outputs: dict[str, OutputRecord] = field(default_factory=dict)
    chunks: list[tuple[str, str, list[Json]]] = field(default_factory=list)  # (cell, attempt, operations)
    mark: Json = field(default_factory=dict)  # for processes that follow this runtime (relay.py)

    def events(self) -> list[Json]:
        """What the others are told: pointers, for the runner has seen the contents and other servers read them."""
        told: list[Json] = []
        for run in self.runs.values():
            if run.finished_at is None:
                told.append({"type": "run.started", "run": run.id, "kind": run.kind})
            else:
                told.append({"type": "run.finished", "run": run.id, "outcome": run.outcome})
        touched = [*self.cells, *self.outputs, *(cell for cell, _, _ in self.chunks)]
        return told + [{"type": "output.saved", "cell": cell} for cell in dict.fromkeys(touched)]
