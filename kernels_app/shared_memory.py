"""The machine's /dev/shm on the Landlock rung: what a kernel's uid holds there, and removing what it left.

Other rungs have one of their own (bubblewrap), or none. Uids are given again (uids.py), so that nothing may stay. Files
there are memory. No name is followed through a link. All of it blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from kernels_app import trees

FOLDER = Path("/dev/shm")
ENTRY_BYTES = 4096  # a name costs the system memory too, if less
_NO_END = 1 << 60


def held_bytes(uid: int) -> int:
    """Memory of what this uid owns there, wherever it lies; more than there is for folders too deep to look into."""
    held = 0
    with contextlib.suppress(OSError), os.scandir(FOLDER) as entries:
        for entry in entries:
            held += _held_by(uid, entry)
            if entry.is_dir(follow_symlinks=False):
                try:
                    held += sum(_held_by(uid, below) for _, below in trees.walk(FOLDER / entry.name))
                except trees.TooDeep:
                    held += _NO_END if _owner(entry) == uid else 0
    return held


def remove_of(uid: int) -> None:
    """Remove what this uid owns there. To be called when no process of it is left. Raises nothing.

    Its own folders go with all that is in them; in folders of others its files go, by the descriptor of the folder: who
    owns that may move it meanwhile.
    """
    if not FOLDER.is_dir():
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(FOLDER):
            with contextlib.suppress(OSError):
                found = (FOLDER / name).lstat()
                if found.st_uid == uid and stat.S_ISDIR(found.st_mode):
                    trees.remove(FOLDER / name)  # the sticky folder keeps others from putting a link in its place
    with contextlib.suppress(OSError):
        for descriptor, entry in trees.walk(FOLDER):
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == uid and not stat.S_ISDIR(found.st_mode):
                    os.unlink(entry.name, dir_fd=descriptor)


def _held_by(uid: int, entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        if found.st_uid == uid:
            names = 1 if stat.S_ISDIR(found.st_mode) else max(found.st_nlink, 1)
            return max(found.st_blocks * 512 // names, ENTRY_BYTES)
    return 0


def _owner(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_uid
    return -1
