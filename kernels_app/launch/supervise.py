"""The parent of a kernel that has no process namespace: what the kernel leaves behind ends with it.

Daemons that forked twice become children of this process (it is their subreaper), so they are found. It stays outside
the kernel's walls, and does nothing but wait. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 200


def supervise(become: Callable[[], Any], *, uid: int | None) -> None:
    """Fork: the child becomes the kernel. Ends with its code, or 128 + its signal, once nothing of it is left."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        become()
    status: int | None = None
    while status is None:
        caught = signal.sigwait([signal.SIGTERM, signal.SIGCHLD])
        if caught == signal.SIGTERM:
            break
        status = _reap(child)
    end_all(uid)
    if status is None:
        os._exit(128 + signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def end_all(uid: int | None) -> None:
    """SIGKILL to every descendant until there is none; to every process of the kernel's own uid, if it has one."""
    for _ in range(_ROUNDS):
        pids = descendants(os.getpid())
        if uid:
            _kill_uid(uid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(0)
        if not pids:
            return
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                    found += map(int, file.read().split())
        except OSError:
            continue
    return found[1:]


def _kill_uid(uid: int) -> None:
    """All at once, so that no fork gets away; from a child that is this uid, because then nobody else can be hit."""
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _reap(wanted: int) -> int | None:
    """Collect every child that ended; the status of the one that was asked for, if it is among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == wanted:
            status = ended
