"""Why a kernel is gone or silent: the exceptions of kernel.py, and a process's end in plain words. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Protocol

from kernels_app.limits import TASKS_BESIDE, Usage
from kernels_app.nameless import MOST_OPEN, NETWORK_BYTES, Nameless
from kernels_app.trees import Held

GIB = 1024**3
# What may be in a folder over its bounds, as kernels write on until they are ended; above it none starts there.
OVER_BYTES, OVER_ENTRIES = 8 * GIB, 1_000_000
# What may come to a folder that is over its bounds already, so that it can be looked at and emptied.
SLACK_BYTES, SLACK_ENTRIES = 16 * 1024**2, 100

# Of the file system of the folders, or a twentieth of it: under that no kernel's folder grows.
FREE_BYTES = 2 * GIB

_SIGNALS: dict[int, str] = {
    signal.SIGSEGV: "The kernel crashed in native code (segmentation fault).",
    signal.SIGABRT: "The kernel crashed in native code (abort).",
    signal.SIGBUS: "The kernel crashed in native code (bus error).",
    signal.SIGKILL: "The kernel was killed (SIGKILL).",
    signal.SIGSYS: "The kernel made a system call that no kernel may make (SIGSYS).",
}


@dataclass(frozen=True, slots=True)
class Death:
    """Why a kernel is gone: a sentence for the notebook's readers, and the facts behind it."""

    kind: str  # exit | signal | memory | processes | disk | interrupt | protocol | shutdown
    reason: str
    code: int | None = None
    signal: int | None = None


class Limits(Protocol):
    """What a kernel may use, of which its end may come: a Profile (provisioner.py)."""

    @property
    def memory_bytes(self) -> int: ...
    @property
    def address_bytes(self) -> int: ...
    @property
    def shm_bytes(self) -> int: ...
    @property
    def cpu_s(self) -> int: ...


class KernelDied(Exception):
    """The kernel ended while it was asked something."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.reason)
        self.death = death


class KernelStartTimeout(Exception):
    """The kernel did not get ready; `stderr` is the end of what it wrote."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__(f"{message}\n{stderr}".strip())
        self.stderr = stderr


class KernelSilent(Exception):
    """A call had no answer in time; the kernel is alive."""


class CallFailed(Exception):
    """The kernel answered a call with an error of its own."""

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(f"{ename}: {evalue}")
        self.ename, self.evalue = ename, evalue


def explain(code: int | None, limits: Limits, *, oom: bool) -> Death:
    """A death by its return code: negative for a signal of ours, 128 + signal from bubblewrap.

    `oom`: the system has killed processes for memory meanwhile; `limits`: the kernel's.
    """
    if code is None or code == 0:
        return Death("exit", "The kernel ended itself.", code)
    number = -code if code < 0 else code - 128
    if not 0 < number < 65:
        return Death("exit", f"The kernel ended itself (exit code {code}).", code)
    if number == signal.SIGKILL and oom:
        return out_of_memory(limits.memory_bytes)
    return Death("signal", _of_signal(number, limits), signal=number)


def _of_signal(number: int, limits: Limits) -> str:
    if number == signal.SIGABRT and limits.address_bytes:
        may_use = _may_use(limits.memory_bytes)
        return f"The kernel crashed in native code (abort), as native libraries do when memory runs out: {may_use}."
    if number == signal.SIGXCPU and limits.cpu_s:
        return f"The kernel ran for too long: a process of it may use {limits.cpu_s:,} seconds of processor time."
    if number == signal.SIGBUS and limits.shm_bytes:
        full = f"/dev/shm, which holds at most {limits.shm_bytes // 1024**2} MiB, was full"
        return f"The kernel crashed in native code (bus error), or {full}."
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = str(number)
    return _SIGNALS.get(number, f"The kernel was ended by a signal ({name}).")


def entries_allowed(before: Held, most: int) -> int:
    """How many files and folders a kernel's folder may hold, if it held so many before."""
    return before.entries + SLACK_ENTRIES if before.entries > most else most


def over_disk(held: Held, before: Held, *, bound: int, most: int) -> str:
    """Why a kernel is ended for what its folder holds; "" within its bounds, or no more than was there `before`."""
    mend = "so its kernel was ended. Delete some and run again."
    if held.bytes > (before.bytes + SLACK_BYTES if before.bytes > bound else bound):
        return f"The notebook's files take more than {bound / GIB:.3g} GiB, {mend}"
    if held.entries > entries_allowed(before, most):
        return f"The notebook's folder holds more than {most:,} files, {mend}"
    if held.is_too_deep and not before.is_too_deep:
        return f"The notebook's folder holds folders in folders, too deep to look after, {mend}"
    return ""


def free_wanted(size_bytes: int) -> int:
    """How much of a file system has to be free for kernels to fill it: the server lives there, too."""
    return min(FREE_BYTES, size_bytes // 20)


def over_free(held: Held, roomy: Held) -> str:
    """Why a kernel is ended where the disk is nearly full; "" if its folder holds about as much as when it was not."""
    if held.bytes > roomy.bytes + SLACK_BYTES:
        return "The server's disk is nearly full and the notebook's files grew, so its kernel was ended."
    return ""


def most_left(bound: int, most: int, *, is_short: bool) -> Held:
    """What a folder may hold at most when its kernel was ended for that: what came last, above it, is deleted.

    That is something only where no kernel could start to delete it, or the disk has no room for others. What is newer
    than the last look that found the folder within its bounds no quota would have let be written.
    """
    allowed = bound if is_short else bound + OVER_BYTES
    return Held(max(0, allowed - SLACK_BYTES), most + OVER_ENTRIES)  # so that the next kernel has some room


def over_tasks(used: Usage, most: int) -> Death | None:
    """Why a kernel is ended that has more processes and threads than it may; None if it has not."""
    if used.processes > most:
        return Death("processes", f"The kernel started more than {most} processes, so it was ended.")
    if used.threads > most + TASKS_BESIDE:
        return Death("processes", f"The kernel started more than {most} processes and threads, so it was ended.")
    return None


def over_descriptors(found: Nameless) -> Death | None:
    """Why a kernel is ended whose open files cannot be looked through; None if they can."""
    if found.descriptors > MOST_OPEN:
        reason = f"The kernel's processes held more than {MOST_OPEN:,} files open at once, so it was ended."
        return Death("processes", reason)
    if found.is_hidden:
        return Death("processes", "A process of the kernel hid which files it has open, so the kernel was ended.")
    return None


def over_network(found: Nameless) -> Death | None:
    """Why a kernel is ended whose connections within itself hold too much; None if they do not."""
    if found.network_bytes > NETWORK_BYTES:
        held = f"{NETWORK_BYTES // 1024**2} MiB"
        reason = f"The kernel's connections to itself held more than {held} that nobody had read, so it was ended."
        return Death("memory", reason)
    return None


def without_main_thread() -> Death:
    """A kernel of which only other threads are left: no cell would ever run in it, nor the one that runs end."""
    return Death("exit", "The kernel's main thread ended, which runs the cells, so the kernel was ended.")


def far_over_disk(held: Held, *, bound: int, most: int) -> str:
    """Why no kernel starts in a folder that holds so much; "" for less. More than a kernel may hold is let be, so that
    it can be deleted; but what kernels write before they end by themselves adds up."""
    said = "and no kernel starts there: an operator has to delete some, or allow more."
    if held.bytes > bound + OVER_BYTES:
        return f"The notebook's files take more than {(bound + OVER_BYTES) / GIB:.3g} GiB, {said}"
    if held.entries > most + OVER_ENTRIES:
        return f"The notebook's folder holds more than {most + OVER_ENTRIES:,} files, {said}"
    return ""


def out_of_memory(memory_bytes: int) -> Death:
    """A kernel that took more than its limit, or that the system chose when memory ran out."""
    reason = f"The kernel ran out of memory: {_may_use(memory_bytes)}."
    return Death("memory", reason, signal=signal.SIGKILL)


def _may_use(memory_bytes: int) -> str:
    return f"it may use {memory_bytes / GIB:.3g} GiB"
