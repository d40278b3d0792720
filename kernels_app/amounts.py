"""How much of a machine's processors and GPUs Ray can reserve. Pure: the settings and the admin's fields keep to it."""

from __future__ import annotations

STEP = 0.0001  # the least that Ray counts


def trouble(amount: float, *, is_whole_above_one: bool = False) -> str:
    """What is wrong with it, in a sentence without its subject; "" if Ray can reserve so much."""
    if 0 < amount < STEP:
        return f"must be 0, or {STEP:g} or more: Ray counts nothing smaller."
    if is_whole_above_one and amount > 1 and amount != int(amount):
        return "must be a whole number, or a share of one: Ray gives nobody one and a half."
    return ""
