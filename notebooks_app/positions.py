"""Sparse positions: an insert or a move finds room between two neighbours and writes one row. Pure."""

from __future__ import annotations

from collections.abc import Sequence

STEP = 1 << 20


def between(before: int | None, after: int | None, count: int = 1) -> list[int] | None:
    """`count` increasing positions between two neighbours (None: the edge), or None if the gap is too small."""
    if before is None and after is None:
        return [STEP * (i + 1) for i in range(count)]
    if after is None:
        return [before + STEP * (i + 1) for i in range(count)]  # type: ignore[operator]
    low = before if before is not None else 0
    gap = (after - low) // (count + 1)
    return [low + gap * (i + 1) for i in range(count)] if gap >= 1 else None


def spread(count: int) -> list[int]:
    """Positions of a whole notebook with even room between."""
    return [STEP * (i + 1) for i in range(count)]


def fill(fixed: Sequence[int | None], wished: Sequence[int | None]) -> list[int]:
    """Increasing positions for a whole order: fixed ones stay, wished ones are used where they fit, the rest is found.

    Where there is no room, all get new ones.
    """
    bounds = _next_known(fixed)
    found: list[int | None] = []
    last = 0
    for place, wish, bound in zip(fixed, wished, bounds, strict=True):
        if place is None and wish is not None and last < wish and (bound is None or wish < bound):
            place = wish
        found.append(place)
        last = place if place is not None else last
    return _filled(found) or spread(len(fixed))


def _next_known(places: Sequence[int | None]) -> list[int | None]:
    """For each place the next known one after it."""
    bounds: list[int | None] = []
    following: int | None = None
    for place in reversed(places):
        bounds.append(following)
        following = place if place is not None else following
    return bounds[::-1]


def _filled(places: list[int | None]) -> list[int] | None:
    """The unknown places found between the known ones; None where a gap is too small."""
    found: list[int] = []
    waiting = 0
    for place in [*places, None]:
        is_end = len(found) + waiting == len(places)
        if place is None and not is_end:
            waiting += 1
            continue
        between_them = between(found[-1] if found else None, place, waiting) if waiting else []
        if between_them is None:
            return None
        found += between_them
        waiting = 0
        if place is not None:
            found.append(place)
    return found
