"""moto's server, one request after the other: its backends are no code for threads, and Terraform asks ten at a time.

    python -m tests.terraform.moto_in_turn PORT
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class InTurn:
    """Connections have threads of their own, for clients keep some open and silent; answers are made one by one."""

    def __init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._turn:
            return list(self._application(environ, start_response))


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), InTurn(), threaded=True)
