"""A plan, asked by type and name of its resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Planned:
    """`plan.one("aws_db_instance")["multi_az"]`; what AWS decides is not among the values."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.json = plan
        self.resources = list(_resources(plan["planned_values"]["root_module"]))

    def all(self, kind: str, name: str = "") -> dict[str, dict[str, Any]]:
        """The values of resources by their address."""
        return {
            each["address"]: each["values"]
            for each in self.resources
            if each["type"] == kind and name in ("", each["name"]) and each["mode"] == "managed"
        }

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        found = self.all(kind, name)
        assert len(found) == 1, f"{kind} {name}: {list(found)}"
        return next(iter(found.values()))

    def expressions(self, kind: str, name: str) -> dict[str, Any]:
        """What the configuration says of a resource, also where its value is not known yet."""
        for module in _modules(self.json["configuration"]["root_module"]):
            for each in module.get("resources", []):
                if (each["type"], each["name"]) == (kind, name):
                    return each["expressions"]
        raise AssertionError(f"no {kind} {name}")

    def variables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for module in _modules(self.json["configuration"]["root_module"]):
            yield from module.get("variables", {}).items()


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def _modules(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield module
    for call in module.get("module_calls", {}).values():
        yield from _modules(call["module"])
