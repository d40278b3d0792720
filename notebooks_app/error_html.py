"""Draws a saved error: name and value first, then our frames; library frames in a row fold into one.

static/js/outputs/error.js draws the same elements live.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from notebooks_app.ansi import ansi_html, ansi_text

Output = Mapping[str, Any]

INTERRUPT = "KeyboardInterrupt"  # without a value: somebody pressed Stop

_CELL_FRAME = re.compile(r"^Cell (?:In\[)?(\d+)\]?, line (\d+)")
_FILE_FRAME = re.compile(r"^(?:File )?(\S.*?):(\d+), in |^File (\S.*?), line (\d+)")
_HEADING = re.compile(
    r"^-{20,}$|^[\w.]+ +Traceback \(most recent call last\)$|^Traceback \(most recent call last\):$"
)


def error_html(output: Output) -> SafeString:
    """Name and value first, then our frames; library frames that follow one another fold into one."""
    title = _error_title(output["ename"], output["evalue"])
    frames = [entry for entry in output.get("traceback") or () if not _is_heading(entry, title)]
    where = _where(frames)
    body = _traceback(frames) if frames else ""
    if title == INTERRUPT:
        return _stopped(where, body)
    return format_html(
        '<div class="output-error"><p class="error-title"><b>{}</b>{}</p>{}</div>', title, where, body
    )


def _stopped(where: SafeString | str, traceback: SafeString | str) -> SafeString:
    """What stopping a cell leaves: no failure, so the traceback waits until it is wanted."""
    kept = (
        format_html('<details class="frames"><summary>Traceback</summary>{}</details>', traceback) if traceback else ""
    )
    title = '<div class="output-error is-stopped"><p class="error-title"><b>Stopped</b>{}</p>{}</div>'
    return format_html(title, where, kept)


def error_line(output: Output, number: int) -> int | None:
    """The line of cell `number` that an error came through last, from 1; None if it did not."""
    places = [_cell_of(entry) for entry in output.get("traceback") or ()]
    lines = [int(place[2]) for place in places if place and int(place[1]) == number]
    return lines[-1] if lines else None


def _where(frames: Sequence[str]) -> SafeString | str:
    """The last frame that is a cell's: the line of ours that the error came through."""
    place = next((match for match in map(_cell_of, reversed(frames)) if match), None)
    if not place:
        return ""
    return format_html("<span>in {}</span>", _goto(place[1], place[2], f"cell {place[1]}, line {place[2]}"))


def _error_title(name: str, value: str) -> str:
    first = ansi_text(value).strip().split("\n", 1)[0][:500]
    return f"{name}: {first}" if first else name


def _is_heading(entry: str, title: str) -> bool:
    lines = [line.strip() for line in ansi_text(entry).strip().split("\n")]
    return all(_HEADING.match(line) or not line or line == title for line in lines)


def _cell_of(entry: str) -> re.Match[str] | None:
    return _CELL_FRAME.match(ansi_text(entry).strip())


def _traceback(frames: Sequence[str]) -> SafeString:
    parts: list[SafeString] = []
    folded: list[SafeString] = []
    for entry in frames:
        drawn = format_html('<div class="frame">{}</div>', _frame(entry))
        if _FILE_FRAME.match(ansi_text(entry).strip()):
            folded.append(drawn)
            continue
        parts += [*_folded(folded), drawn]
        folded = []
    parts += _folded(folded)
    return format_html(
        '<div class="traceback" tabindex="0" role="region" aria-label="Traceback">{}</div>',
        mark_safe("".join(parts)),  # noqa: S308 - every part is escaped
    )


def _folded(frames: Sequence[SafeString]) -> list[SafeString]:
    if not frames:
        return []
    words = "1 library frame" if len(frames) == 1 else f"{len(frames)} library frames"
    inner = mark_safe("".join(frames))  # noqa: S308 - every part is escaped
    return [format_html('<details class="frames"><summary>{}</summary>{}</details>', words, inner)]


def _frame(entry: str) -> SafeString:
    """One frame; where it is a cell's, its first line leads there."""
    entry = entry.strip("\n")
    place = _cell_of(entry)
    if not place:
        return ansi_html(entry)
    first, _, rest = entry.partition("\n")
    link = _goto(place[1], place[2], ansi_html(first))
    return format_html("{}\n{}", link, ansi_html(rest)) if rest else link


def _goto(number: str, line: str, text: SafeString | str) -> SafeString:
    return format_html('<a href="#" data-goto-number="{}" data-goto-line="{}">{}</a>', number, line, text)
