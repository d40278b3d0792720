"""Splits SQL into statements, as PostgreSQL's lexer would, and says which parameters each one uses.

PostgreSQL binds parameters to one statement at a time, and refuses values that a statement does not use.
Accepted: the body of CREATE FUNCTION … BEGIN ATOMIC is split at its semicolons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]*)
  | (?P<block>/\*)
  | (?P<text>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*")
  | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$)
  | (?P<parameter>\$\d+)
  | (?P<word>[^\W\d][\w$]* | \d[\w.]*)
  | (?P<end>;)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its text with parameters numbered from 1, which of the query's parameters those are, the
    word it starts with, whether it has RETURNING, and where it began (characters from 0)."""

    text: str
    parameters: tuple[int, ...]
    verb: str
    returning: bool
    offset: int


def split(sql: str) -> list[Statement]:
    """The statements that are more than comments, in order."""
    found: list[Statement] = []
    at, start = 0, 0
    pieces: list[str] = []
    words: list[str] = []
    numbers: dict[int, int] = {}

    def finish() -> None:
        if words or any(piece.strip() for piece in pieces if not piece.startswith(("--", "/*"))):
            verb = words[0] if words else ""
            text = "".join(pieces)
            found.append(Statement(text, tuple(numbers), verb, "returning" in words, start))

    while match := TOKEN.match(sql, at):
        kind, token = match.lastgroup, match[0]
        if match["block"]:
            token = sql[at : _comment_end(sql, at)]
        elif kind == "dollar":  # without an end it holds the rest, as PostgreSQL says
            end = sql.find(token, at + len(token))
            token = sql[at : end + len(token)] if end >= 0 else sql[at:]
        elif kind == "word":
            words.append(token.lower())
        elif kind == "parameter":
            number = int(token[1:])
            token = f"${numbers.setdefault(number, len(numbers) + 1)}"
        at += len(token) if kind in ("block", "dollar") else len(match[0])
        if kind == "end":
            finish()
            start, pieces, words, numbers = at, [], [], {}
        else:
            pieces.append(token)
    finish()
    return found


def _comment_end(sql: str, at: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
