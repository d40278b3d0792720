"""Named versions of a notebook: naming what is there now, reading what was, comparing it with now.

A version keeps cells, not outputs. Bringing one back is restoring.py's, what texts differ in differences.py's; who may
do it is the caller's to ask (access.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Substr

from notebooks_app import differences
from notebooks_app.differences import CellSide
from notebooks_app.errors import NotFound, TooLarge
from notebooks_app.models import Cell, Notebook, Version, VersionCell
from notebooks_app.services import Author
from notebooks_app.text import clean_name

type Document = dict[str, Any]

VERSIONS_AT_MOST = 500  # of a notebook; then some must be deleted first
NAME_MAX_LENGTH = 200
COPIED = (
    "position", "type", "source", "source_hash", "result_name", "connection_id", "disabled", "code_hidden",
    "external_id", "metadata",
)  # fmt: skip
SIDE = ("type", "source_hash", "result_name", "connection_id", "disabled", "code_hidden")
# Of a difference: beyond, cells are named and their texts left out.
DIFFS_AT_MOST = 200
DIFFS_BYTES_AT_MOST = 1024 * 1024
DIFFS_WORK_AT_MOST = 4 * differences.WORK_AT_MOST
HEADS_AT_MOST = 500
HEAD_AT_MOST = 200  # characters of a cell's first line
BEGINNING = Substr("source", 1, 2 * HEAD_AT_MOST)

# --- Naming ----------------------------------------------------------------------------------------------------------


def name_version(notebook_id: uuid.UUID, name: str, *, author: Author) -> Version:
    """Keep the notebook's cells as they are now, in a fixed number of statements; no change, so it takes no number.

    Raises BadRequest (the name), NotFound, TooLarge (too many versions).
    """
    name = clean_name(name, max_length=NAME_MAX_LENGTH)
    with transaction.atomic():
        # The row's lock: cells and numbers are of one moment.
        notebook = Notebook.objects.select_for_update().filter(pk=notebook_id).only("seq", "revision").first()
        if notebook is None:
            raise NotFound("There is no such notebook.")
        if Version.objects.filter(notebook_id=notebook_id).count() >= VERSIONS_AT_MOST:
            raise TooLarge(f"A notebook may have {VERSIONS_AT_MOST} versions; delete one first.")
        return keep(notebook_id, name, author, seq=notebook.seq, revision=notebook.revision)


def keep(notebook_id: uuid.UUID, name: str, author: Author, *, seq: int, revision: int) -> Version:
    """Keep the cells under a name that was checked. Inside a transaction that holds the notebook's row."""
    version = Version.objects.create(
        notebook_id=notebook_id, name=name, seq=seq, revision=revision, author_id=author.user_id
    )
    _copy_cells(notebook_id, version)
    return version


def _copy_cells(notebook_id: uuid.UUID, version: Version) -> None:
    """One INSERT … SELECT: sources never travel to the server."""
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, COPIED))
    version_pk = Version._meta.pk.get_db_prep_value(version.pk, connection)
    notebook_pk = Notebook._meta.pk.get_db_prep_value(notebook_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(VersionCell._meta.db_table)} (version_id, cell_id, {columns}) "
            f"SELECT %s, id, {columns} FROM {quote(Cell._meta.db_table)} "
            "WHERE notebook_id = %s AND deleted_at IS NULL",
            [version_pk, notebook_pk],
        )


# --- Reading ---------------------------------------------------------------------------------------------------------


def versions_of(notebook_id: uuid.UUID) -> QuerySet[Version]:
    """Newest first, with author and `cell_count`: one query."""
    found = Version.objects.filter(notebook_id=notebook_id).select_related("author")
    return found.annotate(cell_count=Count("cells")).order_by("-created_at", "-seq")


def version_of(notebook_id: uuid.UUID, version_id: uuid.UUID) -> Version:
    version = versions_of(notebook_id).filter(pk=version_id).first()
    if version is None:
        raise NotFound("There is no such version of this notebook.")
    return version


def delete_version(notebook_id: uuid.UUID, version_id: uuid.UUID) -> None:
    version_of(notebook_id, version_id).delete()


def version_document(version: Any) -> Document:
    """A version of `versions_of`."""
    author = version.author
    return {
        "id": str(version.pk),
        "name": version.name,
        "seq": version.seq,
        "revision": version.revision,
        "author": (author.get_full_name() or author.get_username()) if author else None,
        "created_at": version.created_at.isoformat(),
        "cell_count": version.cell_count,
    }


def version_cells(version: Version) -> list[Document]:
    """The cells as they were, in order."""
    cells = VersionCell.objects.filter(version=version).defer("metadata").order_by("position")
    return [
        {
            "id": str(cell.cell_id),
            "number": number,
            "type": cell.type,
            "source": cell.source,
            "result_name": cell.result_name,
            "connection": str(cell.connection_id) if cell.connection_id else None,
            "disabled": cell.disabled,
            "code_hidden": cell.code_hidden,
        }
        for number, cell in enumerate(cells, start=1)
    ]


# --- Comparing with now ----------------------------------------------------------------------------------------------


def difference_to_now(version: Version) -> Document:
    """What changed since the version, by cells, with a unified diff of each changed text, within bounds."""
    old = _sides(VersionCell.objects.filter(version=version).order_by("position"), "cell_id")
    new = _sides(Cell.objects.alive().filter(notebook_id=version.notebook_id).in_order(), "pk")
    found = differences.compare(old, new)
    olds, news = {cell.id: cell for cell in old}, {cell.id: cell for cell in new}
    old_numbers = {cell.id: number for number, cell in enumerate(old, start=1)}
    numbers = {cell.id: number for number, cell in enumerate(new, start=1)}
    compared = found.changed[:DIFFS_AT_MOST]
    before, after = sources_of_version(version, compared), sources(version.notebook_id, compared)
    old_heads, new_heads = _heads_of_version(version, found.removed), _heads(version.notebook_id, found)

    def about(cell: uuid.UUID) -> Document:
        return {
            "id": str(cell),
            "number": numbers[cell],
            "type": news[cell].type,
            "head": _head(after.get(cell) or new_heads.get(cell, "")),
        }

    def about_old(cell: uuid.UUID) -> Document:
        head = _head(old_heads.get(cell, ""))
        return {"id": str(cell), "number": old_numbers[cell], "type": olds[cell].type, "head": head}

    budget = _Budget()
    return {
        "added": [about(cell) for cell in found.added],
        "removed": [about_old(cell) for cell in found.removed],
        "moved": [about(cell) | {"old_number": old_numbers[cell]} for cell in found.moved],
        "changed": [
            about(cell)
            | {"fields": _changed_fields(olds[cell], news[cell])}
            | budget.difference(before.get(cell), after.get(cell))
            for cell in found.changed
        ],
    }


class _Budget:
    """Texts are compared while there is room for what they differ in, and not too much work was done for it."""

    def __init__(self) -> None:
        self.cells, self.characters, self.work = DIFFS_AT_MOST, DIFFS_BYTES_AT_MOST, DIFFS_WORK_AT_MOST

    def difference(self, old: str | None, new: str | None) -> Document:
        if old is None or new is None or min(self.cells, self.characters, self.work) <= 0:
            return {"diff": None, "lines_added": 0, "lines_removed": 0, "is_cut": True}
        found = differences.text_difference(old, new, most_work=min(self.work, differences.WORK_AT_MOST))
        self.cells -= 1
        self.work -= found.work
        self.characters -= len(found.text or "")
        counts = {"lines_added": found.added, "lines_removed": found.removed}
        return {"diff": found.text, **counts, "is_cut": found.is_cut or found.text is None}


def _sides(rows: QuerySet[Any], id_field: str) -> list[CellSide]:
    """Rows of cells or of a version's cells, without their texts."""
    return [CellSide(*row) for row in rows.values_list(id_field, *SIDE)]


def side(cell_id: uuid.UUID, row: Any) -> CellSide:
    """A Cell or VersionCell as differences.py compares it."""
    return CellSide(cell_id, *(getattr(row, name) for name in SIDE))


def _changed_fields(old: CellSide, new: CellSide) -> Document:
    """Old and new value of each field that differs, by its name in the API."""
    names = ("type", "result_name", "connection", "disabled", "code_hidden")
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
    return {name: [_plain(before), _plain(after)] for name, (before, after) in pairs.items() if before != after}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, uuid.UUID) else value


def _head(source: str) -> str:
    first = next((line for line in source.split("\n") if line.strip()), "")
    return first.strip()[:HEAD_AT_MOST]


def _heads_of_version(version: Version, cells: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    rows = VersionCell.objects.filter(version=version, cell_id__in=cells[:HEADS_AT_MOST])
    return dict(rows.annotate(beginning=BEGINNING).values_list("cell_id", "beginning"))


def _heads(notebook_id: uuid.UUID, found: differences.Difference) -> dict[uuid.UUID, str]:
    cells = [*found.added[:HEADS_AT_MOST], *found.moved[:HEADS_AT_MOST], *found.changed[DIFFS_AT_MOST:HEADS_AT_MOST]]
    rows = Cell.objects.filter(notebook_id=notebook_id, pk__in=cells)
    return dict(rows.annotate(beginning=BEGINNING).values_list("pk", "beginning"))


def sources_of_version(version: Version, cell_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    cells = VersionCell.objects.filter(version=version, cell_id__in=list(cell_ids))
    return dict(cells.values_list("cell_id", "source"))


def sources(notebook_id: uuid.UUID, cell_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    return dict(Cell.objects.filter(notebook_id=notebook_id, pk__in=list(cell_ids)).values_list("pk", "source"))
