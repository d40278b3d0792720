"""Sparse positions: an insert or a move finds room between two neighbours and writes one row. Pure."""

from __future__ import annotations

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
