"""Writes a query's rows into an Arrow IPC file in a kernel's work folder, within caps of rows and bytes.

The folder is shared with untrusted user code: the file is made new, never through a link, readable by its
owner alone, and removed when the query fails.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow


class ArrowFile:
    """A result on its way to disk. `capped` is "" or which cap was reached: rows or bytes."""

    def __init__(self, path: str, *, row_cap: int, byte_cap: int) -> None:
        self.path = Path(path)
        self.row_cap = row_cap
        self.byte_cap = byte_cap
        self.rows = 0
        self.bytes = 0
        self.capped = ""
        self._folder = -1
        self._sink: Any = None
        self._writer: Any = None

    @property
    def rows_left(self) -> int:
        return self.row_cap - self.rows

    def open(self, schema: pyarrow.Schema) -> None:
        """Make the file. Raises OSError: also if something of that name is there already."""
        self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path.name, flags, 0o600, dir_fd=self._folder)
        self._sink = os.fdopen(descriptor, "wb")
        os.fchmod(descriptor, 0o600)
        folder = os.fstat(self._folder)
        if os.geteuid() == 0 and folder.st_uid != 0:  # a kernel under its own uid must be able to read it
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        self._writer = pyarrow.ipc.new_file(self._sink, schema)

    def write(self, batch: pyarrow.RecordBatch) -> None:
        """Write what the caps allow of the batch, and say in `capped` if that is not all."""
        if batch.num_rows > self.rows_left:
            batch, self.capped = batch.slice(0, self.rows_left), "rows"
        while batch.num_rows and self.bytes + batch.get_total_buffer_size() > self.byte_cap:
            self.capped = "bytes"
            batch = pyarrow.concat_batches([batch.slice(0, batch.num_rows // 2)])  # its own, smaller buffers
        if batch.num_rows:
            self._writer.write_batch(batch)
            self.rows += batch.num_rows
            self.bytes += batch.get_total_buffer_size()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            os.close(self._folder)
            self._writer = None

    def discard(self) -> None:
        """Leave nothing behind. Harmless if there is nothing."""
        if self._sink is None:
            return
        self._writer = None
        self._sink.close()
        try:
            os.unlink(self.path.name, dir_fd=self._folder)
            os.close(self._folder)
        except OSError:
            pass  # closed before, or user code in the folder was faster: nothing of ours is left
        self._sink = None


def unique_names(names: Sequence[str]) -> list[str]:
    """`id`, `id_1`: as DuckDB names columns that come twice."""
    unique: list[str] = []
    for name in names:
        number, new = 0, name
        while new in unique or (number and new in names):
            number += 1
            new = f"{name}_{number}"
        unique.append(new)
    return unique
