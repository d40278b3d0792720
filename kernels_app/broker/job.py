"""One query in the broker: how it is stopped, and the single answer it gives."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from .errors import BrokerError, QueryCancelled, QueryTimeout

SEVER_AFTER_S = 2.0


class Job:
    """Stopped by its time or by a person: first by asking the database, then by cutting the line to it."""

    def __init__(self, id: str, timeout_s: float, answer: Callable[[dict[str, Any]], None]) -> None:
        self.id = id
        self.timeout_s = timeout_s
        self.stopped_by: str | None = None
        self._answer: Callable[[dict[str, Any]], None] | None = answer
        self._lock = threading.Lock()
        self._cancel: Callable[[], None] | None = None
        self._sever: Callable[[], None] | None = None
        self._ended = threading.Event()
        self._timer = threading.Timer(timeout_s, self.stop, ["timeout"])
        self._timer.daemon = True
        self._timer.start()

    def attach(self, cancel: Callable[[], None], sever: Callable[[], None]) -> None:
        """Say how what runs from now on is stopped. Raises if it was stopped before."""
        with self._lock:
            self._cancel, self._sever = cancel, sever
        self.check()

    def check(self) -> None:
        error = self.stop_error()
        if error is not None:
            raise error

    def stop_error(self) -> BrokerError | None:
        if self.stopped_by == "timeout":
            return QueryTimeout(f"The query took longer than {self.timeout_s:g} s and was stopped.")
        if self.stopped_by == "cancel":
            return QueryCancelled("The query was cancelled.")
        return None

    def stop(self, by: str) -> None:
        """Stop it from any thread; the first reason counts. While it still connects, it is answered at
        once."""
        with self._lock:
            if self.stopped_by or self._ended.is_set():
                return
            self.stopped_by = by
            cancel = self._cancel
        error = self.stop_error()
        if cancel is None:
            if error is not None:
                self.answer({"ok": False, "error": error.as_json()})
            return
        threading.Thread(target=self._escalate, args=(cancel,), daemon=True).start()

    def _escalate(self, cancel: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):
            cancel()
        if not self._ended.wait(SEVER_AFTER_S) and self._sever is not None:
            with contextlib.suppress(Exception):
                self._sever()

    def answer(self, message: dict[str, Any]) -> None:
        """Send the answer, once."""
        with self._lock:
            send, self._answer = self._answer, None
        if send is not None:
            send({"id": self.id, **message})

    def end(self) -> None:
        self._ended.set()
        self._timer.cancel()
