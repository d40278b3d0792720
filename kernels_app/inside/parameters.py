"""Python values as SQL parameters: which may be bound, and how they travel to the broker.

Numbers, text, times, identifiers, bytes and lists of them. A whole dataframe is no parameter; a column of one
is a list. The broker reads what `encode` wrote (kernels_app/broker/values.py).
"""

from __future__ import annotations

import base64
import datetime
import decimal
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from .table_frames import frame_kind

LIST_LIMIT = 10_000
NOTE_LIMIT = 60


class ParameterError(TypeError):
    """A value that SQL cannot take; the message names the parameter."""


def plain_value(name: str, value: Any) -> Any:
    """The value as the plain Python type that database drivers bind, or ParameterError naming it."""
    if value is None or isinstance(value, bool | int | float | str | bytes | decimal.Decimal | uuid.UUID):
        return _base(value)
    kind = frame_kind(value)
    if kind in ("pandas_series", "polars_series"):
        return _items(name, value.to_list())
    if kind is not None:
        raise ParameterError(
            f"{{{name}}} is of type {type(value).__name__}. "
            f"Name it as a table (FROM {name}), or bind one value of it."
        )
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if hasattr(
        value, "to_pydatetime"
    ):  # pandas.Timestamp: a datetime, with nanoseconds that SQL does not have
        return value.to_pydatetime(warn=False)
    if hasattr(value, "to_pytimedelta"):
        return value.to_pytimedelta()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return value
    if type(value).__module__ == "numpy":
        return _numpy(name, value)
    if isinstance(value, list | tuple | set | frozenset | range):
        return _items(name, value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(name, item) for key, item in value.items()}
    raise ParameterError(f"{{{name}}} is of type {type(value).__name__}, which SQL has no value for.")


def _base(value: Any) -> Any:
    """Without subclasses: numpy.float64 is a float, a StrEnum a str, and drivers look at the exact type."""
    bases: tuple[Any, ...] = (bool, int, float, str, bytes)
    for base in bases:
        if isinstance(value, base) and type(value) is not base:
            return value.value if hasattr(value, "_value_") and type(value.value) is base else base(value)
    return value


def _items(name: str, values: Iterable[Any]) -> list[Any]:
    items = [plain_value(name, item) for item in values]
    if len(items) > LIST_LIMIT:
        raise ParameterError(f"{{{name}}} has {len(items):,} items; a list in SQL may have {LIST_LIMIT:,}.")
    return items


def _numpy(name: str, value: Any) -> Any:
    if str(value) == "NaT":
        return None
    if type(value).__name__ == "datetime64":
        return value.astype("datetime64[us]").item()
    if type(value).__name__ == "timedelta64":
        return value.astype("timedelta64[us]").item()
    if type(value).__name__ == "ndarray":
        return _items(
            name, value.astype("datetime64[us]").tolist() if value.dtype.kind == "M" else value.tolist()
        )
    item = value.item() if hasattr(value, "item") else None
    if item is None or type(item) is type(value):
        raise ParameterError(f"{{{name}}} is a numpy {type(value).__name__}, which SQL has no value for.")
    return plain_value(name, item)


def encode(name: str, value: Any) -> Any:
    """JSON for the broker: scalars as they are, everything else {"type", "value"}. Raises ParameterError."""
    return _encode(plain_value(name, value))


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else {"type": "int", "value": str(value)}
    if isinstance(value, float):
        return {"type": "float", "value": repr(value)}
    if isinstance(value, bytes):
        return {"type": "bytes", "value": base64.b64encode(value).decode("ascii")}
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return {"type": type(value).__name__.lower(), "value": str(value)}
    if isinstance(value, datetime.timedelta):
        return {"type": "timedelta", "value": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return {"type": type(value).__name__, "value": value.isoformat()}
    if isinstance(value, dict):
        return {"type": "json", "value": {key: _encode(item) for key, item in value.items()}}
    return {"type": "list", "value": [_encode(item) for item in value]}


def note(value: Any) -> str:
    """The value as the line under the cell shows it: `rate = 0.15, since = 2026-03-01`."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        text = value.isoformat()
    elif isinstance(value, decimal.Decimal | uuid.UUID):
        text = str(value)
    elif isinstance(value, list) and len(value) > 5:
        text = f"[{', '.join(note(item) for item in value[:3])}, … {len(value):,} items]"
    else:
        text = repr(value[: NOTE_LIMIT + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= NOTE_LIMIT else text[: NOTE_LIMIT - 1] + "…"
