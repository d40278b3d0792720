"""What happened to a notebook, for people: recent changes by person and hour, and what somebody can undo and redo.

Read from the change log (models/change.py) without its events, which hold sources. Named versions are versions.py's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone

from notebooks_app import reading
from notebooks_app.models import Change

type Document = dict[str, Any]

CHANGES_AT_MOST = 1_000  # of the log, that one page of history reads
UNDOABLE_AT_MOST = 200  # own changes that undo looks back over
UNKNOWN_AUTHOR = "Someone who is gone"
FIELD_WORDS = {"type": "the type", "result_name": "the result name", "connection": "the connection"}
# By the value it had before.
FLAG_WORDS = {
    "disabled": {False: "disabled", True: "enabled"},
    "code_hidden": {False: "hid the code of", True: "showed the code of"},
}
UNDO_FOR = timedelta(days=1)  # after that Z surprises: the bin and the versions are there


@dataclass
class Entry:
    """One line: the same thing done to the same cell within an hour."""

    words: str
    kind: str
    cell: uuid.UUID | None
    seq: int
    at: datetime
    count: int = 1

    def as_json(self) -> Document:
        return {
            "words": self.words,
            "kind": self.kind,
            "cell": str(self.cell) if self.cell else None,
            "seq": self.seq,
            "at": self.at.isoformat(),
            "count": self.count,
        }


def recent_changes(notebook_id: uuid.UUID, *, before: int | None = None, limit: int = CHANGES_AT_MOST) -> Document:
    """Groups of one person's changes in one hour (UTC), newest first; `before` is where the next page goes on, or null.

    A page is the latest `limit` changes before the number `before`. Two queries.
    """
    changes = Change.objects.filter(notebook_id=notebook_id).defer("event").select_related("author").order_by("-seq")
    if before is not None:
        changes = changes.filter(seq__lt=before)
    named = changes.annotate(name=Coalesce(KT("event__name"), KT("event__restored__name")))
    rows = list(named[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    numbers = reading.cell_numbers(notebook_id)
    groups = [
        {
            "author": author,
            "hour": hour.isoformat(),
            "entries": [entry.as_json() for entry in _entries(changes, numbers)],
        }
        for (author, hour), changes in groupby(rows, key=lambda row: (_author(row), _hour(row.created_at)))
    ]
    return {"groups": groups, "before": rows[-1].seq if more else None}


def _author(change: Change) -> str:
    return change.author.get_full_name() or change.author.get_username() if change.author else UNKNOWN_AUTHOR


def _hour(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def _entries(changes: Iterable[Any], numbers: dict[str, int]) -> list[Entry]:
    found: dict[tuple[str, uuid.UUID | None], Entry] = {}
    for change in changes:
        words = _words(change, numbers)
        is_there = str(change.cell_id) in numbers and change.kind != "cell.deleted"
        cell = change.cell_id if is_there else None
        known = found.get((words, cell))
        if known is None:
            found[words, cell] = Entry(words, change.kind, cell, change.seq, change.created_at)
        else:
            known.count += 1
    return list(found.values())


def _words(change: Any, numbers: dict[str, int]) -> str:
    """What a change did, as the rest of a sentence that begins with who did it."""
    number = numbers.get(str(change.cell_id))
    cell = f"cell {number}" if number else "a cell that is deleted now"
    inverse = change.inverse
    match change.kind:
        case "cell.edited":
            return f"edited {cell}"
        case "cell.inserted":
            return f"added {cell}"
        case "cell.deleted":
            return f"deleted {_cells(inverse.get('restore', []))}"
        case "cells.restored":
            return f"brought back {_cells(inverse.get('delete', []), cell)}"
        case "cell.moved" | "cells.placed":
            return f"moved {_cells(inverse.get('place', []), cell)}"
        case "cell.updated":
            return f"{_field_words(inverse.get('update', {}))} {cell}"
        case "notebook.renamed":
            return f"renamed the notebook “{change.name}”"
        case "notebook.restored":
            return f"brought back the version “{change.name}”"
        case _:
            return "changed the notebook's settings"


def _field_words(old: dict[str, Any]) -> str:
    flags = [FLAG_WORDS[name][bool(value)] for name, value in old.items() if name in FLAG_WORDS]
    fields = [words for name, words in FIELD_WORDS.items() if name in old]
    return " and ".join([*([f"changed {' and '.join(fields)} of"] if fields else []), *flags]) or "changed"


def _cells(ids: list[Any], one: str = "a cell") -> str:
    return one if len(ids) == 1 else f"{len(ids):,} cells"


# --- Undo and redo ---------------------------------------------------------------------------------------------------


@dataclass
class Stacks:
    """Operations that can be taken back and brought again, latest last."""

    undo: list[str] = field(default_factory=list)
    redo: list[str] = field(default_factory=list)

    def learn(self, operation: str, undoes: str | None) -> None:
        """Take the next change of a person: a new one ends what could be redone."""
        if undoes in self.undo:
            self.undo.remove(undoes)
            self.redo.append(operation)
        elif undoes in self.redo:
            self.redo.remove(undoes)
            self.undo.append(operation)
        else:
            self.undo.append(operation)
            self.redo.clear()


def undoable(notebook_id: uuid.UUID, user_id: int) -> Stacks:
    """What this person's own changes of structure of the last day leave to undo and redo, as the log tells."""
    own = Change.objects.filter(notebook_id=notebook_id, author_id=user_id).exclude(inverse={})
    own = own.filter(created_at__gte=timezone.now() - UNDO_FOR)
    rows = own.order_by("-seq").values_list("operation_id", "inverse__undoes")[:UNDOABLE_AT_MOST]
    stacks = Stacks()
    for operation, undoes in reversed(rows):
        stacks.learn(str(operation), undoes)
    return stacks
