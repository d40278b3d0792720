"""The headings of a text cell's Markdown, for outlines. Pure; the browser finds the same (static/js/outline.js)."""

from __future__ import annotations

import re

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,3})[ \t]+(.+)$", re.MULTILINE)  # its end is cut off later: a rule for it tries each blank
_MARKS = re.compile(r"[*_`]")


def of(source: str) -> list[tuple[int, str]]:
    """(level from 1 to 3, title) of each heading outside of fenced code, in order."""
    return [
        (len(marks), title)
        for marks, text in _HEADING.findall(_FENCED.sub("", source))
        if (title := _MARKS.sub("", text.rstrip("#").rstrip(" \t") or text[:1]).strip())
    ]
