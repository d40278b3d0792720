"""What a Python cell defines and refers to, by the scoping rules of CPython.

Pure. The rules of which name counts are here; the walk is in statements.py, expressions.py and names.py.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from notebooks_app.analysis.effort import Effort
from notebooks_app.analysis.parsing import describe, parse
from notebooks_app.analysis.statements import Statements
from notebooks_app.facts import CellError, ErrorKind

# What a kernel's builtins hold; IPython adds the last three.
BUILTINS = frozenset(dir(builtins)) | {"exit", "quit", "get_ipython", "display", "__IPYTHON__"}
MODULE_NAMES = frozenset({"__builtins__", "__annotations__", "__annotate__", "__conditional_annotations__"})


def is_public(name: str) -> bool:
    """Whether cells share the name. `_x`, `_` and `__` are their cell's own; `__x` is shared."""
    return not name.startswith("_") or (name.startswith("__") and name != "__")


@dataclass(frozen=True, slots=True)
class Names:
    """Public names of a Python cell: what it binds, looks up, looks up among the builtins, and wrong in it."""

    definitions: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    builtins: frozenset[str] = frozenset()
    futures: frozenset[str] = frozenset()
    errors: tuple[CellError, ...] = ()


def analyse_python(source: str, effort: Effort) -> Names:
    """The names of a Python cell; one that does not parse has none.

    RecursionError, MemoryError and TooMuchWork pass through.
    """
    walker = Statements(effort, has_walrus=":=" in source)
    try:
        walker.walk(parse(source, effort))
    except SyntaxError as error:
        return Names(errors=(_syntax_error(error),))
    except ValueError as error:  # a lone surrogate, which no Python source can hold
        message = f"Syntax error: {getattr(error, 'reason', error)}"
        return Names(errors=(CellError(ErrorKind.SYNTAX, message),))
    bound, used = walker.result()
    references = frozenset(filter(is_public, used - MODULE_NAMES))
    return Names(
        definitions=frozenset(filter(is_public, bound - MODULE_NAMES)),
        references=references - BUILTINS,
        builtins=references & BUILTINS,
        futures=frozenset(walker.futures),
        errors=tuple(_star_error(module, line) for module, line in walker.stars),
    )


def _syntax_error(error: SyntaxError) -> CellError:
    where = f" in line {error.lineno}" if error.lineno else ""
    return CellError(ErrorKind.SYNTAX, f"Syntax error{where}: {describe(error)}", line=error.lineno)


def _star_error(module: str, line: int) -> CellError:
    message = f"`from {module} import *` in line {line} hides which names this cell defines. "
    message += "Import the names you use" + ("." if module.startswith(".") else f", or `import {module}`.")
    return CellError(ErrorKind.STAR_IMPORT, message, names=(module,), line=line)
