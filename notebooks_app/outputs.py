"""What an attempt has shown: from the kernel's entries to operations for browsers, and outputs to save.

Pure. `OutputLog` holds the outputs of one attempt. Entries are those of docs/architecture.md, section 5,
operations those of section 3. How text becomes what a terminal would show is terminal.py's; files, rows and
sockets are the runtime's. Entries come from user code and are not believed: memory is bounded whatever
comes.

Rules. Neighbouring text of one stream is one item. NUL and lone surrogates become U+FFFD. NaN and
infinities in JSON values become null, since JSON has none; values nested deeper than MAX_DEPTH become null.
Limits count characters; `omitted_bytes` counts UTF-8. Offsets count UTF-16 units.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from notebooks_app.output_ops import common_prefix, utf16_from, utf16_length
from notebooks_app.terminal import Screen

Json = dict[str, Any]
LargeSink = Callable[
    [str, bytes], Json | None
]  # (MIME type, bytes) -> {"url", "size_bytes"}, or None: not kept
TextSink = Callable[[int, str], None]  # (item, next part of its whole text), from the text's start
Bundle = tuple[Json, int]  # data, metadata and files, cleaned and bounded, and its inline size in characters

MAX_ITEMS = 1_000
MAX_INLINE = 8 * 1024 * 1024  # characters of one attempt kept in rows
MAX_MIME_TYPES = 32
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_TRACEBACK = 200
MAX_SAME_DISPLAY = 50  # items that one update changes, of all logs together: the latest that show this display

_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_MIME = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,120}(?:; ?[\w.+-]{1,40}=[\w.+-]{1,40}){0,4}\Z", re.ASCII)
_ALTAIR_MIME = re.compile(r"application/vnd\.(vega|vegalite)\.v(\d+)\.json\Z")
_BOUNDED_NOTE = "More output was left out: this run has shown all that is kept of one run."
_NO_ROOM = "This update is not shown: this run has shown all that is kept of one run."


class _Stream:
    """The text of one stream item: committed head, omitted middle, committed tail, the screen's window."""

    def __init__(self, name: str, head_limit: int, tail_limit: int) -> None:
        self.name = name
        self.screen = Screen()
        self.head_limit, self.tail_limit = head_limit, tail_limit
        self.head: list[str] = []
        self.head_length = 0
        self.tail: deque[str] = deque()
        self.tail_length = 0
        self.omitted_bytes = 0
        self.omitted_lines = 0
        self.omitted_units = 0  # UTF-16 units after the head that are left out: where the tail starts
        self.waiting: (
            list[str] | None
        ) = []  # committed text the sink has not got: it gets it if the text is cut
        self.shown_from = 0  # UTF-16 units before `shown`: of the text, and once it is cut, after its head
        self.has_shown_cut = False
        self.shown = ""  # end of the text as the last operation left it
        self.files: Json = {}

    @property
    def is_cut(self) -> bool:
        return self.omitted_bytes > 0

    @property
    def length(self) -> int:
        return self.head_length + self.tail_length

    def commit(self, text: str, hand_on: Callable[[str], None] | None) -> None:
        """Add committed text."""
        if hand_on and self.waiting is None:
            hand_on(text)
        elif hand_on and self.waiting is not None:
            self.waiting.append(text)
        room = self.head_limit - self.head_length
        into_head, rest = text[:room], text[room:]
        if into_head:
            self.head.append(into_head)
            self.head_length += len(into_head)
        if rest:
            self.tail.append(rest)
            self.tail_length += len(rest)
            self._trim()
        if self.is_cut and hand_on and self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            hand_on("".join(waiting))

    def _trim(self) -> None:
        while self.tail_length > self.tail_limit:
            excess = self.tail_length - self.tail_limit
            first = self.tail.popleft()
            gone, kept = first[:excess], first[excess:]
            if kept:
                self.tail.appendleft(kept)
            self.tail_length -= len(gone)
            self.omitted_bytes += len(gone.encode())
            self.omitted_units += utf16_length(gone)
            self.omitted_lines += gone.count("\n")

    def cut(self) -> Json | None:
        if not self.is_cut:
            return None
        tail = "".join(self.tail) + self.screen.window()
        return {**self._counts(), "start": self.omitted_units, "tail": tail}

    def cut_op(self, index: int) -> Json:
        """The operation for what was added since the last one."""
        committed, window = "".join(self.tail), self.screen.window()
        start = self.omitted_units
        if self.shown_from < start:  # nothing of it is shown yet, or all that is has left the tail
            at, new = start, committed + window
        else:
            new = utf16_from(committed, self.shown_from - start) + window
            same = common_prefix(self.shown, new)
            at, new = self.shown_from + utf16_length(new[:same]), new[same:]
        self.shown_from, self.shown = start + utf16_length(committed), window
        return {"op": "cut", "item": index, **self._counts(), "start": start, "from": at, "tail": new}

    def _counts(self) -> Json:
        return {"omitted_bytes": self.omitted_bytes, "omitted_lines": self.omitted_lines}

    def as_json(self, index: int) -> Json:
        text = "".join(self.head)
        if not self.is_cut:
            text += "".join(self.tail) + self.screen.window()
        return {
            "index": index,
            "kind": "stream",
            "name": self.name,
            "text": text,
            "cut": self.cut(),
            "files": dict(self.files),
        }


class _Item:
    """An output that is not text of a stream."""

    def __init__(self, output: Json, size: int) -> None:
        self.output = output
        self.size = size

    def as_json(self, index: int) -> Json:
        return {"index": index, **self.output}


class OutputLog:
    """The outputs of one attempt, fed with the kernel's entries.

    `on_large(mime, bytes)` is given an item over `inline_limit` and returns where it will be found, or None
    if it is not kept. `on_text(item, part)` is given, in order and from the start, the whole text of every
    stream item that is too long to show in full; `on_clear()` says that all given so far is void. Without
    them the rest is dropped and the output says so. `on_repeat(bundle, count)` is asked where an update's display is
    shown by so many items beside the latest: it returns how many of them, the latest first, are changed too. An
    entry's `files` (MIME type to URL and size) are the runtime's own: it strips a kernel's.
    """

    def __init__(
        self,
        attempt: str,
        *,
        inline_limit: int = 65536,
        text_head: int = 65536,
        text_tail: int = 65536,
        on_large: LargeSink | None = None,
        on_text: TextSink | None = None,
        on_clear: Callable[[], None] | None = None,
        on_repeat: Callable[[Bundle, int], int] = lambda bundle, count: count,
    ) -> None:
        self.attempt = attempt
        self.unclaimed: deque[Json] = deque(
            maxlen=100
        )  # updates of displays that are not here, for other logs
        self.mark = 0
        self._limits = (inline_limit, text_head, text_tail)
        self._on_large, self._on_text, self._on_clear, self._on_repeat = on_large, on_text, on_clear, on_repeat
        self._items: list[_Stream | _Item] = []
        self._changed: list[int] = []  # for each item the mark of its last change
        self._cleared_at = 0
        self._clear_next = False
        self._inline = 0
        self._is_full = False
        self._displays: dict[str, list[int]] = {}  # the items of each display_id
        self._ops: list[Json] = []
        self._dirty: _Stream | None = None
        self._unsent: list[str] = []  # committed text of the dirty stream since its last operation
        self._behind: dict[_Stream, None] = {}  # cut streams whose tail has grown since their last operation

    @property
    def inline_size(self) -> int:
        """About how many characters its rows hold."""
        return self._inline

    @property
    def is_behind(self) -> bool:
        """Whether the tail of a text that was cut has grown since `tail_ops`."""
        return bool(self._behind)

    def feed(self, entries: Iterable[Mapping[str, Any]], *, with_tails: bool = True) -> list[Json]:
        """Take entries of this attempt; return the operations for browsers. Other kinds change nothing.

        The tail of a text that was cut is overtaken as fast as the kernel prints: who sends it on asks for it
        with `tail_ops` as often as somebody can read it.
        """
        for entry in _last_updates(entries):
            handler = self._handlers.get(_text(entry.get("t")))
            if handler:
                handler(self, entry)
        self._flush_text()
        ops, self._ops = self._ops, []
        return ops + self.tail_ops() if with_tails else ops

    def tail_ops(self) -> list[Json]:
        """Operations that bring the tails of cut texts up to now."""
        behind, self._behind = self._behind, {}
        return [stream.cut_op(self._items.index(stream)) for stream in behind]

    def finish(self) -> None:
        """The attempt has ended: hand the rest of texts that were cut to `on_text`."""
        for index, item in enumerate(self._items):
            if isinstance(item, _Stream) and item.is_cut and self._on_text:
                self._on_text(index, item.screen.window())

    def outputs(self) -> list[Json]:
        """All outputs as they are now, in the form of docs/architecture.md, section 2."""
        return [item.as_json(index) for index, item in enumerate(self._items)]

    def dirty_since(self, mark: int) -> tuple[list[Json], bool]:
        """The outputs changed after `mark` (a former `self.mark`), and whether earlier ones were cleared."""
        changed = [
            item.as_json(index) for index, item in enumerate(self._items) if self._changed[index] > mark
        ]
        return changed, self._cleared_at > mark

    def find_display(self, display_id: str) -> list[int]:
        """The items that show this display, at most the latest MAX_SAME_DISPLAY."""
        return self._displays.get(display_id, [])[-MAX_SAME_DISPLAY:]

    def show_update(self, bundle: Bundle, items: Iterable[int]) -> list[Json]:
        """Show an update's `bundle` in these items of its display: of this cell or of another."""
        self._show_update(bundle, items)
        ops, self._ops = self._ops, []
        return ops

    def set_file(self, item: int, mime: str, file: Json) -> list[Json]:
        """Say where the whole of an item is (for a long text: once `on_text` got all of it)."""
        target = self._items[item] if item < len(self._items) else None
        if target is None:
            return []
        files = target.files if isinstance(target, _Stream) else target.output.setdefault("files", {})
        files[mime] = file
        self._touch(item)
        return [{"op": "item", "item": item, "output": target.as_json(item)}]

    # --- entries ------------------------------------------------------------------------------------------

    def _stream(self, entry: Mapping[str, Any]) -> None:
        name = "stderr" if entry.get("name") == "stderr" else "stdout"
        self._write(name, clean_text(_text(entry.get("text"))))

    def _notice(self, entry: Mapping[str, Any]) -> None:
        self._write("stderr", clean_text(_text(entry.get("text"))).rstrip("\n") + "\n")

    def _display(self, entry: Mapping[str, Any]) -> None:
        if not self._make_room():
            return
        output, size = self.bundle(entry, MAX_INLINE - self._inline)
        kind = "execute_result" if entry.get("result") else "display_data"
        ordered = {
            "kind": kind,
            "data": output["data"],
            "metadata": output["metadata"],
            "display_id": display_id_of(entry),
            "files": output["files"],
        }
        if ordered["display_id"]:
            self._displays.setdefault(ordered["display_id"], []).append(len(self._items))
        self._add(_Item(ordered, size))

    def _update(self, entry: Mapping[str, Any]) -> None:
        found = self.find_display(display_id_of(entry) or "")
        if not found:
            self.unclaimed.append(dict(entry))
            return
        bundle = self.bundle(entry)
        more = self._on_repeat(bundle, len(found) - 1) if len(found) > 1 else 0
        self._show_update(bundle, found[-1 - more :])

    def _show_update(self, bundle: Bundle, items: Iterable[int]) -> None:
        self._flush_text()
        for index in items:
            item = self._items[index]
            assert isinstance(item, _Item)
            self._inline -= item.size
            fits = self._inline + bundle[1] <= MAX_INLINE
            output, size = bundle if fits else ({**bundle[0], "data": {"text/plain": _NO_ROOM}}, 0)
            shown = _Item({**item.output, **output, "files": dict(output["files"])}, size)
            self._items[index] = shown
            self._inline += size
            self._touch(index)
            self._ops.append({"op": "item", "item": index, "output": shown.as_json(index)})

    def _clear(self, entry: Mapping[str, Any]) -> None:
        if entry.get("wait"):
            self._clear_next = True
        else:
            self._clear_now()

    def _error(self, entry: Mapping[str, Any]) -> None:
        if not self._make_room(reserve=10):
            return
        limit = self._limits[0]
        lines = entry.get("traceback")
        lines = [clean_text(_text(line)) for line in lines[:MAX_TRACEBACK]] if isinstance(lines, list) else []
        share = max(1, limit // max(1, len(lines)))
        output = {
            "kind": "error",
            "ename": _shorten(clean_text(_text(entry.get("ename"))), 1000),
            "evalue": _shorten(clean_text(_text(entry.get("evalue"))), limit),
            "traceback": [_shorten(line, max(share, 2000)) for line in lines],
            "files": {},
        }
        self._add(_Item(output, len(output["evalue"]) + sum(map(len, output["traceback"]))))

    _handlers: dict[str, Callable[[OutputLog, Mapping[str, Any]], None]] = {
        "stream": _stream,
        "notice": _notice,
        "display": _display,
        "update": _update,
        "clear": _clear,
        "error": _error,
    }

    # --- items --------------------------------------------------------------------------------------------

    def _write(self, name: str, text: str) -> None:
        if not text:
            return
        last = self._items[-1] if self._items and not self._clear_next else None
        if not (isinstance(last, _Stream) and last.name == name):
            if not self._make_room():
                return
            last = _Stream(name, self._limits[1], self._limits[2])
            self._add(last)
        if self._dirty is not last:
            self._flush_text()
            self._dirty = last
        before = last.length
        index = len(self._items) - 1
        hand_on = partial(self._on_text, index) if self._on_text else None
        committed = last.screen.write(text)
        if committed:
            last.commit(committed, hand_on)
            if not last.is_cut:
                self._unsent.append(committed)
        self._inline += last.length - before
        self._touch(index)

    def _flush_text(self) -> None:
        """Make the operations that bring browsers up to date with the stream written to last."""
        stream, self._dirty = self._dirty, None
        unsent, self._unsent = "".join(self._unsent), []
        if stream is None:
            return
        index = self._items.index(stream)
        if not stream.is_cut:
            self._ops += self._text_ops(index, stream, unsent)
            return
        if not stream.has_shown_cut:  # the text becomes its head, and the tail is told with it
            head = "".join(stream.head)
            self._ops.append({"op": "text", "item": index, "name": stream.name, "from": 0, "text": head})
            stream.has_shown_cut, stream.shown_from, stream.shown = True, -1, ""
            self._ops.append(stream.cut_op(index))
        else:
            self._behind[stream] = None

    def _text_ops(self, index: int, stream: _Stream, unsent: str) -> list[Json]:
        window = stream.screen.window()
        now = unsent + window
        same = common_prefix(stream.shown, now)
        start = stream.shown_from + utf16_length(now[:same])
        is_new = not stream.shown and not stream.shown_from
        changed = len(now) != same or len(stream.shown) != same
        stream.shown_from += utf16_length(unsent)
        stream.shown = window
        if not changed and not is_new:
            return []
        return [{"op": "text", "item": index, "name": stream.name, "from": start, "text": now[same:]}]

    def _add(self, item: _Stream | _Item) -> None:
        self._flush_text()
        self._items.append(item)
        self._changed.append(0)
        index = len(self._items) - 1
        self._touch(index)
        if isinstance(item, _Item):
            self._inline += item.size
            self._ops.append({"op": "item", "item": index, "output": item.as_json(index)})

    def _touch(self, index: int) -> None:
        self.mark += 1
        self._changed[index] = self.mark

    def _clear_now(self) -> None:
        self._dirty, self._unsent, self._behind = None, [], {}
        self._items, self._changed = [], []
        self._displays = {}
        self._inline, self._is_full, self._clear_next = 0, False, False
        self.mark += 1
        self._cleared_at = self.mark
        if self._on_clear:
            self._on_clear()
        self._ops.append({"op": "clear"})

    def _make_room(self, reserve: int = 0) -> bool:
        """Whether another item may be added; the first refusal is said in an item of its own."""
        if self._clear_next:
            self._clear_now()
        if len(self._items) < MAX_ITEMS + reserve and (reserve or self._inline < MAX_INLINE):
            return True
        if not self._is_full:
            self._is_full = True
            note = _Item(_note(_BOUNDED_NOTE), 0)
            self._add(note)
        return False

    # --- MIME bundles -------------------------------------------------------------------------------------

    def bundle(self, entry: Mapping[str, Any], room: int = MAX_INLINE) -> Bundle:
        """What a display or an update of one shows, of at most `room` characters."""
        data: Json = {}
        files: Json = {}
        size = 0
        for mime, value in list(_mapping(entry.get("data")).items())[:MAX_MIME_TYPES]:
            if not (isinstance(mime, str) and _MIME.match(mime)):
                continue
            value, length = _mime_value(mime, value)
            if length <= self._limits[0] and size + length <= room:
                data[mime] = value
                size += length
            elif file := self._spill(mime, value):
                files[mime] = file
            else:
                data.setdefault(
                    "text/plain", f"{mime} of {length:,} characters is not shown: it is too large."
                )
        files |= {
            mime: dict(file)
            for mime, file in list(_mapping(entry.get("files")).items())[:MAX_MIME_TYPES]
            if isinstance(file, Mapping)
        }
        metadata, length = clean_json(_mapping(entry.get("metadata")))
        return {"data": data, "metadata": metadata if length < 16384 else {}, "files": files}, size

    def _spill(self, mime: str, value: Any) -> Json | None:
        if self._on_large is None:
            return None
        if not isinstance(value, str):
            return self._on_large(mime, json.dumps(value).encode())
        if mime.startswith("image/") and mime != "image/svg+xml":
            try:
                return self._on_large(mime, base64.b64decode(value))
            except (binascii.Error, ValueError):
                return None
        return self._on_large(mime, value.encode())


def canonical_mime(mime: str) -> str:
    """The one spelling we keep: Altair 6 says `application/vnd.vegalite.v6.json` for what others end in `+json`."""
    return _ALTAIR_MIME.sub(r"application/vnd.\1.v\2+json", mime)


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD: what a database and UTF-8 can hold."""
    return _UNSAFE.sub("\ufffd", text)


def clean_json(value: Any) -> tuple[Any, int]:
    """A JSON value that every parser and database takes, and about how many characters it is.

    NaN and infinities become null, and so does what is nested deeper than MAX_DEPTH or comes after
    MAX_NODES values.
    """
    left = MAX_NODES
    size = 0

    def clean(value: Any, depth: int) -> Any:
        nonlocal left, size
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            return None
        if isinstance(value, str):
            size += len(value) + 2
            return clean_text(value)
        if isinstance(value, bool) or value is None:
            size += 5
            return value
        if isinstance(value, int):
            size += 1 + value.bit_length() // 3
            return value
        if isinstance(value, float):
            size += 12
            return value if math.isfinite(value) else None
        if isinstance(value, Mapping):
            size += 2 + sum(len(str(key)) + 3 for key in value)
            return {clean_text(str(key)): clean(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            size += 2 + len(value)
            return [clean(item, depth + 1) for item in value]
        return None

    return clean(value, 0), size


def is_json_mime(mime: str) -> bool:
    base = mime.split(";")[0]
    return base == "application/json" or base.endswith("+json")


def _mime_value(mime: str, value: Any) -> tuple[Any, int]:
    """A cleaned value of this MIME type and its length: JSON types are JSON, all others text."""
    if is_json_mime(mime):
        return clean_json(value)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    text = clean_text(value if isinstance(value, str) else json.dumps(clean_json(value)[0]))
    return text, len(text)


def _note(text: str) -> Json:
    return {"kind": "stream", "name": "stderr", "text": text + "\n", "cut": None, "files": {}}


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n… {len(text) - limit:,} characters left out …\n{text[-(limit // 2) :]}"


def _last_updates(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries without updates of a display that a later one of them updates again: nobody would see those."""
    kept: list[Mapping[str, Any]] = []
    later: set[str] = set()
    for entry in reversed(list(entries)):
        if entry.get("t") == "update":
            display_id = display_id_of(entry) or ""
            if display_id in later:
                continue
            later.add(display_id)
        kept.append(entry)
    return kept[::-1]


def display_id_of(entry: Mapping[str, Any]) -> str | None:
    """As it is kept and looked for."""
    return clean_text(_text(entry.get("display_id")))[:200] or None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
