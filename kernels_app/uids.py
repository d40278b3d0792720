"""One unprivileged uid for each kernel of a server that runs as root, so that the system itself keeps them apart.

A uid is taken by a lock on a file of its number, shared by all server processes of the machine; it is free again when
its kernel is gone, or its server. They belong to nobody else: no account has them (KERNEL_UIDS). A server that is not
root has none to give.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from kernels_app import shared_memory, trees

# Between systemd's ranges for home folders and for dynamic users (systemd.io/UIDS-GIDS), and inside the 65,536 of most
# containers.
FIRST, LAST = 60_600, 61_183


class NoUid(OSError):
    """All uids for kernels are taken."""


@dataclass(slots=True)
class Uid:
    """A uid that is ours until `release`."""

    number: int
    _lock: int
    _releasing: threading.Lock = field(default_factory=threading.Lock)

    def release(self) -> None:
        """Give it back; what it left in the machine's shared memory is removed first. Blocks; may be repeated."""
        with self._releasing:
            lock, self._lock = self._lock, -1
            if lock >= 0:
                shared_memory.remove_of(self.number)
                os.close(lock)


def can_give() -> bool:
    return os.geteuid() == 0


def take(first: int = FIRST, last: int = LAST) -> Uid:
    """A uid that no kernel has, and that owns nothing in shared memory. Raises NoUid."""
    folder = _folder()
    for number in range(first, last + 1):
        lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        shared_memory.remove_of(number)  # of a server that was killed
        return Uid(number, lock)
    raise NoUid(f"All {last - first + 1} uids for kernels are taken ({first} to {last}).")


def is_ours(number: int) -> bool:
    return FIRST <= number <= LAST


def give(path: Path, owner: int) -> None:
    """Make a file or folder of ours this uid's (not what is in it), never through a link."""
    os.chown(path, owner, owner, follow_symlinks=False)


def give_tree(folder: Path, owner: int) -> None:
    """Make all that is in a notebook's folder this uid's; not files of ours that have other names too."""
    with contextlib.suppress(trees.TooDeep):
        for descriptor, entry in trees.walk(folder):
            _give_entry(entry.name, descriptor, owner)


def _give_entry(name: str, folder: int, owner: int) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        has_other_names = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
        if found.st_uid != owner and (is_ours(found.st_uid) or not has_other_names):
            os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return


def _folder() -> Path:
    """Where the locks are; only root may write there."""
    base = Path("/run") if os.access("/run", os.W_OK) else Path("/tmp")
    folder = base / "rillbook-uids"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{folder} is not ours.")
    return folder
