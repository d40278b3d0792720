"""The small facts about cells that decisions are made from.

Pure values: no Django, no asyncio. Rows become these in models/querysets; graph.py, freshness.py and the scheduler
take and return them. Their JSON form, as pages, API and sockets carry it, is made here and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class CellType(StrEnum):
    PYTHON = "python"
    SQL = "sql"
    MARKDOWN = "markdown"


class Status(StrEnum):
    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"


class Freshness(StrEnum):
    NEW = "new"
    CURRENT = "current"
    STALE = "stale"
    FAILED = "failed"
    BLOCKED = "blocked"


class Outcome(StrEnum):
    """How an attempt ended. No outcome (None) means that it has not ended, or that its server went away."""

    OK = "ok"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    DIED = "died"


class ErrorKind(StrEnum):
    SYNTAX = "syntax"
    STAR_IMPORT = "star_import"
    DUPLICATE = "duplicate"
    CYCLE = "cycle"
    TOO_LARGE = "too_large"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CellError:
    """Why a cell cannot run as it stands: an error of analysis (its own) or of the graph (with other cells)."""

    kind: ErrorKind
    message: str
    names: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    line: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "message": self.message,
            "names": list(self.names),
            "cells": list(self.cells),
            "line": self.line,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CellError:
        return cls(
            kind=ErrorKind(value["kind"]),
            message=value["message"],
            names=tuple(value.get("names", ())),
            cells=tuple(value.get("cells", ())),
            line=value.get("line"),
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last execution of a cell: what it ran, on which input values, and which values it bound.

    `inputs` maps each reference that some cell defined to the value id it had; `values` maps each name it bound to
    its value id. `outcome` is None while it runs, and for one whose kernel or server went away without a word.
    """

    id: str
    source_hash: str
    outcome: Outcome | None
    inputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What graph, freshness and scheduler know of a cell. Definitions and references are of `source_hash`'s source."""

    id: str
    position: int
    type: CellType = CellType.PYTHON
    version: int = 1
    source_hash: str = ""
    definitions: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    disabled: bool = False
    on_connection: bool = False
    errors: tuple[CellError, ...] = ()
    last: Attempt | None = None

    @property
    def runs(self) -> bool:
        """Whether this kind of cell runs at all; text does not."""
        return self.type is not CellType.MARKDOWN


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a cell runs or ran: the cell and name that made it, and the person or program that started the run."""

    kind: str  # requested | changed | needed | run_all | run_stale | restart
    cell: str | None = None
    name: str | None = None
    by: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "cell": self.cell, "name": self.name, "by": self.by}


@dataclass(frozen=True, slots=True)
class StaleBecause:
    kind: str  # edited | upstream | interrupted | unknown
    cell: str | None = None
    name: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "cell": self.cell, "name": self.name}


@dataclass(frozen=True, slots=True)
class Derived:
    """What freshness.py derives for one cell."""

    freshness: Freshness
    errors: tuple[CellError, ...] = ()
    blocked_by: tuple[tuple[str, str], ...] = ()  # (cell id, name)
    disabled_by: tuple[str, ...] = ()
    stale_because: StaleBecause | None = None


@dataclass(frozen=True, slots=True)
class CellState:
    """Everything a reader is told about a cell's execution. See docs/architecture.md, section 2."""

    derived: Derived
    status: Status = Status.IDLE
    loaded: bool = False
    place: int | None = None
    attempt: str | None = None
    outcome: Outcome | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    execution_count: int | None = None
    reason: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        d = self.derived
        return {
            "status": self.status.value,
            "freshness": d.freshness.value,
            "loaded": self.loaded,
            "place": self.place,
            "errors": [error.as_json() for error in d.errors],
            "blocked_by": [{"cell": cell, "name": name} for cell, name in d.blocked_by],
            "disabled_by": list(d.disabled_by),
            "stale_because": d.stale_because.as_json() if d.stale_because else None,
            "attempt": self.attempt,
            "outcome": self.outcome.value if self.outcome else None,
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "duration_ms": self.duration_ms,
            "execution_count": self.execution_count,
            "reason": dict(self.reason) if self.reason else None,
            "warnings": list(self.warnings),
            "note": self.note,
        }

    def as_compact_json(self) -> dict[str, Any]:
        """The same without what is as in a cell that never ran; the browser puts that back (static/js/store.js)."""
        return {key: value for key, value in self.as_json().items() if value != _NEVER_RUN_JSON[key]}


@dataclass(frozen=True, slots=True)
class ToldState(CellState):
    """A state as another process told it: its document is what counts."""

    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ToldState:
        outcome = Outcome(document["outcome"]) if document["outcome"] else None
        derived = Derived(Freshness(document["freshness"]))
        return cls(derived, Status(document["status"]), attempt=document["attempt"], outcome=outcome, document=document)

    def as_json(self) -> dict[str, Any]:
        return dict(self.document)


def replace_last(fact: CellFacts, last: Attempt | None) -> CellFacts:
    """The same facts with another last attempt."""
    return replace(fact, last=last)


def source_hash(cell_type: str, source: str, result_name: str = "", connection: str | None = None) -> str:
    """SHA-256 (hex) of all that decides what running a cell does: its text, its type, where its result goes."""
    digest = hashlib.sha256()
    for part in (cell_type, source, result_name, connection or ""):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


NEVER_RUN = CellState(derived=Derived(Freshness.NEW))
_NEVER_RUN_JSON = NEVER_RUN.as_json()
