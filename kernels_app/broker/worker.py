"""The broker's child process: reads requests, runs each query on a thread of its own, answers.

Started by client.py with one socket. It holds passwords only while a query runs, and ends with the server.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import socket
import sys
import threading
from typing import Any

from notebooks_app.connections import ParsedDsn, parse_dsn
from notebooks_app.targets import Targets

from . import wire
from .arrow_file import ArrowFile
from .errors import BrokerError, QueryError, scrub
from .job import Job
from .values import decode

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
THREAD_STACK_BYTES = 1024 * 1024
DATABASES = {"postgresql": "kernels_app.broker.postgres", "sqlite": "kernels_app.broker.sqlite"}


def main(descriptor: int, memory_bytes: int, parent: int) -> None:
    """Serve until the server closes its end."""
    _confine(memory_bytes, parent)
    threading.stack_size(THREAD_STACK_BYTES)
    threading.excepthook = _quiet
    Worker(socket.socket(fileno=descriptor)).serve()
    os._exit(
        0
    )  # queries still running end with the process; their connections close, and the database with them


def _confine(memory_bytes: int, parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no other process of this user reads its memory
    if os.getppid() != parent:
        os._exit(0)


def _quiet(arguments: Any) -> None:
    """No traceback: its values could be secrets."""
    print(f"broker: a thread ended with {arguments.exc_type.__name__}", file=sys.stderr)


class Worker:
    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        self.sending = threading.Lock()

    def serve(self) -> None:
        while (request := wire.receive(self.line)) is not None:
            if request["op"] == "cancel":
                with self.lock:
                    job = self.jobs.get(request["query"])
                if job is not None:
                    job.stop("cancel")
            else:
                self._start(request)

    def _start(self, request: dict[str, Any]) -> None:
        job = Job(request["id"], float(request["timeout_s"]), self._send)
        with self.lock:
            self.jobs[job.id] = job
        try:
            threading.Thread(target=self._work, args=(request, job), daemon=True).start()
        except RuntimeError:
            self._end(job, QueryError("The server cannot run another query now."))

    def _work(self, request: dict[str, Any], job: Job) -> None:
        secrets: tuple[str, ...] = (request["dsn"],)
        try:
            dsn = parse_dsn(request.pop("dsn"), operator=True)
            secrets += (dsn.password,)
            targets = Targets.from_json(request.pop("targets"))
            is_query = request["op"] == "query"
            result = _query(dsn, request, job, targets) if is_query else _schema(dsn, job, targets)
            job.answer({"ok": True, "result": result})
            error: BrokerError | None = None
        except BrokerError as known:
            error = known
        except ValueError as wrong:
            error = QueryError(str(wrong))
        except MemoryError:
            error = QueryError(
                "The result is too large for the server's memory. Select fewer rows or columns."
            )
        except BaseException as unexpected:
            error = QueryError(f"The query failed in the server: {type(unexpected).__name__}.")
        if error is not None:
            error.message = scrub(error.message, secrets)
        self._end(job, error)

    def _end(self, job: Job, error: BrokerError | None) -> None:
        job.end()
        with self.lock:
            self.jobs.pop(job.id, None)
        if error is not None:
            job.answer({"ok": False, "error": error.as_json()})

    def _send(self, message: dict[str, Any]) -> None:
        with self.sending:
            self.line.sendall(wire.pack(message))


def _query(dsn: ParsedDsn, request: dict[str, Any], job: Job, targets: Targets) -> dict[str, Any]:
    """Run it; no file is left unless it has a result."""
    sql = request["sql"]
    if "\0" in sql:
        raise QueryError("The query holds a NUL character.")
    values = decode(request["values"])
    file = ArrowFile(request["path"], row_cap=request["row_cap"], byte_cap=request["byte_cap"])
    try:
        database = importlib.import_module(DATABASES[dsn.driver])
        result = database.run(dsn, sql, values, job, file, targets)
    except OSError as error:
        file.discard()
        raise QueryError(f"The result cannot be written: {error.strerror or 'input/output error'}.") from None
    except BaseException:
        file.discard()
        raise
    return result


def _schema(dsn: ParsedDsn, job: Job, targets: Targets) -> list[dict[str, Any]]:
    return importlib.import_module(DATABASES[dsn.driver]).schema(dsn, job, targets)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
