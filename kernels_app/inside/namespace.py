"""What is in the notebook's namespace, and who bound it: sweeping, unloading, and names bound outside
analysis.

Only names and ownership; running code is cells.py's. Rules: research/risks.md, 18 and 19.
"""

from __future__ import annotations
import __future__

from typing import Any

from .private import is_private, is_renamed

# IPython keeps its folder history here; %cd needs it.
_KEPT = frozenset({"_dh"})
TOLD_UNDECLARED = 1000  # of a cell's names bound outside analysis: so many the server is told, and believes


class Namespace:
    """The user's globals, with the cells that own their names."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self._declared: dict[str, set[str]] = {}
        self._undeclared: dict[str, set[str]] = {}
        self._renamed: dict[str, set[str]] = {}
        for name in [name for name in names if not name.startswith("__") or name in ("__", "___")]:
            if name not in _KEPT:
                del names[name]
        self._base = frozenset(names)

    def before(self, cell: str) -> dict[str, Any]:
        """Clear what an earlier run of the cell left behind, and return what to compare with after it."""
        self._drop_extras(cell)
        return dict(self.names)

    def after(self, cell: str, definitions: list[str], before: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Sweep private names. Returns (public names bound, names bound outside analysis), both sorted."""
        names, missing = self.names, object()
        bound = {name for name in definitions if name in names}
        undeclared: set[str] = set()
        renamed: set[str] = set()
        for name, value in list(names.items()):
            if before.get(name, missing) is value or name in bound or not isinstance(name, str):
                continue
            if not is_private(name):
                if not _is_pythons(name, value):
                    undeclared.add(name)
            elif is_renamed(name):
                renamed.add(name)
            elif name not in _KEPT:
                names.pop(name, None)
        undeclared -= self._base
        self._declared[cell], self._undeclared[cell], self._renamed[cell] = bound, undeclared, renamed
        return sorted(bound), sorted(undeclared)

    def bind(self, cell: str, name: str, value: Any) -> None:
        """Bind a result under `name` for a cell that ran elsewhere."""
        self._drop_extras(cell)
        self.names[name] = value
        self._declared[cell] = {name}

    def unload(self, names: list[str]) -> None:
        """Remove names. A cell whose last public name goes takes along what else it bound."""
        if not names:
            return
        gone = set(names)
        for name in gone - self._base:
            self.names.pop(name, None)
        for cell, declared in list(self._declared.items()):
            if declared & gone:
                declared -= gone
                if not declared:
                    self._drop_extras(cell)
                    self._declared.pop(cell, None)

    def public(self) -> list[tuple[str, Any]]:
        """(name, value) of what people call their variables, sorted by name."""
        items = list(self.names.items())
        return sorted(((n, v) for n, v in items if self.is_shown(n)), key=lambda item: item[0])

    def is_shown(self, name: str) -> bool:
        return isinstance(name, str) and name not in self._base and not is_private(name)

    def owner(self, name: str) -> str | None:
        """The id of the cell that bound the name."""
        for owned in (self._declared, self._undeclared):
            for cell, names in owned.items():
                if name in names:
                    return cell
        return None

    def _drop_extras(self, cell: str) -> None:
        """Remove a cell's renamed private names and those it bound outside analysis."""
        for name in self._renamed.pop(cell, ()):
            self.names.pop(name, None)
        for name in self._undeclared.pop(cell, ()):
            if not any(name in declared for declared in self._declared.values()):
                self.names.pop(name, None)


def _is_pythons(name: str, value: Any) -> bool:
    """What Python itself binds in a module: `__annotations__`, `__warningregistry__`, compiler features."""
    return (name.startswith("__") and name.endswith("__")) or type(value) is __future__._Feature
