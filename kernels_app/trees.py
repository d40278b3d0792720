"""Walking, measuring and removing folders that untrusted code has filled: links, races and depth harm nobody.

Everything goes by descriptors of folders, never through a link, and holds few of them whatever the depth, and few names
whatever the number. A folder that its owner closed (mode 0) is opened again: nothing is hidden that way. All of it
blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_DEPTH = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_NOATIME", 0)
_REMOVE_S = 600
_MANY = 10_000  # entries: the library holds all names of a folder at once, rm some
_PATH = getattr(os, "O_PATH", 0)
LARGE_BYTES = 16 * 1024**2
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own


class TooDeep(OSError):
    """Folders in folders, more than MOST_DEPTH of them."""


@dataclass(frozen=True, slots=True)
class Held:
    """What folders hold on the disk."""

    bytes: int
    entries: int
    is_too_deep: bool = False
    newest_ns: int = 0  # when the last change of any of it was, by the clock of the file system


def walk(folder: Path) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """Every entry below a folder, with the descriptor of the folder it is in. Raises TooDeep at the end of what it saw.

    What cannot be opened, or is gone meanwhile, is left out.
    """
    deeper = False
    stack = [(descriptor, _entries(descriptor)) for descriptor in _opened(folder, None)]
    try:
        while stack:
            descriptor, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                os.close(stack.pop()[0])
                continue
            yield descriptor, entry
            if entry.is_dir(follow_symlinks=False):
                if len(stack) >= MOST_DEPTH:
                    deeper = True
                    continue
                stack += [(below, _entries(below)) for below in _opened(entry.name, descriptor)]
    finally:
        for descriptor, _ in stack:
            os.close(descriptor)
    if deeper:
        raise TooDeep(f"{folder} holds folders more than {MOST_DEPTH} deep.")


def measure(folders: Iterable[Path], *, most: int) -> Held:
    """What the folders hold together; it stops counting after `most` entries. A file of several names counts once."""
    size = entries = newest = 0
    seen: set[int] = set()  # inodes: kernels cannot mount, so that all is on one file system, or two
    is_too_deep = False
    for folder in folders:
        try:
            for _, entry in walk(folder):
                entries += 1
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    newest = max(newest, found.st_ctime_ns)
                    if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode) or _is_new(found, seen):
                        size += found.st_blocks * _BLOCK_BYTES
                if entries > most:
                    return Held(size, entries, newest_ns=newest)
        except TooDeep:
            is_too_deep = True
    return Held(size, entries, is_too_deep, newest)


def free_bytes(folder: Path) -> tuple[int, int]:
    """What is free for ordinary users of the folder's file system, and its size. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def remove_newer(folder: Path, held: Held, *, than_ns: int, most: Held, within_s: float) -> int:
    """Delete files of a folder that holds so much which were changed after a time, until it holds no more than `most`:
    large ones first, for a small one is seldom what fills a disk.

    How many were deleted. The time is one that no program can set (utime). Folders stay, and what is left after
    `within_s`.
    """
    size, entries, removed = held.bytes, held.entries, 0
    until = time.monotonic() + within_s
    for least in (LARGE_BYTES, 0):
        with contextlib.suppress(TooDeep):
            for parent, entry in walk(folder):
                if (size <= most.bytes and entries <= most.entries) or time.monotonic() > until:
                    return removed
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    taken = found.st_blocks * _BLOCK_BYTES
                    if stat.S_ISREG(found.st_mode) and found.st_ctime_ns > than_ns and taken >= least:
                        os.unlink(entry.name, dir_fd=parent)
                        size -= taken if found.st_nlink == 1 else 0
                        entries, removed = entries - 1, removed + 1
    return removed


def remove(folder: Path) -> None:
    """Delete a folder and all in it, however deep; what cannot be deleted stays. Raises nothing."""
    is_odd = False
    make_writable(folder, None)
    try:
        for number, (parent, entry) in enumerate(walk(folder)):
            is_odd = is_odd or number > _MANY
            if entry.is_dir(follow_symlinks=False):
                make_writable(entry.name, parent)
    except TooDeep:  # the library would hold a descriptor for each level; rm does not
        is_odd = True
    if not is_odd or not _remove_by_program(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_by_program(folder: Path) -> bool:
    rm = shutil.which("rm", path="/bin:/usr/bin")
    if rm is None:
        return False
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run([rm, "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, timeout=_REMOVE_S)
    return True


def make_writable(name: str | Path, parent: int | None) -> int | None:
    """Let the owner of a folder read, write and enter it, never by a link. Its mode before; None: left as it is."""
    return _change_mode(name, parent, lambda mode: mode | 0o700)


def set_mode(name: str | Path, mode: int) -> None:
    """The folder's mode; nothing if it is not ours, or no folder."""
    _change_mode(name, None, lambda _: mode)


def _change_mode(name: str | Path, parent: int | None, wanted: Callable[[int], int]) -> int | None:
    if not _PATH:
        return None
    try:
        held = os.open(name, _PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return None
    try:
        found = os.fstat(held)
        mode = stat.S_IMODE(found.st_mode)
        if wanted(mode) == mode or found.st_uid != os.geteuid():
            return None
        os.chmod(f"/proc/self/fd/{held}", wanted(mode))  # of what is held, whatever its name leads to by now
        return mode
    except OSError:
        return None
    finally:
        os.close(held)


def _opened(name: str | Path, parent: int | None) -> Iterator[int]:
    """The folder's descriptor, if it can be opened; what is in it can be looked at then."""
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        make_writable(name, parent)
        try:  # O_NOATIME is for the owner alone
            descriptor = os.open(name, _FOLDER & ~getattr(os, "O_NOATIME", 0), dir_fd=parent)
        except OSError:
            return
    except OSError:
        return
    if not os.fstat(descriptor).st_mode & 0o100:
        make_writable(name, parent)
    yield descriptor


def _entries(descriptor: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(descriptor) as found:
            yield from found
    except OSError:
        return


def _is_new(found: os.stat_result, seen: set[int]) -> bool:
    key = found.st_ino ^ (found.st_dev << 64)
    if key in seen:
        return False
    seen.add(key)
    return True
