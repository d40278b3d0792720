"""Plans: order, batching, amendments, needs, back-pressure."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from .harness import KernelUnderTest, item


def test_a_chain_of_200_cells_runs_in_order_and_in_few_messages(kernel: KernelUnderTest) -> None:
    cells = [item("v0 = 0\nprint(v0)", definitions=["v0"])]
    cells += [item(f"v{n} = v{n - 1} + 1\nprint(v{n})", definitions=[f"v{n}"]) for n in range(1, 200)]
    before = kernel.messages
    result = kernel.run(*cells)
    assert [result.text(cell) for cell in cells] == [f"{n}\n" for n in range(200)]
    assert [entry["attempt"] for entry in result.reply["finished"]] == [cell["attempt"] for cell in cells]
    assert kernel.messages - before <= 25


def test_each_cell_starts_before_its_output_and_finishes_after_it(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("print('a')\nx = 5\nx", definitions=["x"], version=7)
    assert [entry["t"] for entry in result.of(cell)] == ["started", "stream", "display", "finished"]
    assert result.of(cell)[0]["version"] == 7
    assert result.of(cell, "finished")[0] == result.finished(cell)
    assert result.finished(cell)["names"] == ["x"]


def test_a_cell_whose_need_failed_is_skipped_and_the_rest_runs(kernel: KernelUnderTest) -> None:
    bad = item("1/0")
    child = item("print('child')", needs=[bad["attempt"]])
    grandchild = item("print('grandchild')", needs=[child["attempt"]])
    other = item("print('other')")
    result = kernel.run(bad, child, grandchild, other)
    assert [result.outcome(cell) for cell in (bad, child, grandchild, other)] == [
        "error",
        "skipped",
        "skipped",
        "ok",
    ]
    assert not result.of(child, "started")
    assert result.text(other) == "other\n"


def test_a_running_plan_is_amended(kernel: KernelUnderTest) -> None:
    slow = item("import time\nprint('go')\ntime.sleep(0.5)")
    dropped, replaced, kept = item("print('dropped')"), item("print('old')"), item("print('kept')")
    appended = item("print('appended')")
    message = kernel.begin([slow, dropped, replaced, kept], "plan-a")
    kernel.wait_for_text("go")
    new = dict(replaced, source="print('new')", version=2)
    change = {
        "plan": "plan-a",
        "drop": [dropped["attempt"], slow["attempt"]],
        "replace": [new],
        "append": [appended],
    }
    reply = kernel.ask("control", "rill_amend_request", change)
    result = kernel.end(message)
    assert reply == {"status": "ok", "too_late": [slow["attempt"]]}
    texts = [result.text(cell) for cell in (dropped, replaced, kept, appended)]
    assert texts == ["", "new\n", "kept\n", "appended\n"]
    assert result.of(replaced, "started")[0]["version"] == 2
    assert result.reply["left"] == []


def test_an_amendment_of_a_plan_that_is_over_comes_too_late(kernel: KernelUnderTest) -> None:
    change = {
        "plan": "long gone",
        "drop": ["d"],
        "replace": [item("1", attempt="r")],
        "append": [item("1", attempt="a")],
    }
    assert kernel.ask("control", "rill_amend_request", change)["too_late"] == ["d", "r", "a"]


def test_output_arrives_while_the_cell_runs(kernel: KernelUnderTest) -> None:
    cell = item("import time\nprint('early', end='')\ntime.sleep(600)\nprint('late')")
    message = kernel.begin([cell])
    kernel.wait_for_text("early")
    kernel.interrupt()
    assert kernel.end(message).text(cell) == "early"


def test_frames_are_numbered_without_gaps(kernel: KernelUnderTest) -> None:
    kernel.run(*[item("print('x' * 1000)") for _ in range(300)])
    assert kernel.frame_numbers == list(range(len(kernel.frame_numbers)))


def test_no_line_of_100_000_is_lost_when_the_reader_pauses(fresh: KernelUnderTest) -> None:
    cell = item("for i in range(100_000): print(i, 'x' * 90)")
    message = fresh.begin([cell])
    time.sleep(1.5)
    lines = fresh.end(message).text(cell).splitlines()
    assert len(lines) == 100_000
    assert all(line.startswith(f"{number} x") for number, line in enumerate(lines))
    assert fresh.frame_numbers == list(range(len(fresh.frame_numbers)))


def test_a_writer_waits_while_the_reader_does_not_read(fresh: KernelUnderTest) -> None:
    source = "import time\nfor i in range(300):\n    print('y' * 100_000)\nopen('done', 'w').close()"
    message = fresh.begin([item(source)])
    time.sleep(0.7)
    assert not (fresh.work / "done").exists()
    fresh.end(message)
    assert (fresh.work / "done").exists()


def test_frames_stay_within_64_kib(kernel: KernelUnderTest) -> None:
    sizes: list[int] = []
    take = kernel._take

    def measure(message: dict[str, Any]) -> None:
        sizes.append(len(json.dumps(message["content"], ensure_ascii=False).encode()))
        take(message)

    kernel._take = measure  # type: ignore[method-assign]
    result, cell = kernel.run_source("print('\\x01é\\n' * 200_000)")
    kernel._take = take  # type: ignore[method-assign]
    assert result.text(cell) == "\x01é\n" * 200_000 + "\n"
    assert max(sizes) <= 64 * 1024 + 300


@pytest.mark.environment(RILLBOOK_OUTPUT_CAP_BYTES="10000")
def test_output_beyond_the_cap_is_dropped_and_said_once(fresh: KernelUnderTest) -> None:
    source = "for i in range(100_000): print('z' * 20)\nimport sys\nprint('err', file=sys.stderr)"
    first, second = item(source), item("print('fine')")
    result = fresh.run(first, second)
    assert 10_000 <= len(result.text(first)) <= 20_000
    assert len(result.of(first, "notice")) == 1
    assert result.text(second) == "fine\n"


def test_display_items_beyond_10_000_are_dropped_and_said_once(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("for i in range(10_050): display({'text/plain': 'd'}, raw=True)")
    assert len(result.of(cell, "display")) == 10_000
    assert len(result.of(cell, "notice")) == 1


def test_our_variables_are_gone_from_the_environment(fresh: KernelUnderTest) -> None:
    source = "import os\n[name for name in os.environ if name.startswith(('RILLBOOK', 'JPY', 'KERNEL_'))]"
    result, cell = fresh.run_source(source)
    assert result.of(cell, "display")[0]["data"]["text/plain"] == "[]"


@pytest.mark.environment(KERNEL_MEMORY_BYTES=str(3 * 1024**3))
def test_memory_beyond_the_limit_is_an_error_of_the_cell(fresh: KernelUnderTest) -> None:
    big, after = item("b = bytearray(4 * 1024**3)"), item("print('alive')")
    result = fresh.run(big, after)
    assert result.error(big)["ename"] == "MemoryError"
    assert result.text(after) == "alive\n"


def test_modules_of_the_work_folder_can_be_imported_and_ours_cannot(kernel: KernelUnderTest) -> None:
    (kernel.work / "helper_of_mine.py").write_text("answer = 42")
    source = "import helper_of_mine\nprint(helper_of_mine.answer)\nimport plan"
    result, cell = kernel.run_source(source)
    assert result.text(cell) == "42\n"
    assert result.error(cell)["ename"] == "ModuleNotFoundError"


def test_a_shutdown_request_ends_the_process(fresh: KernelUnderTest) -> None:
    fresh.run_source("print('used')")
    fresh.send("control", "shutdown_request", {"restart": False})
    assert fresh.process.wait(timeout=10) == 0


def test_a_kernel_is_nice_and_dumps_no_core(fresh: KernelUnderTest) -> None:
    source = "import os, resource\nprint(os.nice(0) >= 10, resource.getrlimit(resource.RLIMIT_CORE))"
    result, cell = fresh.run_source(source)
    assert result.text(cell) == "True (0, 0)\n"
