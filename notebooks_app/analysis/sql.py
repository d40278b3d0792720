"""What a SQL cell refers to: `{name}` parameters, and tables that may be dataframes.

Pure. Parameters are found by sqltext.py, tables by sqlglot with the first dialect that reads the text;
what no dialect reads is searched for names after FROM and JOIN. Tables are unqualified and spelled as
written; the targets of INSERT, UPDATE and DELETE count, the ones that a CREATE makes do not, nor do
CTEs, table functions and files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from notebooks_app.analysis.effort import Effort
from notebooks_app.analysis.sqltables import tables_by_words
from notebooks_app.analysis.sqltables import word_set as _words
from notebooks_app.analysis.sqltext import Token, bind, split_parameters, tokens
from notebooks_app.facts import CellError, ErrorKind

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["SqlNames", "analyse_sql", "bind", "split_parameters"]

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of every statement it knows by name only

_DEARER = 5  # times: a character read by sqlglot, beside one of Python
_STAND_IN = "rillbook_parameter"
_DIALECTS = ("duckdb", "postgres")
_OTHER_DIALECTS = ("sqlite", "mysql", "tsql", "snowflake", "bigquery", "oracle")
_VALUE_BEFORE = _words(
    """
    = < > ( , + - * / | from join into update table using where and or not on in like
    """
)
_FILE_ENDS = tuple(_words(".csv .tsv .txt .json .jsonl .ndjson .parquet .arrow .feather .xlsx .gz .zst"))
_STATEMENTS = _words(
    """
    abort alter analyze analyse attach audit backup begin break call change checkpoint cluster comment
    commit copy create cross deallocate declare define delete desc describe detach discard do drop dump
    end exec execute exists explain export fetch flush for force from get go grant handler help if
    import insert install kill let limit list listen load lock locate merge move notify open optimize
    order parallel pivot pragma prepare print put raise reassign refresh reindex release rename repair
    replace reset restore resume return revoke rollback savepoint security select set show shutdown
    start stop summarize summarise suspend sync system table truncate uncache undrop unlisten unload
    unlock unpivot unset update upsert use using vacuum values wait watch while with
    """
)


@dataclass(frozen=True, slots=True)
class SqlNames:
    parameters: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    errors: tuple[CellError, ...] = ()


def analyse_sql(source: str, effort: Effort) -> SqlNames:
    """Parameters and tables of the cell's statements, and what is wrong with it in every dialect.

    TooMuchWork passes through.
    """
    effort.spend(_DEARER * len(source))
    found = list(tokens(source))
    parameters = frozenset(token.name for token in found if token.kind == "parameter")
    errors = tuple(_refusals(source, found))
    if not any(token.kind not in ("space", "comment") for token in found):
        return SqlNames(parameters, errors=errors)
    statements = _parse_any(found, effort)
    if statements is None:
        errors += tuple(_broken(source, found))
        return SqlNames(parameters, frozenset(tables_by_words(found)), errors)
    if statements and not _is_statement(statements[0]):
        errors += tuple(_broken(source, found))
    return SqlNames(parameters, _tables(statements, _quoted_names(found)), errors)


# --- errors --------------------------------------------------------------------------------------------


def _refusals(source: str, found: Iterable[Token]) -> Iterator[CellError]:
    for token in found:
        if token.kind == "refused":
            line = source.count("\n", 0, token.start) + 1
            message = (
                f"`{token.text}` in line {line} is not a name. A parameter is the plain name of a variable: "
                f"assign `value = {token.name}` in a Python cell and write `{{value}}`."
            )
            yield CellError(ErrorKind.REFUSED, message, line=line)


def _broken(source: str, found: list[Token]) -> Iterator[CellError]:
    """At most one error, and only for what is wrong in every dialect; of the rest the database will speak."""
    problem = _never_closed(found) or _no_statement(found)
    if problem is not None:
        message, start = problem
        line = source.count("\n", 0, start) + 1
        yield CellError(ErrorKind.SYNTAX, f"Syntax error in line {line}: {message}", line=line)


def _is_statement(tree: exp.Expr) -> bool:
    """sqlglot takes any expression for a statement: `hello world` is a column and its alias."""
    from sqlglot import exp

    return isinstance(tree, exp.Query) or not isinstance(tree, exp.Condition | exp.Alias)


def _never_closed(found: list[Token]) -> tuple[str, int] | None:
    pairs = {")": "(", "]": "[", "}": "{"}
    stack: list[Token] = []
    for token in found:
        if token.kind == "open":
            if any("\\" in other.text for other in found if other.kind == "string"):
                return None  # MySQL's backslashes: who knows where its strings end
            word = "comment" if token.text.startswith("/*") else "text" if "'" in token.text[:2] else "name"
            return f"this {word} is never closed: {token.text[:20]}", token.start
        if token.kind != "symbol":
            continue
        if token.text in pairs.values():
            stack.append(token)
        elif token.text in pairs and (not stack or stack.pop().text != pairs[token.text]):
            return f"unmatched '{token.text}'", token.start
    return (f"'{stack[-1].text}' is never closed", stack[-1].start) if stack else None


def _no_statement(found: list[Token]) -> tuple[str, int] | None:
    first = next(token for token in found if token.kind not in ("space", "comment"))
    if first.kind == "parameter" or first.text in "({;" or first.text.lower() in _STATEMENTS:
        return None
    return f"no statement starts with `{first.text[:40]}`", first.start


# --- tables --------------------------------------------------------------------------------------------


def _parse_any(found: list[Token], effort: Effort) -> list[exp.Expr] | None:
    """The statements, in the first reading that works; None where none does."""
    import sqlglot  # 0.1 s, and only SQL cells need it
    from sqlglot.errors import SqlglotError

    named = _text(found, lambda token, before: _STAND_IN)
    readings = [(named, dialect) for dialect in _DIALECTS]
    if any(token.kind == "parameter" for token in found):
        valued = _text(found, lambda token, before: "1")
        placed = _text(found, lambda token, before: _STAND_IN if before in _VALUE_BEFORE else "")
        readings += [(text, dialect) for text in (placed, valued) for dialect in _DIALECTS]
    readings += [(named, dialect) for dialect in _OTHER_DIALECTS]
    for text, dialect in readings:
        effort.spend(_DEARER * len(text))
        try:
            statements = sqlglot.parse(text, dialect=dialect)
        except (
            SqlglotError,
            RecursionError,
            ValueError,
            TypeError,
            AttributeError,
        ):  # it is not proof against all
            continue
        return [statement for statement in statements if statement is not None]
    return None


def _text(found: list[Token], replace: Any) -> str:
    """The source for sqlglot: stand-ins for parameters, and no EXPLAIN before a statement."""
    parts: list[str] = []
    before, skipping = ";", False
    for token in found:
        if token.kind in ("space", "comment"):
            parts.append(" " if token.kind == "comment" else token.text)
            continue
        word = token.text.lower()
        skipping = (before == ";" and word == "explain") or (skipping and word in _EXPLAIN_WORDS)
        if not skipping:
            parts.append(replace(token, before) if token.kind in ("parameter", "refused") else token.text)
        before = word
    return "".join(parts)


_EXPLAIN_WORDS = ("analyze", "verbose", "query", "plan", "extended")


def _quoted_names(found: Iterable[Token]) -> frozenset[str]:
    """Names written in "..." or `...`. What is quoted but not here was a '...' string: a file."""
    return frozenset(
        token.text[1:-1].replace(token.text[0] * 2, token.text[0])
        for token in found
        if token.kind == "quoted"
    )


def _tables(statements: list[exp.Expr], quoted: frozenset[str]) -> frozenset[str]:
    from sqlglot import exp

    found: set[str] = set()
    created: set[str] = set()
    for statement in statements:
        if isinstance(statement, exp.Command):
            found.update(tables_by_words(list(tokens(str(statement.args.get("expression") or "")))))
            continue
        targets = set(_created(statement))
        for table in statement.find_all(exp.Table):
            name = table.name
            if id(table) in targets:
                created.add(name.lower())
            elif _is_reference(table, quoted) and name.lower() not in created:
                found.add(name)
    return frozenset(found)


def _created(statement: exp.Expr) -> Iterator[int]:
    """Ids of the table nodes that only name what the statement makes."""
    from sqlglot import exp

    for node in statement.find_all(exp.Create, exp.Into):
        target = node.this
        while isinstance(target, exp.Schema | exp.UserDefinedFunction):
            target = target.this
        if isinstance(target, exp.Table):
            yield id(target)


def _is_reference(table: exp.Table, quoted: frozenset[str]) -> bool:
    from sqlglot import exp

    identifier = table.this
    if not isinstance(identifier, exp.Identifier) or table.args.get("db") or table.args.get("catalog"):
        return False
    name = identifier.name
    if not name or _STAND_IN in name.lower():
        return False
    if identifier.args.get("quoted") and (name not in quoted or _is_file(name)):
        return False
    parent = table.parent
    if isinstance(parent, exp.Lock | exp.Use | exp.Attach | exp.Detach | exp.Set | exp.Pragma):
        return False
    if isinstance(parent, exp.Drop | exp.Comment) and parent.args.get("kind") not in ("TABLE", "VIEW"):
        return False
    return not _is_cte(table, name.lower())


def _is_file(name: str) -> bool:
    return "/" in name or "*" in name or name.lower().endswith(_FILE_ENDS)


def _is_cte(table: exp.Table, name: str) -> bool:
    """Whether a WITH around the table names it there: in its query, in a later CTE, or in itself if
    recursive.
    """
    from sqlglot import exp

    inside: exp.Expr = table
    outer = table.parent
    cte: exp.CTE | None = None
    while outer is not None:
        if isinstance(inside, exp.CTE):
            cte = inside
        clause = inside if isinstance(inside, exp.With) else outer.args.get("with_")
        seen_from = cte if clause is inside else None
        if clause is not None and _names_before(clause, seen_from, name):
            return True
        inside, outer = outer, outer.parent
    return False


def _names_before(clause: exp.With, cte: exp.CTE | None, name: str) -> bool:
    """Whether a CTE of this name is seen from `cte` (None: from the query after the clause)."""
    for other in clause.expressions:
        if other is cte and not clause.args.get("recursive"):
            return False
        if other.alias.lower() == name:
            return True
    return False
