"""The worker process of `AnalysisPool`: answers requests on an inherited socket until it closes.

It never runs what it reads. Its own limit on memory is set here; the pool watches the clock (worker.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing.connection import Connection

from notebooks_app.analysis import analyse


def serve(pipe: Connection) -> None:
    """Say "ready", then give one answer a request."""
    pipe.send("ready")
    while True:
        try:
            cell_type, source, options = pipe.recv()
        except EOFError:
            return
        pipe.send(analyse(cell_type, source, **options))


def limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(
        ValueError, OSError
    ):  # macOS refuses this one; the clock still bounds the worker
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    os.nice(5)
    limit_memory(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])))
