"""Finds `{name}` parameters in SQL text, and puts bound placeholders in their place.

Pure, and standard library only. The one tokenizer of SQL here: analysis (sql.py) and everything that
executes SQL cells see the same parameters. Values are always bound by the database, never written into
the text.

A parameter is `{name}` with a plain Python name. It is text, and no parameter, inside '...', E'...',
"...", `...`, $$...$$ and comments, in `{{...}}`, after `::` (a type cannot be bound), and in DuckDB's
struct and map literals (`{'a': 1}`; the values in them may be parameters again). Other Python
expressions in braces (`{a.b}`, `{n + 1}`) are refused by analysis. Strings are standard SQL: a
backslash escapes in E'...' only.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

type Style = Literal["numeric_dollar", "pyformat_psycopg", "named", "named_sqlalchemy", "qmark"]
type TokenKind = Literal[
    "space", "comment", "string", "quoted", "number", "word", "cast", "symbol", "open", "parameter", "refused"
]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--[^\n]*)
    |(?P<block>/\*)
    |(?P<string>[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*' | (?<![eE])'[^']*(?:''[^']*)*')
    |(?P<quoted>"[^"]*(?:""[^"]*)*" | `[^`]*(?:``[^`]*)*`)
    |(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    |(?P<open>[eE]?'|["`])
    |(?P<number>\d[\w.]*)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<cast>::)
    |(?P<brace>\{)
    |(?P<symbol>.)""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_PARAMETER = re.compile(r"\{\s*([^\W\d]\w*)\s*\}")
_EXPRESSION_LIMIT = 500  # characters of a `{...}` that is looked at as a Python expression
_COLON_NAME = re.compile(r"(?<![:\\]):(?=\w)")


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of the source. `open` is a string, quoted name or comment that never ends."""

    kind: TokenKind
    text: str
    start: int
    name: str = ""  # of a parameter; of refused ones the expression


@dataclass(frozen=True, slots=True)
class Parameter:
    """`{name}` in the source: `name` is what to look up, `text` what was written, `line` counts from 1."""

    name: str
    text: str
    line: int


def split_parameters(source: str) -> list[str | Parameter]:
    """The source as text and parameters in turn; their texts joined are the source."""
    pieces: list[str | Parameter] = []
    last = 0
    for token in tokens(source):
        if token.kind == "parameter":
            if token.start > last:
                pieces.append(source[last : token.start])
            pieces.append(Parameter(token.name, token.text, source.count("\n", 0, token.start) + 1))
            last = token.start + len(token.text)
    if last < len(source):
        pieces.append(source[last:])
    return pieces


def bind(source: str, style: Style) -> tuple[str, list[str]]:
    """The source with placeholders, and the names of the values to bind, in order.

    numeric_dollar `$1` (DuckDB): a name used twice is one value. pyformat_psycopg `%s`, with `%`
    doubled in the rest: one value for each use; always pass the list, also an empty one, or psycopg
    leaves `%%` as it is. named `:name` (sqlite3) and named_sqlalchemy (for `sqlalchemy.text`: other
    colons are escaped): each name once. qmark `?`: one value for each use.
    """
    names: list[str] = []
    parts: list[str] = []
    for piece in split_parameters(source):
        if isinstance(piece, str):
            text = _ESCAPES.get(style, _as_is)(piece)
            parts.append(f" {text}" if parts and _is_wordy(text[0]) else text)
            continue
        placeholder = _placeholder(piece.name, style, names)
        before = parts[-1][-1] if parts and parts[-1] else " "
        parts.append(f" {placeholder}" if _is_wordy(before) or before == "$" else placeholder)
    return "".join(parts), names


def tokens(source: str) -> Iterator[Token]:
    """The whole source as tokens, without gaps."""
    position, previous = 0, ""
    while position < len(source):
        match = _TOKEN.match(source, position)
        assert match is not None  # the last alternative takes any character
        token = _token(source, position, match, previous)
        yield token
        position += len(token.text)
        if token.kind not in ("space", "comment"):
            previous = token.kind


def _token(source: str, start: int, match: re.Match[str], previous: str) -> Token:
    kind = match.lastgroup
    if kind == "block":
        return _to(source, start, _end_of_block(source, start), "comment")
    if kind == "dollar":
        end = source.find(match.group(), match.end())
        return _to(source, start, end + len(match.group()) if end >= 0 else -1, "string")
    if kind == "open":
        return _to(source, start, -1, "open")
    if kind == "brace":
        return _brace(source, start, after_cast=previous == "cast")
    return Token(kind, match.group(), start)  # type: ignore[arg-type]


def _to(source: str, start: int, end: int, kind: TokenKind) -> Token:
    return Token(kind, source[start:end], start) if end >= 0 else Token("open", source[start:], start)


def _end_of_block(source: str, start: int) -> int:
    """After `*/`; block comments nest in PostgreSQL and DuckDB. -1 if it never ends."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(source, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


def _brace(source: str, start: int, *, after_cast: bool) -> Token:
    if source.startswith("{{", start):
        end = source.find("}}", start)
        return Token("symbol", source[start : end + 2] if end >= 0 else "{{", start)
    match = _PARAMETER.match(source, start)
    if match and not keyword.iskeyword(match.group(1)):
        if after_cast:
            return Token("symbol", match.group(), start)
        return Token("parameter", match.group(), start, unicodedata.normalize("NFKC", match.group(1)))
    end = source.find("}", start, start + _EXPRESSION_LIMIT)
    inside = source[start + 1 : end] if end >= 0 else ""
    if _is_python_expression(inside):
        return Token("refused", source[start : end + 1], start, inside.strip())
    return Token("symbol", "{", start)


def _is_python_expression(text: str) -> bool:
    """Whether it is one that needs a name; structs, maps and ODBC escapes are none."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))


def _placeholder(name: str, style: Style, names: list[str]) -> str:
    if style in ("pyformat_psycopg", "qmark"):
        names.append(name)
        return "%s" if style == "pyformat_psycopg" else "?"
    if name not in names:
        names.append(name)
    return f"${names.index(name) + 1}" if style == "numeric_dollar" else f":{name}"


def _is_wordy(character: str) -> bool:
    return character.isalnum() or character == "_"


def _as_is(text: str) -> str:
    return text


def _double_percent(text: str) -> str:
    return text.replace("%", "%%")


def _escape_colons(text: str) -> str:
    """`sqlalchemy.text` takes `:word` for a parameter, in string literals too; `::` it leaves alone."""
    return _COLON_NAME.sub(r"\\:", text)


_ESCAPES: dict[str, Callable[[str], str]] = {
    "pyformat_psycopg": _double_percent,
    "named_sqlalchemy": _escape_colons,
}
