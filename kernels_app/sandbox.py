"""The walls around a kernel: which of them this machine offers, and what each stops, in plain words.

The ladder: *bubblewrap* (own view of files, processes and network), then *Landlock* with an own uid where the server
is root (for machines that forbid namespaces), then *none*. Each is tried with the real thing before it is chosen. What
a process is told on its way in is recipes.py's; starting it is provisioner.py's work.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from kernels_app import bubblewrap, cgroups, recipes, seccomp, uids
from kernels_app.interpreters import PROBE_TIMEOUT_S, Interpreter, interpreter
from kernels_app.launch import landlock
from kernels_app.recipes import Room

INSIDE_CODE = Path(__file__).resolve().parent / "inside"
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
_PASSING = frozenset(
    (errno.EAGAIN, errno.EDQUOT, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
)
_PROBE = "import os; os.listdir('.'); print('works')"


class Rung(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"


class Untried(OSError):
    """A rung could not be tried, for a reason that passes: no verdict, and no kernel. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rung in use and, where a higher one is not, why."""

    rung: Rung
    why: str = ""


def available(wanted: str = "auto", python: str = "") -> Rung:
    """The best rung that works and that `wanted` (auto, or a rung's name) allows. Tried once, then kept.

    Raises Untried.
    """
    return verdict(wanted, python).rung


def describe(wanted: str = "auto", python: str = "") -> str:
    """One or two plain sentences on how kernels are isolated, for pages, `make run` and system checks."""
    try:
        found = verdict(wanted, python)
    except Untried as error:
        return str(error)
    if found.rung is Rung.BUBBLEWRAP:
        return "Kernels run in a bubblewrap sandbox: own files, own processes, no network unless opened."
    if found.rung is Rung.LANDLOCK:
        words = "Kernels run behind Landlock and a seccomp filter"
        words += ", each under a uid of its own" if uids.can_give() else ", under the server's uid"
        return f"{words}: own files, no network unless opened. {found.why}".strip()
    if wanted == "none":
        return "Kernels run without a sandbox (KERNEL_SANDBOX=none): code can do all that the server can."
    return f"Kernels run without a sandbox: code can do all that the server can. {found.why}"


@lru_cache(maxsize=16)
def verdict(wanted: str = "auto", python: str = "") -> Verdict:
    """As `available`, with the reason. Blocks for some 100 ms the first time. What is raised is not kept."""
    if wanted == "none":
        return Verdict(Rung.NONE)
    if sys.platform != "linux":
        return Verdict(Rung.NONE, "Sandboxes exist on Linux only.")
    problems: list[str] = []
    if wanted in ("auto", "bubblewrap"):
        problem = _bubblewrap_problem(python)
        if not problem:
            return Verdict(Rung.BUBBLEWRAP)
        problems.append(problem)
    if wanted in ("auto", "landlock"):
        problem = _landlock_problem(python)
        if not problem:
            return Verdict(Rung.LANDLOCK, " ".join(problems))
        problems.append(problem)
    return Verdict(Rung.NONE, " ".join(problems))


def protections(
    wanted: str = "auto", *, network: bool = False, python: str = "", use_cgroups: bool = True, cpus: float = 0.0
) -> list[str]:
    """What stands between a kernel and this machine, a plain sentence each. What does not begins with "Not"."""
    try:
        found = available(wanted, python)
    except Untried as error:
        return [f"Not known: {error}"]
    if found is Rung.NONE:
        return ["Not isolated: a kernel can read, change and stop whatever the server can."]
    words = _of_bubblewrap() if found is Rung.BUBBLEWRAP else _of_landlock()
    words.append(
        "Not closed: the network, also this machine's own ports and the cloud's metadata address (KERNEL_NETWORK)."
        if network
        else "Network: none, not even this machine's own ports."
    )
    if seccomp.is_known():
        words.append("System calls: a filter denies ptrace, keyrings, BPF, io_uring, mounts, modules, namespaces.")
    else:
        words.append("Not filtered: system calls (no seccomp filter for this processor).")
    return [*words, *cgroups.describe(use_cgroups=use_cgroups, cpus=cpus)]


def python_inside(python: Interpreter, rung: Rung) -> str:
    """The path by which the interpreter is called behind this rung."""
    if rung is Rung.BUBBLEWRAP and python.is_venv:
        return f"{bubblewrap.VENV}/bin/{os.path.basename(python.executable)}"
    return python.executable


def environment(
    rung: Rung, python: Interpreter, extra: Mapping[str, str] | None = None, *, private: Path | None = None
) -> dict[str, str]:
    """The whole environment of a kernel: an allow-list, never the server's own.

    `private`: the folder of its temporary files and its home, where the rung has no place of its own for them.
    """
    programs = os.path.dirname(python_inside(python, rung))
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environ.setdefault("LANG", "C.UTF-8")
    environ |= {
        "PATH": os.pathsep.join([programs, "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": os.path.expanduser("~"),
        "PYTHONNOUSERSITE": "1",
        "USER": "kernel",
    }
    if rung is Rung.BUBBLEWRAP:
        environ |= {"HOME": bubblewrap.HOME, "TMPDIR": "/tmp"}
    elif rung is Rung.LANDLOCK and private is not None:
        environ |= {"HOME": str(private / "home"), "TMPDIR": str(private / "tmp")}
    return environ | dict(extra or {})


def _of_bubblewrap() -> list[str]:
    return [
        "Files: the work folder, a private /tmp and home; the system and the interpreter read-only; nothing else.",
        "Processes: a process namespace of its own; nothing outside can be seen, signalled or traced.",
        "Users: a user namespace without capabilities, in which no further one can be made"
        + (
            "; outside, each kernel is a uid of its own (the server is root)."
            if uids.can_give()
            else "; outside, the server's own uid."
        ),
        "End: the sandbox and all in it die with the server, and with the kernel.",
    ]


def _of_landlock() -> list[str]:
    version = landlock.abi()
    own = uids.can_give()
    words = [
        f"Files: Landlock (ABI {version}) opens the work folder, the system and the interpreter; nothing else.",
        "Not hidden: that other files exist (names, sizes, owners), the machine's name, its list of mounts in use.",
        "Processes: others cannot be traced, nor their memory and environment read"
        + (", nor signalled." if own or version >= landlock.SCOPE_ABI else "."),
        "Users: each kernel is a uid of its own (the server is root)."
        if own
        else "Not separate: kernels are the server's own uid.",
        "End: a parent process ends everything that a kernel started.",
    ]
    if not own:
        words.append("Not bounded by the system: the number of processes and threads (they are counted every 0.5 s).")
    return words


def _bubblewrap_problem(python: str) -> str:
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed (Debian: apt-get install bubblewrap)."
    problem = _try(Rung.BUBBLEWRAP, python)
    return f"bubblewrap is installed but does not work here: {problem}" if problem else ""


def _landlock_problem(python: str) -> str:
    version = landlock.abi()
    if version == 0:
        return "Landlock is not in this system, or is switched off."
    if not seccomp.is_known():
        return "Landlock alone stops too little, and there is no seccomp filter for this processor."
    if not uids.can_give() and version < landlock.SCOPE_ABI:
        return "Landlock here is too old to keep kernels from signalling the server (needs Linux 6.12, or root)."
    problem = _try(Rung.LANDLOCK, python)
    return f"Landlock does not work here: {problem}" if problem else ""


def _try(rung: Rung, python: str) -> str:
    """Run a Python behind the real walls; return what went wrong, or "". Raises Untried."""
    try:
        with _probe_room(rung, interpreter(python)) as room:
            missing = _unreachable(room) if rung is Rung.LANDLOCK and room.uid else ""
            if missing:
                return missing
            done = _run(rung, room)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        if _passes(error):
            raise Untried(f"Whether {rung} can isolate kernels could not be tried just now: {error}") from error
        return str(error)
    if done.returncode == 0 and done.stdout == "works\n":
        return ""
    return done.stderr.strip()[-500:] or f"it ended with code {done.returncode}."


def _passes(error: Exception) -> bool:
    """Whether it may be otherwise a moment later: without room, processes or uids, or under load."""
    is_passing = isinstance(error, OSError) and error.errno in _PASSING
    return is_passing or isinstance(error, uids.NoUid | subprocess.TimeoutExpired)


@contextmanager
def _probe_room(rung: Rung, python: Interpreter) -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix=f"rb-{os.getpid()}-", dir="/tmp") as folder:
        argv = [python_inside(python, rung), "-I", "-c", _PROBE]
        env = environment(rung, python, private=Path(folder))
        room = Room(argv, env, python, INSIDE_CODE, Path(folder, "work"), Path(folder, "k"))
        uid = uids.take() if uids.can_give() else None
        try:
            make_folders(room, uid.number if uid else None)
            yield replace(room, uid=uid.number if uid else None)
        finally:
            if uid:
                uid.release()


def make_folders(room: Room, uid: int | None) -> None:
    """The private folders of a kernel, reachable by its uid and writable for it alone."""
    room.run.parent.chmod(0o711 if uid else 0o700)
    (room.run.parent / "m").mkdir(mode=0o711, exist_ok=True)
    for folder in (room.work, room.run, room.tmp, room.home):
        folder.mkdir(mode=0o700, exist_ok=True)
        if uid:
            uids.give(folder, uid)


def recipe(rung: Rung, room: Room) -> dict[str, object]:
    """What launch/enter.py is told for a kernel behind this rung (not none: such a kernel starts by itself)."""
    return recipes.behind_bubblewrap(room) if rung is Rung.BUBBLEWRAP else recipes.behind_landlock(room)


def _run(rung: Rung, room: Room) -> subprocess.CompletedProcess[str]:
    descriptor = recipe_descriptor(recipe(rung, room))
    try:
        return subprocess.run(
            recipes.command(descriptor),
            env={},
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
        )
    finally:
        os.close(descriptor)


def recipe_descriptor(told: Mapping[str, object]) -> int:
    """A file in memory that holds the recipe; the caller closes it."""
    descriptor = os.memfd_create("recipe", os.MFD_CLOEXEC)
    os.write(descriptor, json.dumps(told).encode())
    return descriptor


def _unreachable(room: Room) -> str:
    """Which folder a foreign uid cannot walk to, in a sentence; "" if it can reach all it needs."""
    for path in recipes.landlock_reads(room):
        for folder in (Path(path), *Path(path).parents):
            if not folder.stat().st_mode & 0o001:
                return (
                    f"kernels need {path}, and their uid cannot enter {folder}. Put KERNEL_PYTHON and Rillbook where "
                    "all may read, or do not run the server as root."
                )
    return ""
