"""Old keystrokes of the change log, merged: `manage.py compact_changes`.

A run of edits becomes the last of them, with the change set that all of them make together. The rule, which keeps every
replay right:

- A run is of one cell and one author, on consecutive versions, and nothing else was logged in between: what is kept
  stands where it stood, and at each number that is kept the log tells the same notebook as before.
- All of it is older than the cutoff, within an hour, and on one side of each named version: nobody's history, version
  or cursor of the last days is touched.
- The kept edit says on which version it was made (`base_version`). Who stands within the run (a browser that slept for
  days, a program with an old cursor) sees that this is not its own version and asks for the cell's text.

Only edits of sources are merged; changes of structure, which can be undone, never, nor edits that are part of one (a
split).
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from notebooks_app import changeset
from notebooks_app.models import Change, Notebook, Version

SPAN = timedelta(hours=1)
SHORTEST_AGE = timedelta(days=1)  # younger changes may be needed by a page that is open
RUN_AT_MOST = 2_000  # changes that become one
EDIT = "cell.edited"


@dataclass(frozen=True)
class Compacted:
    """Rows of the log that were (or would be) removed, of so many runs."""

    runs: int = 0
    removed: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        return Compacted(self.runs + other.runs, self.removed + other.removed)


def compact(notebook_id: uuid.UUID, *, before: datetime, dry_run: bool = False) -> Compacted:
    """Merge a notebook's edits older than `before`, each run in a transaction of its own; running it twice is safe."""
    done = Compacted()
    for run in list(_runs(notebook_id, before)):
        if dry_run or _merge(run):
            done += Compacted(1, len(run) - 1)
    return done


def notebooks_with_edits(before: datetime) -> list[uuid.UUID]:
    """Notebooks whose log has edits older than `before`, those in the bin too."""
    old = Change.objects.filter(kind=EDIT, created_at__lt=before).values("notebook_id")
    return list(Notebook.objects.filter(pk__in=old).order_by("pk").values_list("pk", flat=True))


def _runs(notebook_id: uuid.UUID, before: datetime) -> Iterator[list[int]]:
    """Primary keys of each run of at least two edits, without their events."""
    borders = sorted(Version.objects.filter(notebook_id=notebook_id).values_list("seq", flat=True))
    log = Change.objects.filter(notebook_id=notebook_id, created_at__lt=before).order_by("seq")
    rows = log.annotate(is_typing=Q(kind=EDIT, inverse={})).values_list(
        "pk", "seq", "is_typing", "cell_id", "author_id", "created_at"
    )
    run: list[int] = []
    last: tuple[object, ...] | None = None
    began = before
    for pk, seq, is_typing, cell, author, at in rows.iterator(chunk_size=2_000):
        # The same place among the versions' numbers: no version was named between the two.
        key = (cell, author, bisect_left(borders, seq))
        if is_typing and key == last and at - began <= SPAN and len(run) < RUN_AT_MOST:
            run.append(pk)
            continue
        if len(run) > 1:
            yield run
        run, last, began = ([pk], key, at) if is_typing else ([], None, at)
    if len(run) > 1:
        yield run


def _merge(run: list[int]) -> bool:
    """Put the run's change sets together in its last row; False where that cannot be done, and nothing is written."""
    with transaction.atomic():
        rows = list(Change.objects.select_for_update().filter(pk__in=run).order_by("seq"))
        if len(rows) < len(run):  # another compaction was here
            return False
        merged = _merged(rows)
        if merged is None:
            return False
        rows[-1].event = merged
        rows[-1].save(update_fields=["event"])
        Change.objects.filter(pk__in=run[:-1]).delete()
    return True


def _merged(rows: Iterable[Change]) -> dict[str, object] | None:
    """The event of all of them; None if they are not on consecutive versions or their change sets do not fit."""
    events = [row.event for row in rows]
    first, last = events[0], events[-1]
    base = first.get("base_version", first["version"] - 1)
    version, changes = first["version"], first["changes"]
    for event in events[1:]:
        if event.get("base_version", event["version"] - 1) != version or event["changes"] is None:
            return None
        try:
            changes = changeset.compose(changes, event["changes"])
        except changeset.BadChangeSet:
            return None
        version = event["version"]
    return {**last, "base_version": base, "changes": changes}
