"""Where strings of Python begin and end, in sources that may be no Python. Pure."""

from __future__ import annotations

import re

# A comment, a whole string, or the beginning of a triple-quoted one that does not end. One of a line that does not end
# is its line's rest: tried again from each quote in it, a long line would take minutes.
_STRING = re.compile(
    r"#[^\n]*"
    r"|(?P<quotes>\"\"\"|''')(?:\\.|[^\\])*?(?P=quotes)"
    r"|(?P<open>\"\"\"|''')"
    r"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?",
    re.DOTALL,
)
_END = {quotes: re.compile(rf"(?:\\.|[^\\])*?{quotes}", re.DOTALL) for quotes in ('"""', "'''")}


def open_quotes(text: str, opened: str = "") -> str:
    """The quotes of a triple-quoted string that is open at the end; `opened`: those of one that is at the beginning."""
    at = 0
    if opened:
        end = _END[opened].match(text)
        if not end:
            return opened
        at = end.end()
    return next((found["open"] for found in _STRING.finditer(text, at) if found["open"]), "")


def lines_inside(lines: list[str]) -> set[int]:
    """The places of the lines that begin inside a triple-quoted string."""
    text = "\n".join(lines)
    inside, number, at = set[int](), 0, 0
    for found in _STRING.finditer(text):
        number += text.count("\n", at, found.start())
        at = found.start()
        if found["open"]:
            return inside | set(range(number + 1, len(lines)))
        inside.update(range(number + 1, number + 1 + found[0].count("\n")))
    return inside
