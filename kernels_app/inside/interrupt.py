"""The one SIGINT handler of the kernel's life, and the rule when it may raise (research/risks.md, 13 and 14).

An interrupt raises KeyboardInterrupt only where user code is on the main thread's stack, and not while a
frame of output is being written (then it is noted and raised after). A cell that awaits is cancelled.
Stopping the plan that the interrupt hit is plan.py's work, through `on_interrupt`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

CELL_FILE_PREFIX = "cell-"

_masked: set[CodeType] = set()
_user: set[CodeType] = set()
_noted = False
_count = 0
_awaiting: asyncio.Task[Any] | None = None
_on_interrupt: Callable[[], bool] | None = None


def masked[F: Callable[..., Any]](function: F) -> F:
    """Mark a function during which an interrupt is only noted; its caller calls `deliver` afterwards."""
    _masked.add(function.__code__)
    return function


def call_user(function: Callable[..., Any], *args: Any) -> Any:
    """Call user code: an interrupt below this frame, or noted just before it, raises KeyboardInterrupt."""
    if _noted:
        deliver()
    return function(*args)


async def await_user(awaitable: Any) -> Any:
    """Await user code: below this frame an interrupt raises; while it waits, its task is cancelled."""
    if _noted:
        deliver()
    return await awaitable


_user.add(call_user.__code__)
_user.add(await_user.__code__)


def set_awaiting(task: asyncio.Task[Any] | None) -> None:
    """Name the task of the cell that awaits now (None: no cell does)."""
    global _awaiting
    _awaiting = task


def install(on_interrupt: Callable[[], bool]) -> None:
    """Install the handler for the life of the process.

    `on_interrupt` hears of every interrupt first and says whether a plan runs.
    """
    global _on_interrupt
    _on_interrupt = on_interrupt
    signal.signal(signal.SIGINT, _handle)
    os.register_at_fork(after_in_child=_restore)


def keep() -> None:
    """Put the handler back if a cell or a library has replaced it."""
    if signal.getsignal(signal.SIGINT) is not _handle:
        signal.signal(signal.SIGINT, _handle)


def count() -> int:
    """How many interrupts have arrived; tells code whether one was swallowed meanwhile."""
    return _count


def noted() -> bool:
    """Whether an interrupt arrived while it could not raise, and was not delivered since."""
    return _noted


def deliver() -> None:
    """Raise an interrupt that was noted, if this is the main thread and user code is on its stack."""
    global _noted
    in_main = threading.current_thread() is threading.main_thread()
    if _noted and in_main and _reach(sys._getframe(1)) == "user":
        _noted = False
        raise KeyboardInterrupt


def forget() -> None:
    """Drop a noted interrupt: the plan it was meant for is over."""
    global _noted
    _noted = False


def send_to_self() -> None:
    """Deliver SIGINT to this process, and to its children if it leads its process group. Callable from any
    thread.
    """
    pid = os.getpid()
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGINT)
            return
    except OSError:
        pass
    os.kill(pid, signal.SIGINT)


def _handle(_signum: int, frame: FrameType | None) -> None:
    global _noted, _count
    _count += 1
    in_plan = _on_interrupt is not None and _on_interrupt()
    reach = _reach(frame)
    if reach == "user":
        if _awaiting is not None and not _on_stack(frame, _user):
            _cancel_awaiting()  # user code of another task holds the loop: stop both
        raise KeyboardInterrupt
    if reach == "masked":
        _noted = True
    elif _awaiting is not None:
        _cancel_awaiting()
    elif in_plan:
        _noted = True  # between two pieces of user code: the next one raises it


def _cancel_awaiting() -> None:
    task = _awaiting
    if task is not None and not task.done():
        task.get_loop().call_soon_threadsafe(task.cancel)  # also wakes a loop that sleeps in select


def _reach(frame: FrameType | None) -> str:
    """What the interrupt hit: "masked", "user" or "kernel" code; the innermost that counts decides."""
    while frame is not None:
        code = frame.f_code
        if code in _masked:
            return "masked"
        if code in _user or code.co_filename.startswith(CELL_FILE_PREFIX):
            return "user"
        frame = frame.f_back
    return "kernel"


def _on_stack(frame: FrameType | None, codes: set[CodeType]) -> bool:
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _restore() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
