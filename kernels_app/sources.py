"""The sources that go to a kernel: exactly those the scheduler decided on."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from kernels_app.schedule import Kind, PlanItem
from notebooks_app import db
from notebooks_app.analysis import sqltext
from notebooks_app.models import Cell

KEPT_LENGTH = 1_000_000  # longer sources are read each time


@dataclass(frozen=True, slots=True)
class Code:
    """What is run of one cell."""

    source_hash: str
    source: str
    result_name: str
    connection_id: uuid.UUID | None

    def as_item(self, item: PlanItem, *, number: int, count: int) -> dict[str, Any]:
        """The item of docs/architecture.md, section 5; SQL with its parameters as $1, $2…"""
        message: dict[str, Any] = {
            "attempt": item.attempt,
            "cell": item.cell,
            "number": number,
            "version": item.version,
            "kind": item.kind.value,
            "source": self.source,
            "result_name": self.result_name,
            "definitions": sorted(item.definitions),
            "references": sorted(item.references),
            "needs": sorted(item.needs),
            "unload": sorted(item.unload),
            "count": count,
        }
        if item.kind is Kind.DUCKDB:
            message["source"], parameters = sqltext.bind(self.source, "numeric_dollar")
            message["parameters"] = parameters
            message["row_cap"] = settings.SQL_ROW_CAP
            message["frames"] = sorted(item.references - set(parameters))
        return message


class Sources:
    """The sources of one notebook, kept while their hash is the one asked for."""

    def __init__(self, notebook_id: uuid.UUID) -> None:
        self._notebook_id = notebook_id
        self._kept: dict[str, Code] = {}

    async def of(self, items: Iterable[PlanItem]) -> dict[str, Code]:
        """The code of each item's cell; a cell that has another source by now is missing."""
        wanted = {item.cell: item.source_hash for item in items}
        missing = [cell for cell, source_hash in wanted.items() if not self._has(cell, source_hash)]
        found = await db.read(lambda: self._read(missing)) if missing else {}
        for cell, code in found.items():
            if len(code.source) <= KEPT_LENGTH:
                self._kept[cell] = code
        codes = {cell: found.get(cell) or self._kept.get(cell) for cell in wanted}
        return {cell: code for cell, code in codes.items() if code and code.source_hash == wanted[cell]}

    def _has(self, cell: str, source_hash: str) -> bool:
        return cell in self._kept and self._kept[cell].source_hash == source_hash

    def _read(self, cells: list[str]) -> dict[str, Code]:
        rows = Cell.objects.alive().filter(notebook_id=self._notebook_id, pk__in=cells)
        return {
            str(pk): Code(source_hash, source, result_name, connection_id)
            for pk, source_hash, source, result_name, connection_id in rows.values_list(
                "pk", "source_hash", "source", "result_name", "connection_id"
            )
        }
