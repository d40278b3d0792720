"""From the text of a cell to a syntax tree with the lines of the text, as IPython and CPython would read it.

Pure. IPython's special syntax (`%magic`, `!command`, `name?`, pasted prompts) is made Python by its own input
transformer; what the magics do with names is in magics.py.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from notebooks_app.analysis.effort import Effort

FILENAME = "<cell>"
_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_STRAY = re.compile(r"[^\W\d]\w*|\d[\w.]*|\S")
_HELP_RUN = re.compile(r"[\w*.\[\]-]+")  # what IPython's `name?` is looked for in, from each of its characters

# Compiling warns of `"\d"` and `x is 1`; the kernel says so to the person who runs the cell.
warnings.filterwarnings("ignore", module=re.escape(FILENAME))


def parse(source: str, effort: Effort) -> ast.Module:
    """The tree of the cell as IPython runs it. Raises SyntaxError with the line and the words of CPython.

    RecursionError and MemoryError pass through: the source is nested too deeply for CPython itself. TooMuchWork does,
    too.
    """
    try:
        return _compile(source, effort)
    except SyntaxError as error:
        transformed = _transform(source, effort)
        if transformed is None or transformed.strip() == source.strip():
            raise
        original = error
    removed = _leading_blank_lines(source)
    try:
        tree = _compile(transformed, effort)
    except SyntaxError as error:
        error.lineno = (error.lineno or 1) + removed
        raise error from original
    return ast.increment_lineno(tree, removed) if removed else tree


def describe(error: SyntaxError) -> str:
    """What is wrong, in CPython's words; where those say only "invalid syntax", the word it stumbled over."""
    message = (error.msg or "invalid syntax").removesuffix(" (<cell>)").replace(" (<cell>, line", " (line")
    if message == "invalid syntax" and error.text and error.offset:
        stray = _STRAY.match(error.text, max(error.offset - 1, 0))
        if stray:
            return f"invalid syntax at `{stray.group()[:40]}`"
        return "invalid syntax at the end of the line"
    return message


def _compile(source: str, effort: Effort) -> ast.Module:
    """Parsed and compiled: some errors (`return` outside a function) are found by the compiler only."""
    # CPython compiles the body of a `finally` twice, and what is inside it twice of that.
    effort.spend(len(source) << min(source.count("finally"), 64))
    tree: ast.Module = compile(source, FILENAME, "exec", flags=ast.PyCF_ONLY_AST | _FLAGS, dont_inherit=True)
    compile(source, FILENAME, "exec", flags=_FLAGS, dont_inherit=True)
    return tree


def _transform(source: str, effort: Effort) -> str | None:
    """The cell as IPython's transformer hands it on; None where even that cannot read it."""
    try:
        return _Transformer(effort).transform_cell(source)  # type: ignore[no-untyped-call]
    except (SyntaxError, RuntimeError, ValueError):  # RuntimeError: over 500 lines of special syntax
        return None


class _Transformer(TransformerManager):
    """IPython's own, which reads the whole cell again for each place of special syntax."""

    def __init__(self, effort: Effort) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._effort = effort

    def do_one_token_transform(self, lines: list[str]) -> Any:
        text = "".join(lines)
        self._effort.spend(len(text))
        if "?" in text:
            self._effort.spend(sum(len(run) ** 2 for run in _HELP_RUN.findall(text)) // 100)
        return super().do_one_token_transform(lines)  # type: ignore[no-untyped-call]


def _leading_blank_lines(source: str) -> int:
    """How many lines IPython removes from the top."""
    lines = source.splitlines()
    return next((index for index, line in enumerate(lines) if line.strip()), 0)
