"""Finds table names in SQL that no parser reads: names after FROM, JOIN and the like.

Pure and tolerant: for text that is half written or of a dialect sqlglot does not know. What sqlglot
reads is in sql.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from notebooks_app.analysis.sqltext import Token


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for lists that read better without quotes and commas."""
    return frozenset(text.split())


_BEFORE_A_TABLE = word_set("from join into update describe summarize pivot unpivot table")
_NOT_A_TABLE = word_set(
    """
    select where group order having limit offset union intersect except on using join left right inner
    outer full cross natural lateral as set values if not exists only unnest with table distinct
    """
)
_FUNCTIONS_WITH_FROM = word_set("extract substring trim overlay position")


def tables_by_words(found: list[Token]) -> Iterator[str]:
    """Unqualified names in the place of a table, without CTEs, functions and created tables."""
    words = [token for token in found if token.kind not in ("space", "comment")]
    ctes = set(_ctes(words))
    opened: list[str] = []  # for each open parenthesis, the word before it
    lists: list[bool] = [False]  # whether commas separate tables here
    for index, token in enumerate(words):
        text = token.text.lower()
        previous = words[index - 1].text.lower() if index else ""
        if text == "(":
            opened.append(previous)
            lists.append(False)
        elif text == ")" and opened:
            opened.pop()
            lists.pop()
        elif text in _NOT_A_TABLE or text == ";":
            lists[-1] = False
        starts = _starts_table(text, previous, opened)
        lists[-1] = lists[-1] or (starts and text == "from")
        if starts or (text == "," and lists[-1]):
            name = _name_at(words, index + 1)
            if name and name.lower() not in ctes and not (text == "table" and previous == "create"):
                yield name


def _starts_table(text: str, previous: str, opened: list[str]) -> bool:
    if text not in _BEFORE_A_TABLE:
        return False
    if text == "from":
        return previous != "distinct" and not (opened and opened[-1] in _FUNCTIONS_WITH_FROM)
    return text != "update" or previous not in ("for", "do", "on")


def _name_at(words: list[Token], index: int) -> str:
    """The name there, if it is one and neither qualified nor a function."""
    if index >= len(words):
        return ""
    token = words[index]
    after = words[index + 1].text if index + 1 < len(words) else ""
    glued = index + 1 < len(words) and words[index + 1].start == token.start + len(token.text)
    if after in (".", "(") or (glued and words[index + 1].kind == "parameter"):
        return ""
    if token.kind == "quoted":
        return token.text[1:-1]
    return token.text if token.kind == "word" and token.text.lower() not in _NOT_A_TABLE else ""


def _ctes(words: list[Token]) -> Iterator[str]:
    """Names of `name AS (` and `name AS NOT MATERIALIZED (`, where there is a WITH at all."""
    texts = [token.text.lower() for token in words]
    if "with" not in texts:
        return
    for index, text in enumerate(texts[1:-1], 1):
        if text == "as" and texts[index + 1] in ("(", "materialized", "not"):
            yield texts[index - 1].strip('"`')
