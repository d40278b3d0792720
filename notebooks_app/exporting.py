"""Notebooks out of the database, whole: as values that every format writes, and as files of a folder.

What the formats look like is formats/'s. Rows are read as they were at one moment, also while cells run. Files are
written beside their place and renamed, so that a full disk leaves no part of a notebook under a name that promises the
whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.db.models import Sum

from notebooks_app import files, html_page, import_outputs, output_ops, reading, snapshots
from notebooks_app.crypto import DecryptionError
from notebooks_app.errors import RillbookError
from notebooks_app.formats import FormatError, ImportedCell, ImportedNotebook, bundles, ipynb, legacy, percent_writer
from notebooks_app.formats.base import STORED_ID
from notebooks_app.formats.checking import checked
from notebooks_app.import_rows import notebook_id, second_id
from notebooks_app.models import Cell, Connection, Notebook, Output, OutputFile
from notebooks_app.outputs import is_json_mime

READ_BYTES = 4 * 1024 * 1024
VALUE_BYTES = 64  # what a value of JSON costs beside its text
MAX_STEM = 80  # characters of a name that a file's name begins with
MAX_STEM_BYTES = 200  # of a file's name, which has at most 255, before our id
MAX_ID_BYTES = 240  # of an old id that is a file's name

type Json = dict[str, Any]

WRITERS: dict[str, Callable[[ImportedNotebook], str]] = {
    "json": legacy.write,
    "ipynb": ipynb.write,
    "py": percent_writer.write,
    "html": html_page.write,
}

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


class CannotExport(RillbookError):
    """A notebook that cannot be given out whole; the message says what of it."""


# --- Values ----------------------------------------------------------------------------------------------------------


@dataclass
class Whole:
    """A notebook's rows of one moment: itself, its cells in order, of its outputs also files and pieces."""

    notebook: Notebook
    cells: list[Cell]
    outputs: list[Output] = field(default_factory=list)
    files: list[OutputFile] = field(default_factory=list)
    pieces: dict[tuple[uuid.UUID, uuid.UUID], list[Json]] = field(default_factory=dict)


@dataclass
class Room:
    """How many bytes of outputs may still be read into memory."""

    left_bytes: int

    def take(self, size_bytes: int) -> bool:
        """Whether there is room for so many more, which is then taken."""
        has_room = size_bytes <= self.left_bytes
        if has_room:
            self.left_bytes -= size_bytes
        return has_room


def load(
    notebook: Notebook, *, with_dsn: bool = False, with_outputs: bool = True, room: Room | None = None
) -> ImportedNotebook:
    """The whole notebook with its outputs, those kept as files too. Raises CannotExport.

    `with_dsn`: also the DSN of its connection, in the clear, where that is its owner's. `room`: of the outputs kept as
    files those come in that have room, small ones first; of the others it is said where they are. None: all.
    """
    whole = read_whole(notebook.pk, with_outputs=with_outputs, room=room)
    found = values_of(whole, with_dsn=with_dsn, room=room)
    _tell_apart(found.cells, whole.cells)
    return found


def _tell_apart(cells: list[ImportedCell], rows: list[Cell]) -> None:
    """Give a cell whose old id is that of another before it, as copies have and scripts may, our own."""
    used: set[str | None] = set()
    for cell, row in zip(cells, rows, strict=True):
        if cell.id in used:
            cell.id = str(row.pk)
        used.add(cell.id)


def read_whole(notebook_id: uuid.UUID, *, with_outputs: bool = True, room: Room | None = None) -> Whole:
    """The rows of a notebook as they are now. Raises CannotExport if it is gone, or its rows have no room."""
    with snapshots.snapshot():
        notebook = Notebook.objects.select_related("owner", "connection").filter(pk=notebook_id).first()
        if notebook is None:
            raise CannotExport("It was deleted just now.")
        cells = Cell.objects.alive().filter(notebook=notebook).select_related("connection").in_order()
        whole = Whole(notebook, list(cells))
        if not with_outputs:
            return whole
        rows = Output.objects.filter(cell__notebook_id=notebook_id)
        if room is not None and not room.take(rows.aggregate(total=Sum("size_bytes"))["total"] or 0):
            raise CannotExport("It shows too many outputs for one file. Clear some, or ask who runs the server.")
        whole.files = list(OutputFile.objects.filter(output__cell__notebook_id=notebook_id))
        whole.outputs = list(rows.order_by("cell_id", "index"))
        with_pieces = Cell.objects.filter(notebook_id=notebook_id, chunks__isnull=False).distinct()
        whole.pieces = reading.pieces_of(list(with_pieces.values_list("pk", flat=True)), {})
        return whole


def values_of(whole: Whole, *, with_dsn: bool = False, room: Room | None = None) -> ImportedNotebook:
    """The notebook that its rows are, with the bytes of its files (those that have room). Raises CannotExport."""
    notebook, outputs = whole.notebook, _outputs_of(whole, room)
    came_from = notebook.import_facts()
    return ImportedNotebook(
        name=notebook.name,
        id=_old_id(notebook),
        user_id=str(came_from.get("user_id") or notebook.owner.get_username()),
        metadata=notebook.metadata,
        dsn=_dsn(notebook) if with_dsn else "",
        connection=notebook.connection.name if notebook.connection else "",
        revision=_revision(notebook),
        created_at=notebook.created_at,
        updated_at=notebook.updated_at,
        cells=[_cell(cell, outputs.get(cell.pk, [])) for cell in whole.cells],
    )


def _old_id(notebook: Notebook) -> str:
    """The id that it had before, so that its file is named as it was; never that of another notebook, whose metadata
    may have been copied, or whose old id it shared: files have only an id to be told apart by.
    """
    if is_second(notebook):
        return str(notebook.pk)
    noted = str(notebook.import_facts().get("id") or "")
    if noted and notebook_id(noted) == notebook.pk:
        return noted
    return notebook.external_id or str(notebook.pk)


def _revision(notebook: Notebook) -> int:
    """Its number; as long as it is as it was imported, that of its source, which may be less than ours."""
    facts = notebook.import_facts()
    as_imported = {"seq": notebook.seq, "revision": notebook.revision}
    is_less = "source_revision" in facts and facts | as_imported == facts
    return facts["source_revision"] if is_less else notebook.revision


def is_second(notebook: Notebook) -> bool:
    """Whether it was imported under an id of its own, since another user's had its old one."""
    facts = notebook.import_facts()
    return second_id(str(facts.get("id") or ""), str(facts.get("user_id") or "")) == notebook.pk


def _cell(cell: Cell, outputs: list[Json]) -> ImportedCell:
    metadata = dict(cell.metadata)
    old_id = metadata.pop(STORED_ID, None)
    return ImportedCell(
        id=old_id if isinstance(old_id, str) else cell.external_id or str(cell.pk),
        type=cell.type,
        source=cell.source,
        result_name=cell.result_name,
        metadata=metadata,
        outputs=outputs,
        execution_count=cell.execution_count,
        code_hidden=cell.code_hidden,
        disabled=cell.disabled,
        connection=(cell.connection.name if cell.connection else "") if cell.type == Cell.Type.SQL else None,
        reads=cell.references,
        writes=cell.definitions,
        updated_at=cell.updated_at,
    )


def _dsn(notebook: Notebook) -> str:
    connection = notebook.connection
    if connection is None or connection.owner_id != notebook.owner_id:
        return ""
    return plain_dsn(connection)


def plain_dsn(connection: Connection) -> str:
    """The DSN in the clear. Raises CannotExport where its key is gone."""
    try:
        return connection.dsn()
    except DecryptionError:
        raise CannotExport(f"The connection {connection.name!r} cannot be decrypted: its key is gone.") from None


def _outputs_of(whole: Whole, room: Room | None) -> dict[uuid.UUID, list[Json]]:
    """The outputs of a notebook's cells by cell, with what is kept in files put back. Raises CannotExport."""
    large: dict[int, list[OutputFile]] = defaultdict(list)
    for file in whole.files:
        large[file.output_id or 0].append(file)
    fitting = _fitting(whole.files, room)
    late = {cell_id for cell_id, _ in whole.pieces}
    found: dict[uuid.UUID, list[Json]] = defaultdict(list)
    attempts: dict[uuid.UUID, uuid.UUID | None] = {}
    for row in whole.outputs:
        output, rest = row.as_json({}), None
        for file in large.get(row.pk, []):
            value = _value_of(file, room) if file.pk in fitting else None
            if row.attempt is None and file.mime_type == import_outputs.REST and value is not None:
                rest = value
            elif row.kind != Output.Kind.STREAM or row.cell_id not in late:  # pieces count from the row's own text
                _put_back(output, file, value)
        found[row.cell_id] += [output] if rest is None else import_outputs.restored(output, rest)
        attempts[row.cell_id] = row.attempt
    for (cell_id, attempt), ops in whole.pieces.items():
        found[cell_id] = output_ops.apply(found[cell_id] if attempts.get(cell_id) == attempt else [], ops)
    return {cell_id: [_without_cut(output) for output in outputs] for cell_id, outputs in found.items()}


def _fitting(large: list[OutputFile], room: Room | None) -> set[uuid.UUID]:
    by_size = sorted(large, key=lambda file: (file.size_bytes, file.pk))
    return {file.pk for file in by_size if room is None or room.take(file.size_bytes)}


def _value_of(file: OutputFile, room: Room | None) -> Any:
    """What the file holds; None for JSON of too many or too deep values. Raises CannotExport."""
    data = read_file(file)
    if room is None or not is_json_mime(file.mime_type):
        return _decoded(file, data)
    if not room.take(VALUE_BYTES * sum(map(data.count, (b",", b"[", b"{")))):
        return None
    try:
        return checked("it", _decoded(file, data))
    except FormatError:  # nested too deep to be written in a moment
        return None


def _decoded(file: OutputFile, data: bytes) -> Any:
    try:
        return bundles.from_bytes(file.mime_type, data)
    except (ValueError, RecursionError):
        raise CannotExport(f"Output file {file.pk} is not the {file.mime_type} that it should be.") from None


def _put_back(output: Json, file: OutputFile, value: Any) -> None:
    """Put the value of a file into its output; None: where it is found instead."""
    words = f"[{file.mime_type} of {file.size_bytes:,} bytes is too large for this file. It is kept at {file.url}]"
    if output["kind"] == "stream":
        output |= {"text": value, "cut": None} if value is not None else {"left_out": words}
    elif output["kind"] == "error":  # of an import, whose whole is not here
        output["traceback"] = [*output["traceback"], words]
    elif value is not None:
        output["data"] = {**output["data"], file.mime_type: value}
    else:
        plain = output["data"].get("text/plain")
        output["data"] = {**output["data"], "text/plain": f"{plain}\n{words}" if isinstance(plain, str) else words}


def _without_cut(output: Json) -> Json:
    """A text whose middle is not here says so in its place."""
    words = output.pop("left_out", "")
    if not output.get("cut"):
        return output
    cut = output["cut"]
    words = f"\n{words or f'[{cut["omitted_bytes"]:,} bytes left out]'}\n"
    return {**output, "text": output["text"] + words + cut["tail"], "cut": None}


def read_file(file: OutputFile) -> bytes:
    """All bytes of an output file. Raises CannotExport."""
    parts: list[bytes] = []
    size = 0
    try:
        with contextlib.closing(files.open_file(file)) as reader:
            while size < file.size_bytes and (part := reader.read(size, READ_BYTES)):
                parts.append(part)
                size += len(part)
    except (OSError, BotoCoreError, ClientError) as error:
        raise CannotExport(f"Output file {file.pk} cannot be read ({type(error).__name__}).") from error
    if size != file.size_bytes:
        raise CannotExport(f"Output file {file.pk} has {size:,} bytes of {file.size_bytes:,}.")
    return b"".join(parts)


def text_of(notebook: Notebook, ending: str, room: Room | None = None) -> str:
    """The notebook as the text of a file of WRITERS, with the outputs that have room. Raises CannotExport."""
    return WRITERS[ending](load(notebook, room=room))


# --- Files -----------------------------------------------------------------------------------------------------------


def file_name(notebook: Notebook, ending: str, *, old_id: str = "") -> str:
    """The file's name, the same at every export: legacy files are named by id, others by name and the id's beginning.

    Two notebooks never have the same one: what of an id a file's name cannot hold is told apart by our own id.
    """
    if ending == "json":
        stem = _NOT_IN_NAMES.sub("-", old_id).strip(".-") if old_id else str(notebook.pk)
        is_whole = stem == (old_id or stem) and len(stem) <= 150 and len(stem.encode()) <= MAX_ID_BYTES
        return f"{stem}.json" if is_whole else f"{_beginning(stem, 100)}-{notebook.pk}.json"
    stem = _beginning(_NOT_IN_NAMES.sub("-", notebook.name).strip(".-"), MAX_STEM) or "notebook"
    return f"{stem}-{str(notebook.pk)}.{ending}"


def _beginning(stem: str, most: int) -> str:
    """At most so many characters of it, and MAX_STEM_BYTES."""
    return stem[:most].encode()[:MAX_STEM_BYTES].decode(errors="ignore")


def write_file(path: Path, text: str) -> bool:
    """Write a file whole or not at all, readable by its owner alone; False if it was there with this text.

    Raises OSError.
    """
    data = text.encode("utf-8", "surrogatepass")
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


@dataclass(frozen=True)
class Exported:
    """A file, whether it was written or was there as it is, and whether a DSN is in it."""

    path: Path
    is_new: bool
    has_dsn: bool


def export_notebook(notebook: Notebook, folder: Path, ending: str, *, with_dsn: bool = False) -> Exported:
    """Write one notebook into a folder. Raises CannotExport, OSError."""
    found = load(notebook, with_dsn=with_dsn, with_outputs=ending != "py")
    path = folder / file_name(notebook, ending, old_id=found.id)
    return Exported(path, write_file(path, WRITERS[ending](found)), bool(found.dsn))
