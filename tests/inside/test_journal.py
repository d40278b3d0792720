"""What a kernel that ended without a word has left in its journal."""

from __future__ import annotations

import pytest

from .harness import KernelUnderTest, item

ENDINGS = {
    "exit": "import os\nos._exit(3)",
    "kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "abort": "import os\nos.abort()",
}


def die(kernel: KernelUnderTest, *cells: dict) -> list[dict]:
    """Run cells of which one ends the process; the journal's entries."""
    kernel.begin(cells)
    kernel.process.wait(20)
    return [record.entry for record in kernel.journal.more(0) if record.entry is not None]


def told(entries: list[dict], cell: dict) -> str:
    return "".join(entry["text"] for entry in entries if entry["t"] == "stream" and entry["attempt"] == cell["attempt"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_cells_that_ended_and_the_one_that_runs_are_in_it_with_output(fresh: KernelUnderTest, ending: str) -> None:
    first = item("a = 1\nprint('first', a)\na", definitions=["a"])
    last = item(f"print('before')\n{ENDINGS[ending]}")
    entries = die(fresh, first, last)
    kinds = [(entry["t"], entry["attempt"]) for entry in entries if entry["t"] != "stream"]
    assert kinds == [
        ("started", first["attempt"]),
        ("display", first["attempt"]),
        ("finished", first["attempt"]),
        ("started", last["attempt"]),
    ]
    assert (told(entries, first), told(entries, last)) == ("first 1\n", "before\n")


@pytest.mark.parametrize("flush", ["flush=True", "file=__import__('sys').stderr, flush=True"])
def test_what_was_flushed_is_in_it_also_in_the_middle_of_a_line(fresh: KernelUnderTest, flush: str) -> None:
    source = f"import ctypes\nfor i in range(1000): print(i, end=' ', {flush})\nctypes.string_at(0)"
    cell = item(source)
    assert told(die(fresh, cell), cell) == "".join(f"{i} " for i in range(1000))


def test_all_that_was_printed_before_an_exit_is_in_it(fresh: KernelUnderTest) -> None:
    cell = item("import os\nfor i in range(1000): print(i)\nprint('no end of line', end='')\nos._exit(0)")
    assert told(die(fresh, cell), cell) == "".join(f"{i}\n" for i in range(1000)) + "no end of line"


def test_the_first_lines_before_a_crash_are_in_it(fresh: KernelUnderTest) -> None:
    cell = item("import ctypes\nfor i in range(16): print(i)\nctypes.string_at(0)")
    assert told(die(fresh, cell), cell) == "".join(f"{i}\n" for i in range(16))


def test_a_flood_leaves_its_end_in_it(fresh: KernelUnderTest) -> None:
    cell = item("import os\nfor i in range(400_000): print('line', i)\nos._exit(0)")
    fresh.begin([cell])
    while fresh.process.poll() is None:
        fresh.pump()
    entries = [record.entry for record in fresh.journal.more(0) if record.entry is not None]
    assert told(entries, cell).splitlines()[-50_000:] == [f"line {i}" for i in range(350_000, 400_000)]


def test_a_child_that_displays_and_exits_leaves_the_kernels_journal_alone(fresh: KernelUnderTest) -> None:
    source = "import os\nif not (child := os.fork()):\n    display('child')\n    os._exit(0)\nos.waitpid(child, 0)[1]"
    first, last = item(source), item(ENDINGS["exit"])
    entries = [entry for entry in die(fresh, first, last) if entry["t"] != "stream"]
    assert [entry["t"] for entry in entries] == ["started", "display", "finished", "started"]
    assert entries[1]["data"] == {"text/plain": "0"}


def test_a_kernel_without_a_journal_runs_cells() -> None:
    other = KernelUnderTest(journal=False)
    result, cell = other.run_source("print('here')")
    other.close()
    assert result.text(cell) == "here\n"
