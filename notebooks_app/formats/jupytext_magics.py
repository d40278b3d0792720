"""Magics that jupytext comments out in the scripts that it writes. Pure."""

from __future__ import annotations

import re

from notebooks_app.formats import strings

# What jupytext takes for a magic that it commented out itself (jupytext/magics.py): `%magic`, `!command` and `?help`,
# `name = !command`, commands that need no mark, `help?`. One that was a comment before has a second `#`.
_MAGIC = re.compile(
    r"\s*(?:# ?)+%{1,3}[A-Za-z]"
    r"|\s*(?:# ?)+\s*[?!]\s*[A-Za-z.~$\\/{}]"
    r"|(?:# ?)+\s*[A-Za-z_][\w$]*\s*=\s*(?:%{1,3}|!)[A-Za-z]"
    r"|(?:# ?)+(?:cat|cd|copy|cp|ddir|echo|ldir|ls|mkdir|mv|ren|rm|rmdir)(?:\Z|\s\Z|\s[^=,])"
    r"|\s*(?:# )+\S*\?\s*\Z",
    re.ASCII,
)
_COMMENT = re.compile(r"\A(\s*)# ?")


def uncommented(lines: list[str]) -> list[str]:
    """The lines that jupytext commented out as they were: one `#` less, also of those that continue one."""
    if not any(map(_MAGIC.match, lines)):
        return lines
    changed, inside, goes_on = [], strings.lines_inside(lines), False
    for at, line in enumerate(lines):
        is_changed = at not in inside and bool(goes_on or _MAGIC.match(line))
        goes_on = is_changed and line.rstrip().endswith("\\")
        changed.append(without_mark(line) if is_changed else line)
    return changed


def without_mark(line: str) -> str:
    """The line with one `#` less."""
    return _COMMENT.sub(r"\1", line, count=1)
