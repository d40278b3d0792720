"""What launch/enter.py is told, for each rung of the ladder: a recipe that turns a new process into a kernel.

Which rung a machine offers is sandbox.py's; the words of bubblewrap's command line are bubblewrap.py's. Nothing is
started here.
"""

from __future__ import annotations

import base64
import os
import resource
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels_app import bubblewrap, seccomp
from kernels_app.interpreters import Interpreter
from kernels_app.launch.enter import SECCOMP_FD

ENTER = Path(__file__).resolve().parent / "launch" / "enter.py"
OOM_SCORE = 800  # of 1000: when memory runs out the system kills kernels first, never the server

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# /proc/self: of the process that becomes the kernel alone, so that nobody's command line is seen.
_FACTS = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems",
    "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
    "/etc/hosts",
)  # fmt: skip
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Room:
    """One kernel's place: what it runs, what it sees, what it may take."""

    argv: Sequence[str]
    env: Mapping[str, str]
    python: Interpreter
    inside: Path
    work: Path
    run: Path  # private folder of connection file and sockets
    readonly: Mapping[str, Path] = field(default_factory=dict)  # path inside -> folder or file of ours
    devices: Sequence[str] = ()
    network: bool = False
    tmp_bytes: int = bubblewrap.TMP_BYTES
    limits: Mapping[int, int] = field(default_factory=dict)  # number of the resource -> value
    uid: int | None = None
    cgroups: Sequence[str] = ()
    is_counted: bool = False  # memory, by a control group

    @property
    def tmp(self) -> Path:
        """TMPDIR where there is no private /tmp."""
        return self.run.parent / "tmp"

    @property
    def home(self) -> Path:
        return self.run.parent / "home"


def command(descriptor: int) -> list[str]:
    """The command line that carries out the recipe in a descriptor it inherits."""
    return [sys.executable, "-I", "-S", str(ENTER), str(descriptor)]


def behind_bubblewrap(room: Room) -> dict[str, Any]:
    """The recipe of the first rung. With a uid, folders are staged where that uid can reach them."""
    stage = _Stage(room.run.parent / "m") if room.uid else None
    words = bubblewrap.command(
        room.argv,
        work=room.work,
        run=room.run,
        python=room.python,
        inside=room.inside,
        readonly=room.readonly,
        devices=room.devices,
        network=room.network,
        tmp_bytes=room.tmp_bytes,
        seccomp=SECCOMP_FD if seccomp.is_known() else None,
        place=stage.place if stage else str,
    )
    words[0] = shutil.which("bwrap") or words[0]
    recipe = _common(room) | {"argv": words, "cwd": "/"}
    if stage:
        recipe["stage"] = {"root": str(stage.root), "binds": stage.binds}
    if seccomp.is_known():
        program = seccomp.program(has_network=room.network, is_counted=room.is_counted)
        recipe |= {"seccomp": _text(program), "seccomp_by": "descriptor"}
    return recipe


def behind_landlock(room: Room) -> dict[str, Any]:
    """The recipe of the second rung. Raises seccomp.UnknownMachine: without the filter it would stop too little."""
    program = seccomp.program(has_namespaces=False, has_network=room.network, has_uid=room.uid is not None)
    return _common(room) | {
        "argv": list(room.argv),
        "cwd": str(room.work),
        "landlock": {"paths": _landlock_paths(room), "network": room.network},
        "seccomp": _text(program),
        "supervise": True,
    }


def landlock_reads(room: Room) -> list[str]:
    """The folders of ours that the kernel's uid must be able to reach by itself."""
    return [*room.python.paths, room.python.prefix, str(room.inside), *map(str, room.readonly.values())]


def limits(
    *, address_bytes: int, file_bytes: int, files: int, cpu_s: int = 0, processes: int | None = None
) -> dict[int, int]:
    """The limits that are set before the kernel's first instruction. `address_bytes`, `cpu_s` 0: without end.
    `processes`: only for a uid of its own."""
    found = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_NOFILE: files}
    if address_bytes:
        found[resource.RLIMIT_AS] = address_bytes
    if cpu_s:
        found[resource.RLIMIT_CPU] = cpu_s
    if processes is not None:
        found[resource.RLIMIT_NPROC] = processes
    return found


class _Stage:
    """Names for folders and files that a foreign uid could not walk to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.binds: list[list[str]] = []

    def place(self, path: str) -> str:
        self.binds.append([path, str(len(self.binds))])
        return str(self.root / self.binds[-1][1])


def _common(room: Room) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "parent": os.getpid(),
        "oom_score": OOM_SCORE,
        "limits": dict(room.limits),
        "cgroups": list(room.cgroups),
        "env": dict(room.env),
    }
    return recipe | ({"uid": room.uid} if room.uid else {})


def _landlock_paths(room: Room) -> list[list[str]]:
    seen = [*_SYSTEM, *(f"/etc/{name}" for name in bubblewrap.ETC), *_FACTS, *landlock_reads(room)]
    if room.network:
        seen += [f"/etc/{name}" for name in bubblewrap.ETC_NETWORK]
    paths = [[path, "read"] for path in seen]
    paths += [[path, "device"] for path in _DEVICES] + [[path, "driver"] for path in room.devices]
    paths += [[str(path), "write"] for path in (room.work, room.run, room.tmp, room.home)]
    if room.uid:  # others' files there are another uid's
        paths.append(["/dev/shm", "write"])
    return paths


def _text(program: bytes) -> str:
    return base64.b64encode(program).decode("ascii")
