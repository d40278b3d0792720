"""The whole of an attempt's long texts, in files of ours until the attempt ends; outputs show head and tail only."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from typing import IO

log = logging.getLogger("rillbook.outputs")

_FULL = "\n… The rest is not kept: this text is longer than {:,.0f} MiB.\n"
_BROKEN = "\n… The rest is not kept: the server had no room for it.\n"


class WholeTexts:
    """One attempt's texts, by item. What does not fit is left out at the end, and the text says so."""

    def __init__(self, cap_bytes: int) -> None:
        self.files: dict[int, IO[bytes]] = {}
        self.task: asyncio.Task[None] | None = None
        self._cap = cap_bytes
        self._size = 0
        self._is_full = False

    def write(self, item: int, part: str) -> None:
        """The next part of an item's text."""
        if self._is_full:
            return
        data = part.encode("utf-8", "replace")
        room = self._cap - self._size
        if len(data) > room:
            self._is_full = True
            kept = data[:room].decode("utf-8", "ignore")
            data = (kept + _FULL.format(self._cap / 1024**2)).encode()
        self._size += len(data)
        self._append(item, data)

    def _append(self, item: int, data: bytes) -> None:
        try:
            if item not in self.files:
                # Unbuffered: a full disk is told here, where it can be said, and not when the file is closed.
                self.files[item] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by clear
            _write_all(self.files[item], data)
        except OSError as error:
            self._is_full = True
            log.warning("a long text could not be written whole: %s", error.strerror)
            self._say_broken(item)

    def _say_broken(self, item: int) -> None:
        """Put the note over the end of what was written."""
        file = self.files.get(item)
        note = _BROKEN.encode()
        if file is None:
            return
        try:
            file.seek(max(0, file.seek(0, 2) - 2 * len(note)))
            file.truncate()
            _write_all(file, note)
        except OSError:
            self.files.pop(item).close()

    def clear(self) -> None:
        for file in self.files.values():
            file.close()
        self.files = {}
        self._size, self._is_full = 0, False


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
