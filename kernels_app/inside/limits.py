"""What the kernel's process takes upon itself before any user code: limits, priority, and not outliving its
server.

The sandbox around it and the watch from outside are the server's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import MutableMapping

PREFIXES = ("RILLBOOK_", "KERNEL_")
KEPT = ("RILLBOOK_SAMPLE_DB",)  # documented for SQL cells
NICE = 10
CPU_GRACE_S = 5  # from SIGXCPU, which says why a process ends, to SIGKILL, which does not
_PR_SET_PDEATHSIG = 1
_LIMITS = {
    "KERNEL_MEMORY_BYTES": resource.RLIMIT_AS,
    "KERNEL_PROCESSES": resource.RLIMIT_NPROC,
    "KERNEL_FILE_BYTES": resource.RLIMIT_FSIZE,
    "KERNEL_FILES": resource.RLIMIT_NOFILE,
    "KERNEL_CPU_S": resource.RLIMIT_CPU,
    "RILLBOOK_LIMIT_MEMORY_BYTES": resource.RLIMIT_AS,
    "RILLBOOK_LIMIT_PROCESSES": resource.RLIMIT_NPROC,
    "RILLBOOK_LIMIT_FILE_BYTES": resource.RLIMIT_FSIZE,
}


def apply(environ: MutableMapping[str, str]) -> None:
    """Set limits and priority of this process. Raises ValueError for a limit that is not a whole number."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = environ.get("KERNEL_PARENT_PID")
    if parent and os.getppid() != int(parent):
        sys.exit("The server that started this kernel is gone.")  # before prctl could hear of it
    _set(resource.RLIMIT_CORE, 0)
    for name, limit in _LIMITS.items():
        value = environ.get(name)
        if value and not (limit == resource.RLIMIT_NPROC and environ.get("KERNEL_SANDBOX") in ("none", "landlock")):
            _set(limit, int(value))  # without a namespace, processes are counted with all others of this user
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # interrupts reach child processes, and nobody else


def take_settings(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Remove our variables, and those that would mislead ipykernel, from the environment; return them."""
    names = [name for name in environ if name.startswith(PREFIXES) and name not in KEPT]
    settings = {name: environ.pop(name) for name in names}
    for name in ("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "JPY_SESSION_NAME", "PYTHONSTARTUP"):
        environ.pop(name, None)
    return settings


def _set(limit: int, value: int) -> None:
    most, hard = value + CPU_GRACE_S if limit == resource.RLIMIT_CPU else value, resource.getrlimit(limit)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(OSError):
        resource.setrlimit(limit, (min(value, most), most))
