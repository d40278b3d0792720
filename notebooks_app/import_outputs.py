"""Outputs of an imported notebook into rows and files: what is above OUTPUT_INLINE_LIMIT becomes an output file.

Bytes go to the storage before the transaction that stores the notebook, so that nobody waits for an upload; a notebook
that is then not stored leaves objects that `collect_outputs` removes. Where the storage takes nothing, the database
holds the bytes (files.py). Reading whole outputs back is exporting.py's.
"""

from __future__ import annotations

import hashlib
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
from notebooks_app.storage_line import StorageFailed, line

log = logging.getLogger("rillbook.outputs")

BATCH = 200
MAX_MIME = 100  # characters of a MIME type that a file's row holds
TEXT_HEAD = TEXT_TAIL = 65_536  # characters of a long text that its row has, as a running cell's (outputs.py)

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


def prepare(output: Json) -> Prepared:
    """Take the large items out of an output."""
    if output["kind"] == "stream":
        return _prepare_text(output)
    if output["kind"] == "error":
        return Prepared(output)
    found = Prepared({**output, "data": {}})
    for mime, value in output["data"].items():
        is_large = len(mime) <= MAX_MIME and bundles.size_of(value) > settings.OUTPUT_INLINE_LIMIT
        data = bundles.to_bytes(mime, value) if is_large else None
        if data is None:
            found.output["data"][mime] = value
        else:
            found.large.append(LargeItem(mime, data))
    return found


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
