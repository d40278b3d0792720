"""What readers are told of a notebook that may be running: the runtime's word where there is one, else the database's.

notebooks_app may not import kernels_app, so kernels_app hands its part in with `use` (kernels_app/live.py) when the
server starts. Without it (commands, tests of pages) all is read from the database.
"""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from notebooks_app import reading, services
from notebooks_app.facts import CellState

type Document = dict[str, Any]


class Live(Protocol):
    """What a process that may hold runtimes can tell; None where it knows no more than the database."""

    def states(self, notebook_id: uuid.UUID) -> dict[str, CellState] | None: ...

    def kernel(self, notebook_id: uuid.UUID) -> Document | None: ...

    def tell(self, notebook_id: uuid.UUID, events: list[Document]) -> None:
        """Unnumbered events for all who watch."""

    def end(self, notebook_id: uuid.UUID, reason: str) -> None:
        """End the notebook's kernel, if it lives here."""


class Nothing:
    """No runtimes in this process."""

    def states(self, notebook_id: uuid.UUID) -> dict[str, CellState] | None:
        return None

    def kernel(self, notebook_id: uuid.UUID) -> Document | None:
        return None

    def tell(self, notebook_id: uuid.UUID, events: list[Document]) -> None:
        return None

    def end(self, notebook_id: uuid.UUID, reason: str) -> None:
        return None


_live: Live = Nothing()


def use(live: Live) -> None:
    """Name who knows the runtimes of this process."""
    global _live
    _live = live


def analyse_pending(notebook_id: uuid.UUID) -> None:
    """Analyse what was edited since, and tell those who watch: once saved, no feed would find it again."""
    analysed = services.analyse_pending(notebook_id)
    if analysed:
        _live.tell(notebook_id, analysed)


def states(notebook_id: uuid.UUID) -> dict[str, CellState]:
    """The state of each cell, of its present source: what is not yet analysed is analysed first."""
    analyse_pending(notebook_id)
    found = _live.states(notebook_id)
    return found if found is not None else reading.states_now(notebook_id)


def kernel(notebook_id: uuid.UUID) -> Document:
    found = _live.kernel(notebook_id)
    return found if found is not None else reading.kernel_document(reading.session_of(notebook_id))


def end(notebook_id: uuid.UUID, reason: str) -> None:
    _live.end(notebook_id, reason)
