"""How the cells of the notebooks of a list are, counted: derived from their rows and kept until a notebook changes.

A state follows from the rows under a notebook's `seq` and from which kernel lives (reading.py), so that these two say
whether a count still holds. Counts that are asked for anew read cells, of which one list reads only so many.
"""

from __future__ import annotations

import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from threading import Lock

from notebooks_app import reading
from notebooks_app.cell_words import shown_state
from notebooks_app.models import Cell, KernelSession, Notebook

CELLS_AT_ONCE = 1_000  # that one list derives: some 0.2 s; a notebook that has more shows no state
KEPT = 10_000  # notebooks

type Key = tuple[int, int | None]  # the notebook's seq; the epoch of its living kernel

_kept: OrderedDict[uuid.UUID, tuple[Key, Mapping[str, int]]] = OrderedDict()
_lock = Lock()


def counts_of(listed: Iterable[Notebook]) -> dict[uuid.UUID, Mapping[str, int]]:
    """How many cells are in which shown state, of each of these notebooks (with their `cell_count`) for which that was
    known, or no more cells had to be read than `CELLS_AT_ONCE`. At most two queries."""
    notebooks = {item.pk: item for item in listed}
    sessions = {item.notebook_id: item for item in KernelSession.objects.filter(notebook_id__in=notebooks)}
    keys = {pk: _key(item, sessions.get(pk)) for pk, item in notebooks.items()}
    found = _known(keys)
    left, asked = CELLS_AT_ONCE, []
    for pk, item in notebooks.items():
        count: int = getattr(item, "cell_count")  # noqa: B009 - an annotation of the query
        if pk not in found and count <= left:
            left -= count
            asked.append(pk)
    counted = _counted(asked, sessions)
    _keep({pk: (keys[pk], counts) for pk, counts in counted.items()})
    return found | counted


def _key(notebook: Notebook, session: KernelSession | None) -> Key:
    return notebook.seq, session.epoch if session is not None and session.is_live() else None


def _known(keys: Mapping[uuid.UUID, Key]) -> dict[uuid.UUID, Mapping[str, int]]:
    with _lock:
        return {pk: kept[1] for pk, key in keys.items() if (kept := _kept.get(pk)) is not None and kept[0] == key}


def _keep(counted: Mapping[uuid.UUID, tuple[Key, Mapping[str, int]]]) -> None:
    with _lock:
        for pk, counts in counted.items():
            _kept[pk] = counts
            _kept.move_to_end(pk)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)


def _counted(asked: list[uuid.UUID], sessions: Mapping[uuid.UUID, KernelSession]) -> dict[uuid.UUID, Mapping[str, int]]:
    cells: dict[uuid.UUID, list[Cell]] = defaultdict(list)
    if asked:
        for cell in Cell.objects.alive().filter(notebook_id__in=asked).small().order_by("notebook", "position"):
            cells[cell.notebook_id].append(cell)
    return {pk: _count(cells[pk], sessions.get(pk)) for pk in asked}


def _count(cells: list[Cell], session: KernelSession | None) -> Mapping[str, int]:
    states = reading.states_of(cells, session)
    shown = (
        shown_state({"type": cell.type, "disabled": cell.disabled, "state": states[str(cell.pk)].as_json()})
        for cell in cells
    )
    return Counter(state for state in shown if state)
