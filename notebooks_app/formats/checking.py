"""JSON values of a file, checked so that a database can hold them; what cannot be is refused with its place. Pure."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from notebooks_app.formats.base import FormatError
from notebooks_app.outputs import clean_text

MAX_DEPTH = 100


def without_nul(text: str) -> str:
    """The text with NUL and lone surrogates as U+FFFD."""
    return clean_text(text)


def checked(where: str, value: Any) -> Any:
    """The value with NUL and lone surrogates as U+FFFD.

    Raises FormatError with the place for a number beyond what JSON can hold (1e999) and for what is nested more deeply
    than MAX_DEPTH.
    """
    return _checked(where, value, ())


def cleaned(value: Any, depth: int = 0) -> Any:
    """The value with NUL and lone surrogates as U+FFFD, and null for what `checked` refuses; of any size."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, dict | list):
        return value
    if depth >= MAX_DEPTH:
        return None
    if isinstance(value, list):
        return [cleaned(item, depth + 1) for item in value]
    return {clean_text(key): cleaned(item, depth + 1) for key, item in value.items()}


def with_whole_numbers(value: Any) -> Any:
    """The value with whole floats as the ints that they are written as: DynamoDB and PostgreSQL keep 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, list):
        return [with_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: with_whole_numbers(item) for key, item in value.items()}
    return value


def _checked(where: str, value: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise FormatError(f"{where}{_place(path)}: the number is too large for JSON.")
    if not isinstance(value, dict | list):
        return value
    if len(path) >= MAX_DEPTH:
        raise FormatError(f"{where}{_place(path[:6])}…: it is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, list):
        return [_checked(where, item, (*path, at)) for at, item in enumerate(value)]
    return {clean_text(key): _checked(where, item, (*path, key)) for key, item in value.items()}


def _place(path: tuple[str | int, ...]) -> str:
    """`.rows[3]`: a path as people write it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{clean_text(step)[:60]}" for step in path)
