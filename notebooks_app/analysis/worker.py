"""Runs analysis within limits of time and memory: small sources here, larger ones in a process of its own.

Effects live here (a child process, locks, clocks); what analysis finds is the pure package's. A source that makes the
child too slow or too big costs that child; the cell gets an error and the next source a new child.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from notebooks_app.analysis import MAX_BYTES, Analysis, analyse, failed

IN_PROCESS_BYTES = 20_000  # takes some 10 ms at most: less than asking another process is worth
TIMEOUT_S = 5.0
START_TIMEOUT_S = 20.0  # importing IPython on a busy machine
MEMORY_BYTES = 1024**3
JOIN_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Child:
    process: BaseProcess
    pipe: Connection


class AnalysisPool:
    """One worker process, started when the first large source comes and replaced when it fails. Thread-safe.

    `timeout_s` bounds one analysis in the worker, `memory_bytes` the worker's address space. `close` ends the worker.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        in_process_bytes: int = IN_PROCESS_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._in_process_bytes = in_process_bytes
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._threads: ThreadPoolExecutor | None = None
        atexit.register(self.close)

    def analyse_sync(
        self, cell_type: str, source: str, *, result_name: str = "", on_connection: bool = False
    ) -> Analysis:
        """As `analysis.analyse`; blocks this thread, with others in front for some seconds at worst."""
        options = {"result_name": result_name, "on_connection": on_connection, "max_bytes": self._max_bytes}
        if len(source) <= self._in_process_bytes or len(source) > self._max_bytes:
            return analyse(cell_type, source, **options)  # type: ignore[arg-type]  # too large: said without reading
        with self._lock:
            return self._ask((cell_type, source, options))

    async def analyse(
        self, cell_type: str, source: str, *, result_name: str = "", on_connection: bool = False
    ) -> Analysis:
        """The same for asyncio: the loop goes on meanwhile."""
        call = lambda: self.analyse_sync(  # noqa: E731
            cell_type, source, result_name=result_name, on_connection=on_connection
        )
        return await asyncio.get_running_loop().run_in_executor(self._executor(), call)

    def close(self) -> None:
        """End the worker and the threads. Using the pool again starts them anew."""
        with self._lock:
            self._end_child()
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        atexit.unregister(self.close)

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="analysis")
            return self._threads

    def _ask(self, request: tuple[str, str, dict[str, Any]]) -> Analysis:
        """Send to the worker and wait. One that had died since the last request is replaced once."""
        for _ in range(2):
            fresh = self._child is None
            try:
                child = self._ready_child()
                child.pipe.send(request)
                if not child.pipe.poll(self._timeout_s):
                    self._end_child()
                    return failed(f"This cell could not be analysed within {self._timeout_s:g} s. Split it into smaller cells.")
                answer: Analysis | None = child.pipe.recv()
            except (OSError, EOFError):
                self._end_child()
                if fresh:
                    break
                continue
            if answer is None:  # out of memory: what it still holds is unknown
                self._end_child()
                break
            return answer
        limit = f"{self._memory_bytes / 1024**2:,.0f} MiB"
        return failed(f"Analysing this cell takes more memory than its limit of {limit}. Split it into smaller cells.")

    def _ready_child(self) -> _Child:
        if self._child is not None and self._child.process.is_alive():
            return self._child
        self._end_child()
        context = multiprocessing.get_context("spawn")  # forking a process with threads may deadlock
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._memory_bytes), name="rillbook-analysis", daemon=True
        )
        with _without_main():
            process.start()
        theirs.close()
        self._child = _Child(process, ours)
        if not ours.poll(START_TIMEOUT_S):
            raise EOFError("the analysis worker did not start")
        ours.recv()
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.pipe.close()
        child.process.kill()
        child.process.join(JOIN_TIMEOUT_S)


@contextlib.contextmanager
def _without_main() -> Any:
    """Keep the worker from importing the server's main module again, as spawn would."""
    import sys

    main = sys.modules["__main__"]
    kept = {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__dict__.setdefault("__spec__", None)
    try:
        yield
    finally:
        main.__dict__.update(kept)


def _serve(pipe: Connection, memory_bytes: int) -> None:
    """The worker: answers requests until its pipe closes. None stands for out of memory."""
    _limit_memory(memory_bytes)
    os.nice(5)
    pipe.send("ready")
    while True:
        try:
            cell_type, source, options = pipe.recv()
        except EOFError:
            return
        try:
            answer: Analysis | None = analyse(cell_type, source, **options)
        except MemoryError:
            answer = None
        pipe.send(answer)


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):  # macOS refuses limits on the address space; time still bounds it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
