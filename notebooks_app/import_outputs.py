"""Outputs of an imported notebook into rows and files: what is above OUTPUT_INLINE_LIMIT becomes an output file.

Rows are bounded as a running cell's are, and nothing is lost: an error or a text that is too long is cut in its row,
items beyond the bounds are left out of it, and what a row lacks and no file of its own type can hold is in one file
more, of the type REST.

Bytes go to the storage before the transaction that stores the notebook, so that nobody waits for an upload; a notebook
that is then not stored leaves objects that `collect_outputs` removes. Where the storage takes nothing, the database
holds the bytes (files.py). Reading whole outputs back is exporting.py's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from notebooks_app import files
from notebooks_app.errors import Unavailable
from notebooks_app.formats import bundles
from notebooks_app.models import Output, OutputFile
from notebooks_app.outputs import MAX_INLINE, MAX_ITEMS, MAX_MIME_TYPES, MAX_TRACEBACK
from notebooks_app.storage_line import StorageFailed, line

log = logging.getLogger("rillbook.outputs")

BATCH = 200
MAX_MIME = 100  # characters of a MIME type that a file's row holds
TEXT_HEAD = TEXT_TAIL = 65_536  # characters of a long text that its row has, as a running cell's (outputs.py)
LATE_LIMIT = 16 * 1024  # characters of one item in a row once its cell has half of MAX_INLINE in rows
MAX_ENAME = 1_000
# JSON to merge into the output of its row: {"outputs": […]} stands for these. Only imports make such files: a kernel's
# are those of an attempt, and what a notebook shows under this type is itself put into one.
REST = 'application/json; holds="the rest"'

type Json = dict[str, Any]


@dataclass
class LargeItem:
    """One MIME item that becomes a file. Once its bytes are kept: `sha256` says where in the storage, or `file` is its
    row.
    """

    mime: str
    data: bytes
    sha256: str = ""
    file: OutputFile | None = None


@dataclass
class Prepared:
    """An output as its row will have it, and what of it becomes files."""

    output: Json
    large: list[LargeItem] = field(default_factory=list)


def prepare(outputs: list[Json], *, most: int = MAX_ITEMS) -> list[Prepared]:
    """The outputs of a cell as at most `most` rows of about MAX_INLINE characters; the last one may hold many."""
    found: list[Prepared] = []
    inline = 0
    for at, output in enumerate(outputs):
        if inline > MAX_INLINE or (len(found) == most - 1 and at < len(outputs) - 1):
            return [*found, _together(outputs[at:])]
        limit = settings.OUTPUT_INLINE_LIMIT
        one = _prepare(output, limit if inline < MAX_INLINE // 2 else min(limit, LATE_LIMIT))
        inline += bundles.size_of(one.output)
        found.append(one)
    return found


def restored(output: Json, rest: Json) -> list[Json]:
    """What an output was before its REST was taken out of it: one output, or many."""
    if "outputs" in rest:
        return rest["outputs"]
    bundle = {"data": output["data"] | rest.get("data", {})} if "data" in output else {}
    return [{**output, **rest, **bundle}]


def _together(outputs: list[Json]) -> Prepared:
    """One row for many outputs."""
    row: Json = {"kind": "display_data", "data": {}, "metadata": {}, "display_id": None, "files": {}}
    return Prepared(row, [_rest({"outputs": outputs})])


def _rest(rest: Json) -> LargeItem:
    return LargeItem(REST, json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode())


def _prepare(output: Json, limit: int) -> Prepared:
    """Take what is above the limit out of an output."""
    if output["kind"] == "stream":
        return _prepare_text(output)
    return _prepare_error(output, limit) if output["kind"] == "error" else _prepare_bundle(output, limit)


def _prepare_bundle(output: Json, limit: int) -> Prepared:
    found = Prepared({**output, "data": {}})
    rest: Json = {}
    for mime, value in output["data"].items():
        is_small = len(mime) <= limit and bundles.size_of(value) <= limit
        has_room = len(found.output["data"] if is_small else found.large) < MAX_MIME_TYPES
        data = _file_data(mime, value) if has_room and not is_small else None
        if has_room and is_small:
            found.output["data"][mime] = value
        elif data is not None:
            found.large.append(LargeItem(mime, data))
        else:
            rest.setdefault("data", {})[mime] = value
    if bundles.size_of(output["metadata"]) > LATE_LIMIT:
        rest["metadata"], found.output["metadata"] = output["metadata"], {}
    if rest:
        found.large.append(_rest(rest))
    return found


def _file_data(mime: str, value: Any) -> bytes | None:
    """A file's bytes; None for what would not come back from a file of this type as it is."""
    return bundles.to_bytes(mime, value) if len(mime) <= MAX_MIME and mime != REST else None


def _prepare_error(output: Json, limit: int) -> Prepared:
    """An error of at most about twice the limit, with the beginning and the end of its traceback."""
    names = ("ename", "evalue", "traceback")
    if sum(bundles.size_of(output[name]) for name in names) <= limit:
        return Prepared(output)
    lines = output["traceback"]
    if len(lines) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        lines = [*lines[:half], f"[{len(lines) - 2 * half:,} lines left out]", *lines[-half:]]
    share = max(1, limit // max(1, len(lines)))
    cut = {
        "ename": _shorten(output["ename"], MAX_ENAME),
        "evalue": _shorten(output["evalue"], limit),
        "traceback": [_shorten(line, share) for line in lines],
    }
    return Prepared({**output, **cut}, [_rest({name: output[name] for name in names})])


def _shorten(text: str, most: int) -> str:
    """The text without its middle where it is longer."""
    tail = (most + 1) // 2
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-tail:]}"


def _prepare_text(output: Json) -> Prepared:
    text = output["text"]
    if len(text) <= TEXT_HEAD + TEXT_TAIL:
        return Prepared(output)
    omitted = text[TEXT_HEAD:-TEXT_TAIL]
    cut = {
        "omitted_bytes": len(omitted.encode()),
        "omitted_lines": omitted.count("\n"),
        "tail": text[-TEXT_TAIL:],
    }
    return Prepared({**output, "text": text[:TEXT_HEAD], "cut": cut}, [LargeItem("text/plain", text.encode())])


def upload(notebook_id: uuid.UUID, prepared: Iterable[Prepared]) -> None:
    """Put the large items into the storage; those it does not take stay without `sha256`. Blocks; writes no row."""
    for item in (item for one in prepared for item in one.large):
        if not line().is_open:
            return
        digest = hashlib.sha256(item.data).hexdigest()
        try:
            with tempfile.TemporaryFile() as copy:
                copy.write(item.data)
                copy.flush()
                line().put(f"{notebook_id}/{digest}", copy, len(item.data))  # type: ignore[arg-type]
        except StorageFailed as error:
            log.warning("the storage did not take an imported output: %s; the database holds it", str(error))
            return
        item.sha256 = digest


def keep(notebook_id: uuid.UUID, prepared: Iterable[Prepared]) -> None:
    """Keep the large items of a notebook that exists, each with its row. Blocks. Raises Unavailable."""
    for item in (item for one in prepared for item in one.large):
        item.file = _keep(notebook_id, item)


def store(notebook_id: uuid.UUID, rows: list[Output], prepared: list[Prepared]) -> None:
    """Write the rows of outputs and of their files. Call inside the transaction. Raises Unavailable."""
    Output.objects.bulk_create(rows, batch_size=BATCH)
    pairs = [(row, item) for row, one in zip(rows, prepared, strict=True) for item in one.large]
    ready = [
        OutputFile(
            notebook_id=notebook_id,
            output=row,
            sha256=item.sha256,
            mime_type=item.mime,
            size_bytes=len(item.data),
            is_ready=True,
        )
        for row, item in pairs
        if item.sha256
    ]
    OutputFile.objects.bulk_create(ready, batch_size=BATCH)
    for row, item in pairs:
        if not item.sha256:
            file = item.file or _keep(notebook_id, item)
            OutputFile.objects.filter(pk=file.pk).update(output=row)


def _keep(notebook_id: uuid.UUID, item: LargeItem) -> OutputFile:
    try:
        return files.keep_bytes(notebook_id, item.mime, item.data)
    except files.NotKept as error:
        raise Unavailable(str(error)) from error
