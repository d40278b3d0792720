"""Interrupts: they raise in user code only, cancel awaits, stop the plan, and never lose a reply or a
frame.
"""

from __future__ import annotations

import random
import time

import pytest

from .harness import KernelUnderTest, item


@pytest.mark.parametrize(
    "source",
    [
        "print('go')\nwhile True: pass",
        "import time\nprint('go')\ntime.sleep(60)",
        "import asyncio\nprint('go')\nawait asyncio.sleep(60)",
        "import asyncio\nprint('go')\nawait asyncio.sleep(0.01)\nwhile True: pass",
        "import asyncio\nasync def f():\n    while True: pass\nprint('go')\nawait asyncio.create_task(f())",
        "print('go')\nwhile True: print('flood' * 10)",
        "print('go')\nimport subprocess\nsubprocess.run(['sleep', '60'])",
        "class Slow:\n    def __repr__(self):\n        while True: pass\nprint('go')\nSlow()",
        "print('go')\n!sleep 60",
        "print('go')\nimport threading\nthreading.Event().wait()",
    ],
)
def test_an_interrupt_ends_the_cell_and_leaves_the_rest(kernel: KernelUnderTest, source: str) -> None:
    cell, other = item(source), item("print('never')")
    message = kernel.begin([cell, other])
    kernel.wait_for_text("go")
    time.sleep(0.05)
    started = time.monotonic()
    kernel.interrupt()
    result = kernel.end(message)
    assert time.monotonic() - started < 30
    assert result.outcome(cell) == "interrupted"
    assert result.reply["left"] == [other["attempt"]]
    assert result.error(cell)["ename"] == "KeyboardInterrupt"
    assert not result.of(other)
    again, fine = kernel.run_source("print('fine')")
    assert again.text(fine) == "fine\n"


@pytest.mark.parametrize("command", ["!sleep 60", "x = !sleep 60"])
def test_an_interrupt_before_a_command_has_its_process_is_an_interrupt(
    kernel: KernelUnderTest, command: str
) -> None:
    slow = "import pexpect, time\ndef start(*_, **__):\n    print('go')\n    time.sleep(60)\n"
    cell = item(f"{slow}pexpect.spawn = pexpect.spawnb = start\n{command}")
    if command.startswith("x"):
        cell = item(f"{slow}import subprocess\nsubprocess.Popen = start\n{command}")
    message = kernel.begin([cell])
    kernel.wait_for_text("go")
    kernel.interrupt()
    result = kernel.end(message)
    assert (result.outcome(cell), result.error(cell)["ename"]) == ("interrupted", "KeyboardInterrupt")


def test_a_cell_that_catches_the_interrupt_ends_well_and_the_plan_still_stops(
    kernel: KernelUnderTest,
) -> None:
    cell = item(
        "import time\nprint('go')\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('caught')"
    )
    other = item("print('never')")
    message = kernel.begin([cell, other])
    kernel.wait_for_text("go")
    kernel.interrupt()
    result = kernel.end(message)
    assert result.outcome(cell) == "ok"
    assert "caught" in result.text(cell)
    assert result.reply["left"] == [other["attempt"]]


def test_an_interrupt_reaches_a_writer_that_waits_for_its_reader(fresh: KernelUnderTest) -> None:
    cell = item("while True: print('y' * 1000)")
    message = fresh.begin([cell])
    time.sleep(0.5)  # nothing is read: the writer waits
    fresh.send("control", "interrupt_request", {})
    result = fresh.end(message)
    assert result.outcome(cell) == "interrupted"
    assert fresh.frame_numbers == list(range(len(fresh.frame_numbers)))


def test_an_interrupt_while_nothing_runs_changes_nothing(kernel: KernelUnderTest) -> None:
    kernel.interrupt()
    result, cell = kernel.run_source("print('here')")
    assert result.text(cell) == "here\n"
    assert result.outcome(cell) == "ok"


def test_a_busy_task_between_cells_can_be_interrupted(kernel: KernelUnderTest) -> None:
    source = (
        "import asyncio\nasync def busy():\n    await asyncio.sleep(0.1)\n    print('busy')\n"
        "    while True: pass\n"
        "t = asyncio.create_task(busy())"
    )
    kernel.run_source(source, definitions=["asyncio", "busy", "t"])
    kernel.wait_for_text("busy")
    kernel.interrupt()
    result, cell = kernel.run_source("print('back')")
    assert result.text(cell) == "back\n"


def test_100_interrupts_at_random_moments_stay_coherent(kernel: KernelUnderTest) -> None:
    rng = random.Random(7)
    sources = ["for i in range(3000): print(i)", "x = sum(range(30_000))\n"
        "x", "await __import__('asyncio').sleep(0.002)",
               "display({'text/plain': 'd' * 500}, raw=True)", "def f(): pass\n1"]  # fmt: skip
    for _ in range(100):
        cells = [item(rng.choice(sources)) for _ in range(8)]
        message = kernel.begin(cells)
        time.sleep(rng.random() * 0.02)
        kernel.send("control", "interrupt_request", {})
        result = kernel.end(message)
        finished = [entry["attempt"] for entry in result.reply["finished"]]
        assert finished + result.reply["left"] == [cell["attempt"] for cell in cells]
        for cell in cells[: len(finished)]:
            assert [entry["t"] for entry in result.of(cell)][0] == "started"
            assert result.of(cell, "finished") == [result.finished(cell)]
            assert result.outcome(cell) in ("ok", "interrupted")
        assert all(not result.of(cell) for cell in cells[len(finished) :])
    assert kernel.frame_numbers == list(range(len(kernel.frame_numbers)))
    result, cell = kernel.run_source("print('alive')")
    assert result.text(cell) == "alive\n"


def test_an_interrupt_before_the_first_line_stops_an_endless_cell(kernel: KernelUnderTest) -> None:
    for _ in range(30):
        cell = item("while True: pass")
        message = kernel.begin([cell])
        kernel.send("control", "interrupt_request", {})
        kernel.wait_for(
            lambda attempt=cell["attempt"]: [e for e in kernel.entries if e["attempt"] == attempt], "start"
        )
        kernel.interrupt()  # the first may have come before the plan; a second one must always do
        assert kernel.end(message, 5).outcome(cell) == "interrupted"


def test_a_cell_that_replaces_the_handler_does_not_disarm_the_next(kernel: KernelUnderTest) -> None:
    first = item("import signal\n_ = signal.signal(signal.SIGINT, signal.SIG_IGN)", definitions=["signal"])
    second = item("print('go')\nwhile True: pass")
    message = kernel.begin([first, second])
    kernel.wait_for_text("go")
    kernel.interrupt()
    assert kernel.end(message).outcome(second) == "interrupted"
