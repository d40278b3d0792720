"""What IPython's magics do with the cell's names.

Pure. The input transformer (parsing.py) makes each a call of `get_ipython()`: `run_line_magic("time",
"x = f(y)")`, `run_cell_magic("capture", "out", body)`, `system("ls {folder}")`, `getoutput(...)`.
`read` says what such a call runs, looks up and binds. Unknown magics do nothing to names; other `%%`
cells are not Python at all.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Letters of options that take a value, by magic. IPython: `magics/execution.py`.
_VALUED_OPTIONS = {"timeit": "nrp", "prun": "lsTD", "time": ""}
_NAMES_IN_DOLLARS = re.compile(r"\$(\$?[^\W\d]\w*)")
_HELP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Magic:
    """`code` is Python that runs in the cell's namespace, or with `in_function` in a function of its
    own (`%timeit`: what it assigns is gone). `first_line` is the line of that code, counted from the
    magic's own.
    """

    code: tuple[str, ...] = ()
    in_function: bool = False
    lookups: tuple[ast.expr, ...] = ()
    bound: tuple[str, ...] = ()
    first_line: int = 0


def read(method: str, arguments: Sequence[Any]) -> Magic | None:
    """What `get_ipython().<method>(*arguments)` does with names; None for a call that is no magic."""
    if not arguments or not all(isinstance(item, str) for item in arguments[:3]):
        return None
    if method in ("system", "getoutput"):
        return Magic(lookups=tuple(_expanded(arguments[0])))
    if method == "run_line_magic" and len(arguments) >= 2:
        return _line_magic(arguments[0], arguments[1])
    if method == "run_cell_magic" and len(arguments) >= 3:
        return _cell_magic(arguments[0], arguments[1], arguments[2])
    return None


def _line_magic(name: str, line: str) -> Magic:
    if name in _VALUED_OPTIONS:
        return Magic(code=(_without_options(name, line),), in_function=name == "timeit")
    if name in ("pinfo", "pinfo2"):
        match = _HELP.fullmatch(line.strip())
        return Magic(lookups=tuple(_expression(match.group()) if match else ()))
    return Magic(lookups=tuple(_expanded(line)))


def _cell_magic(name: str, line: str, body: str) -> Magic | None:
    if name == "time":
        return Magic(code=(body,), first_line=1)
    if name == "capture":
        target = next((word for word in line.split() if not word.startswith("-")), "")
        return Magic(code=(body,), bound=(target,) if target.isidentifier() else (), first_line=1)
    if name == "prun":
        return Magic(code=(f"{_without_options(name, line)}\n{body}",), first_line=0)
    if name == "timeit":
        return Magic(code=(f"{_without_options(name, line)}\n{body}",), in_function=True, first_line=0)
    return None


def _without_options(name: str, line: str) -> str:
    """The statement after `-n 10 -q --flag`."""
    rest = line.strip()
    while match := re.match(r"-(-[\w-]+(=\S*)?|[A-Za-z]\S*)(\s+|$)", rest):
        option = match.group(1)
        rest = rest[match.end() :]
        takes_next = len(option) == 1 and option in _VALUED_OPTIONS[name]
        if takes_next:
            rest = rest.partition(" ")[2].lstrip()
    return rest


def _expanded(line: str) -> Iterator[ast.expr]:
    """The expressions IPython puts values of into a command: `{folder}`, `$name`, not `$$name` or `{{text}}`.

    If one of them is not an expression, IPython expands none (`awk '{print $1}'`).
    """
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(line) if field]
        found = [item for field in fields for item in _expression(field, strict=True)]
    except (ValueError, SyntaxError):
        return
    yield from found
    for name in _NAMES_IN_DOLLARS.findall(line):
        if not name.startswith("$"):
            yield from _expression(name)


def _expression(text: str, *, strict: bool = False) -> Iterator[ast.expr]:
    try:
        yield ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        if strict:
            raise
