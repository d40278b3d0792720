"""Work folders: one per notebook, and one per pooled kernel until it is claimed.

A kernel's work folder is bound when it starts, before anybody knows its notebook. A bind (and a working
directory) follows the folder, not its name, so a claim renames: the kernel's folder becomes the notebook's
(risks.md, 24). A crash half-way loses no file: what was being moved lies in a folder that names its
notebook, and `prepare` ends the move. Everything here blocks a little: call it in a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import re
import secrets
from pathlib import Path

from kernels_app import trees, uids
from kernels_app.spool import SPOOL, empty_spool

log = logging.getLogger("rillbook.pool")

_FLAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class Folders:
    """The folders below one root: `notebooks/<id>`, and `slots/<process>/<random>` of each server process.

    A process holds a lock on its slots, so that another one that starts clears up after the dead only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._all_slots = root / "slots"
        self._slots = self._all_slots / secrets.token_hex(8)
        self._notebooks = root / "notebooks"
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make the folders, and clear up after processes that are gone. Harmless when repeated."""
        mode = 0o711 if uids.can_give() else 0o700  # kernels with uids of their own walk through, and see no names
        for folder in (self.root, self._all_slots, self._notebooks, self._slots):
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            folder.chmod(mode)
        if self._lock is None:
            self._lock = _lock(self._slots)
        for slots in self._all_slots.iterdir():
            lock = _lock(slots) if slots != self._slots else None
            if lock is not None:
                self._recover(slots)
                os.close(lock)

    def close(self) -> None:
        """Remove this process's slots; its kernels are gone."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self._recover(self._slots)
            os.close(lock)

    def _recover(self, slots: Path) -> None:
        """Finish the claims that were interrupted, remove the rest."""
        for slot in slots.iterdir():
            if slot.is_symlink():  # of a kernel without a sandbox
                slot.unlink()
                continue
            notebook_id = slot.name.partition(".for.")[2]
            if notebook_id:
                target = self.notebook(notebook_id)
                target.mkdir(mode=0o700, exist_ok=True)
                trees.make_writable(slot, None)
                if not _move_entries(slot, target):
                    log.error("files of notebook %s could not be moved; they are kept in %s", notebook_id, slot)
                    continue
            trees.remove(slot)
        with contextlib.suppress(OSError):
            slots.rmdir()

    def new_slot(self) -> Path:
        """An empty folder for a kernel that has no notebook yet."""
        slot = self._slots / secrets.token_hex(8)
        slot.mkdir(mode=0o700)
        return slot

    def notebook(self, notebook_id: str) -> Path:
        """Where a notebook's files are. Raises ValueError for what is not a flat id."""
        if not _FLAT.match(notebook_id):
            raise ValueError(f"Not a notebook id: {notebook_id[:80]!r}")
        return self._notebooks / notebook_id

    def claim(self, slot: Path, notebook_id: str, *, keep_name: bool = False) -> Path:
        """Make a slot's folder the notebook's, with the notebook's files in it; the folder's new path.

        `keep_name` leaves the slot's path as a link to it, for a kernel without a sandbox that remembers it.
        """
        target = self._claim(slot, notebook_id)
        if keep_name:
            slot.symlink_to(target, target_is_directory=True)
        return target

    def _claim(self, slot: Path, notebook_id: str) -> Path:
        target = self.notebook(notebook_id)
        owner = slot.stat().st_uid
        marked = slot.with_name(f"{slot.name}.for.{notebook_id}")
        if not target.exists():
            slot.rename(target)
            return target
        trees.make_writable(target, None)  # or it could not be moved
        empty_spool(target)
        slot.rename(marked)
        _exchange(marked, target)
        if _move_entries(marked, target):
            trees.remove(marked)
        else:
            log.error("files of notebook %s could not be moved; they are kept in %s", notebook_id, marked)
        if uids.can_give() and owner != os.geteuid():  # the files were those of the last kernel's uid
            uids.give_tree(target, owner)
        return target

    def remove_slot(self, slot: Path) -> None:
        """Delete a slot that was never claimed, or the link it left; a notebook's folder is left alone."""
        if slot.is_symlink():
            slot.unlink()
        elif slot.parent == self._slots:
            trees.remove(slot)

    def remove_notebook(self, notebook_id: str) -> None:
        """Delete a notebook's files."""
        trees.remove(self.notebook(notebook_id))


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until it is closed; None if another process has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _move_entries(source: Path, target: Path) -> bool:
    """Rename every entry of one folder into another, without following links; what is there already stays.

    Whether all were moved. Holds few names, however many there are.
    """
    is_whole = True
    with os.scandir(source) as entries:  # entries that are renamed away meanwhile disturb no others
        for entry in entries:
            # No Path: it interns every name.
            place = f"{target}/{entry.name}"
            if entry.name != SPOOL and not os.path.lexists(place):
                is_whole = _move_entry(entry.path, place) and is_whole
    return is_whole


def _move_entry(source: str, target: str) -> bool:
    """A folder that its owner may not write to is not moved by the system: it is opened for the moment."""
    try:
        try:
            os.rename(source, target)
        except PermissionError:
            mode = trees.make_writable(source, None)
            if mode is None:
                raise
            os.rename(source, target)
            trees.set_mode(target, mode)
    except FileNotFoundError:
        return True
    except OSError as error:
        log.warning("a file of a notebook was not moved: %s", error.strerror)
        return False
    return True


def _exchange(first: Path, second: Path) -> None:
    """Swap the names of two folders: at once on Linux, in three steps elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        done = libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
        if done == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code), str(second))
    aside = first.with_name(f"{secrets.token_hex(8)}.for.{second.name}")
    second.rename(aside)
    first.rename(second)
    aside.rename(first)
