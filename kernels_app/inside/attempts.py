"""Which attempt output belongs to, and each attempt's text on its way into frames.

The current attempt is a context variable; threads and executor tasks inherit it (before Python 3.14 they
would not). Text goes through one C TextIOWrapper per attempt and stream, whose sink is a deque's `append`:
no Python runs between taking the text and queueing it, so that no thread can come between
(research/risks.md, 15).
"""

from __future__ import annotations

import concurrent.futures
import io
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, NoReturn

from .frames import FrameWriter
from .interrupt import masked

DISPLAY_LIMIT = 10_000
EAGER_LINES = 16
DEFAULT_TEXT_LIMIT_BYTES = 64 * 1024 * 1024


class _Sink(io.BufferedIOBase):
    """The far side of a TextIOWrapper: `write` is replaced by a deque's append."""

    name = "cell output"

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self.write = append  # type: ignore[method-assign, assignment]

    def writable(self) -> bool:
        return True


class Attempt:
    """One execution of one cell, as far as its output goes. `id` is None for output that is nobody's."""

    text_limit_bytes = DEFAULT_TEXT_LIMIT_BYTES

    __slots__ = (
        "active",
        "cell",
        "chunks",
        "displays",
        "failed",
        "id",
        "left_bytes",
        "number",
        "write",
        "_chunks",
        "_eager",
        "_wrappers",
    )

    def __init__(self, id: str | None, cell: str = "", number: int = 0) -> None:
        self.id = id
        self.cell = cell
        self.number = number
        self.failed = False
        self.displays = 0
        self.left_bytes = self._share_bytes()
        self.active: str | None = None
        self.chunks: deque[bytes] = deque()
        self.write: Callable[[str], int] = len
        self._chunks: dict[str, deque[bytes]] = {}
        self._eager = 0
        self._wrappers: dict[str, io.TextIOWrapper] = {}

    @masked
    def select(self, name: str) -> None:
        """Make `name` (stdout or stderr) the stream that `write` writes to; the other's text goes first."""
        self.pump()
        with _lock:
            if name not in self._wrappers:
                chunks = self._chunks[name] = deque()
                self._wrappers[name] = io.TextIOWrapper(
                    _Sink(chunks.append), "utf-8", "surrogatepass", newline="", line_buffering=True
                )
            wrapper = self._wrappers[name]
            if self.active is None:  # 16 ms have passed
                self._eager = EAGER_LINES
            if wrapper.line_buffering != (self._eager > 0):
                wrapper.reconfigure(line_buffering=self._eager > 0)
            self.chunks = self._chunks[name]
            self.write = wrapper.write if self.left_bytes > 0 else len
            self.active = name
            _live.add(self)
        writer().wake()

    @masked
    def pump(self) -> None:
        """Move all text written so far into the open frame."""
        for name, wrapper in list(self._wrappers.items()):
            wrapper.flush()
            self.take(name)

    @masked
    def take(self, name: str) -> None:
        """Move the queued chunks of one stream into the open frame, in order, up to the attempt's cap."""
        chunks = self._chunks[name]
        with _lock:
            while chunks:
                data = chunks.popleft()
                if self.left_bytes <= 0:
                    continue
                self.left_bytes -= len(data)
                writer().text(self.id, name, data.decode("utf-8", "surrogatepass"))
                if self.left_bytes <= 0:
                    self._cap_text()
                if self._eager and name == self.active:
                    self._tire(name)

    def _tire(self, name: str) -> None:
        """The first lines of every 16 ms go into the open frame one by one: they outlive a process that ends at once.
        More would cost too much; they are gathered.
        """
        self._eager -= 1
        if not self._eager:
            self._wrappers[name].reconfigure(line_buffering=False)

    def may_display(self, size_bytes: int) -> bool:
        """Count one display of that size; False once the attempt has had its share (said once)."""
        self.displays += 1
        if self.displays == DISPLAY_LIMIT + 1:
            self._notice(f"Output stopped at {DISPLAY_LIMIT:,} display items.")
        if self.displays > DISPLAY_LIMIT or self.left_bytes <= 0:
            return False
        if size_bytes > self.left_bytes:
            self.left_bytes = 0
            self._cap_text()
            return False
        self.left_bytes -= size_bytes
        return True

    @masked
    def clear(self, *, wait: bool) -> None:
        """Clear the output, and with it what counts towards the caps."""
        self.pump()
        with _lock:
            self.displays, self.left_bytes, self.active = 0, self._share_bytes(), None
        writer().push({"t": "clear", "attempt": self.id, "wait": wait})

    def _share_bytes(self) -> float:
        return self.text_limit_bytes if self.id is not None else math.inf

    def _cap_text(self) -> None:
        self.write = len
        size = self.text_limit_bytes
        shown = f"{size / 1024 / 1024:.0f} MB" if size >= 1024 * 1024 else f"{size} bytes"
        self._notice(f"Output stopped at {shown}.")

    def _notice(self, text: str) -> None:
        if self.id is not None:
            writer().push({"t": "notice", "attempt": self.id, "text": text})


NOBODY = Attempt(None)

_current: ContextVar[Attempt | None] = ContextVar("rillbook_attempt", default=None)
_running: Attempt = NOBODY
_lock = threading.RLock()
_live: set[Attempt] = set()
_resting: set[Attempt] = set()
_writer: FrameWriter | None = None


def writer() -> FrameWriter:
    """The kernel's frame writer; set by `start`."""
    assert _writer is not None
    return _writer


def start(frame_writer: FrameWriter) -> None:
    """Begin routing: threads and executors inherit the attempt, text is collected every 16 ms."""
    global _writer
    _writer = frame_writer
    frame_writer.start(_collect)
    _inherit_in_threads()
    _inherit_in_executors()
    _collect_at_exit()


def current() -> Attempt:
    """The attempt of this context; where there is none (a C library's thread), that of the running cell."""
    return _current.get() or _running


def current_id() -> str | None:
    """The id of the current attempt; None where output is nobody's."""
    return current().id


def running() -> Attempt:
    """The attempt of the cell that runs now, or NOBODY."""
    return _running


def enter(attempt: Attempt) -> Token[Attempt | None]:
    """Make `attempt` the one that runs now, in this context; undone by `leave`."""
    global _running
    _running = attempt
    return _current.set(attempt)


def leave(token: Token[Attempt | None]) -> None:
    global _running
    _running = NOBODY
    _current.reset(token)


def attribute(attempt: Attempt) -> Token[Attempt | None]:
    """Attribute this context's output to `attempt` without saying that its cell runs; undone by
    `unattribute`.
    """
    return _current.set(attempt)


def unattribute(token: Token[Attempt | None]) -> None:
    _current.reset(token)


@masked
def collect() -> None:
    """Move all attempts' waiting text into the open frame."""
    with _lock:
        waiting = {*_live, *_resting}
    for attempt in waiting:
        attempt.pump()


def _collect() -> bool:
    """Move waiting text into the frame. An attempt rests only after two rounds: a writer may be half-way."""
    global _resting
    with _lock:
        live = list(_live)
        resting = list(_resting)
        _live.clear()
        _resting = set(live)
        for attempt in live:
            attempt.active = None
    for attempt in {*live, *resting}:
        attempt.pump()
    return bool(live)


def _inherit_in_threads() -> None:
    start_thread = threading.Thread.start
    bootstrap = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def start(self: threading.Thread) -> None:
        self._rillbook_attempt = _current.get()  # type: ignore[attr-defined]
        start_thread(self)

    def _bootstrap_inner(self: threading.Thread) -> None:
        _current.set(getattr(self, "_rillbook_attempt", None))
        bootstrap(self)

    threading.Thread.start = start  # type: ignore[method-assign]
    threading.Thread._bootstrap_inner = _bootstrap_inner  # type: ignore[attr-defined]


def _inherit_in_executors() -> None:
    submit = concurrent.futures.ThreadPoolExecutor.submit

    def attributed(attempt: Attempt, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        token = _current.set(attempt)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    def submit_attributed(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        attempt = _current.get()
        if attempt is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, attributed, attempt, fn, *args, **kwargs)

    concurrent.futures.ThreadPoolExecutor.submit = submit_attributed  # type: ignore[method-assign]


def _collect_at_exit() -> None:
    """`os._exit` ends the process without a word; what was printed before it is not lost."""
    leave, process = os._exit, os.getpid()

    def _exit(status: int) -> NoReturn:
        if os.getpid() == process:  # a forked child's output is not here
            collect()
        leave(status)

    os._exit = _exit
