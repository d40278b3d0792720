"""Errors of user code as entries: ename, evalue and a traceback with ANSI colours, cells' own frames first in
rank.

Frames of cells show their lines with a caret below the failing part; frames of libraries take two lines;
frames of this package are left out. Renamed private names are shown as their author wrote them.
"""

from __future__ import annotations

import itertools
import linecache
import os
import re
import traceback
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from .interrupt import CELL_FILE_PREFIX
from .private import strip_prefix

CONTEXT_LINES = 2
FRAMES_SHOWN = 40
MEMBERS_SHOWN = 15  # of an exception group, as in Python
GROUP_DEPTH = 10
VERSIONS_KEPT = 50
EVALUE_CHARACTERS = 16 * 1024
LINE_CHARACTERS = 400
RED, GREEN, CYAN, DIM, RESET = "\x1b[31;1m", "\x1b[32;1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_RUNTIME = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
_titles: dict[str, str] = {}
_versions: dict[str, dict[str, None]] = {}


class Refused(Exception):
    """What user code asked for is not done in a notebook; the message says what to do instead."""


def register_source(filename: str, title: str, source: str) -> None:
    """Make a cell's text known to tracebacks, `inspect` and warnings under its file name.

    The last 50 versions of each cell are kept: functions of an older one may live on elsewhere.
    """
    _titles[filename] = title
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    versions = _versions.setdefault(filename.rpartition("-v")[0], {})
    versions[filename] = None
    if len(versions) > VERSIONS_KEPT:
        oldest = next(iter(versions))
        del versions[oldest], _titles[oldest]
        linecache.cache.pop(oldest, None)


def entry(error: BaseException, attempt: str | None) -> dict[str, Any]:
    """The `error` entry of an exception. Never raises: a broken `__str__` is reported as such."""
    ename = strip_prefix(type(error).__name__)
    try:
        evalue = strip_prefix(_cut(_text(error), EVALUE_CHARACTERS))
        lines = [strip_prefix(part) for part in _render(error)]
    except Exception:
        evalue = evalue if "evalue" in locals() else "<message not available>"
        lines = [f"{RED}{ename}{RESET}: {evalue}"]
    return {"t": "error", "attempt": attempt, "ename": ename, "evalue": evalue, "traceback": lines}


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


def _render(error: BaseException) -> list[str]:
    """The parts of the traceback: chained causes first, the error itself last."""
    if callable(custom := getattr(error, "_render_traceback_", None)):
        parts = custom()
        if isinstance(parts, list):
            return [str(part) for part in parts]
    parts = []
    for link, joint in _chain(error):
        parts += _head(link) + list(_frames(link.__traceback__)) + _tail(link)
        if joint:
            parts.append(joint + "\n")
    return parts


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """The error and what led to it, oldest first, each with the sentence that leads to the next."""
    links: list[tuple[BaseException, str]] = [(error, "")]
    seen = {id(error)}
    link: BaseException = error
    while len(links) < 10:
        if link.__cause__ is not None:
            before, joint = (
                link.__cause__,
                "The above exception was the direct cause of the following exception:",
            )
        elif link.__context__ is not None and not link.__suppress_context__:
            before, joint = (
                link.__context__,
                "During handling of the above exception, another exception occurred:",
            )
        else:
            break
        if id(before) in seen:
            break
        seen.add(id(before))
        links.append((before, joint))
        link = before
    return links[::-1]


def _head(error: BaseException) -> list[str]:
    name = type(error).__name__
    return [f"{RED}{name}{RESET}{'Traceback (most recent call last)':>{max(75 - len(name), 35)}}"]


def _tail(error: BaseException) -> list[str]:
    """The last lines: where a SyntaxError is, the type and message with Python's own hints, and notes."""
    if isinstance(error, BaseExceptionGroup):
        return [*_own_line(error), *_members(error)]
    parts = [_syntax_place(error)] if isinstance(error, SyntaxError) and error.lineno else []
    if isinstance(error, SyntaxError):
        message = _text(error)
        notes = list(getattr(error, "__notes__", ()))
    else:
        described = traceback.TracebackException(type(error), error, None, compact=True)
        _hint(described, error)
        text = "".join(described.format_exception_only()).rstrip("\n")
        message, notes = text, []
        name, _, rest = text.partition(":")
        message = (
            rest.lstrip(" ") if rest and name.rpartition(".")[2] == type(error).__name__ else _text(error)
        )
        notes = (
            list(getattr(error, "__notes__", ()))
            if message == _text(error) and _text(error) not in text
            else []
        )
    line = f"{RED}{type(error).__name__}{RESET}"
    message = _cut(message, EVALUE_CHARACTERS)
    return [*parts, f"{line}: {message}" if message else line, *(str(note) for note in notes)]


def _own_line(error: BaseException) -> list[str]:
    message = _cut(_text(error), EVALUE_CHARACTERS)
    notes = (str(note) for note in getattr(error, "__notes__", ()))
    return [f"{RED}{type(error).__name__}{RESET}: {message}", *notes]


def _members(group: BaseExceptionGroup[Any], depth: int = 1) -> list[str]:
    """The errors of a group, each with its own frames, set in by a bar as Python draws them."""
    parts: list[str] = []
    bar = f"{DIM}|{RESET} "
    for number, error in enumerate(group.exceptions[:MEMBERS_SHOWN], start=1):
        parts.append(f"{DIM}+---- {number} of {len(group.exceptions)} ----{RESET}")
        is_group = isinstance(error, BaseExceptionGroup) and depth < GROUP_DEPTH
        own = _own_line(error) if isinstance(error, BaseExceptionGroup) else _tail(error)
        inner = [*_frames(error.__traceback__), *own]
        inner += _members(error, depth + 1) if is_group and isinstance(error, BaseExceptionGroup) else []
        parts += [bar + line for part in inner for line in part.rstrip("\n").split("\n")]
    left = len(group.exceptions) - MEMBERS_SHOWN
    parts += [f"{DIM}... {left} more errors{RESET}"] if left > 0 else []
    return ["\n".join(parts)] if depth == 1 else parts


def _hint(described: traceback.TracebackException, error: BaseException) -> None:
    """Have "Did you mean" computed from the frames, which `TracebackException` needs the traceback for."""
    compute = getattr(traceback, "_compute_suggestion_error", None)
    if compute is None or not isinstance(error, NameError | AttributeError | ImportError):
        return
    wrong = (
        getattr(error, "name_from", None) if isinstance(error, ImportError) else getattr(error, "name", None)
    )
    try:
        suggestion = compute(error, error.__traceback__, wrong) if wrong else None
    except Exception:
        return
    if suggestion:
        described._str += f". Did you mean: '{strip_prefix(suggestion)}'?"  # type: ignore[attr-defined]


def _syntax_place(error: SyntaxError) -> str:
    line = error.lineno or 1
    text = error.text if error.text is not None else linecache.getline(error.filename or "", line)
    shown = _cut(text.rstrip("\n"), LINE_CHARACTERS)
    part = f"{_place(error.filename or '<unknown>', line, '')}\n{GREEN}----> {line:>3}{RESET} {shown}"
    if error.offset:
        end = error.end_offset if error.end_lineno == line and error.end_offset else error.offset + 1
        part += "\n" + " " * (10 + error.offset) + "^" * max(1, min(end - error.offset, LINE_CHARACTERS))
    return part


def _frames(start: TracebackType | None) -> Iterator[str]:
    """The frames of a traceback, ours left out, long runs and repeated ones shortened."""
    frames = list(_visible(start))
    if len(frames) > FRAMES_SHOWN:
        half = FRAMES_SHOWN // 2
        left_out = f"{DIM}    ... {len(frames) - 2 * half} frames left out ...{RESET}\n"
        yield from (_frame(frame, line, code_line) for frame, line, code_line in frames[:half])
        yield left_out
        frames = frames[-half:]
    for frame, line, code_line in frames:
        yield _frame(frame, line, code_line)


def _visible(start: TracebackType | None) -> Iterator[tuple[FrameType, int, tuple[int, int] | None]]:
    """(frame, line, columns of the failing part if on one line) of each frame a person wants to see."""
    link = start
    while link is not None:
        filename = link.tb_frame.f_code.co_filename
        hidden = (
            filename.startswith(_HERE)
            or filename in _RUNTIME
            or "__tracebackhide__" in link.tb_frame.f_locals
        )
        if not hidden:
            yield (
                link.tb_frame,
                link.tb_lineno or 0,
                _columns(link.tb_frame.f_code, link.tb_lasti, link.tb_lineno),
            )
        link = link.tb_next


def _columns(code: CodeType, instruction: int, line: int | None) -> tuple[int, int] | None:
    if instruction < 0 or not code.co_filename.startswith(CELL_FILE_PREFIX):
        return None
    position = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if position is None:
        return None
    start_line, end_line, start, end = position
    if start_line != line or end_line != line or start is None or end is None:
        return None
    return start, end


def _frame(frame: FrameType, line: int, columns: tuple[int, int] | None) -> str:
    filename = frame.f_code.co_filename
    place = _place(filename, line, frame.f_code.co_qualname)
    if filename not in _titles:
        text = linecache.getline(filename, line, frame.f_globals).strip()
        return f"{place}\n     {line:>4} {_cut(text, LINE_CHARACTERS)}\n" if text else f"{place}\n"
    lines = [place]
    for number in range(max(1, line - CONTEXT_LINES), line + CONTEXT_LINES + 1):
        text = linecache.getline(filename, number)
        if not text:
            continue
        shown = _cut(text.rstrip("\n"), LINE_CHARACTERS)
        lines.append(
            f"{GREEN}----> {number:>3}{RESET} {shown}" if number == line else f"      {number:>3} {shown}"
        )
        if number == line and columns is not None and (caret := _caret(text, *columns)):
            lines.append(caret)
    return "\n".join(lines) + "\n"


def _caret(text: str, start: int, end: int) -> str:
    """A line of carets below the failing part; nothing if that is the whole line. Offsets are in UTF-8
    bytes.
    """
    data = text.rstrip("\n").encode("utf-8", "replace")
    before, part = data[:start].decode("utf-8", "replace"), data[start:end].decode("utf-8", "replace")
    if part.strip() == text.strip() or len(before) + len(part) > LINE_CHARACTERS:
        return ""
    return " " * 10 + re.sub(r"\S", " ", before) + f"{RED}{'^' * max(1, len(part))}{RESET}"


def _place(filename: str, line: int, function: str) -> str:
    where = "" if function in ("", "<module>") else f", in {GREEN}{function}{RESET}"
    if filename in _titles:
        return f"{CYAN}{_titles[filename]}, line {line}{RESET}{where}"
    return f"{DIM}File {_short(filename)}:{line}{RESET}{where}"


def _short(filename: str) -> str:
    """A library's path from its package on; other paths as they are."""
    for marker in ("site-packages" + os.sep, "dist-packages" + os.sep):
        if marker in filename:
            return filename.rpartition(marker)[2]
    standard = os.path.dirname(os.__file__) + os.sep
    return filename.removeprefix(standard)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + f"... ({len(text) - limit} characters left out)"
