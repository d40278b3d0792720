"""Parameters as the kernel sent them (kernels_app/inside/parameters.py), turned into values to bind.

User code can forge what the kernel sends: anything that is not one of these forms is refused.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from .errors import QueryError

LIST_LIMIT = 10_000
DEPTH_LIMIT = 8


def decode(values: Sequence[Any]) -> list[Any]:
    """Raises QueryError naming the number of a value that is of no known form."""
    decoded = []
    for number, value in enumerate(values, start=1):
        try:
            decoded.append(_value(value, 0))
        except (ValueError, TypeError, KeyError, ArithmeticError):
            raise QueryError(f"Parameter ${number} is not a value that SQL can take.") from None
    return decoded


def _value(value: Any, depth: int) -> Any:
    if depth > DEPTH_LIMIT:
        raise ValueError("too deep")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    return _typed(value["type"], value["value"], depth)


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("NUL")
    value.encode("utf-8")
    return value


def _typed(kind: str, value: Any, depth: int) -> Any:
    if kind == "list":
        if len(value) > LIST_LIMIT:
            raise ValueError("too long")
        return [_value(item, depth + 1) for item in value]
    if kind == "json":
        return {_text(str(key)): _value(item, depth + 1) for key, item in value.items()}
    return SCALARS[kind](value)


SCALARS: dict[str, Callable[[Any], Any]] = {
    "int": lambda value: int(str(value)),
    "float": lambda value: float(str(value)),
    "decimal": lambda value: decimal.Decimal(str(value)),
    "uuid": lambda value: uuid.UUID(str(value)),
    "bytes": lambda value: base64.b64decode(str(value), validate=True),
    "timedelta": lambda value: datetime.timedelta(*(int(part) for part in value)),
    "datetime": lambda value: datetime.datetime.fromisoformat(str(value)),
    "date": lambda value: datetime.date.fromisoformat(str(value)),
    "time": lambda value: datetime.time.fromisoformat(str(value)),
}
