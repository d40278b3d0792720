"""What a kernel holds without a name: deleted files that are open or mapped, files in memory (memfd_create), and
buffers of sockets and pipes. Beside it what costs memory that is not its size: files on a tmpfs, empty or not.

No walk through folders finds these (trees.py), and what is not mapped is in no process's memory (limits.py). Reads
/proc only, and costs a kernel with few descriptors about a millisecond. What it may be is deaths.py's, ending one that
holds more is kernel.py's. All of it blocks: call it in a thread.

/proc/<pid>/fd may be read by the server's uid if the process is that uid and can be dumped, by the owner of the user
namespace it is in (bubblewrap), and by root with CAP_SYS_PTRACE (ptrace(2), "ptrace access mode checking").
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from kernels_app import bubblewrap, limits, shared_memory, sockets
from kernels_app.sockets import Sockets

MOST_OPEN = 100_000  # descriptors of all processes of a kernel: so many take half a second to look at
SHARE = 20  # a look that takes long is repeated after this many times as long
# What a socket or a pipe holds cannot be seen: each but the first few is reckoned as what it holds when it is full and
# nobody made it larger (net.core.wmem_default; pipe(7)).
BUFFERS_FREE, SOCKET_BYTES, PIPE_BYTES = 500, 208 * 1024, 64 * 1024
# Of TCP's memory, which is one pool of the whole machine (net.ipv4.tcp_mem), and UDP's.
NETWORK_BYTES = 64 * 1024**2
INODE_BYTES = 1024  # of a file on a tmpfs beside what is in it, at least
_TMPFS = ("/tmp", "/dev/shm", bubblewrap.HOME)
_BLOCK_BYTES = 512  # of st_blocks
_DELETED = b" (deleted)\n"


@dataclass(frozen=True, slots=True)
class Nameless:
    """What was found."""

    disk_bytes: int = 0
    memory_bytes: int = 0
    descriptors: int = 0  # open in all processes; counted up to a little above MOST_OPEN
    network_bytes: int = 0  # of memory_bytes: on their way over the kernel's own loopback
    is_hidden: bool = False  # a process does not let its descriptors be seen, where others of its kernel did


class Watch:
    """Looks at one kernel again and again. `uid`: whose files in the machine's /dev/shm are this kernel's alone.
    `may_hide`: nothing is made of processes that cannot be looked at. `has_namespaces`: its mounts are its own, and
    `has_network` of its own: what is counted there is the kernel's alone."""

    def __init__(
        self, uid: int | None = None, *, may_hide: bool = False, has_namespaces: bool = False, has_network: bool = False
    ) -> None:
        self.last = Nameless()
        self._uid = uid
        self._has_namespaces = has_namespaces
        self._has_network = has_network
        self._may_hide = may_hide
        self._could_see = False
        self._not_before = 0.0
        self._devices: set[int] = set()

    def look(self, pids: Sequence[int]) -> Nameless:
        """What these processes hold now; of processes that take long to look at, what was found a little before."""
        began = time.monotonic()
        if began < self._not_before or not pids:
            return self.last
        self._devices = self._devices or _memory_devices(pids[0])
        found = _Found(self._devices)
        is_hidden = False
        faces = [limits.face(pid) for pid in pids]
        found.own_sockets = next(filter(None, map(sockets.held, faces)), None) if self._has_network else None
        for face in faces:
            try:
                _take_open(face, found)
                self._could_see = True
            except PermissionError:
                is_hidden = is_hidden or limits.has_memory(face)  # one that has ended is closed, too
            except OSError:
                continue  # it ended
            _take_mapped(face, found)
            if found.descriptors > MOST_OPEN:
                break
        if self._has_namespaces:
            found.beside = next(filter(None, map(_inode_bytes, faces)), 0)
        elif self._uid is not None:
            found.beside = shared_memory.held_bytes(self._uid)
        self.last = found.nameless(is_hidden=is_hidden and self._could_see and not self._may_hide)
        now = time.monotonic()
        self._not_before = now + SHARE * (now - began)
        return self.last


@dataclass(slots=True)
class _Found:
    """Sizes in bytes, by whether it is memory and the inode: of one file, stat and maps may tell different devices."""

    memory_devices: set[int]
    opened: dict[tuple[bool, int, int], int] = field(default_factory=dict)
    mapped: dict[tuple[bool, int], int] = field(default_factory=dict)
    sockets: set[tuple[int, int]] = field(default_factory=set)
    pipes: set[tuple[int, int]] = field(default_factory=set)
    descriptors: int = 0
    own_sockets: Sockets | None = None  # of a network of its own: they count instead of descriptors
    beside: int = 0  # memory of files on a tmpfs

    def nameless(self, *, is_hidden: bool) -> Nameless:
        sizes = [0, 0]
        for (is_memory, _, _), size in self.opened.items():
            sizes[is_memory] += size
        seen = {(is_memory, inode) for is_memory, _, inode in self.opened}
        for key, size in self.mapped.items():
            sizes[key[0]] += size if key not in seen else 0
        own = self.own_sockets
        number, queued = (own.number, own.queued_bytes) if own else (len(self.sockets), 0)
        buffers = [PIPE_BYTES] * len(self.pipes) + [SOCKET_BYTES] * number
        memory = sizes[True] + sum(buffers[BUFFERS_FREE:]) + queued + self.beside
        return Nameless(sizes[False], memory, self.descriptors, queued, is_hidden)


def _inode_bytes(face: str) -> int:
    """Memory of the files on the private tmpfs of a process's sandbox, but for what is in them."""
    inodes = 0
    for folder in _TMPFS:
        with contextlib.suppress(OSError):
            found = os.statvfs(f"{face}/root{folder}")
            inodes += found.f_files - found.f_ffree
    return inodes * INODE_BYTES


def _take_open(face: str, found: _Found) -> None:
    """Add what a process has open. Raises OSError if that cannot be read."""
    folder = os.open(f"{face}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(folder):
            found.descriptors += 1
            if found.descriptors > MOST_OPEN:
                return
            try:
                one = os.stat(name, dir_fd=folder)
            except FileNotFoundError:  # it was closed
                continue
            if one.st_nlink == 0 and stat.S_ISREG(one.st_mode):
                key = (one.st_dev in found.memory_devices, one.st_dev, one.st_ino)
                found.opened[key] = one.st_blocks * _BLOCK_BYTES
            elif stat.S_ISSOCK(one.st_mode):
                found.sockets.add((one.st_dev, one.st_ino))
            elif stat.S_ISFIFO(one.st_mode):
                found.pipes.add((one.st_dev, one.st_ino))
    finally:
        os.close(folder)


def _take_mapped(face: str, found: _Found) -> None:
    """Add what a process has mapped: blocks where the server may see them (root), else as far as it is mapped."""
    with contextlib.suppress(OSError), open(f"{face}/maps", "rb") as file:
        for line in file:
            if not line.endswith(_DELETED):
                continue
            place, _, offset, device, inode = line.split(None, 5)[:5]
            major, minor = device.split(b":")
            is_memory = os.makedev(int(major, 16), int(minor, 16)) in found.memory_devices
            key = (is_memory, int(inode))
            size = _blocks(face, place.decode()) or _length(place) + int(offset, 16)
            found.mapped[key] = max(size, found.mapped.get(key, 0))


def _blocks(face: str, place: str) -> int:
    with contextlib.suppress(OSError):
        return os.stat(f"{face}/map_files/{place}").st_blocks * _BLOCK_BYTES
    return 0


def _length(place: bytes) -> int:
    begin, end = place.split(b"-")
    return int(end, 16) - int(begin, 16)


def _memory_devices(pid: int) -> set[int]:
    """The devices of files in memory: memfd's, and every tmpfs that the process sees. A kernel cannot mount more."""
    if not hasattr(os, "memfd_create"):
        return set()
    devices = {_memfd_device()}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", "rb") as file:
        for line in file:
            words = line.split()
            if words[words.index(b"-") + 1] == b"tmpfs":
                major, minor = words[2].split(b":")
                devices.add(os.makedev(int(major), int(minor)))
    return devices


@cache
def _memfd_device() -> int:
    made = os.memfd_create("device", os.MFD_CLOEXEC)
    try:
        return os.fstat(made).st_dev
    finally:
        os.close(made)
