"""Reading files that a kernel left for the server, believing nothing about them.

A kernel writes an item that is too large for a message into `.spool` of its work folder and names the file.
User code can put anything there: links, pipes, devices, files that grow, names that point elsewhere
(risks.md, 27). Where the bytes go, and their rows, are the runtime's work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SPOOL = ".spool"
CHUNK_BYTES = 256 * 1024

_FLAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SpoolError(Exception):
    """A spooled file that is not taken; the message says why, for the cell's reader."""


@dataclass(frozen=True, slots=True)
class Copied:
    sha256: str
    size_bytes: int


@contextlib.contextmanager
def open_spooled(work: Path, name: str, cap_bytes: int) -> Iterator[BinaryIO]:
    """The spooled file, open for reading; it is deleted afterwards.

    Raises SpoolError if the name is not flat, or it is no regular file of one name of at most `cap_bytes`.
    """
    if not _FLAT.match(name):
        raise SpoolError("The kernel named a file that is not a plain name.")
    try:
        folder = os.open(work / SPOOL, _FOLDER)
    except OSError as error:
        raise SpoolError("The kernel left no folder for large outputs.") from error
    try:
        with open(_open_file(folder, name, cap_bytes), "rb", buffering=0) as file:
            yield file  # type: ignore[misc]
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        os.close(folder)


def copy_spooled(work: Path, name: str, cap_bytes: int, sink: Callable[[bytes], object]) -> Copied:
    """Copy a spooled file into `sink` in chunks, hashing what is really copied. Blocks: call it in a thread.

    Raises SpoolError as `open_spooled`, and when the file grows past the cap meanwhile (what went into the
    sink is then void).
    """
    digest = hashlib.sha256()
    size = 0
    with open_spooled(work, name, cap_bytes) as file:
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
            if size > cap_bytes:
                raise SpoolError(f"An output grew past {cap_bytes:,} bytes while it was read.")
            digest.update(chunk)
            sink(chunk)
    return Copied(digest.hexdigest(), size)


def empty_spool(work: Path) -> int:
    """Delete everything in the spool (files only); return how many. For a kernel that died or was claimed."""
    try:
        folder = os.open(work / SPOOL, _FOLDER)
    except OSError:
        return 0
    count = 0
    try:
        with os.scandir(folder) as entries:  # as many as a kernel likes: not all names at once
            for entry in entries:
                with contextlib.suppress(OSError):
                    os.unlink(entry.name, dir_fd=folder)
                    count += 1
    finally:
        os.close(folder)
    return count


def _open_file(folder: int, name: str, cap_bytes: int) -> int:
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        raise SpoolError("The kernel named an output file that is not there.") from error
    try:
        _check(os.fstat(descriptor), cap_bytes)
    except SpoolError:
        os.close(descriptor)
        raise
    return descriptor


def _check(found: os.stat_result, cap_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SpoolError("The kernel named something that is not a file.")
    if found.st_nlink > 1:
        raise SpoolError("The kernel named a file that has other names too.")
    if found.st_size > cap_bytes:
        raise SpoolError(f"An output of {found.st_size:,} bytes is over the limit of {cap_bytes:,}.")
