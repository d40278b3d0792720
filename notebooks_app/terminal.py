"""What a terminal would show of a stream of text.

Pure. Carriage returns, backspaces, CRLF, erasing and cursor moves are resolved, colours (SGR) are kept, so
that a progress bar of a million steps is one line. Only the last HEIGHT rows can still change, as in a
window that scrolls; text above them is *committed*. A row ends at a newline or, without one, after WIDTH
columns, and a carriage return goes to its start. What comes out depends on the text alone, never on how it
was cut into chunks. Columns are code points.

Other escape sequences (titles, hyperlinks, modes) are left out. Limits on long text and the operations that
tell browsers of it are in outputs.py.
"""

from __future__ import annotations

import re
from functools import lru_cache

WIDTH = 4096
HEIGHT = 16

# A plain run, or one control character, or one whole escape sequence (CSI; OSC; any other two characters).
_TOKEN = re.compile(
    r"(?P<plain>[^\x00-\x08\x0a-\x1f\x7f]+)"
    r"|(?P<newline>\n)"
    r"|\x1b\[(?P<params>[0-?]{0,64})[ -/]{0,8}(?P<final>[@-~])"
    r"|\x1b\][^\x07\x1b]{0,2048}(?:\x07|\x1b\\)"
    r"|\x1b[^\[\]]"
    r"|(?P<control>[\x00-\x1f\x7f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,2048}\x1b?)?\Z")
_SGR = re.compile(r"\x1b\[([0-?]*)m")
_SIMPLE_SLOTS = {1: "1", 2: "1", 3: "3", 4: "4", 5: "5", 6: "5", 7: "7", 8: "8", 9: "9", 21: "4", 53: "53"}
_OFF = {22: "1", 23: "3", 24: "4", 25: "5", 27: "7", 28: "8", 29: "9", 39: "fg", 49: "bg", 55: "53", 59: "ul"}
_LONG = {38: "fg", 48: "bg", 58: "ul"}

Cell = tuple[str, str]  # (colours in force, one character)


class _Row:
    """One row: its text as it came; once overwritten, cells, or text all in the colours of its start."""

    __slots__ = ("as_it_came", "cells", "columns", "end", "ended", "start", "text")

    def __init__(self, start: str) -> None:
        self.text = ""
        self.columns = 0
        self.cells: list[Cell] | None = None
        self.as_it_came = True
        self.start = start  # colours in force where the row begins
        self.end = start  # colours in force after `text`
        self.ended = False  # by a newline

    def split(self) -> list[Cell]:
        """The row as cells, from now on."""
        if self.cells is None:
            self.cells = _cells(self.text, self.start)
            self.text = ""
            self.as_it_came = False
        return self.cells

    def replace(self, text: str) -> None:
        """Make the row this text, in the colours of its start."""
        self.text, self.columns, self.cells = text, len(text), None
        self.end, self.as_it_came = self.start, False

    def render(self, after: str | None) -> str:
        """The row's text with its newline; `after`: the colours the next row expects (None: no next row)."""
        newline = "\n" if self.ended else ""
        if self.as_it_came:
            return self.text + newline
        parts: list[str] = []
        now = self.start
        if self.cells is None:
            parts.append(self.text)
        for colours, character in self.cells or ():
            if colours != now:
                parts.append(_change(now, colours))
                now = colours
            parts.append(character)
        if after is not None and after != now:
            parts.append(_change(now, after))
        return "".join(parts) + newline


class Screen:
    """A terminal's last rows: `write` takes text and gives what scrolled out of reach, `window` the rest."""

    def __init__(self) -> None:
        self._rows = [_Row("")]
        self._row = 0
        self._column = 0
        self._colours = ""
        self._pending = ""

    def write(self, text: str) -> str:
        """Take text; return the text that is committed now, in order, to follow what was committed before."""
        text = self._pending + text
        self._pending = ""
        committed: list[str] = []
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            escape = token is None or (token["control"] == "\x1b")
            if escape and _UNFINISHED.match(text, position):
                self._pending = text[position:]
                break
            if token is None:  # cannot be: every character matches an alternative
                position += 1
                continue
            position = self._take(token, text, committed)
        return "".join(committed)

    def window(self) -> str:
        """The text after all committed text: rows that may still change."""
        rows = self._rows
        last = len(rows) - 1
        return "".join(
            row.render(rows[index + 1].start if index < last else None) for index, row in enumerate(rows)
        )

    def _take(self, token: re.Match[str], text: str, committed: list[str]) -> int:
        """Carry out one token; return where the next begins."""
        if token["plain"] is not None:
            end = self._take_lines(token, text, committed)
            if end is not None:
                return end
            self._put(token["plain"], committed)
        elif token["newline"] is not None:
            self._newline(committed)
        elif token["control"] is not None:
            self._control(token["control"], committed)
        elif token["final"] is not None:
            self._escape(token["params"], token["final"])
        return token.end()

    def _take_lines(self, token: re.Match[str], text: str, committed: list[str]) -> int | None:
        """Pass many plain lines at once (the common flood); None if they are few or not plain."""
        block = _PLAIN_LINES.match(text, token.start())
        if block is None or not self._at_plain_end():
            return None
        self._put(token["plain"], committed)
        self._newline(committed)
        rest = text[token.end() + 1 : block.end()]
        keep = _last_lines(rest, HEIGHT)
        if keep == 0:
            return token.end() + 1
        committed.append(self._scroll_out() + rest[:keep])
        return token.end() + 1 + keep

    def _at_plain_end(self) -> bool:
        return self._row == len(self._rows) - 1

    def _scroll_out(self) -> str:
        """Commit all rows but the last, which is empty and stays."""
        rows, self._rows = self._rows, [self._rows[-1]]
        self._row = 0
        return "".join(row.render(rows[index + 1].start) for index, row in enumerate(rows[:-1]))

    def _put(self, plain: str, committed: list[str]) -> None:
        while plain:
            if self._column >= WIDTH:
                self._next_row(committed)
            part, plain = plain[: WIDTH - self._column], plain[WIDTH - self._column :]
            row = self._rows[self._row]
            appends = row.cells is None and self._column == row.columns and self._row == len(self._rows) - 1
            if appends and row.end == self._colours:
                row.text += part
                row.columns += len(part)
            else:
                self._overwrite(row, part)
            self._column += len(part)

    def _overwrite(self, row: _Row, part: str) -> None:
        colours = self._colours
        whole = self._column == 0 and len(part) >= row.columns and self._row == len(self._rows) - 1
        if whole and colours == row.start:
            row.replace(part)
            return
        cells = row.split()
        if len(cells) < self._column:
            cells.extend([(colours, " ")] * (self._column - len(cells)))
        cells[self._column : self._column + len(part)] = [(colours, character) for character in part]
        row.columns = len(cells)

    def _newline(self, committed: list[str]) -> None:
        self._rows[self._row].ended = True
        self._next_row(committed)

    def _next_row(self, committed: list[str]) -> None:
        self._column = 0
        if self._row < len(self._rows) - 1:
            self._row += 1
            return
        self._rows.append(_Row(self._colours))
        self._row += 1
        while len(self._rows) > HEIGHT:
            committed.append(self._rows.pop(0).render(self._rows[0].start))
            self._row -= 1

    def _control(self, control: str, committed: list[str]) -> None:
        if control == "\r":
            self._column = 0
        elif control == "\b":
            self._column = max(0, self._column - 1)
        elif control in "\x0b\x0c":
            self._newline(committed)
        elif control == "\x00":
            self._put("\ufffd", committed)

    def _escape(self, params: str, final: str) -> None:
        if final == "m":
            self._color(params)
            return
        count = _number(params, 1)
        if final == "A":
            self._row = max(0, self._row - count)
        elif final == "B":
            self._row = min(len(self._rows) - 1, self._row + count)
        elif final == "C":
            self._column = min(WIDTH - 1, self._column + count)
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final == "G":
            self._column = min(WIDTH - 1, max(0, count - 1))
        elif final == "K":
            self._erase(_number(params, 0))
        elif final == "J" and _number(params, 0) == 0:
            self._erase(0)
            del self._rows[self._row + 1 :]
            self._rows[self._row].ended = False

    def _color(self, params: str) -> None:
        row = self._rows[self._row]
        before, self._colours = self._colours, apply_sgr(self._colours, params)
        at_end = self._column == row.columns and self._row == len(self._rows) - 1
        if row.as_it_came and at_end and row.end == before:
            row.text += f"\x1b[{params}m"
            row.end = self._colours
            if len(row.text) > 2 * WIDTH:  # colour codes without end: keep one per change
                row.split()

    def _erase(self, how: int) -> None:
        row = self._rows[self._row]
        cells = row.split()
        if how == 0:
            del cells[self._column :]
        elif how == 1:
            count = min(self._column + 1, len(cells))
            cells[:count] = [("", " ")] * count
        else:
            cells.clear()
        row.columns = len(cells)


_PLAIN_LINES = re.compile(r"(?:[^\x00-\x08\x0a-\x1f\x7f]*\n){32,}")


def _last_lines(text: str, count: int) -> int:
    """Where the last `count` lines of a text that ends with a newline begin."""
    position = len(text) - 1
    for _ in range(count):
        position = text.rfind("\n", 0, position)
        if position < 0:
            return 0
    return position + 1


def _number(params: str, default: int) -> int:
    digits = params.split(";")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else default


def _cells(text: str, colours: str) -> list[Cell]:
    cells: list[Cell] = []
    for index, part in enumerate(_SGR.split(text)):
        if index % 2:
            colours = apply_sgr(colours, part)
        else:
            cells.extend((colours, character) for character in part)
    return cells


def _change(before: str, after: str) -> str:
    return ("\x1b[0m" if before else "") + (f"\x1b[{after}m" if after else "")


@lru_cache(maxsize=4096)
def apply_sgr(colours: str, params: str) -> str:
    """The colours after a colour sequence, as canonical parameters ("": the default). ECMA-48, 8.3.117."""
    if params and params[0] in "<=>?":  # private: not a colour
        return colours
    slots = dict(_slots(colours))
    codes = [int(part) if part.isdigit() else 0 for part in params.replace(":", ";").split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            slots = {}
        elif code in _LONG:
            length = {5: 2, 2: 4}.get(codes[0] if codes else 0, 0)
            value, codes = codes[:length], codes[max(length, 1) :]
            if length and len(value) == length and all(number < 256 for number in value):
                slots[_LONG[code]] = ";".join(map(str, (code, *value)))
        elif code in _OFF:
            slots.pop(_OFF[code], None)
        elif code in _SIMPLE_SLOTS:
            slots[_SIMPLE_SLOTS[code]] = str(code)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            slots["fg"] = str(code)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            slots["bg"] = str(code)
    return ";".join(slots[key] for key in sorted(slots))


def _slots(colours: str) -> list[tuple[str, str]]:
    """Canonical colours back as (slot, parameters)."""
    pairs: list[tuple[str, str]] = []
    codes = colours.split(";") if colours else []
    while codes:
        code = int(codes[0])
        length = 1 if code not in _LONG else {"5": 3, "2": 5}[codes[1]]
        value, codes = ";".join(codes[:length]), codes[length:]
        slot = _LONG.get(code) or _SIMPLE_SLOTS.get(code) or ("fg" if code // 10 in (3, 9) else "bg")
        pairs.append((slot, value))
    return pairs
