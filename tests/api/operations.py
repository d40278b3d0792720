"""Every operation of the API as its OpenAPI description lists them, for tests that go through all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drf_spectacular.generators import SchemaGenerator

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str  # with {names} of ids
    takes_body: bool
    is_guarded: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path.removeprefix('/api/v1')}"


def description() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def operations() -> list[Operation]:
    return [
        Operation(
            method,
            path,
            takes_body="requestBody" in found,
            is_guarded=any(parameter["name"] == "If-Match" for parameter in found.get("parameters", [])),
        )
        for path, methods in description()["paths"].items()
        for method, found in methods.items()
    ]
