"""The way to a storage that may be slow, down or hang: so many uploads at once, each within its time, and after one
that failed none for a while, so that a run waits for a bad storage once and not at every picture.
"""

from __future__ import annotations

import contextvars
import io
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages

AT_ONCE = 8
AGAIN_S = 30.0


class StorageFailed(Exception):
    """The storage did not take or delete something; the message says what it answered. Never holds a secret."""


class StorageLine:
    """Uploads to one storage. An upload that takes too long is left to a thread of its own and not waited for."""

    def __init__(self, storage: Storage) -> None:
        self._storage = weakref.ref(storage)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._closed_until = 0.0

    @property
    def is_open(self) -> bool:
        """False for a while after a failure."""
        return time.monotonic() >= self._closed_until

    def put(self, key: str, file: BinaryIO, size_bytes: int) -> None:
        """Write the whole of a real file under `key`, in place of what is there. Blocks at most OUTPUTS_TIMEOUT_S.

        Raises StorageFailed.
        """
        storage = self._storage()
        assert storage is not None
        own = io.BufferedReader(_Whole(os.dup(file.fileno()), size_bytes))
        try:
            self._within(lambda: _save(storage, key, own, size_bytes), own.close)
        except Exception as error:
            self._closed_until = time.monotonic() + AGAIN_S
            raise error if isinstance(error, StorageFailed) else StorageFailed(words_of(error)) from error
        self._closed_until = 0.0

    def _within(self, work: Callable[[], None], close: Callable[[], None]) -> None:
        timeout_s = settings.OUTPUTS_TIMEOUT_S
        until = time.monotonic() + timeout_s
        slow = StorageFailed(f"no answer within {timeout_s} s")
        if not self._slots.acquire(timeout=timeout_s):
            close()
            raise slow
        answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        context = contextvars.copy_context()

        def thread() -> None:
            error: Exception | None = None
            try:
                context.run(work)
            except Exception as raised:
                error = raised
            finally:
                close()
                self._slots.release()
                answers.put(error)

        threading.Thread(target=thread, name="output upload", daemon=True).start()
        try:
            error = answers.get(timeout=max(0.001, until - time.monotonic()))
        except queue.Empty:
            raise slow from None
        if error is not None:
            raise error


class _Whole(io.RawIOBase):
    """A file of ours with a position of its own, so that an upload left behind disturbs nobody."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._descriptor, self._size, self._at = descriptor, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._descriptor, min(len(buffer), max(0, self._size - self._at)), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
            super().close()


_lines: weakref.WeakKeyDictionary[Storage, StorageLine] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def line() -> StorageLine:
    """The line to the storage of outputs."""
    storage = storages["outputs"]
    with _lock:
        return _lines.setdefault(storage, StorageLine(storage))


def _save(storage: Storage, key: str, file: BinaryIO, size_bytes: int) -> None:
    saved = storage.save(key, File(file))
    if saved != key:  # a storage that does not overwrite: what is there has the same bytes, if it is whole
        storage.delete(saved)
        if storage.size(key) != size_bytes:
            raise StorageFailed("another file is in its place")


def words_of(error: Exception) -> str:
    """What an operator needs of a storage's error: its class, and what the server or the system answered."""
    response = getattr(error, "response", None) or {}  # a time-out of botocore has None
    code = response.get("Error", {}).get("Code")
    reason = code or getattr(error, "strerror", None)
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
