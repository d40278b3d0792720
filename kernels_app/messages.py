"""What a kernel says, checked: pure.

User code shares the process with our extension and holds the signing key, so it can forge any message.
Nothing here raises for what came over the wire: an entry of the wrong shape is left out and counted.
Whether an attempt is one that runs, and what an output becomes, is the runtime's and
notebooks_app/outputs.py's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from kernels_app.inside.namespace import TOLD_UNDECLARED

Entry = dict[str, Any]

OUTCOMES = frozenset({"ok", "error", "interrupted", "skipped"})
MAX_ENTRIES = 20_000
MAX_ID = 64
MAX_NAMES = 200_000  # more than the largest source that is analysed can bind
MAX_NAME = 1_000
MAX_TEXT = 1024 * 1024
MAX_MIME_TYPES = 32
MAX_TRACEBACK = 200
MAX_FILE_NAME = 128
MAX_DURATION_MS = 2**31 - 1  # what the database holds: 24 days

_UNSAFE = re.compile("[\x00\ud800-\udfff]")  # no database takes these


class _Wrong(Exception):
    """The value is not what the protocol says."""


def clean_entries(value: Any) -> tuple[list[Entry], int]:
    """The entries of a frame (docs/architecture.md, section 5) that are well-formed, and how many are not.

    Each entry has exactly the fields of its kind; fields that the protocol does not know are gone.
    """
    if not isinstance(value, list):
        return [], 1
    entries: list[Entry] = []
    for item in value[:MAX_ENTRIES]:
        entry = clean_entry(item)
        if entry is not None:
            entries.append(entry)
    return entries, len(value) - len(entries)


def clean_entry(value: Any) -> Entry | None:
    """One well-formed entry, or None."""
    if not isinstance(value, dict) or not isinstance(value.get("t"), str):
        return None
    fields = _KINDS.get(value["t"])
    if fields is None:
        return None
    try:
        return {"t": value["t"]} | {name: check(value.get(name)) for name, check in fields.items()}
    except _Wrong:
        return None


def clean_finished(value: Any) -> list[Entry]:
    """The `finished` entries that a plan's reply repeats."""
    entries, _ = clean_entries(value)
    return [entry for entry in entries if entry["t"] == "finished"]


def asked_names(entry: Entry, asked: frozenset[str]) -> Entry:
    """A `finished` entry with only those of its names that the attempt was asked to bind, beside the undeclared ones.

    The names of a plan are kept until it ends, and those of a cell for as long as it is loaded.
    """
    return entry | {field: sorted(asked.intersection(entry[field])) for field in ("names", "kept")}


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates as U+FFFD."""
    return _UNSAFE.sub("\ufffd", text)


def clean_ids(value: Any) -> list[str]:
    """The attempt ids of a list."""
    if not isinstance(value, list):
        return []
    return [item for item in value[:MAX_ENTRIES] if isinstance(item, str) and 0 < len(item) <= MAX_ID]


def _id(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_ID:
        return value
    raise _Wrong


def _id_or_none(value: Any) -> str | None:
    return None if value is None else _id(value)


def _text(value: Any) -> str:
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    raise _Wrong


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) <= MAX_NAME and not _UNSAFE.search(value):
        return value
    raise _Wrong


def _display_id(value: Any) -> str | None:
    return None if value is None else _short(value)


def _stream_name(value: Any) -> str:
    if value in ("stdout", "stderr"):
        return str(value)
    raise _Wrong


def _version(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    raise _Wrong


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _Wrong


def _outcome(value: Any) -> str:
    if isinstance(value, str) and value in OUTCOMES:
        return value
    raise _Wrong


def _duration(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (isinstance(value, int) or math.isfinite(value)) and value >= 0:
        return float(min(value, MAX_DURATION_MS))
    raise _Wrong


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list) and len(value) <= MAX_NAMES:
        return [_short(item) for item in value]
    raise _Wrong


def _undeclared(value: Any) -> list[str]:
    names = _names(value)
    if len(names) <= TOLD_UNDECLARED:
        return names
    raise _Wrong


def _traceback(value: Any) -> list[str]:
    if isinstance(value, list) and len(value) <= MAX_TRACEBACK:
        return [_text(item) for item in value]
    raise _Wrong


def _data(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and len(value) <= MAX_MIME_TYPES:
        return value
    raise _Wrong


def _metadata(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _spool(value: Any) -> dict[str, dict[str, Any]]:
    """MIME type to {"file", "size_bytes"}; the name and size are claims that spool.py checks."""
    files: dict[str, dict[str, Any]] = {}
    if value is None:
        return files
    for mime, claim in _data(value).items():
        if not isinstance(claim, Mapping) or not isinstance(claim.get("file"), str):
            raise _Wrong
        if len(claim["file"]) > MAX_FILE_NAME:
            raise _Wrong
        files[_short(mime)] = {"file": claim["file"], "size_bytes": _version(claim.get("size_bytes"))}
    return files


_KINDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "started": {"attempt": _id, "cell": _id, "version": _version},
    "stream": {"attempt": _id_or_none, "name": _stream_name, "text": _text},
    "display": {
        "attempt": _id,
        "data": _data,
        "metadata": _metadata,
        "display_id": _display_id,
        "result": _flag,
        "spool": _spool,
    },
    "update": {"attempt": _id, "display_id": _short, "data": _data, "metadata": _metadata, "spool": _spool},
    "clear": {"attempt": _id, "wait": _flag},
    "error": {"attempt": _id, "ename": _text, "evalue": _text, "traceback": _traceback},
    "finished": {
        "attempt": _id,
        "outcome": _outcome,
        "names": _names,
        "kept": _names,
        "undeclared": _undeclared,
        "duration_ms": _duration,
    },
    "notice": {"attempt": _id_or_none, "text": _text},
    "note": {"attempt": _id, "text": _text},
}
