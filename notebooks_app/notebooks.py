"""Whole notebooks: making, importing, deleting them; the Demo and the Blank one that every new user gets."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from notebooks_app import facts, live, positions
from notebooks_app.demo import DEMO_VERSION, blank_notebook, demo_notebook
from notebooks_app.errors import TooLarge
from notebooks_app.formats import ImportedCell, ImportedNotebook, ipynb
from notebooks_app.models import Cell, KernelSession, Notebook, Output
from notebooks_app.reading import outputs_of
from notebooks_app.services import analyse_pending
from notebooks_app.text import clean_name, clean_source

BATCH = 200


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


def import_notebook(owner: Any, imported: ImportedNotebook, **fields: Any) -> Notebook:
    """Store an imported notebook whole or not at all; nothing runs. Raises BadRequest, TooLarge."""
    if len(imported.cells) > settings.NOTEBOOK_MAX_CELLS:
        raise TooLarge(
            f"{len(imported.cells):,} cells are more than the {settings.NOTEBOOK_MAX_CELLS:,} a notebook may have."
        )
    name = clean_name(imported.name or "Untitled", max_length=settings.NAME_MAX_LENGTH)
    notebook = Notebook(owner=owner, name=name, metadata=imported.metadata, **fields)
    with transaction.atomic():
        notebook.save(force_insert=True)
        _fill(notebook, imported.cells)
    analyse_pending(notebook.id)
    return notebook


def delete_notebook(notebook: Notebook) -> None:
    """Move the notebook to the bin and end its kernel, wherever that runs. Back, and for ever: binning.py."""
    Notebook.objects.filter(pk=notebook.pk, deleted_at=None).update(deleted_at=timezone.now())
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
    """Put the newest demo in the place of a user's one; a changed one stays, as a notebook of its own."""
    with transaction.atomic():
        changed = notebook.revision > 0
        update: dict[str, Any] = {"kind": Notebook.Kind.NORMAL}
        if changed:
            update["name"] = f"{notebook.name} (my copy)"[: settings.NAME_MAX_LENGTH]
        else:
            update["deleted_at"] = timezone.now()
        Notebook.objects.filter(pk=notebook.pk).update(**update)
        return import_notebook(notebook.owner, demo_notebook(), kind=Notebook.Kind.DEMO, demo_version=DEMO_VERSION)


def export_ipynb(notebook: Notebook) -> str:
    """The notebook as an .ipynb file (nbformat 4.5), with its outputs; large ones as a note where they are."""
    cells = list(Cell.objects.alive().filter(notebook=notebook).in_order())
    outputs = outputs_of([cell.pk for cell in cells])
    exported = ImportedNotebook(
        name=notebook.name,
        metadata=notebook.metadata,
        cells=[
            ImportedCell(
                id=str(cell.id),
                type=cell.type,
                source=cell.source,
                result_name=cell.result_name,
                metadata=cell.metadata,
                outputs=outputs.get(cell.pk, []),
                execution_count=cell.execution_count,
                code_hidden=cell.code_hidden,
                disabled=cell.disabled,
            )
            for cell in cells
        ],
    )
    return ipynb.write(exported)


def _fill(notebook: Notebook, imported: list[ImportedCell]) -> None:
    cells = [
        _cell(notebook, item, position)
        for item, position in zip(imported, positions.spread(len(imported)), strict=True)
    ]
    Cell.objects.bulk_create(cells, batch_size=BATCH)
    outputs = [
        _output(cell, index, output)
        for cell, item in zip(cells, imported, strict=True)
        for index, output in enumerate(item.outputs)
    ]
    Output.objects.bulk_create(outputs, batch_size=BATCH)


def _cell(notebook: Notebook, item: ImportedCell, position: int) -> Cell:
    cell = Cell(
        notebook=notebook,
        position=position,
        type=item.type,
        source=clean_source(item.source, max_bytes=settings.SOURCE_MAX_BYTES),
        result_name=item.result_name,
        code_hidden=item.code_hidden,
        disabled=item.disabled,
        execution_count=item.execution_count,
        metadata={**item.metadata, "rillbook_id": item.id} if item.id else item.metadata,
    )
    cell.source_hash = cell.current_hash()
    if cell.type == facts.CellType.MARKDOWN:
        cell.analysis_hash = cell.source_hash
    return cell


def _output(cell: Cell, index: int, item: dict[str, Any]) -> Output:
    """An Output row of an output's JSON (docs/architecture.md, section 2)."""
    return output_row(cell.pk, None, index, item)


def output_row(cell_id: uuid.UUID | str, attempt: uuid.UUID | str | None, index: int, item: dict[str, Any]) -> Output:
    kind = item["kind"]
    if kind in (Output.Kind.STREAM, Output.Kind.ERROR):
        data = {key: value for key, value in item.items() if key not in ("index", "kind", "files")}
        metadata, display_id = dict[str, Any](), ""
    else:
        data, metadata, display_id = item["data"], item.get("metadata") or {}, item.get("display_id") or ""
    return Output(
        cell_id=cell_id,
        attempt=attempt,
        index=index,
        kind=kind,
        data=data,
        metadata=metadata,
        display_id=display_id[:200],
        size_bytes=_size(data),
    )


def _size(value: Any) -> int:
    """Bytes of text in a bundle, near enough for figures."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(_size(item) for item in value)
    return 8
