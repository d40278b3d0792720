"""Where cells stand in their notebook's order: finding room, moving, the bin. Called inside a service's transaction.

Each function writes the rows of the cells it places; neighbours are renumbered only when the gap has closed, and then
only a window of them (positions.py has the arithmetic).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from django.db.models import F, Max, Min, QuerySet
from django.utils import timezone

from notebooks_app import positions
from notebooks_app.errors import NotFound
from notebooks_app.models import Cell

WINDOW = 32
FEW = 8
# Cells in the bin stand far below every place that renumbering uses for a moment.
BIN_BASE = 1 << 62


def after(notebook_id: uuid.UUID, cell_id: uuid.UUID | None, count: int) -> list[int]:
    """`count` free positions right after a cell (None: before all). Raises NotFound for an unknown cell."""
    cells = _alive(notebook_id)
    low = None
    if cell_id is not None:
        low = cells.filter(pk=cell_id).values_list("position", flat=True).first()
        if low is None:
            raise NotFound(f"There is no cell {cell_id} in this notebook to put it after.")
    return _room_above(cells, low, count)


def move(notebook_id: uuid.UUID, cells: Sequence[Cell], after_id: uuid.UUID | None) -> None:
    """Put cells, in the order given, after another one (None: first)."""
    _lift(notebook_id, cells)
    _put(cells, after(notebook_id, after_id, len(cells)))


def bin_cells(notebook_id: uuid.UUID, cells: Sequence[Cell]) -> None:
    """Take cells out of the order; their rows stay for an undo."""
    now = timezone.now()
    _lift(notebook_id, cells)
    Cell.objects.filter(pk__in=[cell.pk for cell in cells]).update(deleted_at=now, updated_at=now)


def put_back(notebook_id: uuid.UUID, cells: Sequence[Cell], places: Sequence[int]) -> list[uuid.UUID | None]:
    """Place cells (also ones in the bin) where they stood, or next to it; for each the id of the cell now before it.

    A few are put back one by one, which reads only their neighbours; more in one pass over the notebook's order.
    """
    if len(cells) <= FEW:
        lowest = 0
        found = []
        for cell, place in zip(cells, places, strict=True):
            found.append(_put_one_back(notebook_id, cell, max(place, lowest)))
            lowest = cell.position
        return found
    returning = {cell.pk for cell in cells}
    order = [cell for cell in _alive(notebook_id).order_by("position") if cell.pk not in returning]
    staying = {cell.pk for cell in order}
    wished: dict[uuid.UUID, int] = {}
    lowest = 0
    for cell, place in zip(cells, places, strict=True):
        lowest = wished[cell.pk] = max(place, lowest)
    standing = [(cell.position, 0, cell) for cell in order]
    coming = [(wished[cell.pk], 1, cell) for cell in cells]
    order = [cell for _, _, cell in sorted(standing + coming, key=lambda row: row[:2])]
    arrange(notebook_id, order, staying=staying, wished=wished)
    before = {cell.pk: other.pk for other, cell in pairwise(order)}
    return [before.get(cell.pk) for cell in cells]


def _put_one_back(notebook_id: uuid.UUID, cell: Cell, position: int) -> uuid.UUID | None:
    _lift(notebook_id, [cell])
    before = _alive(notebook_id).filter(position__lte=position).order_by("-position").first()
    if before is None or before.position < position:
        place = [position]  # still free: exactly there, so that cells put back one by one keep their order
    else:
        place = _room_above(_alive(notebook_id), before.position, 1)
    if cell.deleted_at is not None:
        Cell.objects.filter(pk=cell.pk).update(deleted_at=None)
        cell.deleted_at = None
    _put([cell], place)
    return before.pk if before else None


def arrange(
    notebook_id: uuid.UUID,
    order: Sequence[Cell],
    *,
    staying: Collection[uuid.UUID],
    wished: Mapping[uuid.UUID, int] | None = None,
) -> None:
    """Give the notebook's cells this order in a fixed number of statements; cells of the bin come back from it.

    Cells of `staying`, which must be in order, keep their places where there is room for the others between them. Cells
    that are not stored yet only get their position set: the caller stores them.
    """
    fixed = [cell.position if cell.pk in staying else None for cell in order]
    places = positions.fill(fixed, [(wished or {}).get(cell.pk) for cell in order])
    moved = [(cell, place) for cell, place in zip(order, places, strict=True) if cell.position != place]
    stored = [cell for cell, _ in moved if not cell._state.adding]
    _lift(notebook_id, stored)
    _put(stored, [place for cell, place in moved if not cell._state.adding])
    for cell, place in moved:
        cell.position = place
    returning = [cell for cell in stored if cell.deleted_at is not None]
    if returning:
        Cell.objects.filter(pk__in=[cell.pk for cell in returning]).update(deleted_at=None)
    for cell in returning:
        cell.deleted_at = None


def _alive(notebook_id: uuid.UUID) -> QuerySet[Cell]:
    return Cell.objects.alive().filter(notebook_id=notebook_id, position__gt=0).only("id", "position", "deleted_at")


def _lift(notebook_id: uuid.UUID, cells: Sequence[Cell]) -> None:
    """Give cells places below all others, each its own."""
    lowest = Cell.objects.filter(notebook_id=notebook_id).aggregate(lowest=Min("position"))["lowest"] or 0
    below = min(lowest, -BIN_BASE) - 1
    _put(cells, [below - i for i in range(len(cells))])


def _put(cells: Sequence[Cell], places: Sequence[int]) -> None:
    for cell, position in zip(cells, places, strict=True):
        cell.position = position
    Cell.objects.bulk_update(cells, ["position"], batch_size=500)


def _room_above(cells: QuerySet[Cell], low: int | None, count: int) -> list[int]:
    following = cells.filter(position__gt=low if low is not None else 0).order_by("position")
    high = following.values_list("position", flat=True).first()
    return positions.between(low, high, count) or _make_room(following, low, count)


def _make_room(following: QuerySet[Cell], low: int | None, count: int) -> list[int]:
    """Spread a window of the following cells, as small as suffices, and return the places freed before it."""
    window = WINDOW
    while True:
        neighbours = list(following[: window + 1])
        bound = neighbours[window].position if len(neighbours) > window else None
        moved = neighbours[:window]
        places = positions.between(low, bound, count + len(moved))
        if places:
            break
        window *= 2
    # In two steps: a plain unique constraint is checked at each row.
    Cell.objects.filter(pk__in=[cell.pk for cell in moved]).update(position=-F("position"))
    _put(moved, places[count:])
    return places[:count]


def last_position(notebook_id: uuid.UUID) -> int:
    return _alive(notebook_id).aggregate(last=Max("position"))["last"] or 0
