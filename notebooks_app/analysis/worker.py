"""Runs analysis within limits of time and memory: small sources here, larger ones in a process of its
own.

Effects live here (a child process, locks, clocks); what analysis finds is the pure package's, and what
the child does is in worker_process.py. A source that makes the child too slow or too big costs that
child; the cell gets an error and the next source a new child.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from notebooks_app.analysis import MAX_BYTES, TOO_MUCH, Analysis, analyse, failed

IN_PROCESS_BYTES = 20_000  # takes some 10 ms at most: less than asking another process is worth
TIMEOUT_S = 5.0
START_TIMEOUT_S = 20.0  # importing IPython on a busy machine
MEMORY_BYTES = 1024**3
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection


class AnalysisPool:
    """One worker process, started when the first large source comes and replaced when it fails.
    Thread-safe.

    `timeout_s` bounds one analysis in the worker, `memory_bytes` the worker's address space. `close`
    ends the worker.
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
        call = partial(
            self.analyse_sync, cell_type, source, result_name=result_name, on_connection=on_connection
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
                    return failed(
                        f"This cell could not be analysed within {self._timeout_s:g} s. "
                        "Split it into smaller cells."
                    )
                answer: Analysis = child.pipe.recv()
            except (OSError, EOFError):  # it died: of this source, or of another cause before
                self._end_child()
                if fresh:
                    break
                continue
            if any(error.message == TOO_MUCH for error in answer.errors):
                self._end_child()  # what it still holds is unknown
            return answer
        return failed(TOO_MUCH)

    def _ready_child(self) -> _Child:
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        self._end_child()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "notebooks_app.analysis.worker_process",
                    str(theirs.fileno()),
                    str(self._memory_bytes),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={
                    "PYTHONPATH": str(_ROOT),
                    "PATH": os.environ.get("PATH", ""),
                },  # none of the server's secrets
                cwd=_ROOT,
                start_new_session=True,  # a Ctrl+C in the terminal is the server's
            )
            self._child = _Child(process, Connection(ours.detach()))
        if not self._child.pipe.poll(START_TIMEOUT_S):
            raise EOFError("the analysis worker did not start")
        self._child.pipe.recv()
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.pipe.close()
        child.process.kill()
        child.process.wait()
