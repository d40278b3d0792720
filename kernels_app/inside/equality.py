"""Whether a cell's new value is for every use the old one, so that what used it stays current.

Only values that can never change are compared, and without running any code of theirs: a list may have been
changed since, a function may read names that have. Equal means equal in type and in every bit that a program
can see (0.0 is not -0.0, 1 is not True).
"""

from __future__ import annotations

import struct
import sys
from datetime import date, timedelta
from decimal import Decimal
from types import ModuleType, NoneType
from typing import Any

MAX_ITEMS = 1_000
MAX_DEPTH = 20

_PLAIN = frozenset({int, bool, str, bytes, NoneType, timedelta, date, type(Ellipsis)})


def is_same(old: Any, new: Any) -> bool:
    """True only for unchangeable values that are equal; False where that is not known."""
    return _is_same(old, new, 0)


def _is_same(old: Any, new: Any, depth: int) -> bool:
    kind = type(new)
    if type(old) is not kind:
        return False
    if kind in _PLAIN:
        return bool(old == new)
    if kind is float:
        return struct.pack("d", old) == struct.pack("d", new)
    if kind is complex:
        return struct.pack("dd", old.real, old.imag) == struct.pack("dd", new.real, new.imag)
    if kind is Decimal:
        return bool(old.as_tuple() == new.as_tuple())
    if kind is ModuleType:
        return old is new
    if kind is tuple and depth < MAX_DEPTH and len(old) == len(new) <= MAX_ITEMS:
        return all(_is_same(one, other, depth + 1) for one, other in zip(old, new, strict=True))
    return _is_same_scalar(old, new, kind)


def _is_same_scalar(old: Any, new: Any, kind: type) -> bool:
    """A number of numpy, by its bytes."""
    numpy = sys.modules.get("numpy")
    if numpy is None or kind.__module__ != "numpy" or not issubclass(kind, numpy.generic):
        return False
    return kind is not numpy.void and old.dtype == new.dtype and old.tobytes() == new.tobytes()
