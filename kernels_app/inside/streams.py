"""sys.stdout and sys.stderr of the kernel, and what is written to file descriptors 1 and 2 behind Python's
back.

Routing by attempt is attempts.py's; this file has the file objects and the pipes.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import select
import sys
import threading
from collections.abc import Iterable
from typing import Any

from . import attempts, interrupt

PIPE_READ_BYTES = 64 * 1024
DRAIN_READS = 64
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class RoutedStream(io.TextIOBase):
    """A text file whose writes go to the current attempt."""

    encoding = "utf-8"  # type: ignore[assignment]
    errors = "surrogatepass"  # type: ignore[assignment]
    mode = "w"

    def __init__(self, name: str) -> None:
        self._name = name
        self.name = f"<{name}>"
        self.buffer = _BytesWriter(self)

    def write(self, text: str) -> int:  # type: ignore[override]
        attempt = attempts._current.get() or attempts._running
        if attempt.active is not self._name:
            attempt.select(self._name)
            attempts._writer.wait_for_room()  # type: ignore[union-attr]
            if interrupt._noted:  # who writes to both streams in turn may never come to the lines below
                interrupt.deliver()
        count = attempt.write(text)
        if attempt.chunks:
            attempt.take(self._name)
            attempts._writer.wait_for_room()  # type: ignore[union-attr]
            if interrupt._noted:
                interrupt.deliver()
        return count

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Put what was written into the open frame. That leaves within 16 ms, and outlives the process."""
        attempt = attempts._current.get() or attempts._running
        attempt.pump()
        attempts.writer().wake()
        attempts.writer().wait_for_room()
        if interrupt._noted:
            interrupt.deliver()

    def close(self) -> None:
        """A notebook's streams stay open."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return _DESCRIPTORS[self._name]

    def reconfigure(self, **_options: Any) -> None:
        """Accepted for compatibility; the encoding is always UTF-8."""


class _BytesWriter(io.BufferedIOBase):
    """`sys.stdout.buffer`: bytes are decoded as UTF-8, also where a character is cut between two writes."""

    def __init__(self, stream: RoutedStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._stream.write(self._decoder.decode(data))
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        """Stays open with its stream."""


class DescriptorCapture:
    """Descriptors 1 and 2 of the process as pipes, read into the running cell, or into nobody's output."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}
        self.saved_stderr = os.dup(2)
        os.set_inheritable(self.saved_stderr, False)
        for name, descriptor in _DESCRIPTORS.items():
            reader, pipe = os.pipe()
            os.set_blocking(reader, False)
            os.dup2(pipe, descriptor, inheritable=True)
            os.close(pipe)
            self._names[reader] = name
            self._decoders[reader] = codecs.getincrementaldecoder("utf-8")("replace")
        self._poll = select.poll()
        for reader in self._names:
            self._poll.register(reader, select.POLLIN)
        self._libc = ctypes.CDLL(None)

    def start(self) -> None:
        threading.Thread(target=self._run, name="rill-descriptors", daemon=True).start()

    @interrupt.masked
    def drain(self) -> None:
        """Read what is there now, for the cell that ends: C's own buffers first, then the pipes."""
        self._libc.fflush(None)
        for reader in self._names:
            for _ in range(DRAIN_READS):
                if not self._read(reader):
                    break

    def _read(self, reader: int) -> bool:
        with self._lock:
            try:
                data = os.read(reader, PIPE_READ_BYTES)
            except OSError:
                return False
            text = self._decoders[reader].decode(data)
            if text:
                write_text(attempts.running(), self._names[reader], text)
        return bool(data)

    def _run(self) -> None:
        poller = select.poll()
        for reader in self._names:
            poller.register(reader, select.POLLIN)
        while True:
            for reader, _events in poller.poll():
                self._read(reader)
            attempts.writer().wait_for_room()


def write_text(attempt: attempts.Attempt, name: str, text: str) -> None:
    """Write text to a stream of an attempt from any thread, without waiting for room."""
    if attempt.active != name:
        attempt.select(name)
    attempt.write(text)
    if attempt.chunks:
        attempt.take(name)


def install() -> DescriptorCapture:
    """Replace the process's streams. `sys.__stderr__` stays the real one, for the kernel's own last words."""
    capture = DescriptorCapture()
    real = os.fdopen(capture.saved_stderr, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    sys.__stderr__ = sys.__stdout__ = real  # type: ignore[misc, assignment]
    sys.stdout, sys.stderr = RoutedStream("stdout"), RoutedStream("stderr")
    capture.start()
    os.register_at_fork(after_in_child=_write_to_descriptors)
    return capture


def _write_to_descriptors() -> None:
    """In a forked child the frames are the parent's: print through the pipes."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
