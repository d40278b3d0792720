"""Output belongs to the attempt that made it, also late, from threads, tasks, executors and child
processes.
"""

from __future__ import annotations

from .harness import KernelUnderTest, item


def test_a_thread_that_outlives_its_cell_prints_under_it(kernel: KernelUnderTest) -> None:
    thread = item(
        "import threading, time\ndef work():\n    for i in range(5):\n        time.sleep(0.05)\n"
        "        print('thread', i)\n"
        "t = threading.Thread(target=work)\nt.start()",
        definitions=["threading", "time", "work", "t"],
    )
    other = item("print('other')\nt.join()\nprint('end')")
    result = kernel.run(thread, other)
    assert result.text(thread) == "".join(f"thread {i}\n" for i in range(5))
    assert result.text(other) == "other\nend\n"


def test_a_display_from_a_late_thread_belongs_to_its_cell(kernel: KernelUnderTest) -> None:
    first = item(
        "import threading\ngate = threading.Event()\n"
        "t2 = threading.Thread(target=lambda: (gate.wait(), display('late')))\n"
        "t2.start()",
        definitions=["threading", "gate", "t2"],
    )
    second = item("gate.set()\nt2.join()")
    result = kernel.run(first, second)
    assert [entry["data"]["text/plain"] for entry in result.of(first, "display")] == ["'late'"]
    assert not result.of(second, "display")


def test_a_task_of_an_earlier_cell_prints_under_it(kernel: KernelUnderTest) -> None:
    first = item(
        "import asyncio\nasync def tick():\n    for i in range(3):\n"
        "        await asyncio.sleep(0.02)\n        print('tick', i)\n"
        "task = asyncio.create_task(tick())",
        definitions=["asyncio", "tick", "task"],
    )
    second = item("await task\nprint('waited')")
    result = kernel.run(first, second)
    assert result.text(first) == "tick 0\ntick 1\ntick 2\n"
    assert result.text(second) == "waited\n"


def test_an_executor_shared_by_two_cells_prints_under_each(kernel: KernelUnderTest) -> None:
    first = item(
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
        "pool.submit(print, 'first').result()",
        definitions=["ThreadPoolExecutor", "pool"],
    )
    second = item("pool.submit(print, 'second').result()")
    result = kernel.run(first, second)
    assert (result.text(first), result.text(second)) == ("first\n", "second\n")


def test_stdout_and_stderr_keep_their_order(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source(
        "import sys\nfor i in range(3):\n    print(i)\n    print(i, file=sys.stderr)", definitions=["sys"]
    )
    parts = [(entry["name"], entry["text"]) for entry in result.of(cell, "stream")]
    assert parts == [part for i in range(3) for part in (("stdout", f"{i}\n"), ("stderr", f"{i}\n"))]


def test_child_processes_and_descriptors_write_into_the_running_cell(kernel: KernelUnderTest) -> None:
    first = item("import subprocess\nsubprocess.run(['echo', 'child'])\nimport os\nos.write(2, b'raw')")
    second = item("print('next')")
    result = kernel.run(first, second)
    assert result.text(first) == "child\n"
    assert result.text(first, "stderr") == "raw"
    assert result.text(second) == "next\n"


def test_a_child_that_writes_while_no_cell_runs_is_nobodys(kernel: KernelUnderTest) -> None:
    kernel.run_source("import subprocess\nsubprocess.Popen('sleep 0.2; echo orphan', shell=True)")
    kernel.wait_for_text("orphan")
    orphan = [entry for entry in kernel.entries if "orphan" in entry.get("text", "")]
    assert orphan[0]["attempt"] is None
    kernel.entries.clear()


def test_a_forked_process_prints_into_the_cell(kernel: KernelUnderTest) -> None:
    source = (
        "import multiprocessing\n"
        "p = multiprocessing.get_context('fork').Process(target=print, args=('forked',))\n"
        "p.start()\np.join()"
    )
    result, cell = kernel.run_source(source, definitions=["multiprocessing", "p"])
    assert result.text(cell) == "forked\n"


def test_bytes_cut_inside_a_character_and_lone_surrogates_arrive_as_text(kernel: KernelUnderTest) -> None:
    source = (
        "import sys\nsys.stdout.buffer.write(b'\\xc3')\nsys.stdout.buffer.write(b'\\xa9')\nprint(chr(0xD800))"
    )
    result, cell = kernel.run_source(source, definitions=["sys"])
    assert result.text(cell) == "é\ufffd\n"


def test_logging_and_warnings_reach_the_cell(kernel: KernelUnderTest) -> None:
    source = "import logging, warnings\nlogging.warning('careful')\nwarnings.warn('old')"
    result, cell = kernel.run_source(source, definitions=["logging", "warnings"])
    assert "careful" in result.text(cell, "stderr")
    assert "UserWarning: old" in result.text(cell, "stderr")


def test_many_threads_printing_at_once_lose_nothing(kernel: KernelUnderTest) -> None:
    source = (
        "import threading\ndef w(n):\n    for i in range(2000): print(f'{n}-{i}\\n', end='')\n"
        "ts = [threading.Thread(target=w, args=(n,)) for n in range(5)]\n[t.start() for t in ts]\n"
        "[t.join() for t in ts];"
    )
    result, cell = kernel.run_source(source, definitions=["threading", "w", "ts"])
    assert sorted(result.text(cell).split()) == sorted(f"{n}-{i}" for n in range(5) for i in range(2000))


def test_shell_cells_print_under_themselves(kernel: KernelUnderTest) -> None:
    cells = [item(f"%%bash\necho from {n}") for n in range(3)]
    result = kernel.run(*cells)
    assert [result.text(cell) for cell in cells] == [f"from {n}\n" for n in range(3)]
