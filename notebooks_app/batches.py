"""Several changes of cells at once, all or nothing: each guarded by the version it was made on.

Shapes and status codes are api_batch.py's; each single change is a function of services.py.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction

from notebooks_app import services
from notebooks_app.errors import Conflict, NotFound, OperationReused, RillbookError
from notebooks_app.models import Cell
from notebooks_app.services import Accepted, Author

type Document = dict[str, Any]


def apply(
    notebook_id: uuid.UUID, operations: list[Document], *, author: Author, operation_id: uuid.UUID
) -> list[tuple[uuid.UUID, Accepted]]:
    """Carry the operations out in order; each with its own operation id, which follows from the batch's.

    Raises what the first refused one raises, with `operation`: its place in the list. Then nothing is written. A retry
    with the same operation id gets the first answers; another batch with it raises OperationReused.
    """
    done = []
    with transaction.atomic():
        is_retry = _is_retry(notebook_id, operation_id, len(operations))
        for index, operation in enumerate(operations):
            own = part_of(operation_id, index)
            try:
                if operation["op"] == "delete" and not is_retry:
                    _check_version(notebook_id, operation)
                done.append((own, _apply(notebook_id, operation, author, own)))
            except RillbookError as error:
                error.message = f"operations[{index}]: {error.message}"
                error.more["operation"] = index
                raise
    return done


def _is_retry(notebook_id: uuid.UUID, operation_id: uuid.UUID, count: int) -> bool:
    """Whether a batch of so many operations is in the log. Raises OperationReused for a shorter or a longer one."""
    parts = [part_of(operation_id, index) for index in range(count + 1)]
    known = services.known_operations(notebook_id, parts)
    if known and known != set(parts[:count]):
        raise OperationReused
    return bool(known)


def part_of(operation_id: uuid.UUID, index: int) -> uuid.UUID:
    """The operation id of one change of a batch: the same again on a retry."""
    return uuid.uuid5(operation_id, str(index))


def _apply(notebook_id: uuid.UUID, operation: Document, author: Author, own: uuid.UUID) -> Accepted:
    who: Document = {"author": author, "operation_id": own}
    cell: Any = operation.get("cell")
    match operation["op"]:
        case "insert":
            fields: Document = {
                name: operation[name] for name in ("source", "result_name", "connection") if name in operation
            }
            after = operation["after"] if "after" in operation else _last(notebook_id)
            made = operation.get("cell") or own
            kind = operation.get("type", Cell.Type.PYTHON.value)
            return services.insert_cell(notebook_id, made, after=after, cell_type=kind, **fields, **who)
        case "edit":
            text = {name: operation[name] for name in ("source", "changes") if name in operation}
            return services.edit_cell(notebook_id, cell, version=operation["version"], **text, **who)
        case "update":
            fields = dict(operation["fields"])
            return services.update_cell(notebook_id, cell, fields, version=operation["version"], **who)
        case "move":
            return services.move_cells(notebook_id, [cell], after=operation["after"], **who)
        case _:
            return services.delete_cells(notebook_id, [cell], **who)


def _last(notebook_id: uuid.UUID) -> uuid.UUID | None:
    cells = Cell.objects.alive().filter(notebook_id=notebook_id)
    return cells.order_by("-position").values_list("pk", flat=True).first()


def _check_version(notebook_id: uuid.UUID, operation: Document) -> None:
    """A cell that others have changed since is not deleted unseen."""
    cell = Cell.objects.alive().filter(notebook_id=notebook_id, pk=operation["cell"]).first()
    if cell is None:
        raise NotFound(f"There is no cell {operation['cell']} in this notebook.")
    if cell.version != operation["version"]:
        since = services.changes_of_cell(cell, operation["version"])
        message = f"This cell is at version {cell.version}; the change was made on {operation['version']}."
        raise Conflict(message, version=cell.version, since=since)
