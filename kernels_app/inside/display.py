"""Displays and results: from an object to an entry, by IPython's formatters. Large items go to the spool.

Which attempt a display belongs to is attempts.py's answer; how tables look is tables.py's.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipykernel.zmqshell import ZMQDisplayPublisher
from IPython.core.displayhook import DisplayHook
from IPython.core.formatters import DisplayFormatter

from . import attempts, frames, interrupt

INLINE_BYTES = 64 * 1024
BUNDLE_INLINE_BYTES = 4 * INLINE_BYTES
SPOOL = ".spool"
LOST = "An output of {:,} bytes was not kept, for the notebook's folder took no file of it: {}."
BINARY_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


class Formatter(DisplayFormatter):
    """IPython's formatters, with the chart libraries told to give their data instead of pages of script."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> Any:
        _configure_altair()
        return super().format(obj, include=include, exclude=exclude)


class Publisher(ZMQDisplayPublisher):
    """`display()`, `update_display` and `clear_output`, as entries of the current attempt."""

    def publish(  # type: ignore[override]
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_ignored: Any,
    ) -> None:
        self._validate_data(data, metadata)
        display_id = (transient or {}).get("display_id")
        if update:
            publish(data, metadata, display_id=display_id, update=True)
        else:
            publish(data, metadata, display_id=display_id)

    def clear_output(self, wait: bool = False) -> None:
        attempts.current().clear(wait=bool(wait))
        interrupt.deliver()


class ResultHook(DisplayHook):
    """`sys.displayhook` for code that IPython itself runs (a cell magic's body). Keeps nothing: no `_`, no
    `Out`.
    """

    topic = None
    session: Any = None
    pub_socket: Any = None

    def set_parent(self, parent: Any) -> None:
        """Results know their attempt."""

    def __call__(self, result: Any = None) -> None:
        if result is not None and not self.quiet():
            show_result(self.shell, result)


def show_result(shell: Any, value: Any) -> None:
    """Display the value of a cell's last expression, as its execute_result."""
    data, metadata = shell.display_formatter.format(value)
    if data:
        publish(data, metadata, result=True)


def publish(
    data: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    display_id: str | None = None,
    update: bool = False,
    result: bool = False,
) -> None:
    """Send one MIME bundle as a display, an update of one, or a result of the current attempt."""
    attempt = attempts.current()
    forms = {frames.clean_name(mime): _forms(mime, value) for mime, value in data.items()}
    if not update and not attempt.may_display(sum(len(raw) for _, raw in forms.values())):
        return  # an update replaces what was counted
    attempt.pump()
    inline, spooled, lost = _split(forms)
    entry: dict[str, Any] = {
        "t": "update" if update else "display",
        "attempt": attempt.id,
        "data": inline,
        "metadata": dict(metadata or {}),
        "display_id": None if display_id is None else frames.clean_name(str(display_id)),
        "spool": spooled,
    }
    if not update:
        entry["result"] = result
    attempts.writer().push(entry)
    if lost and lost not in inline.values():
        attempts.writer().push({"t": "notice", "attempt": attempt.id, "text": lost})
    attempts.writer().wait_for_room()
    interrupt.deliver()


def _split(forms: Mapping[str, tuple[Any, bytes]]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What travels in the frame, what was put in the spool, and what is said of the rest, of a bundle."""
    inline: dict[str, Any] = {}
    spooled: dict[str, Any] = {}
    room, lost = BUNDLE_INLINE_BYTES, ""
    for mime, (carried, raw) in forms.items():
        size = len(carried) if isinstance(carried, str) else len(raw)
        if size > min(INLINE_BYTES, room):
            try:
                spooled[mime] = _spool(raw)
                continue
            except OSError as error:
                if size > INLINE_BYTES:  # the server takes no larger item but from the spool
                    lost = LOST.format(len(raw), error.strerror or error)
                    continue
        inline[mime] = carried
        room -= size
    if lost and not inline and not spooled:
        inline["text/plain"] = lost
    return inline, spooled, lost


def _forms(mime: str, value: Any) -> tuple[Any, bytes]:
    """A value as it travels inline (text, base64, JSON) and as raw bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        return base64.b64encode(raw).decode("ascii"), raw
    if isinstance(value, str) and mime in BINARY_TYPES:
        try:
            return value, base64.b64decode(value, validate=False)
        except ValueError:
            return value, value.encode("utf-8", "replace")
    if isinstance(value, str):
        return value, value.encode("utf-8", "replace")
    raw = frames.encode(value)
    return value, raw


def _spool(raw: bytes) -> dict[str, Any]:
    """Write bytes to the spool. Raises OSError if the folder cannot take them, and leaves nothing of them."""
    name = secrets.token_hex(16)
    folder = spool_folder()
    path = folder / name
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(raw)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return {"file": name, "size_bytes": len(raw)}


_started_in = Path.cwd()
_work = os.open(".", os.O_RDONLY | os.O_CLOEXEC)


def work_folder() -> Path:
    """The folder the kernel started in, wherever user code has gone since, and by its present name.

    A pooled kernel's folder is renamed when a notebook claims it; an open descriptor follows.
    """
    try:
        return Path(os.readlink(f"/proc/self/fd/{_work}"))
    except OSError:
        return _started_in


def spool_folder() -> Path:
    return work_folder() / SPOOL


_altair_done = False


def _configure_altair() -> None:
    """Have altair give Vega-Lite JSON, unless the notebook has chosen another renderer itself."""
    global _altair_done
    if _altair_done:
        return
    altair = sys.modules.get("altair")
    renderers = getattr(altair, "renderers", None)
    if renderers is None:
        return
    _altair_done = True
    if renderers.active in ("default", "html"):
        renderers.enable("mimetype")
