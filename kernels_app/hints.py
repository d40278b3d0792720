"""What is said below a cell's error when it was a limit of the kernel that bit. Pure.

The kernel's own message (MemoryError, Errno 24) does not say whose limit it was, nor how high it is.
"""

from __future__ import annotations

from kernels_app.bubblewrap import HOME_BYTES
from kernels_app.messages import Entry
from kernels_app.provisioner import Profile

GIB, MIB = 1024**3, 1024**2
_MEMORY_ERRORS = ("ArrayMemoryError", "ArrowMemoryError", "OutOfMemoryException")  # of NumPy, Arrow, DuckDB
_FORK_ERRORS = ("Errno 11", "can't start new thread", "Resource temporarily unavailable")


def size(count: int) -> str:
    """Bytes as people read them: 2 GiB, 512 MiB."""
    return f"{count / GIB:.3g} GiB" if count >= GIB else f"{count / MIB:.3g} MiB"


def hint(entry: Entry, profile: Profile) -> str | None:
    """A sentence on the limit behind an error entry; None if none is."""
    name, words = str(entry.get("ename", "")), str(entry.get("evalue", ""))
    if name == "MemoryError" or name.endswith(_MEMORY_ERRORS) or "Errno 12" in words:
        return f"This kernel may use {size(profile.memory_bytes)} of memory."
    if "Errno 24" in words:
        return f"This kernel may have {profile.files:,} files open at once in a process."
    if "Errno 27" in words:
        return f"A file may hold at most {size(min(profile.file_bytes, profile.disk_bytes))}."
    if "Errno 28" in words:
        return _no_room(profile)
    if any(part in words for part in _FORK_ERRORS) and name in ("BlockingIOError", "RuntimeError", "OSError"):
        return f"This kernel may run {profile.processes} processes and threads at once."
    return None


def _no_room(profile: Profile) -> str:
    if not profile.shm_bytes:
        return "The server's disk, or its /dev/shm, is full."
    rest = f"/dev/shm {size(profile.shm_bytes)} and the home folder {size(HOME_BYTES)}"
    return f"/tmp holds at most {size(profile.tmp_bytes)}, {rest}; the server's disk may also be full."
