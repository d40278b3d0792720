"""Turns single values of a dataframe into what a table shows: JSON scalars and short text.

No dataframe library is imported here; libraries are recognised by what a value can do. Rows, sorting and
search are in tables.py and table_frames.py.
"""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

JSON_INTEGER_LIMIT = 2**53  # beyond it a browser's numbers lose digits
TEXT_LIMIT = 1_000
NESTED_LIMIT = 500
BYTES_SHOWN = 16
PAGE_TEXT_BUDGET = 2_000_000  # characters of one page, so that 500 rows of long text stay a small message
SHORTEST_TEXT = 40

MIDNIGHT = "T00:00:00"


def text_limit(cells: int) -> int:
    """How many characters one cell may show on a page of so many cells."""
    return max(SHORTEST_TEXT, min(TEXT_LIMIT, PAGE_TEXT_BUDGET // max(cells, 1)))


def clean(text: str) -> str:
    """The text without lone surrogates, which JSON encoders and databases refuse: each becomes a question
    mark."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def shorten(text: str, limit: int) -> str:
    return clean(text if len(text) <= limit else text[: limit - 1] + "…")


def plain(value: Any, *, limit: int = TEXT_LIMIT, nan_is_missing: bool = True) -> Any:
    """A JSON scalar for one value: missing is None, integers beyond 2^53, times and decimals are text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return shorten(str(value), limit)
    if isinstance(value, int):
        return int(value) if abs(value) <= JSON_INTEGER_LIMIT else _digits(int(value))
    if isinstance(value, float):
        return _float(float(value), nan_is_missing)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    return _other(value, limit, nan_is_missing)


def _digits(value: int) -> str:
    """Python writes out no number of more than some thousand digits (sys.set_int_max_str_digits)."""
    try:
        return shorten(str(value), TEXT_LIMIT)
    except ValueError:
        return f"{'-' if value < 0 else ''}10^{int(value.bit_length() * 0.30103):,} (about)"


def _float(value: float, nan_is_missing: bool) -> Any:
    if math.isnan(value):
        return None if nan_is_missing else "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _bytes(value: bytes) -> str:
    head = value[:BYTES_SHOWN].hex(" ")
    return head if len(value) <= BYTES_SHOWN else f"{head} … ({len(value):,} bytes)"


def _other(value: Any, limit: int, nan_is_missing: bool) -> Any:
    name = type(value).__name__
    if name in ("NaTType", "NAType"):
        return None
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return None if value.is_nan() and nan_is_missing else str(value)
    if isinstance(value, datetime.timedelta) or name in ("Period", "Interval"):
        return shorten(str(value), limit)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _numpy_scalar(value, limit, nan_is_missing)
    return nested(value, min(limit, NESTED_LIMIT))


def _numpy_scalar(value: Any, limit: int, nan_is_missing: bool) -> Any:
    item = value.item()
    if type(item) is type(value) or type(value).__name__ in ("datetime64", "timedelta64"):
        return None if str(value) == "NaT" else str(value)
    return plain(item, limit=limit, nan_is_missing=nan_is_missing)


def nested(value: Any, limit: int = NESTED_LIMIT) -> str:
    """A short repr of a list, mapping or any object. A failing repr is named, never raised."""
    try:
        if isinstance(value, list | tuple | set | frozenset | dict) and len(value) > limit:
            kind = type(value).__name__
            return f"{kind} of {len(value):,} items"
        return shorten(repr(value), limit)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
