"""What the variables panel shows of each name: type, a short preview, shape and size, without running user
code.

A preview calls `repr` only of values whose `repr` is Python's own.
"""

from __future__ import annotations

import reprlib
import sys
from types import FunctionType, ModuleType
from typing import Any

from .namespace import Namespace
from .private import strip_prefix

PREVIEW_CHARACTERS = 120
VARIABLES_SHOWN = 2_000
_PLAIN = (str, bytes, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset, range)


class _Preview(reprlib.Repr):
    """Short forms of containers; foreign objects inside them by their type's name only."""

    def repr_instance(self, x: Any, level: int) -> str:
        module = type(x).__module__
        return super().repr_instance(x, level) if module in _TRUSTED else f"<{type(x).__name__}>"


_TRUSTED = (
    "builtins",
    "datetime",
    "decimal",
    "fractions",
    "uuid",
    "pathlib",
    "pathlib._local",
    "collections",
    "re",
    "enum",
)
_preview = _Preview()
_preview.maxstring = _preview.maxother = _preview.maxlong = PREVIEW_CHARACTERS


def describe(namespace: Namespace) -> list[dict[str, Any]]:
    """One entry a public name, sorted by name; at most 2,000."""
    return [
        _variable(name, value, namespace.owner(name)) for name, value in namespace.public()[:VARIABLES_SHOWN]
    ]


def _variable(name: str, value: Any, cell: str | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "type": type(value).__name__, "cell": cell}
    for key, ask in (("preview", preview), ("shape", _shape), ("size_bytes", _size)):
        try:
            described[key] = ask(value)
        except Exception:
            described[key] = "" if key == "preview" else None
    return described


def preview(value: Any) -> str:
    """One short line that says what the value is."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()  # a scalar of numpy, as the number it is
    if isinstance(value, ModuleType):
        text = value.__name__
    elif isinstance(value, type | FunctionType):
        text = strip_prefix(value.__qualname__)
    elif isinstance(value, _PLAIN) or type(value).__module__ in _TRUSTED:
        text = _preview.repr(value)
    elif (shape := _shape(value)) is not None:
        text = " × ".join(f"{size:,}" for size in shape)
    else:
        text = f"{type(value).__module__}.{type(value).__qualname__}"
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _shape(value: Any) -> list[int] | None:
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset):
        return [len(value)]
    if isinstance(value, type | ModuleType):
        return None
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(size, int) for size in shape):
        return list(shape)
    return None


def _size(value: Any) -> int | None:
    """Bytes the value holds, as its library says; of other objects only their own."""
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and hasattr(value, "memory_usage"):
        usage = value.memory_usage(deep=False)
        return int(usage.sum() if hasattr(usage, "sum") else usage)
    if module == "polars" and hasattr(value, "estimated_size"):
        return int(value.estimated_size())
    if module in ("numpy", "pyarrow") and isinstance(getattr(value, "nbytes", None), int):
        return int(value.nbytes)
    return None if isinstance(value, type | ModuleType | FunctionType) else sys.getsizeof(value)
