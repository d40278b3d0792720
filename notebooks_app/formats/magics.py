"""SQL cells as other notebooks write them: `%%sql` (JupySQL, ipython-sql) and `%%duckdb` in a code cell. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from notebooks_app.formats.base import result_name

_MAGIC = re.compile(r"\A(?:[ \t]*\n)*%%(?:sql|duckdb)(?![\w-])[ \t]*(?P<rest>[^\n]*)\n?")
# Options with a value; all others are flags. From JupySQL's and magic-duckdb's references.
_SHORT = "oSwsAafnxpt"
_LONG = ("output", "save", "with", "section", "alias", "connection_arguments", "file", "interact", "close", "creator")
_VALUED = frozenset([f"-{one}" for one in (*_SHORT, "cn", "co")] + [f"--{one}" for one in (*_LONG, "type")])
_OPTION = re.compile(r"(?P<option>--?[A-Za-z][\w-]*)(?:=(?P<value>\S+))?(?:\s+|\Z)")
_CONNECTION = re.compile(r"(?:\S+://\S*|@\w\S*|\w+@\w+)(?:\s+|\Z)")
_RESULT = re.compile(r"(?P<name>\w+)\s*=?<<\s*")
_WORD = re.compile(r"(?P<word>\S*)(?:\s+|\Z)")
PARTS_AT_MOST = 100  # options and connections of a line; what follows is the query


@dataclass(frozen=True)
class SqlCell:
    """A query without its magic. `dropped` says which parts of the magic's line have no meaning here."""

    source: str
    result_name: str = ""
    dropped: tuple[str, ...] = ()


def is_sql(source: str) -> bool:
    return _MAGIC.match(source) is not None


def read_sql(source: str) -> SqlCell | None:
    """The query in a code cell that begins with such a magic, else None.

    What follows the magic on its line may be options, a connection, `name <<` and the query's beginning. A
    connection may hold a password: it is neither kept nor named.
    """
    magic = _MAGIC.match(source)
    if not magic:
        return None
    line, at, name, dropped = magic["rest"].strip(), 0, "", []
    for _ in range(PARTS_AT_MOST):
        part = _OPTION.match(line, at)
        found = part or _CONNECTION.match(line, at)
        if not found:
            break
        at = found.end()
        if not part:
            dropped.append("a connection")
            continue
        option, value = part["option"], part["value"]
        if value is None and option in _VALUED and (word := _WORD.match(line, at)):
            value, at = word["word"], word.end()
        if option in ("-o", "--output"):
            name = value or ""
        else:
            dropped.append(option)
    if into := _RESULT.match(line, at):
        name, at = into["name"], into.end()
    rest = line[at:]
    body = source[magic.end() :]
    query = f"{rest}\n{body}" if rest and body else rest or body
    return SqlCell(source=query, result_name=result_name(name), dropped=tuple(dropped))


def write_sql(source: str, name: str) -> str:
    """The code cell of a query, for other notebooks: JupySQL's `%%sql name <<`."""
    return f"%%sql {name} <<\n{source}" if name else f"%%sql\n{source}"
