"""Whole notebooks: making, importing, deleting them; the Demo and the Blank one that every new user gets."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from notebooks_app import import_outputs, import_rows, live, positions, services
from notebooks_app.demo import DEMO_VERSION, blank_notebook, demo_notebook
from notebooks_app.errors import Conflict, NotFound
from notebooks_app.formats import ImportedNotebook
from notebooks_app.import_rows import Connections
from notebooks_app.import_rows import output_row as output_row  # part of this module's interface
from notebooks_app.models import Cell, Connection, KernelSession, Notebook
from notebooks_app.services import Author, analysed_fields, analysis_of
from notebooks_app.text import clean_name

COPIED = " (my copy)"  # behind the name of a changed demo when a newer one comes


def create_notebook(
    owner: Any, name: str, *, notebook_id: uuid.UUID | None = None, with_cell: bool = True
) -> Notebook:
    """A new notebook, with one empty Python cell to begin in (programs want none)."""
    notebook = Notebook(
        id=notebook_id or uuid.uuid4(), owner=owner, name=clean_name(name, max_length=settings.NAME_MAX_LENGTH)
    )
    with transaction.atomic():
        notebook.save(force_insert=True)
        if with_cell:
            cell = Cell(notebook=notebook, position=positions.STEP)
            cell.source_hash = cell.current_hash()
            cell.save(force_insert=True)
    return notebook


def import_notebook(
    owner: Any,
    imported: ImportedNotebook,
    *,
    keep_ids: bool = False,
    connections: Connections | None = None,
    new: Connection | None = None,
    **fields: Any,
) -> Notebook:
    """Store an imported notebook whole or not at all; nothing runs. Raises BadRequest, TooLarge, Unavailable.

    `keep_ids` keeps the cells' ids as import_rows.cell_ids says; `connections` are those of SQL cells, by place; `new`
    is one of them that is not yet saved.
    """
    name = clean_name(imported.name or "Untitled", max_length=settings.NAME_MAX_LENGTH)
    notebook = Notebook(owner=owner, name=name, metadata=imported.metadata, **fields)
    rows = import_rows.build(notebook, imported, keep_ids=keep_ids, connections=connections)
    _analyse(rows.cells)
    import_outputs.upload(notebook.id, rows.prepared)
    with transaction.atomic():
        if new is not None:
            new.save(force_insert=True)
        notebook.save(force_insert=True)
        import_rows.store(notebook, imported, rows)
    return notebook


def replace_imported(
    notebook: Notebook,
    imported: ImportedNotebook,
    *,
    connections: Connections | None = None,
    new: Connection | None = None,
    **fields: Any,
) -> Notebook:
    """Put another import in the place of an imported notebook's cells, whole or not at all. Raises as import_notebook,
    and Conflict where it was changed or run since `notebook` was read.

    For one that nobody edits: pages that show it must be loaded again.
    """
    name = clean_name(imported.name or "Untitled", max_length=settings.NAME_MAX_LENGTH)
    rows = import_rows.build(notebook, imported, keep_ids=True, connections=connections)
    _analyse(rows.cells)
    import_outputs.keep(notebook.pk, rows.prepared)
    with transaction.atomic():
        if new is not None:
            new.save(force_insert=True)
        as_read = Notebook.objects.filter(pk=notebook.pk, seq=notebook.seq)
        if not as_read.update(name=name, metadata=imported.metadata, **fields):
            raise Conflict("It was changed or run here just now, and is kept.")
        replaced = Cell.objects.filter(notebook=notebook)
        versions = dict(replaced.values_list("pk", "version"))
        for cell in rows.cells:  # an edit that was made on what was there before must not fit by chance
            cell.version = versions.get(cell.pk, 0) + 1
        replaced.delete()
        import_rows.store(notebook, imported, rows)
    return Notebook.objects.get(pk=notebook.pk)


def _analyse(cells: list[Cell]) -> None:
    """Fill in what the sources define and use, before the rows are stored: so that they are never there without."""
    for cell in cells:
        if not cell.is_analysed:
            for name, value in analysed_fields(cell, analysis_of(cell)).items():
                setattr(cell, name, value)


def delete_notebook(notebook: Notebook) -> None:
    """Move the notebook to the bin and end its kernel, wherever that runs. Back, and for ever: binning.py."""
    put_in_bin(notebook)
    end_kernel(notebook)


def put_in_bin(notebook: Notebook) -> None:
    Notebook.objects.filter(pk=notebook.pk, deleted_at=None).update(deleted_at=timezone.now())


def end_kernel(notebook: Notebook) -> None:
    """End the kernel of a notebook in the bin. Outside of transactions: its runtime writes its last words first."""
    live.end(notebook.pk, "The notebook was deleted.")
    # In another process its runtime finds the lease gone, as if another server had taken over, and ends the kernel.
    KernelSession.objects.filter(notebook=notebook).exclude(host="").update(
        epoch=F("epoch") + 1, host="", state=KernelSession.State.STOPPED, detail="", expires=timezone.now()
    )


def ensure_first_notebooks(user: Any) -> None:
    """Give a user the Demo and the Blank notebook, once: one that was deleted does not come back."""
    had = set(Notebook.objects.filter(owner=user, kind__in=["demo", "blank"]).values_list("kind", flat=True))
    try:
        if Notebook.Kind.BLANK not in had:
            import_notebook(user, blank_notebook(), kind=Notebook.Kind.BLANK)
        if Notebook.Kind.DEMO not in had:
            import_notebook(user, demo_notebook(), kind=Notebook.Kind.DEMO, demo_version=DEMO_VERSION)
    except IntegrityError:  # another request of the same user was first
        return


def demo_update_available(notebook: Notebook) -> bool:
    return notebook.kind == Notebook.Kind.DEMO and (notebook.demo_version or 0) < DEMO_VERSION


def reset_demo(notebook: Notebook) -> Notebook:
    """Put the newest demo in the place of a user's one. A changed one stays, as a notebook of its own; one that is as
    it came goes to the bin and its kernel ends. Raises NotFound where it is not the demo any more.
    """
    with transaction.atomic():
        old = Notebook.objects.alive().select_for_update().filter(pk=notebook.pk, kind=Notebook.Kind.DEMO).first()
        if old is None:
            raise NotFound("This is not the demo.")
        Notebook.objects.filter(pk=old.pk).update(kind=Notebook.Kind.NORMAL)
        # One without a version was imported: it may hold anything, under any revision.
        is_kept = old.revision > 0 or old.demo_version is None
        if is_kept:
            name = f"{old.name[: settings.NAME_MAX_LENGTH - len(COPIED)]}{COPIED}"
            services.rename_notebook(old.pk, name, author=Author.of(old.owner), operation_id=uuid.uuid4())
        else:
            put_in_bin(old)
        made = import_notebook(old.owner, demo_notebook(), kind=Notebook.Kind.DEMO, demo_version=DEMO_VERSION)
    if not is_kept:
        end_kernel(old)
    return made
