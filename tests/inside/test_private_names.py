"""Private `_x` names behave as plain Python while their cell runs, and belong to it alone afterwards."""

from __future__ import annotations

import pytest

from .harness import KernelUnderTest, item

# (name, cell, what a later cell evaluates or None, what both print). Public names are x, f, C.
CONSTRUCTS = [
    ("plain", "_x = 1\nprint(_x)", None, "1"),
    ("eval", "_x = 1\nprint(eval('_x'))", None, "1"),
    ("globals", "_x = 1\nprint(globals()['_x'])", None, "1"),
    ("locals", "_x = 1\nprint('_x' in locals())", None, "True"),
    ("exec", "exec('_x = 3')\nprint(_x)", None, "3"),
    ("f-string", "_x = 1\nprint(f'{_x} {_x=}')", None, "1 _x=1"),
    ("function reads", "_x = 1\ndef f(): return _x", "f()", "1"),
    ("function reads late binding", "def f(): return _x\n_x = 2", "f()", "2"),
    ("function writes by global", "_n = 0\ndef f():\n    global _n\n    _n += 1\n    return _n\n"
        "f()", "f()", "2"),
    ("private function", "def _h(): return 4\ndef f(): return _h()", "f()", "4"),
    ("private function's name", "def _h(): pass\ndef f(): return _h.__name__", "f()", "_h"),
    ("private class", "class _C:\n    y = 5\ndef f(): return _C.y, _C.__name__", "f()", "(5, '_C')"),
    ("recursion", "def _fact(n): return n * _fact(n - 1) if n else 1\n"
        "def f(): return _fact(5)", "f()", "120"),
    ("decorator", "def _d(g): return g\n@_d\ndef f(): return 6", "f()", "6"),
    ("lambda", "_x = 7\nf = lambda: _x", "f()", "7"),
    ("default", "_x = 8\ndef f(a=_x): return a", "f()", "8"),
    ("class body", "_x = 9\nclass C:\n    y = _x", "C.y", "9"),
    ("method", "_x = 10\nclass C:\n    def m(self): return _x", "C().m()", "10"),
    ("attribute", "class C:\n    def __init__(self): self._x = 11\n_x = 1\n"
        "f = lambda: (_x, C()._x)", "f()", "(1, 11)"),
    ("keyword", "def g(_x): return _x\n_x = 1\nf = lambda: g(_x=_x + 11)", "f()", "12"),
    ("parameter shadows", "_x = 1\ndef f(_x): return _x", "f(13)", "13"),
    ("local shadows", "_x = 1\ndef f():\n    _x = 14\n    return _x\nprint(_x)", "f()", "1\n14"),
    ("closure", "def g():\n    _x = 15\n    return lambda: _x\n_x = 1\nf = g()", "f()", "15"),
    ("nonlocal", "def f():\n    _x = 1\n    def g():\n        nonlocal _x\n        _x = 16\n"
        "    g()\n    return _x", "f()", "16"),
    ("list comprehension", "_x = 2\nx = [_x * i for i in range(3)]\nprint(x)", None, "[0, 2, 4]"),
    ("comprehension target", "_i = 5\nx = [_i for _i in range(3)]\nprint(x, _i)", None, "[0, 1, 2] 5"),
    ("generator", "_x = 2\nf = (_x * i for i in range(3))", "list(f)", "[0, 2, 4]"),
    ("walrus", "def f(): return [_y := 3, _y][1]\nprint((_y := 1), _y)", "f()", "1 1\n3"),
    ("loop variable", "for _i in range(3): pass\nprint(_i)\nf = lambda: _i", "f()", "2\n2"),
    ("underscore", "_, x = 1, 17\nprint(_)", "x", "1\n17"),
    ("double underscore alone", "__ = 3\nprint(__)\nf = lambda: __", "f()", "3\n3"),
    ("import as", "import math as _m\ndef f(): return _m.floor(18.5)", "f()", "18"),
    ("import from", "from math import floor as _fl\nf = lambda: _fl(19.5)", "f()", "19"),
    ("import dotted", "import os.path as _p\nf = lambda: _p.basename('/a/b')", "f()", "b"),
    ("except", "try:\n    1/0\nexcept ZeroDivisionError as _e:\n    x = (lambda: str(_e))()\n"
        "print(x)", None, "division by zero"),
    ("with", "import contextlib\nwith contextlib.nullcontext(20) as _w:\n    f = lambda: _w", "f()", "20"),
    ("match", "match {'a': 21}:\n    case {'a': _v}:\n        f = lambda: _v", "f()", "21"),
    ("del", "_x = 1\nf = lambda: _x\ndel _x\nprint('_x' in globals())", None, "False"),
    ("augmented", "_x = 1\n_x += 21\nf = lambda: _x", "f()", "22"),
    ("annotated", "_x: int = 23\nf = lambda: _x", "f()", "23"),
    ("starred", "_a, *_b = 1, 2, 3\nf = lambda: (_a, _b)", "f()", "(1, [2, 3])"),
    ("async", "import asyncio\n_x = 24\nasync def f(): return _x\nprint(await f())", "await f()", "24\n24"),
    ("pandas query", "import pandas as pd\n_t = 1\n"
        "x = pd.DataFrame({'a': [1, 2]}).query('a > @_t')\nprint(len(x))", None, "1"),
    ("thread", "import threading, time\n_x = 25\n"
        "t = threading.Thread(target=lambda: (time.sleep(.05), print(_x)))\nt.start()",
     "t.join()", "25\nNone"),
    ("future annotations", "from __future__ import annotations\n_x = 1\n"
        "def f(a: Missing = 26): return a", "f()", "26"),
    ("type parameter", "_x = 27\ndef f[T](a: T = _x) -> T: return _x", "f()", "27"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "later", "shown"), [c[1:] for c in CONSTRUCTS], ids=[c[0] for c in CONSTRUCTS]
)
def test_a_private_name_works_as_in_python(
    kernel: KernelUnderTest, source: str, later: str | None, shown: str
) -> None:
    names = ["x", "f", "C", "g", "t", "math", "asyncio", "threading", "time", "contextlib", "pd"]
    cells = [item(source, definitions=names)]
    if later is not None:
        cells.append(item(f"print({later})"))
    hidden = "n.startswith('__') or n.startswith('_cell_') or n == '_dh'"
    left = f"sorted(n for n in globals() if n.startswith('_') and not ({hidden}))"
    cells.append(item(f"print({left}, '__' in globals())"))
    result = kernel.run(*cells)
    assert [result.outcome(cell) for cell in cells] == ["ok"] * len(cells), result.entries
    assert "".join(result.text(cell) for cell in cells[:-1]).strip() == shown
    assert result.text(cells[-1]) == "[] False\n"


def test_private_names_of_two_cells_do_not_meet(kernel: KernelUnderTest) -> None:
    one, two = (
        item("_x = 1\nf = lambda: _x", definitions=["f"]),
        item("_x = 2\ng = lambda: _x", definitions=["g"]),
    )
    last = item("print(f(), g())")
    assert kernel.run(one, two, last).text(last) == "1 2\n"


def test_a_private_name_is_unknown_to_other_cells(kernel: KernelUnderTest) -> None:
    one, two = item("_secret = 1\nf = lambda: _secret", definitions=["f"]), item("_secret")
    error = kernel.run(one, two).error(two)
    assert (error["ename"], error["evalue"]) == ("NameError", "name '_secret' is not defined")


def test_errors_show_private_names_as_written(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source(
        "def _helper():\n    return _missing\ndef f(): _helper()\nif False: _missing = 1\nf()"
    )
    error = result.error(cell)
    assert error["evalue"] == "name '_missing' is not defined"
    assert "_cell_" not in "".join(error["traceback"])


def test_private_names_leave_with_their_cell(kernel: KernelUnderTest) -> None:
    cell = item("_big = 'big'\ndef f(): return _big", definitions=["f"])
    kernel.run(cell)
    kernel.call("unload", names=["f"])
    last = item(
        "print([n for n in globals() if n.startswith('_cell_" + cell["cell"].replace("-", "")[:12] + "')])"
    )
    assert kernel.run(last).text(last) == "[]\n"
