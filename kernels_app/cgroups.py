"""Control groups: the system's own bound on memory, processes and processor time of a kernel and all that it starts.

Version 2 and version 1, where this server may make groups below its own; elsewhere limits are the processes' own
(rlimits) and what is counted from outside (limits.py). Files: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

log = logging.getLogger("rillbook.kernel")

PREFIX = "rillbook-"
PERIOD_US = 100_000
LEAST_CPUS = 0.01
_WANTED = ("memory", "pids", "cpu")
_REMOVE_TRIES = 40


@dataclass(frozen=True, slots=True)
class Tree:
    """Where groups may be made: for each controller a folder. Version 2 has one folder for all."""

    version: int
    parents: tuple[tuple[str, Path], ...]  # controller -> folder

    @property
    def controllers(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.parents)


class Group:
    """The group of one kernel: made empty, filled by its first process, removed when that has ended."""

    def __init__(self, tree: Tree) -> None:
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        self._tree = tree
        self._folders = {controller: parent / name for controller, parent in tree.parents}

    @classmethod
    def make(cls, tree: Tree | None, *, memory_bytes: int, processes: int, cpus: float) -> Group | None:
        """A group with these limits (`cpus` 0: as much as there is); None without a tree, or if the system refuses."""
        if tree is None:
            return None
        group = cls(tree)
        try:
            group._create()
            group._limit(memory_bytes, processes, cpus)
        except OSError as error:
            log.warning("A kernel has no control group: %s", error)
            group.remove()
            return None
        return group

    @property
    def files(self) -> list[str]:
        """Where a process writes its pid to enter."""
        return sorted({str(folder / "cgroup.procs") for folder in self._folders.values()})

    @property
    def counts_memory(self) -> bool:
        return "memory" in self._folders

    @property
    def is_out_of_memory(self) -> bool:
        """Whether the system has ended a process of the group because of its memory limit."""
        folder = self._folders.get("memory")
        name = "memory.events" if self._tree.version == 2 else "memory.oom_control"
        return folder is not None and _counter(folder / name, "oom_kill") > 0

    @property
    def forks_refused(self) -> bool:
        """Whether the limit on processes was reached."""
        folder = self._folders.get("pids")
        return folder is not None and _counter(folder / "pids.events", "max") > 0

    def memory_bytes(self) -> int:
        """What the group holds, files in memory included; 0 if the system does not count it."""
        folder = self._folders.get("memory")
        if folder is None:
            return 0
        name = "memory.current" if self._tree.version == 2 else "memory.usage_in_bytes"
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
        return 0

    def kill(self) -> None:
        """SIGKILL to all that is in it."""
        for folder in set(self._folders.values()):
            if _try_write(folder / "cgroup.kill", "1"):
                continue
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(OSError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Remove it; blocks for up to 2 s while its last processes end."""
        for folder in set(self._folders.values()):
            for _ in range(_REMOVE_TRIES):
                if _remove(folder):
                    break
                self.kill()
                time.sleep(0.05)

    def _create(self) -> None:
        for folder in set(self._folders.values()):
            folder.mkdir(exist_ok=True)

    def _limit(self, memory_bytes: int, processes: int, cpus: float) -> None:
        quota = int(max(cpus, LEAST_CPUS) * PERIOD_US)
        if self._tree.version == 2:
            wanted = [
                ("memory", "memory.max", str(memory_bytes)),
                ("pids", "pids.max", str(processes)),
                ("cpu", "cpu.max", f"{quota} {PERIOD_US}" if cpus else f"max {PERIOD_US}"),
            ]
        else:
            wanted = [
                ("memory", "memory.limit_in_bytes", str(memory_bytes)),
                ("pids", "pids.max", str(processes)),
                ("cpu", "cpu.cfs_period_us", str(PERIOD_US)),
                ("cpu", "cpu.cfs_quota_us", str(quota) if cpus else "-1"),
            ]
        for controller, name, value in wanted:
            if controller in self._folders:
                (self._folders[controller] / name).write_text(value)
        if "memory" in self._folders:  # all of it or nothing; and no way out into swap. Neither is everywhere.
            _try_write(self._folders["memory"] / "memory.oom.group", "1")
            if self._tree.version == 2:
                _try_write(self._folders["memory"] / "memory.swap.max", "0")
            else:
                _try_write(self._folders["memory"] / "memory.memsw.limit_in_bytes", str(memory_bytes))


@lru_cache(maxsize=1)
def tree() -> Tree | None:
    """Where this process may make groups; None: nowhere. Tried once, then kept."""
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        return find(mounts, own)
    return None


def find(mounts: str, own: str) -> Tree | None:
    """The tree, from the texts of /proc/self/mounts and /proc/self/cgroup. Makes and removes a group to try it."""
    places = dict(_own_groups(own))
    first: list[tuple[str, Path]] = []
    for kind, point, options in _mounted(mounts):
        if kind == "cgroup2" and "" in places:
            found = _version_2(point / places[""].lstrip("/"))
            if found:
                return found
        elif kind == "cgroup":
            first += [
                (name, point / places[name].lstrip("/"))
                for name in _WANTED
                if name in options and name in places and _can_make(point / places[name].lstrip("/"))
            ]
    return Tree(1, tuple(first)) if first else None


def describe(*, use_cgroups: bool = True, cpus: float = 0.0) -> list[str]:
    """What control groups bound here, a plain sentence each; `cpus` are bounded by nothing else."""
    found = tree() if use_cgroups else None
    names = {"memory": "memory", "pids": "processes", "cpu": "processor time"}
    if found is None:
        why = "none can be made" if use_cgroups else "KERNEL_CGROUPS is off"
        words = [f"Not bounded by control groups ({why}): memory of several processes is counted every 0.5 s."]
    else:
        bounded = ", ".join(names[name] for name in found.controllers)
        words = [f"Limits of the system (control groups, version {found.version}): {bounded}."]
    if cpus and (found is None or "cpu" not in found.controllers):
        words.append("Not bounded: processor time (KERNEL_CPUS), for no control group with that controller is made.")
    return words


def remove_stale() -> None:
    """Remove groups of server processes that are no more."""
    found = tree()
    for _, parent in found.parents if found else ():
        for folder in parent.glob(f"{PREFIX}*-*"):
            pid = folder.name.removeprefix(PREFIX).partition("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                _remove(folder)


def _own_groups(own: str) -> Iterator[tuple[str, str]]:
    """Controller ("" for version 2) and our group's path."""
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            yield controller, path


def _mounted(mounts: str) -> Iterator[tuple[str, Path, set[str]]]:
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) > 3 and words[2] in ("cgroup", "cgroup2"):
            yield words[2], Path(words[1]), set(words[3].split(","))


def _version_2(own: Path) -> Tree | None:
    """Beside our own group (systemd: DelegateSubgroup=), or below it where no process is in the way."""
    beside = () if own.parent.name.endswith(".slice") else (own.parent,)  # systemd's own, not ours
    for parent in (*beside, own):
        enabled = _words(parent / "cgroup.subtree_control")
        wanted = [name for name in _WANTED if name in _words(parent / "cgroup.controllers")]
        if wanted and not set(wanted) <= enabled:
            _try_write(parent / "cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
            enabled = _words(parent / "cgroup.subtree_control")
        usable = tuple((name, parent) for name in wanted if name in enabled)
        if usable and _can_make(parent):
            return Tree(2, usable)
    return None


def _can_make(parent: Path) -> bool:
    trial = parent / f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    try:
        trial.mkdir()
    except OSError:
        return False
    return _remove(trial)


def _words(path: Path) -> set[str]:
    with contextlib.suppress(OSError):
        return set(path.read_text().split())
    return set()


def _counter(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _try_write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
