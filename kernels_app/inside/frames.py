"""Frames of entries on their way out: batched, numbered without gaps, bounded in size and in unsent bytes.

Knows nothing of cells or displays; entries come from attempts.py, display.py and plan.py. The limits are
those of docs/architecture.md, section 5 (`rill_frame`).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from json.encoder import encode_basestring  # type: ignore[attr-defined]
from typing import Any

from .interrupt import masked
from .journal import Journal

FRAME_BYTES = 64 * 1024
FLUSH_S = 0.016
UNSENT_LIMIT_BYTES = 1024 * 1024
TEXT_PIECE = 8192  # characters; at most 6 bytes each in JSON, so one piece always fits a frame
TEXT_END = b'"}'

SERVICE_THREADS = ("Control", "Shell channel", "IOPub", "rill-frames")
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_SURROGATES = re.compile("[\ud800-\udfff]")

Send = Callable[[bytes, Callable[[], None]], None]


class FrameWriter:
    """Collects entries, from any thread, and hands out frames in order through `send(content, when_sent)`."""

    def __init__(self, send: Send, journal: Journal | None = None) -> None:
        self._send = send
        self._journal = journal
        self._lock = threading.RLock()  # re-entrant: a finalizer may print while a frame is being written
        self._wake = threading.Event()
        self.plan: str | None = None
        self._number = 0
        self._entries: list[bytes] = []
        self._text_key: tuple[str | None, str] | None = None
        self._text_head = b""
        self._text: list[bytes] = []
        self._size = 0
        self._unsent = 0

    def start(self, collect: Callable[[], bool]) -> None:
        """Start the thread that sends what is left 16 ms after it came.

        `collect` is called first each time: it moves waiting text here and says whether to come back.
        """
        self._collect = collect
        threading.Thread(target=self._run, name="rill-frames", daemon=True).start()

    def wake(self) -> None:
        """Have the open frame sent within 16 ms."""
        if not self._wake.is_set():
            self._wake.set()

    @masked
    def push(self, entry: dict[str, Any]) -> None:
        """Add one entry (anything but text) to the open frame."""
        data = encode(entry)
        with self._lock:
            self._close_text()
            if self._size and self._size + len(data) > FRAME_BYTES:
                self._seal()
            self._entries.append(data)
            self._note(data)
            self._size += len(data) + 1
            if self._size >= FRAME_BYTES:
                self._seal()
        self.wake()

    @masked
    def text(self, attempt: str | None, name: str, text: str) -> None:
        """Add text; pieces of one attempt and stream become one entry of a frame."""
        with self._lock:
            for start in range(0, len(text), TEXT_PIECE):
                piece = encode_basestring(_clean(text[start : start + TEXT_PIECE]))[1:-1].encode()
                if self._size and self._size + len(piece) + 200 > FRAME_BYTES:
                    self._close_text()
                    self._seal()
                if self._text_key != (attempt, name):
                    self._close_text()
                    self._open_text(attempt, name)
                self._text.append(piece)
                self._note(self._text_head + piece + TEXT_END)
                self._size += len(piece)

    @masked
    def flush(self) -> None:
        """Send the open frame now, if it holds anything."""
        with self._lock:
            self._close_text()
            if self._entries:
                self._seal()

    def wait_for_room(self) -> None:
        """Block the calling thread while over 1 MB is unsent: the reader's pace is the writer's.
        Interruptible.

        Threads that keep the kernel answering never wait.
        """
        if self._unsent <= UNSENT_LIMIT_BYTES:
            return
        name = threading.current_thread().name
        if name in SERVICE_THREADS or name.startswith("subshell-"):
            return
        while self._unsent > UNSENT_LIMIT_BYTES:
            time.sleep(0.002)

    def _open_text(self, attempt: str | None, name: str) -> None:
        self._text_key = (attempt, name)
        head = json.dumps({"t": "stream", "attempt": attempt, "name": name})[:-1]
        self._text_head = f'{head}, "text": "'.encode()
        self._size += 120

    def _close_text(self) -> None:
        if self._text_key is None:
            return
        self._entries.append(self._text_head + b"".join(self._text) + TEXT_END)
        self._text_key = None
        self._text = []

    def _note(self, entry: bytes) -> None:
        """Keep an entry of the open frame where it outlives the process. Text is kept piece by piece."""
        if self._journal is not None:
            self._journal.add(self._number, entry)

    def _seal(self) -> None:
        head = json.dumps({"plan": self.plan, "frame": self._number})[:-1].encode()
        content = head + b', "entries": [' + b",".join(self._entries) + b"]}"
        self._number += 1
        self._entries = []
        self._size = 0
        self._unsent += len(content)
        self._send(content, lambda: self._sent(len(content)))

    def _sent(self, size: int) -> None:
        with self._lock:
            self._unsent -= size

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(FLUSH_S)
            if self._collect():
                self._wake.set()
            self.flush()


def encode(value: Any) -> bytes:
    """JSON as UTF-8; what JSON cannot say (not-a-number, foreign objects, lone surrogates) is replaced."""
    try:
        return _to_json(value).encode()
    except (TypeError, ValueError, RecursionError):
        return _to_json(_plain(value, 0)).encode()


def _plain(value: Any, depth: int) -> Any:
    """A value JSON can say: NaN and infinities become null, foreign numbers numbers, the rest text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str):
        return _clean(value)
    if depth < 200 and isinstance(value, dict):
        return {_clean(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if depth < 200 and isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return _plain(value.item(), depth + 1)
    if depth < 200 and hasattr(value, "tolist"):
        return _plain(value.tolist(), depth + 1)
    return _clean(str(value))


def clean_name(text: str, most: int = 200) -> str:
    """A name as the server takes it: without NUL and lone surrogates, which no database holds, and not endless."""
    return _clean(text.replace("\0", "�"))[:most]


def _clean(text: str) -> str:
    return text if text.isascii() else _SURROGATES.sub("�", text)
