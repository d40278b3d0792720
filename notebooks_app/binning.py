"""The bin: deleted cells of a notebook, deleted notebooks of a person; bringing back, and deleting for ever.

A deleted row stays in its table with `deleted_at`; everything that reads what is there asks for `alive()`. Into the bin
go cells by services.delete_cells, notebooks by notebooks.delete_notebook. Bytes in object storage that nothing refers
to any more are collected apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Length, Substr

from notebooks_app import placing, positions, services
from notebooks_app.errors import BadRequest, NotFound
from notebooks_app.models import Cell, Change, Notebook, VersionCell
from notebooks_app.services import Accepted, Author

type Document = dict[str, Any]

SHOWN_CHARACTERS = 400  # of a deleted cell's source
RESTORED_AT_MOST = 1_000  # cells in one change
BATCH = 200

# --- Cells -----------------------------------------------------------------------------------------------------------


def deleted_cells(notebook_id: uuid.UUID) -> QuerySet[Cell]:
    """Cells in the bin, last deleted first, with `shown` and `length` (characters) of their source, not the source."""
    found = Cell.objects.filter(notebook_id=notebook_id).exclude(deleted_at=None)
    shown = found.annotate(shown=Substr("source", 1, SHOWN_CHARACTERS), length=Length("source"))
    # Cells that went together are in the order they had: positions in the bin count down.
    return shown.only("id", "type", "deleted_at", "position").order_by("-deleted_at", "-position")


def cell_document(cell: Any) -> Document:
    """A cell of `deleted_cells`."""
    return {
        "id": str(cell.pk),
        "type": cell.type,
        "source": cell.shown,
        "is_cut": cell.length > SHOWN_CHARACTERS,
        "deleted_at": cell.deleted_at.isoformat(),
    }


def restore_cells(
    notebook_id: uuid.UUID, cell_ids: Collection[uuid.UUID] | None, *, author: Author, operation_id: uuid.UUID
) -> Accepted:
    """Bring cells (None: all, at most the last RESTORED_AT_MOST) back to where they stood; one change, undoable.

    A cell whose old place the log does not tell goes to the end. Raises NotFound, BadRequest, TooLarge.
    """
    with transaction.atomic():
        asked = services.Asked.of("cells.restored", cell_ids)
        if first := services.first_answer(notebook_id, operation_id, asked):  # the cells are out of the bin by now
            return first
        wanted = _wanted(notebook_id, cell_ids)
        places = _old_places(notebook_id, wanted)
        last = placing.last_position(notebook_id)
        pairs = [(str(cell), places.get(cell, last + positions.STEP)) for cell in wanted]
        pairs.sort(key=lambda pair: pair[1])
        return services.restore_cells(notebook_id, pairs, author=author, operation_id=operation_id)


def _wanted(notebook_id: uuid.UUID, cell_ids: Collection[uuid.UUID] | None) -> list[uuid.UUID]:
    if cell_ids is None:
        found = list(deleted_cells(notebook_id).values_list("pk", flat=True)[:RESTORED_AT_MOST])
        if not found:
            raise NotFound("There is nothing in the bin of this notebook.")
        return found[::-1]
    wanted = list(dict.fromkeys(cell_ids))
    if not 0 < len(wanted) <= RESTORED_AT_MOST:
        raise BadRequest(f"cells: name from 1 to {RESTORED_AT_MOST:,} cells.")
    return wanted


def _old_places(notebook_id: uuid.UUID, cells: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Where cells stood when they were last deleted: the log, read backwards until all are found, or the last version.

    What a restored version put into the bin stands in the version that was made before.
    """
    missing = {str(cell) for cell in cells}
    found: dict[uuid.UUID, int] = {}
    log = Change.objects.filter(notebook_id=notebook_id, kind="cell.deleted").order_by("-seq")
    for inverse in log.values_list("inverse", flat=True).iterator(chunk_size=BATCH):
        for cell, position in inverse.get("restore", []):
            if cell in missing:
                missing.discard(cell)
                found[uuid.UUID(cell)] = position
        if not missing:
            break
    named = VersionCell.objects.filter(version__notebook_id=notebook_id, cell_id__in=missing)
    found |= dict(named.order_by("version__seq", "version__created_at").values_list("cell_id", "position"))
    return found


def empty_cells(notebook_id: uuid.UUID, *, older_than: datetime | None = None) -> int:
    """Delete cells of the bin for ever, with their outputs and runs; how many there were."""
    gone = Cell.objects.filter(notebook_id=notebook_id).exclude(deleted_at=None)
    if older_than is not None:
        gone = gone.filter(deleted_at__lt=older_than)
    return _delete_cells(gone)


def _delete_cells(cells: QuerySet[Cell]) -> int:
    """In batches, so that no statement and no list grows with the notebook."""
    count = 0
    while ids := list(cells.values_list("pk", flat=True)[:BATCH]):
        # The condition again: one may have come back meanwhile.
        count += cells.filter(pk__in=ids).delete()[1].get(Cell._meta.label, 0)
    return count


# --- Notebooks -------------------------------------------------------------------------------------------------------


def deleted_notebooks(owner: Any) -> QuerySet[Notebook]:
    """A person's own notebooks in the bin, last deleted first, with `cell_count`."""
    found = Notebook.objects.filter(owner=owner).exclude(deleted_at=None)
    return found.with_cell_count().order_by("-deleted_at", "id")


def notebook_document(notebook: Any) -> Document:
    """A notebook of `deleted_notebooks`."""
    return {
        "id": str(notebook.pk),
        "name": notebook.name,
        "cell_count": notebook.cell_count,
        "updated_at": notebook.updated_at.isoformat(),
        "deleted_at": notebook.deleted_at.isoformat(),
    }


def find_deleted(user: Any, notebook_id: uuid.UUID) -> Notebook | None:
    """A notebook in the bin that this person may (as owner) or might (as member) see."""
    return Notebook.objects.visible_to(user).exclude(deleted_at=None).filter(pk=notebook_id).first()


def restore_notebook(owner: Any, notebook_id: uuid.UUID) -> Notebook:
    """Bring a notebook back from its owner's bin; a second Demo or Blank comes back as a plain one. Raises NotFound."""
    with transaction.atomic():
        notebook = _binned(owner, notebook_id)
        same = Notebook.objects.alive().filter(owner=owner, kind=notebook.kind)
        if notebook.kind != Notebook.Kind.NORMAL and same.exists():
            notebook.kind = Notebook.Kind.NORMAL
        notebook.deleted_at = None
        notebook.save(update_fields=["deleted_at", "kind"])
    return notebook


def delete_for_ever(owner: Any, notebook_id: uuid.UUID) -> None:
    """Delete a notebook of the bin with everything that is stored of it. Raises NotFound."""
    with transaction.atomic():
        _delete(_binned(owner, notebook_id))


def _binned(owner: Any, notebook_id: uuid.UUID) -> Notebook:
    found = Notebook.objects.select_for_update().filter(owner=owner, pk=notebook_id).exclude(deleted_at=None).first()
    if found is None:
        raise NotFound("There is no such notebook in your bin.")
    return found


def _delete(notebook: Notebook) -> None:
    _delete_cells(Cell.objects.filter(notebook=notebook))
    notebook.delete()


# --- By age ----------------------------------------------------------------------------------------------------------


def old_notebooks(older_than: datetime) -> QuerySet[Any]:
    """Notebooks that have been in a bin since before `older_than`, with `cell_count`."""
    found = Notebook.objects.filter(deleted_at__lt=older_than).select_related("owner")
    return found.with_cell_count().order_by("deleted_at", "id")


def notebooks_with_old_cells(older_than: datetime) -> QuerySet[Any]:
    """Notebooks that are there, with `binned`: how many cells have been in their bin since before `older_than`."""
    old = Count("cells", filter=Q(cells__deleted_at__lt=older_than))
    return Notebook.objects.alive().annotate(binned=old).filter(binned__gt=0).order_by("id")


def delete_old_notebook(notebook_id: uuid.UUID, older_than: datetime) -> bool:
    """Delete for ever if it is still in the bin; False if it came back meanwhile."""
    with transaction.atomic():
        found = Notebook.objects.select_for_update().filter(pk=notebook_id, deleted_at__lt=older_than).first()
        if found is not None:
            _delete(found)
    return found is not None

