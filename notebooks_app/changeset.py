"""CodeMirror change sets on texts. Pure.

The JSON form of `ChangeSet.toJSON()` (codemirror.net/docs/ref/#state.ChangeSet): a list of sections; a number n keeps n
units; [n] deletes n; [n, line, line…] replaces n by the lines. Offsets count UTF-16 units and a line break is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

type ChangeSet = list[int | list[int | str]]


class BadChangeSet(ValueError):
    """The change set is malformed or does not fit the text it names."""


def utf16_length(text: str) -> int:
    """Length as JavaScript counts it: code points above U+FFFF are two units."""
    return len(text) + sum(1 for char in text if char > "\uffff") if not text.isascii() else len(text)


def apply(changes: Any, text: str) -> str:
    """The text after `changes`. Raises BadChangeSet, naming the section, if they do not fit."""
    units = text if text.isascii() or max(text) <= "\uffff" else None
    return _apply_plain(changes, units) if units is not None else _apply_wide(changes, text)


def compose(first: Any, second: Any) -> ChangeSet:
    """One change set that does what `first` and then `second` do.

    Raises BadChangeSet if `second` is not for a text of the length that `first` makes, or would leave half a character.
    """
    made = _Composed()
    queue = deque((kept, removed, _units(inserted)) for kept, removed, inserted in _sections(first))
    for number, (kept, removed, inserted) in enumerate(_sections(second)):
        made.take(queue, kept, number, is_kept=True)
        made.take(queue, removed, number, is_kept=False)
        made.insert(_units(inserted))
    made.take(queue, 0, 0, is_kept=True)
    if queue:
        raise BadChangeSet("The second change set is for a shorter text than the first one makes.")
    return made.sections()


class _Composed:
    """A change set being put together; `queue` holds what is left of the first one: kept, removed, inserted units."""

    def __init__(self) -> None:
        self._done: list[tuple[int, int, bytes]] = []

    def take(self, queue: deque[tuple[int, int, bytes]], count: int, number: int, *, is_kept: bool) -> None:
        """Take `count` units of what the first one makes, to keep or to remove; what it removes goes along."""
        while queue:
            kept, removed, inserted = queue.popleft()
            self._add(0, removed, b"")
            of_old, of_new = min(kept, count), min(len(inserted) // 2, count)
            self._add(of_old if is_kept else 0, 0 if is_kept else of_old, inserted[: 2 * of_new] if is_kept else b"")
            count -= of_old + of_new
            if kept > of_old or len(inserted) > 2 * of_new:
                queue.appendleft((kept - of_old, 0, inserted[2 * of_new :]))
                break
        if count:
            raise BadChangeSet(f"Section {number} of the second change set reaches beyond the text.")

    def insert(self, units: bytes) -> None:
        self._add(0, 0, units)

    def _add(self, kept: int, removed: int, inserted: bytes) -> None:
        if self._done and bool(kept) == bool(self._done[-1][0]):
            before = self._done[-1]
            self._done[-1] = (before[0] + kept, before[1] + removed, before[2] + inserted)
        elif kept or removed or inserted:
            self._done.append((kept, removed, inserted))

    def sections(self) -> ChangeSet:
        found: ChangeSet = []
        for kept, removed, inserted in self._done:
            if kept:
                found.append(kept)
            elif removed or inserted:
                found.append([removed, *_text(inserted).split("\n")] if inserted else [removed])
        return found


def _units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _text(units: bytes) -> str:
    try:
        return units.decode("utf-16-le")
    except UnicodeDecodeError:
        raise BadChangeSet("The change sets together would leave half a character.") from None


def replace_all(old: str, new: str) -> ChangeSet:
    """One change set that turns `old` into `new`: a common head and tail are kept."""
    head = _common(old, new, min(len(old), len(new)), lambda text, n: text[:n])
    limit = min(len(old), len(new)) - head
    tail = _common(old, new, limit, lambda text, n: text[len(text) - n :])
    sections: ChangeSet = []
    if head:
        sections.append(utf16_length(old[:head]))
    removed = utf16_length(old[head : len(old) - tail])
    inserted = new[head : len(new) - tail]
    if removed or inserted:
        sections.append([removed, *inserted.split("\n")] if inserted else [removed])
    if tail:
        sections.append(utf16_length(old[len(old) - tail :]))
    return sections


def _common(old: str, new: str, limit: int, part: Callable[[str, int], str]) -> int:
    """The largest n up to `limit` for which both texts have the same part of n characters, by halving."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if part(old, middle) == part(new, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _apply_plain(changes: Any, text: str) -> str:
    parts: list[str] = []
    at = 0
    for number, (kept, removed, inserted) in enumerate(_sections(changes)):
        if at + kept + removed > len(text):
            raise BadChangeSet(f"Section {number} of the change set reaches beyond the text.")
        parts.append(text[at : at + kept])
        parts.append(inserted)
        at += kept + removed
    if at != len(text):
        raise BadChangeSet(f"The change set is for a text of {at} units; this one has {len(text)}.")
    return "".join(parts)


def _apply_wide(changes: Any, text: str) -> str:
    """Texts with characters outside the basic plane: the same on UTF-16 units."""
    units = text.encode("utf-16-le", "surrogatepass")
    parts: list[bytes] = []
    at = 0
    for number, (kept, removed, inserted) in enumerate(_sections(changes)):
        if at + 2 * (kept + removed) > len(units):
            raise BadChangeSet(f"Section {number} of the change set reaches beyond the text.")
        parts.append(units[at : at + 2 * kept])
        parts.append(inserted.encode("utf-16-le", "surrogatepass"))
        at += 2 * (kept + removed)
    if at != len(units):
        raise BadChangeSet(f"The change set is for a text of {at // 2} units; this one has {len(units) // 2}.")
    return b"".join(parts).decode("utf-16-le", "replace")


def _sections(changes: Any) -> list[tuple[int, int, str]]:
    if not isinstance(changes, list):
        raise BadChangeSet("A change set is a list of sections.")
    sections = []
    for number, section in enumerate(changes):
        if _is_length(section):
            sections.append((section, 0, ""))
        elif isinstance(section, list) and section and _is_length(section[0]):
            lines = section[1:]
            if not all(isinstance(line, str) and "\n" not in line for line in lines):
                raise BadChangeSet(f"Section {number} of the change set must hold lines of text.")
            sections.append((0, section[0], "\n".join(lines)))
        else:
            raise BadChangeSet(f"Section {number} of the change set is neither a length nor a replacement.")
    return sections


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
