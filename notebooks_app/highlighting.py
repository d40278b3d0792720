"""Highlights source on the server, in the classes and lines the browser's editor uses.

Pygments' tokens become CodeMirror's `tok-*` classes, so that waking an editor changes no colour. Colours are
in static/css/source.css; the editor's side is vendor_recipe/codemirror.js.
"""

from __future__ import annotations

from collections.abc import Iterator
from keyword import kwlist

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments.lexer import Lexer, inherit
from pygments.lexers.python import PythonLexer
from pygments.lexers.sql import SqlLexer
from pygments.token import (
    Comment,
    Error,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Token,
    _TokenType,
)

from notebooks_app.bounded_cache import cached_by_size

HIGHLIGHT_MAX_CHARS = 200_000  # above it, source is shown plain: lexing costs about 1 ms a KB
LINE = '<span class="line">'
PARAMETER = Name.Variable.Parameter


class ParameterSqlLexer(SqlLexer):  # type: ignore[misc]  # pygments has no types
    """SQL in which {name} is a value bound from Python."""

    tokens = {"root": [(r"\{[^\W\d]\w*\}", PARAMETER), inherit]}


LEXERS: dict[str, type[Lexer]] = {"python": PythonLexer, "sql": ParameterSqlLexer}

# The first ancestor found wins, so special tokens stand for themselves and the rest for their family.
CLASSES: dict[_TokenType, str] = {
    Comment: "tok-comment",
    Comment.Preproc: "tok-meta",
    Error: "",
    Keyword: "tok-keyword",
    Keyword.Type: "tok-typeName",
    Name.Builtin.Pseudo: "tok-keyword",
    Name.Class: "tok-className tok-definition",
    Name.Decorator: "tok-meta",
    Name.Function: "tok-definition",
    Number: "tok-number",
    Operator: "tok-operator",
    Operator.Word: "tok-keyword",
    PARAMETER: "tok-parameter",
    Punctuation: "tok-punctuation",
    String: "tok-string",
    String.Escape: "tok-string2",
    String.Interpol: "tok-punctuation",
}
BOOLEANS = {"True", "False"}


@cached_by_size(8_000_000, of_one=1_000_000)
def highlight(source: str, cell_type: str) -> SafeString:
    """Source as HTML: one `<span class="line">` a line (its line break inside), tokens in `tok-*` classes."""
    lexer = LEXERS.get(cell_type)
    if lexer is None or len(source) > HIGHLIGHT_MAX_CHARS:
        lines: list[list[str]] = [[escape(line)] for line in source.split("\n")]
    else:
        lines = _lines(lexer(ensurenl=False, stripnl=False), source)
    return mark_safe("\n</span>".join(LINE + "".join(line) for line in lines) + "\n</span>")  # noqa: S308 - escaped


def mark_line(source_html: str, line: int) -> SafeString:
    """Highlighted source with one line (from 1) marked as the one that failed, if there is such a line."""
    head, *rest = source_html.split(LINE)
    if not 1 <= line <= len(rest):
        return mark_safe(source_html)  # noqa: S308 - made by highlight
    before, after = LINE.join(rest[: line - 1]), LINE.join(rest[line - 1 :])
    opening = LINE if line > 1 else ""
    return mark_safe(f'{head}{opening}{before}<span class="line is-error">{after}')  # noqa: S308 - as above


def _lines(lexer: Lexer, source: str) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    for css, text in _tokens(lexer, source):
        for index, part in enumerate(text.split("\n")):
            if index:
                lines.append([])
            if part:
                lines[-1].append(f'<span class="{css}">{escape(part)}</span>' if css else escape(part))
    return lines


def _tokens(lexer: Lexer, source: str) -> Iterator[tuple[str, str]]:
    """(class, text) of each token; a name right before a bracket is a call."""
    tokens = [(kind, text) for kind, text in lexer.get_tokens(source) if text]
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        before = tokens[index - 1][1] if index else ""
        if _can_be_called(kind, text) and following.startswith("("):
            yield "tok-function", text
        elif kind in Keyword and (len(text) == 1 or following.startswith(".") or before.endswith(".")):
            yield "", text  # c.name in SQL: an alias and a column, whatever the words mean elsewhere
        elif kind is Keyword.Constant and text in BOOLEANS:
            yield "tok-bool", text
        else:
            yield _class_of(kind), text


def _can_be_called(kind: _TokenType, text: str) -> bool:
    """Names; in SQL also what the lexer takes for keywords (`count(`), as the editor's marks do."""
    is_sql_word = kind in Keyword and text.isupper() is False and text.isidentifier() and text not in kwlist
    return kind in Name and kind not in (Name.Function, Name.Class) or is_sql_word


def _class_of(kind: _TokenType) -> str:
    while kind is not Token and kind not in CLASSES:
        kind = kind.parent
    return CLASSES.get(kind, "")
