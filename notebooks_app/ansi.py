"""Turns terminal colours (ANSI SGR sequences) into classes.

static/js/outputs/ansi.js does the same in the browser; tests compare them. Carriage returns are resolved
before text gets here (terminal.py). Colours of the 256 and of RGB become the nearest of the 16 that both
themes keep legible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
# CSI sequences (their final letter decides), OSC sequences (links, titles), other escapes, other control
# characters
_SEQUENCE = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[@-_]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike"}


@dataclass(frozen=True, slots=True)
class Style:
    """The graphic state between two sequences. Colours are names of NAMES, perhaps with `bright-` before."""

    text: str = ""
    background: str = ""
    inverse: bool = False
    flags: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        text, background = self.text, self.background
        if self.inverse:
            text, background = background or "inverse", text or "inverse"
        names = [f"ansi-{text}"] if text else []
        names += [f"ansi-on-{background}"] if background else []
        return " ".join(names + [f"ansi-{flag}" for flag in _FLAGS.values() if flag in self.flags])


def ansi_html(text: str) -> SafeString:
    """Escaped text with a span for each coloured stretch."""
    parts = [
        f'<span class="{css}">{escape(piece)}</span>' if css else escape(piece)
        for css, piece in ansi_pieces(text)
    ]
    return mark_safe("".join(parts))  # noqa: S308 - every piece is escaped


def ansi_text(text: str) -> str:
    """The text alone, as copied to the clipboard."""
    return _SEQUENCE.sub("", text)


def ansi_pieces(text: str) -> Iterator[tuple[str, str]]:
    """(classes, text) of each stretch of one style."""
    style, css, start, held = Style(), "", 0, ""
    for match in _SEQUENCE.finditer(text):
        held += text[start : match.start()]
        start = match.end()
        if match[2] != "m":
            continue
        style = _apply(style, match[1])
        if style.classes != css:
            if held:
                yield css, held
            css, held = style.classes, ""
    held += text[start:]
    if held:
        yield css, held


def _apply(style: Style, parameters: str) -> Style:
    codes = [
        int(code) if code.isdigit() and len(code) < 6 else 0
        for code in parameters.replace(":", ";").split(";")
    ]
    while codes:
        code = codes.pop(0)
        if code in (38, 48):
            colour = _extended(codes)
            style = replace(style, text=colour) if code == 38 else replace(style, background=colour)
        else:
            style = _simple(style, code)
    return style


def _simple(style: Style, code: int) -> Style:
    if code == 0:
        return Style()
    if code in _FLAGS:
        return replace(style, flags=style.flags | {_FLAGS[code]})
    if code in (21, 22):
        return replace(style, flags=style.flags - {"bold", "dim"})
    if code in (23, 24, 29):
        return replace(style, flags=style.flags - {_FLAGS[code - 20]})
    if code in (7, 27):
        return replace(style, inverse=code == 7)
    if code in (39, 49):
        return replace(style, text="") if code == 39 else replace(style, background="")
    return _basic_colour(style, code)


def _basic_colour(style: Style, code: int) -> Style:
    for first, bright in ((30, ""), (90, "bright-")):
        if first <= code < first + 8:
            return replace(style, text=bright + NAMES[code - first])
        if first + 10 <= code < first + 18:
            return replace(style, background=bright + NAMES[code - first - 10])
    return style


def _extended(codes: list[int]) -> str:
    """The colour after a 38 or 48, taken from the front of codes."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        return _palette(codes.pop(0))
    if kind == 2 and len(codes) >= 3:
        return nearest(codes.pop(0), codes.pop(0), codes.pop(0))
    codes.clear()
    return ""


def _palette(number: int) -> str:
    if number < 8:
        return NAMES[number]
    if number < 16:
        return "bright-" + NAMES[number - 8]
    if number > 255:
        return ""
    if number >= 232:
        return nearest(*[8 + 10 * (number - 232)] * 3)
    number -= 16
    red, green, blue = (
        0 if level == 0 else 55 + 40 * level for level in (number // 36, number // 6 % 6, number % 6)
    )
    return nearest(red, green, blue)


def nearest(red: int, green: int, blue: int) -> str:
    """The one of the 16 colours nearest in hue; greys by their lightness.

    Integers only, so that both sides agree.
    """
    high, low = max(red, green, blue), min(red, green, blue)
    if (high - low) * 5 <= high:
        grey = red + green + blue
        return ("black", "bright-black", "white", "bright-white")[(grey > 150) + (grey > 390) + (grey > 600)]
    middle = low + (high - low) // 2
    name = NAMES[(red > middle) + 2 * (green > middle) + 4 * (blue > middle)]
    return "bright-" + name if high > 220 and low > 80 else name
