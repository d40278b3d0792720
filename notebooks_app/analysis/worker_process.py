"""The worker process of `AnalysisPool`: answers requests on an inherited socket until it closes.

It never runs what it reads. Its own limit on memory is set here; the pool watches the clock (worker.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing.connection import Connection

from notebooks_app.analysis import TOO_DEEP, Analysis, analyse


def serve(pipe: Connection) -> None:
    """Say "ready", then one answer a request; None stands for out of memory."""
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
        pipe.send(None if answer is not None and _ran_out_of_memory(answer) else answer)


def _ran_out_of_memory(answer: Analysis) -> bool:
    """`analyse` takes MemoryError for nesting that CPython's parser refuses; in here it may be the limit."""
    return any(error.message == TOO_DEEP for error in answer.errors) and _address_space_is_short()


def _address_space_is_short() -> bool:
    try:
        bytearray(64 * 1024**2)
    except MemoryError:
        return True
    return False


def limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):  # macOS refuses this one; the clock still bounds the worker
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    os.nice(5)
    limit_memory(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])))
