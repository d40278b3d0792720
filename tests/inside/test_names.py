"""The namespace: what cells leave, what is taken out, and what is hidden state elsewhere."""

from __future__ import annotations

from .harness import KernelUnderTest, item


def test_unload_removes_names_before_the_cell_runs(kernel: KernelUnderTest) -> None:
    first = item("gone = 1", definitions=["gone"])
    kernel.run(first)
    again = dict(
        first, attempt="again", source="kept = 'gone' in globals()", definitions=["kept"], unload=["gone"]
    )
    last = item("print(kept)")
    assert kernel.run(again, last).text(last) == "False\n"


def test_names_bound_outside_analysis_are_reported_and_leave_with_their_cell(kernel: KernelUnderTest) -> None:
    first = item("x = 1\nexec('sneaky = 2')\nglobals()['other'] = 3", definitions=["x"])
    result = kernel.run(first)
    assert result.finished(first)["names"] == ["x"]
    assert result.finished(first)["undeclared"] == ["other", "sneaky"]
    again = dict(first, attempt="again-2", source="print('sneaky' in globals())", definitions=[])
    assert kernel.run(again).text(again) == "False\n"


def test_another_cells_name_bound_behind_its_back_is_reported(kernel: KernelUnderTest) -> None:
    owner, thief = item("mine = [1]", definitions=["mine"]), item("globals()['mine'] = [2]")
    assert kernel.run(owner, thief).finished(thief)["undeclared"] == ["mine"]


def test_there_is_no_history_of_results(kernel: KernelUnderTest) -> None:
    cells = [
        item("'first'"),
        item("print([n for n in ('_', '__', 'Out', 'In', '_i', '_oh', '_ih') if n in globals()])"),
    ]
    result = kernel.run(*cells)
    assert result.text(cells[1]) == "[]\n"


def test_a_result_is_not_kept_alive(kernel: KernelUnderTest) -> None:
    first = item(
        "import weakref\nclass Big: pass\n_b = Big()\nref = weakref.ref(_b)\n_b",
        definitions=["weakref", "Big", "ref"],
    )
    second = item("import gc\ngc.collect()\nprint(ref())", definitions=["gc"])
    assert kernel.run(first, second).text(second) == "None\n"


def test_future_flags_stay_in_their_cell(kernel: KernelUnderTest) -> None:
    first = item(
        "from __future__ import annotations\ndef f(a: Missing): pass", definitions=["annotations", "f"]
    )
    second = item("def g(a: Missing): pass\ng.__annotations__")
    result = kernel.run(first, second)
    assert result.outcome(first) == "ok"
    assert result.error(second)["ename"] == "NameError"


def test_magics_bind_names_and_show_values(kernel: KernelUnderTest) -> None:
    cells = [
        item("%%time\ntimed = 5\ntimed", definitions=["timed"]),
        item("files = !echo one two\nfiles[0]", definitions=["files"]),
        item("!echo loud"),
        item("%%capture captured\nprint('inside')", definitions=["captured"]),
        item("print(captured.stdout)"),
        item("%timeit -n1 -r1 pass"),
    ]
    result = kernel.run(*cells)
    assert [result.outcome(cell) for cell in cells] == ["ok"] * len(cells), result.entries
    assert result.of(cells[0], "display")[0]["data"]["text/plain"] == "5"
    assert "Wall time" in result.text(cells[0])
    assert result.of(cells[1], "display")[0]["data"]["text/plain"] == "'one two'"
    assert "loud" in result.text(cells[2])
    assert result.text(cells[4]) == "inside\n\n"
    assert "per loop" in result.text(cells[5])
    assert [result.finished(cell)["undeclared"] for cell in cells] == [[]] * len(cells)


def test_an_error_inside_a_magic_fails_the_cell(kernel: KernelUnderTest) -> None:
    (kernel.work / "script.py").write_text("1/0\n")
    result, cell = kernel.run_source("%run script.py")
    assert result.outcome(cell) == "error"
    assert result.error(cell)["ename"] == "ZeroDivisionError"


def test_the_source_of_a_cells_function_can_be_read(kernel: KernelUnderTest) -> None:
    cells = [
        item("def f():\n    return 'here'", definitions=["f"]),
        item("import inspect\nprint(inspect.getsource(f))"),
    ]
    assert "return 'here'" in kernel.run(*cells).text(cells[1])


def test_a_semicolon_keeps_the_value_quiet(kernel: KernelUnderTest) -> None:
    cells = [item("1;"), item("(2) ; # note"), item("'a;b'"), item("[1,\n2] # ;"), item("None")]
    result = kernel.run(*cells)
    assert [len(result.of(cell, "display")) for cell in cells] == [0, 0, 1, 1, 0]


def test_classes_of_the_notebook_can_be_pickled(kernel: KernelUnderTest) -> None:
    cells = [
        item("class P: pass", definitions=["P"]),
        item("import pickle\nprint(type(pickle.loads(pickle.dumps(P()))).__name__)"),
    ]
    assert kernel.run(*cells).text(cells[1]) == "P\n"


def test_annotations_and_future_features_are_no_hidden_state(kernel: KernelUnderTest) -> None:
    source = "from __future__ import annotations\nimport warnings\nannotated: int = 1\nwarnings.warn('x')"
    cell = item(source, definitions=["annotated", "warnings"])
    assert kernel.run(cell).finished(cell)["undeclared"] == []


def test_names_whose_value_is_the_same_again_are_reported(kernel: KernelUnderTest) -> None:
    source = (
        "import math, numpy\nfrom datetime import date\nfrom decimal import Decimal\n"
        "number = 1\nword = 'a' * 1000\npair = (1.5, (None, b'x'))\nday = date(2026, 1, 2)\n"
        "exact = Decimal('1.10')\nscalar = numpy.float64(2.5)\nnan = float('nan')\n"
        "zero = 0.0\none = 1\nitems = [1]\ndef function(): return one\nclass Kind: pass"
    )
    names = ["Decimal", "Kind", "date", "day", "exact", "function", "items", "math", "nan", "number"]
    names += ["numpy", "one", "pair", "scalar", "word", "zero"]
    first = item(source, definitions=names)
    result = kernel.run(first)
    assert result.finished(first)["names"] == names
    assert result.finished(first)["kept"] == []
    again = dict(
        first,
        attempt="kept-again",
        unload=names,
        source=source.replace("zero = 0.0", "zero = -0.0").replace("one = 1", "one = True"),
    )
    kept = {"math", "numpy", "number", "word", "pair", "day", "exact", "scalar", "nan"}
    assert set(kernel.run(again).finished(again)["kept"]) == kept
