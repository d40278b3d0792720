"""A notebook whose cells tests change, and the same notebook as a browser would know it from the log."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notebooks_app import services
from notebooks_app.models import Cell, Notebook
from notebooks_app.services import Accepted, Author

type Shown = list[tuple[str, ...]]


class Workbench:
    """The services with notebook and author filled in; cells are named by their ids."""

    def __init__(self, notebook: Notebook, author: Author) -> None:
        self.notebook, self.author, self.pk = notebook, author, notebook.pk

    def who(self) -> dict[str, Any]:
        return {"author": self.author, "operation_id": uuid.uuid4()}

    def add(self, source: str = "", *, after: uuid.UUID | None | str = "last", **more: Any) -> uuid.UUID:
        if after == "last":
            after = (self.order() or [None])[-1]
        cell_id = more.pop("cell_id", uuid.uuid4())
        kind = more.pop("cell_type", "python")
        services.insert_cell(self.pk, cell_id, after=after, cell_type=kind, source=source, **more, **self.who())
        return cell_id

    def edit(self, cell: uuid.UUID, source: str, **more: Any) -> Accepted:
        version = Cell.objects.values_list("version", flat=True).get(pk=cell)
        return services.edit_cell(self.pk, cell, version=version, source=source, **{**self.who(), **more})

    def delete(self, *cells: uuid.UUID) -> Accepted:
        return services.delete_cells(self.pk, list(cells), **self.who())

    def move(self, *cells: uuid.UUID, after: uuid.UUID | None) -> Accepted:
        return services.move_cells(self.pk, list(cells), after=after, **self.who())

    def update(self, cell: uuid.UUID, **fields: Any) -> Accepted:
        return services.update_cell(self.pk, cell, fields, **self.who())

    def undo(self, accepted: Accepted) -> Accepted:
        operation = uuid.UUID(accepted.event["operation_id"])
        return services.undo(self.pk, operation, new_operation_id=uuid.uuid4(), author=self.author)

    def order(self) -> list[uuid.UUID]:
        return list(Cell.objects.alive().filter(notebook=self.pk).in_order().values_list("pk", flat=True))

    def cells(self) -> list[tuple[Any, ...]]:
        """All that a version keeps of each cell, in order."""
        fields = ("pk", "type", "source", "result_name", "connection_id", "disabled", "code_hidden")
        return list(Cell.objects.alive().filter(notebook=self.pk).in_order().values_list(*fields))

    def sources(self) -> list[str]:
        return [row[2] for row in self.cells()]


@pytest.fixture
def owner(db: None) -> Any:
    return get_user_model().objects.create_user("owner", first_name="Olga", last_name="Owner")


@pytest.fixture
def bench(owner: Any) -> Workbench:
    return Workbench(Notebook.objects.create(owner=owner, name="Sales"), Author.of(owner))


def many_cells(notebook: Notebook, count: int) -> list[uuid.UUID]:
    rows = [
        Cell(notebook=notebook, position=(1 << 20) * (number + 1), source=f"x{number} = 1") for number in range(count)
    ]
    for row in rows:
        row.source_hash = row.analysis_hash = row.current_hash()
    return [row.pk for row in Cell.objects.bulk_create(rows, batch_size=200)]


def queries(step: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        step()
    return len(captured)


class Replay:
    """What a browser that applies the events of the log one by one shows: ids, texts and fields in order."""

    def __init__(self, notebook_id: uuid.UUID) -> None:
        cells = Cell.objects.alive().filter(notebook=notebook_id).in_order()
        self.order = [str(cell.pk) for cell in cells]
        self.cells = {str(cell.pk): cell.as_fields() for cell in cells}
        self.asked: set[str] = set()  # cells whose text it had to ask for, because an edit was on an unknown version

    def copy(self) -> Replay:
        other = object.__new__(Replay)
        other.order = list(self.order)
        other.cells = {key: dict(value) for key, value in self.cells.items()}
        other.asked = set(self.asked)
        return other

    def apply(self, event: dict[str, Any]) -> None:
        from notebooks_app import changeset

        kind = event["type"]
        if kind in ("notebook.restored", "cells.restored", "cells.placed"):
            for step in event.get("steps") or event.get("inserted") or event.get("moves") or []:
                self.apply(step)
        elif kind == "cell.inserted" and event["cell"]["id"] not in self.cells:
            self.cells[event["cell"]["id"]] = dict(event["cell"])
            self._put([event["cell"]["id"]], event["after"])
        elif kind == "cell.deleted":
            self.order = [cell for cell in self.order if cell not in event["cells"]]
            for cell in event["cells"]:
                self.cells.pop(cell, None)
                self.asked.discard(cell)
        elif kind == "cell.moved":
            self.order = [cell for cell in self.order if cell not in event["cells"]]
            self._put(event["cells"], event["after"])
        elif kind in ("cell.edited", "cell.updated"):
            self._change(event, changeset)

    def _put(self, cells: list[str], after: str | None) -> None:
        at = self.order.index(after) + 1 if after else 0
        self.order[at:at] = cells

    def _change(self, event: dict[str, Any], changeset: Any) -> None:
        cell = self.cells.get(event["cell"])
        if cell is None or event["version"] <= cell["version"]:
            return
        if event["type"] == "cell.updated":
            cell.update(event["fields"], version=event["version"])
        elif event.get("base_version", event["version"] - 1) != cell["version"]:
            self.asked.add(event["cell"])
            cell["version"] = event["version"]
        elif event["cell"] in self.asked:
            cell["version"] = event["version"]
        else:
            cell["source"] = changeset.apply(event["changes"], cell["source"])
            cell["version"] = event["version"]

    def shown(self) -> list[tuple[Any, ...]]:
        """As Workbench.cells has it, without the texts it would ask the server for."""
        fields = ("type", "result_name", "connection", "disabled", "code_hidden", "version")
        return [
            (cell, None if cell in self.asked else self.cells[cell]["source"], *(self.cells[cell][f] for f in fields))
            for cell in self.order
        ]

    def agrees_with(self, notebook_id: uuid.UUID) -> bool:
        now = Replay(notebook_id)
        now.asked = self.asked
        return self.shown() == now.shown()
