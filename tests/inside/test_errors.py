"""Errors as their reader sees them: cell titles, lines, carets, causes, no frames of ours."""

from __future__ import annotations

import re

import pytest

from .harness import KernelUnderTest, item


def _plain(entry: dict[str, object]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(entry["traceback"]))  # type: ignore[arg-type]


def test_a_traceback_names_cells_and_lines(kernel: KernelUnderTest) -> None:
    first = item("def half(n):\n    total = n\n    return total / 0", number=3, definitions=["half"])
    second = item("x = 1\nhalf(x)", number=7)
    error = kernel.run(first, second).error(second)
    text = _plain(error)
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert "Cell 7, line 2\n" in text
    assert "Cell 3, line 3, in half\n" in text
    assert "---->   3     return total / 0\n                     ^^^^^^^^^" in text
    assert text.endswith("ZeroDivisionError: division by zero")
    assert "kernels_app" not in text and "cells.py" not in text


def test_library_frames_are_short(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("import json\njson.loads('{')", definitions=["json"])
    text = _plain(result.error(cell))
    assert re.search(r"File json/__init__\.py:\d+, in loads\n", text)
    assert "JSONDecodeError: Expecting property name" in text


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [("x = 1\nif x\n  pass", 2, "expected ':'"), ("y = (1,", 1, "was never closed"), ("x = 1\n"
        " y", 2, "unexpected indent"),
     ("return 5", 1, "'return' outside function"), ("a = 1\nb = 2 +", 2, "invalid syntax")],
)  # fmt: skip
def test_a_syntax_error_shows_its_line_with_a_caret(
    kernel: KernelUnderTest, source: str, line: int, words: str
) -> None:
    result, cell = kernel.run_source(source, number=4)
    error = result.error(cell)
    text = _plain(error)
    assert error["ename"] in ("SyntaxError", "IndentationError")
    assert words in error["evalue"]
    assert f"Cell 4, line {line}" in text
    assert "^" in text
    assert "File " not in text


def test_causes_and_contexts_are_told_oldest_first(kernel: KernelUnderTest) -> None:
    source = "try:\n    int('x')\nexcept ValueError as e:\n    raise RuntimeError('wrapped') from e"
    result, cell = kernel.run_source(source)
    text = _plain(result.error(cell))
    assert text.index("ValueError") < text.index("direct cause") < text.index("RuntimeError: wrapped")


def test_hints_and_notes_are_kept(kernel: KernelUnderTest) -> None:
    cells = [
        item("value = 1\nvalu", definitions=["value"]),
        item("e = ValueError('v')\ne.add_note('look here')\nraise e"),
    ]
    result = kernel.run(*cells)
    assert "Did you mean: 'value'?" in _plain(result.error(cells[0]))
    assert _plain(result.error(cells[1])).endswith("ValueError: v\nlook here")


def test_groups_show_their_members(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("raise ExceptionGroup('many', [ValueError('one'), TypeError('two')])")
    text = _plain(result.error(cell))
    assert "ValueError: one" in text and "TypeError: two" in text


def test_a_group_shows_each_error_with_its_frames_in_colours_and_none_of_ours(kernel: KernelUnderTest) -> None:
    source = """def broken():
    1 / 0
def gathered():
    errors = []
    for act in (broken, lambda: int("x")):
        try:
            act()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("outer", [ExceptionGroup("inner", errors[:1]), *errors[1:]])
gathered()"""
    result, cell = kernel.run_source(source, definitions=["broken", "gathered"])
    error = result.error(cell)
    text = _plain(error)
    for wanted in ("outer", "1 of 2", "inner", "ZeroDivisionError", "in broken", "ValueError: invalid literal"):
        assert wanted in text
    assert "inside/cells.py" not in text and "inside/interrupt.py" not in text
    assert "\x1b[31;1mZeroDivisionError" in "".join(error["traceback"])


def test_endless_recursion_is_a_short_traceback(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("def f(): f()\nf()", definitions=["f"])
    error = result.error(cell)
    assert error["ename"] == "RecursionError"
    assert len("".join(error["traceback"])) < 10_000
    assert "frames left out" in _plain(error)


@pytest.mark.parametrize("source", ["exit()", "quit()", "exit(1)"])
def test_a_cell_cannot_end_the_kernel(kernel: KernelUnderTest, source: str) -> None:
    result, cell = kernel.run_source(source + "\nprint('on')")
    assert "Restart" in result.error(cell)["evalue"]
    assert result.text(cell) == ""


def test_sys_exit_is_an_error_of_the_cell(kernel: KernelUnderTest) -> None:
    cells = [item("import sys\nsys.exit(3)"), item("print('on')")]
    result = kernel.run(*cells)
    assert (result.error(cells[0])["ename"], result.error(cells[0])["evalue"]) == ("SystemExit", "3")
    assert result.text(cells[1]) == "on\n"


@pytest.mark.parametrize(
    "source",
    [
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "raise ValueError('x' * 1_000_000)",
        "raise ValueError(chr(0xD800))",
        "class R:\n    def __repr__(self): raise RuntimeError('no repr')\nR()",
        "eval('1 +')",
        "exec(compile('1/0', 'cell-fake', 'exec'))",
        "raise BaseException('base')",
        "raise GeneratorExit",
        "import asyncio\nraise asyncio.CancelledError",
    ],
)
def test_odd_errors_are_reported_and_the_kernel_goes_on(kernel: KernelUnderTest, source: str) -> None:
    result, cell = kernel.run_source(source)
    error = result.error(cell)
    assert len(error["evalue"]) < 20_000
    assert len("".join(error["traceback"])) < 60_000
    result, cell = kernel.run_source("print('on')")
    assert result.text(cell) == "on\n"


def test_an_error_in_a_thread_is_told_on_its_cell(kernel: KernelUnderTest) -> None:
    source = "import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start()\nt.join()"
    result, cell = kernel.run_source(source, definitions=["threading", "t"])
    assert result.outcome(cell) == "ok"
    assert "ZeroDivisionError" in result.text(cell, "stderr")
