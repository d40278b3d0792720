"""What the variables panel shows of each name: type, a short preview, shape and size, without running user
code.

A preview calls `repr` only of values whose `repr` is Python's own, and attributes are asked for only of what libraries
made: a property, a `__class__` or a metaclass of a cell's runs nothing.
"""

from __future__ import annotations

import reprlib
import sys
from collections import deque
from types import FunctionType, ModuleType
from typing import Any

from .namespace import Namespace
from .private import strip_prefix

PREVIEW_CHARACTERS = 120
VARIABLES_SHOWN = 2_000
SORTED_AT_MOST = 10_000
_PLAIN = (str, bytes, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset, range)


class _Preview(reprlib.Repr):
    """Short forms of containers; foreign objects inside them by their type's name only."""

    def repr1(self, x: Any, level: int) -> str:
        kind = type(x)
        if not _is_pythons_own(kind):
            return f"<{_name(kind)}>"
        if kind in (set, frozenset, dict) and not _can_be_sorted(x):
            return f"<{kind.__name__} of {len(x):,} items>"
        if _module(kind) == "collections" and kind is not deque:  # its repr is that of all it holds
            return f"<{kind.__name__}>"
        return super().repr1(x, level)


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
_SHAPED = ("numpy", "pandas", "polars", "pyarrow", "scipy", "torch", "jax", "jaxlib", "xarray", "tensorflow")
_NAME, _MODULE = type.__dict__["__name__"], type.__dict__["__module__"]
_preview = _Preview()
_preview.maxstring = _preview.maxother = _preview.maxlong = PREVIEW_CHARACTERS


def describe(namespace: Namespace) -> list[dict[str, Any]]:
    """One entry a public name, sorted by name; at most 2,000."""
    return [
        _variable(name, value, namespace.owner(name)) for name, value in namespace.public()[:VARIABLES_SHOWN]
    ]


def _variable(name: str, value: Any, cell: str | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "type": _name(type(value)), "cell": cell}
    for key, ask in (("preview", preview), ("shape", _shape), ("size_bytes", _size)):
        try:
            described[key] = ask(value)
        except BaseException:  # whatever it is: the one who asks is no cell, and must not end of it
            described[key] = "" if key == "preview" else None
    return described


def _can_be_sorted(held: Any) -> bool:
    """Whether to show some of it in order takes no time, and no code of a cell's: the order is by `<`."""
    return len(held) <= SORTED_AT_MOST and all(type(one) in _PLAIN for one in held)


def _name(kind: type) -> str:
    """A type's own name, whatever its metaclass says."""
    return str(_NAME.__get__(kind))


def _module(kind: type) -> str:
    found = _MODULE.__get__(kind)
    return found if type(found) is str else ""


def _is_pythons_own(kind: type) -> bool:
    """Whether it is one of the types whose `repr` and order are known; not one that only says so."""
    if kind in _PLAIN:
        return True
    module = _module(kind)
    return module in _TRUSTED and getattr(sys.modules.get(module), _name(kind), None) is kind


def _is_of_library(kind: type) -> bool:
    """Whether a library of data made this type: its attributes may be asked for."""
    top = _module(kind).partition(".")[0]
    return top in _SHAPED and not any(_module(base) == "__main__" for base in kind.__mro__)


def preview(value: Any) -> str:
    """One short line that says what the value is."""
    if _module(type(value)) == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()  # a scalar of numpy, as the number it is
    kind = type(value)
    if issubclass(kind, ModuleType):
        text = str(value.__name__) if kind is ModuleType else _name(kind)
    elif issubclass(kind, type):
        text = strip_prefix(str(type.__dict__["__qualname__"].__get__(value)))
    elif kind is FunctionType:
        text = strip_prefix(value.__qualname__)
    elif _is_pythons_own(kind):
        text = _preview.repr(value)
    elif (shape := _shape(value)) is not None:
        text = " × ".join(f"{size:,}" for size in shape)
    else:
        text = f"{_module(kind)}.{type.__dict__['__qualname__'].__get__(kind)}"
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _shape(value: Any) -> list[int] | None:
    kind = type(value)
    if kind in (str, bytes, list, tuple, dict, set, frozenset):
        return [len(value)]
    for known in (list, tuple, dict, set, frozenset, str, bytes):
        if issubclass(kind, known):
            return [known.__len__(value)]
    if not _is_of_library(kind):
        return None
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(size, int) for size in shape):
        return list(shape)
    return None


def _size(value: Any) -> int | None:
    """Bytes the value holds, as its library says; of other objects only their own."""
    kind = type(value)
    if not _is_of_library(kind):
        if kind not in _PLAIN:
            return None if issubclass(kind, type | ModuleType | FunctionType) else object.__sizeof__(value)
        return sys.getsizeof(value)
    module = _module(kind).partition(".")[0]
    if module == "pandas" and hasattr(value, "memory_usage"):
        usage = value.memory_usage(deep=False)
        return int(usage.sum() if hasattr(usage, "sum") else usage)
    if module == "polars" and hasattr(value, "estimated_size"):
        return int(value.estimated_size())
    if module in ("numpy", "pyarrow") and isinstance(getattr(value, "nbytes", None), int):
        return int(value.nbytes)
    return sys.getsizeof(value)
