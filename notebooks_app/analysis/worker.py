"""Runs analysis within limits of time and memory: what is read quickly here, the rest in a process of its own.

Effects live here (a child process, locks, clocks); what analysis finds is the pure package's, and what
the child does is in worker_process.py. A source that makes the child too slow or too big costs that
child; the cell gets an error, for the same text again at once, and the next source a new child.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from notebooks_app.analysis import MAX_BYTES, TOO_MUCH, Analysis, analyse, failed
from notebooks_app.analysis.effort import Effort, TooMuchWork

IN_PROCESS_CHARACTERS = 20_000  # of effort.py: 0.1 s at most, and some ms of ordinary cells
TIMEOUT_S = 5.0
START_TIMEOUT_S = 20.0  # importing IPython on a busy machine
MEMORY_BYTES = 1024**3
GIVEN_UP_AT_MOST = 1_000  # texts that are remembered
_ROOT = Path(__file__).resolve().parents[2]

type _Request = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection


@dataclass(frozen=True, slots=True)
class _Threads:
    """One for each kind: the interpreter runs one, and the worker answers one."""

    quick: ThreadPoolExecutor
    waiting: ThreadPoolExecutor


class AnalysisPool:
    """One worker process, started when the first source comes that takes more, and replaced when it fails.
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
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._given_up: dict[tuple[str, bytes], Analysis] = {}
        self._threads: _Threads | None = None
        self._threads_lock = threading.Lock()  # apart: the other is held while the worker is asked
        atexit.register(self.close)

    def analyse_sync(
        self, cell_type: str, source: str, *, result_name: str = "", on_connection: bool = False
    ) -> Analysis:
        """As `analysis.analyse`; blocks this thread, with others in front for some seconds at worst."""
        request = self._request(cell_type, source, result_name, on_connection)
        return self._at_once(request) or self._by_worker(request)

    async def analyse(
        self, cell_type: str, source: str, *, result_name: str = "", on_connection: bool = False
    ) -> Analysis:
        """The same for asyncio, in threads of the pool's own: those that wait for the worker are in nobody's way."""
        request = self._request(cell_type, source, result_name, on_connection)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executors().quick, self._at_once, request)
        if found is None:
            found = await loop.run_in_executor(self._executors().waiting, self._by_worker, request)
        return found

    def close(self) -> None:
        """End the worker and the threads. Using the pool again starts them anew."""
        with self._threads_lock:
            threads, self._threads = self._threads, None
        for executor in (threads.quick, threads.waiting) if threads else ():
            executor.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._end_child()
        atexit.unregister(self.close)

    def _executors(self) -> _Threads:
        with self._threads_lock:
            if self._threads is None:
                self._threads = _Threads(
                    quick=ThreadPoolExecutor(1, thread_name_prefix="analysis"),
                    waiting=ThreadPoolExecutor(1, thread_name_prefix="analysis-worker"),
                )
            return self._threads

    def _request(self, cell_type: str, source: str, result_name: str, on_connection: bool) -> _Request:
        options = {"result_name": result_name, "on_connection": on_connection, "max_bytes": self._max_bytes}
        return cell_type, source, options

    def _at_once(self, request: _Request) -> Analysis | None:
        """The answer where it is known or quickly found, in this process; None: ask the worker."""
        cell_type, source, options = request
        try:
            return analyse(cell_type, source, effort=Effort(IN_PROCESS_CHARACTERS), **options)
        except TooMuchWork:
            return self._given_up.get(_key(request))

    def _by_worker(self, request: _Request) -> Analysis:
        """Others that wait for the same text learn from the first that it takes too much."""
        with self._lock:
            return self._given_up.get(_key(request)) or self._ask(request)

    def _ask(self, request: _Request) -> Analysis:
        """Send to the worker and wait. One that had died since the last request is replaced once."""
        for _ in range(2):
            fresh = self._child is None
            try:
                child = self._ready_child()
                child.pipe.send(request)
                if not child.pipe.poll(self._timeout_s):
                    return self._give_up(
                        request,
                        failed(
                            f"This cell could not be analysed within {self._timeout_s:g} s. "
                            "Split it into smaller cells."
                        ),
                    )
                answer: Analysis = child.pipe.recv()
            except (OSError, EOFError):  # it died: of this source, or of another cause before
                self._end_child()
                if fresh:
                    break
                continue
            if any(error.message == TOO_MUCH for error in answer.errors):
                return self._give_up(request, answer)
            return answer
        return failed(TOO_MUCH)

    def _give_up(self, request: _Request, answer: Analysis) -> Analysis:
        """End the worker, of which nobody knows what it still holds, and remember the answer."""
        self._end_child()
        if len(self._given_up) >= GIVEN_UP_AT_MOST:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[_key(request)] = answer
        return answer

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


def _key(request: _Request) -> tuple[str, bytes]:
    cell_type, source, _ = request
    return cell_type, hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
