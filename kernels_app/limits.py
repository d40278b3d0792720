"""What a kernel uses, seen from outside: memory and processes of its whole tree, and kills for memory.

Reads /proc only (psutil where there is none), writes nothing but a kernel's OOM score. Limits that the
kernel sets on itself are inside/boot.py's; killing one that is over its limit is kernel.py's. Everything
here blocks a little: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
TASKS_BESIDE = 8  # of ours in a kernel's tree, with some room, beside the processes and threads that it may have
SHARE = 4  # an exact count is repeated after this many times as long as it took
_OOM_SCORE = 800  # of 1000: when memory runs out the system kills kernels first, never the server


@dataclass(frozen=True, slots=True)
class Usage:
    memory_bytes: int  # resident, added up: pages that forked children share count more than once
    processes: int
    threads: int = 0  # of all of them
    pids: tuple[int, ...] = ()


def usage(root: int, *, most: int = 4096) -> Usage:
    """What the tree below and with process `root` uses; it stops counting after `most` processes."""
    pids = tree(root, most=most)
    return Usage(sum(_resident(pid) for pid in pids), len(pids), sum(_threads(pid) for pid in pids), tuple(pids))


class MemoryWatch:
    """Whether one kernel holds more memory than it may, asked again and again."""

    def __init__(self) -> None:
        self._shared_bytes = 0  # counted more than once in what is resident, when it was last counted exactly
        self._not_before = 0.0

    def is_over(self, used: Usage, nameless_bytes: int, limit_bytes: int) -> bool:
        """Blocks; for long, where many processes share much, only now and then: else what they share is remembered."""
        resident = used.memory_bytes + nameless_bytes
        began = time.monotonic()
        if resident <= limit_bytes or (resident - self._shared_bytes <= limit_bytes and began < self._not_before):
            return False
        exact = proportional_bytes(used.pids, nameless_bytes, enough=limit_bytes)
        self._shared_bytes = max(0, resident - exact)
        now = time.monotonic()
        self._not_before = now + SHARE * (now - began)
        return exact > limit_bytes


class MainThreadWatch:
    """Whether a kernel's main thread has ended and others of its process live on, asked again and again."""

    def __init__(self) -> None:
        self._had_ended = False

    def has_ended(self, pids: Sequence[int]) -> bool:
        """Of the first of these. Only when it is seen twice: so looks, for a moment, a process that ends as a whole."""
        before, self._had_ended = self._had_ended, any(face(pid) != f"/proc/{pid}" for pid in pids[:1])
        return before and self._had_ended


def proportional_bytes(pids: Sequence[int], nameless_bytes: int = 0, *, enough: float = float("inf")) -> int:
    """Memory of processes with shared pages divided among those who share them: about 25 ms for each GB they map.

    `nameless_bytes`: files in memory that they hold, mapped or not (nameless.py): what is mapped of them counts once.
    More than `enough` need not be counted to its end.
    """
    own = mapped = 0
    for pid in pids:
        of_one, of_files = _proportional(pid)
        own, mapped = own + of_one, mapped + of_files
        if own + max(mapped, nameless_bytes) > enough:
            break
    return own + max(mapped, nameless_bytes)


def face(pid: int) -> str:
    """Where /proc describes a process: by its first thread, or by one that lives on when that alone has ended."""
    if not has_memory(f"/proc/{pid}"):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                if has_memory(f"/proc/{pid}/task/{task}"):
                    return f"/proc/{pid}/task/{task}"
    return f"/proc/{pid}"


def has_memory(described: str) -> bool:
    """Whether what /proc describes there has not ended."""
    with contextlib.suppress(OSError), open(f"{described}/statm", "rb") as file:
        return not file.read(2).startswith(b"0 ")
    return False


def tree(root: int, *, most: int = 4096) -> list[int]:
    """The process and its descendants, parents first."""
    if not _has_children_files():
        return _tree_by_psutil(root)
    pids = [root]
    for pid in pids:
        if len(pids) >= most:
            break
        pids += _children(pid)
    return pids


def oom_kills() -> int:
    """How many processes the system has killed for memory since it started; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


class OomWatch:
    """Whether the system has just killed for memory: since the last tick but one, for a kernel's end is seen late."""

    def __init__(self) -> None:
        self._before = self._last = oom_kills()

    def tick(self) -> None:
        self._before, self._last = self._last, oom_kills()

    @property
    def has_killed(self) -> bool:
        return oom_kills() > self._before


def die_first(pid: int) -> None:
    """Make the system choose this process and its children first when memory runs out. Needs no privilege."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


@cache
def _has_children_files() -> bool:
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def _tree_by_psutil(root: int) -> list[int]:
    import psutil

    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.Error:
        return [root]


def _resident(pid: int) -> int:
    if not _has_children_files():
        import psutil

        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    with contextlib.suppress(OSError, IndexError), open(f"{face(pid)}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
    return 0


def _threads(pid: int) -> int:
    """How many it has, by the number of links to their folder (proc_task_getattr); 1 where that does not say."""
    with contextlib.suppress(OSError):
        return max(1, os.stat(f"/proc/{pid}/task").st_nlink - 2)
    return 1


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time of these processes and of those they waited for; 0 of one that is gone, or without /proc."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_A_SECOND


def _proportional(pid: int) -> tuple[int, int]:
    """Of one process, without files in memory and these."""
    sizes: dict[bytes, int] = {}
    with contextlib.suppress(OSError), open(f"{face(pid)}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith((b"Pss:", b"Pss_Shmem:")):
                name, size = line.split()[:2]
                sizes[name] = int(size) * 1024
    if b"Pss:" not in sizes:
        return _resident(pid), 0
    of_files = sizes.get(b"Pss_Shmem:", 0)
    return sizes[b"Pss:"] - of_files, of_files
