"""Analysis within limits: a real worker process, threads and an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from notebooks_app.analysis import analyse
from notebooks_app.analysis.worker import AnalysisPool
from notebooks_app.facts import ErrorKind

LARGE = "\n".join(f"v{n} = f(v{n - 1}, k)" for n in range(2000))


@pytest.fixture
def pool() -> Iterator[AnalysisPool]:
    pool = AnalysisPool()
    yield pool
    pool.close()


def worker_pid(pool: AnalysisPool) -> int | None:
    return pool._child.process.pid if pool._child else None


def test_a_small_source_starts_no_process(pool: AnalysisPool) -> None:
    assert pool.analyse_sync("python", "x = y").references == {"y"}
    assert worker_pid(pool) is None


def test_a_large_source_gets_the_same_answer_from_a_process_that_is_kept(pool: AnalysisPool) -> None:
    assert pool.analyse_sync("python", LARGE) == analyse("python", LARGE)
    first = worker_pid(pool)
    pool.analyse_sync("python", LARGE)
    assert first is not None and worker_pid(pool) == first


def test_sql_keeps_its_options_on_the_way(pool: AnalysisPool) -> None:
    source = f"SELECT * FROM t WHERE a = {{x}} -- {'x' * 30_000}"
    found = pool.analyse_sync("sql", source, result_name="r", on_connection=True)
    assert (found.definitions, found.references, found.tables) == ({"r"}, {"x"}, {"t"})


def test_a_source_over_the_limit_needs_no_worker(pool: AnalysisPool) -> None:
    assert pool.analyse_sync("python", "x" * 600_000).errors[0].kind is ErrorKind.TOO_LARGE
    assert worker_pid(pool) is None


def test_a_slow_analysis_is_ended_and_the_next_one_gets_a_new_worker() -> None:
    pool = AnalysisPool()
    pool.analyse_sync("python", LARGE)
    first = worker_pid(pool)
    pool._timeout_s = 0.02
    (error,) = pool.analyse_sync("python", LARGE * 8).errors
    assert error.kind is ErrorKind.TOO_LARGE and "within 0.02 s" in error.message
    pool._timeout_s = 5
    assert pool.analyse_sync("python", LARGE).errors == ()
    assert worker_pid(pool) not in (first, None)
    pool.close()


def test_running_out_of_memory_is_an_error_of_the_cell_alone() -> None:
    pool = AnalysisPool(memory_bytes=300 * 1024**2, max_bytes=100 * 1024**2, timeout_s=30)
    (error,) = pool.analyse_sync("python", "x = [" + "1, " * 6_000_000 + "]").errors
    assert error.kind is ErrorKind.TOO_LARGE and "too much memory" in error.message
    assert worker_pid(pool) is None
    assert pool.analyse_sync("python", LARGE).errors == ()
    pool.close()


def test_a_worker_that_died_in_between_is_replaced(pool: AnalysisPool) -> None:
    pool.analyse_sync("python", LARGE)
    assert pool._child is not None
    pool._child.process.kill()
    assert pool.analyse_sync("python", LARGE).errors == ()


def test_threads_may_ask_at_once(pool: AnalysisPool) -> None:
    sources = [f"r{n} = 1\n{LARGE}" for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda source: pool.analyse_sync("python", source), sources))
    assert all(f"r{n}" in answer.definitions for n, answer in enumerate(answers))


def test_the_event_loop_goes_on_meanwhile(pool: AnalysisPool) -> None:
    async def both() -> int:
        analysis = asyncio.create_task(pool.analyse("python", LARGE))
        turns = 0
        while not analysis.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert analysis.result().errors == ()
        return turns

    assert asyncio.run(both()) > 3


def test_the_worker_has_none_of_the_servers_secrets(
    pool: AnalysisPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not tell")
    pool.analyse_sync("python", LARGE)
    with open(f"/proc/{worker_pid(pool)}/environ", "rb") as environment:
        assert b"do not tell" not in environment.read()


def nested_finally(depth: int) -> str:
    lines = [f"{' ' * n}{line}" for n in range(depth) for line in ("try: x", "finally:")]
    return "\n".join([*lines, " " * depth + "pass"])


# Small, and more work for parsers than a process can take that others wait for.
DEAR = {
    "commands": ("python", "!l\n" * 120),
    "commands among plain lines": ("python", "a=1\n" * 400 + "!l\n" * 40),
    "commas": ("python", "," * 300),
    "semicolons": ("python", ";" * 300),
    "help of a long name": ("python", "a" * 3_000 + " ?"),
    "magics within magics": ("python", "%time " * 100 + "1"),
    "finally within finally": ("python", nested_finally(12)),
    "the same in a magic": ("python", "%%time\n" + nested_finally(12)),
    "SQL that no dialect reads": ("sql", "SELECT a, b FROM t JOIN u ON {p} = c " * 30 + "FROM )"),
    "much SQL": ("sql", "SELECT * FROM t" + "".join(f" JOIN t{n} ON a{n} = b{n}" for n in range(250))),
}


@pytest.mark.parametrize("name", DEAR)
def test_a_small_source_that_is_much_work_is_read_by_the_worker(pool: AnalysisPool, name: str) -> None:
    found = pool.analyse_sync(*DEAR[name])
    assert worker_pid(pool) is not None
    assert found == analyse(*DEAR[name])


LINES = "%matplotlib inline\n!pip install a b\n!ls {folder}\nfiles = !ls\nimport a\n"
ORDINARY = {
    "commands": ("python", LINES + "x = y\n" * 100),
    "help": ("python", "import pandas as pd\npd.DataFrame.groupby?"),
    "half written": ("python", "frame = f(a, b, c)\n" * 400 + "print(frame["),
    "try": ("python", "try:\n    x = f()\nfinally:\n    close()\n"),
    "long": ("python", "value = f(other, 1)\n" * 900),
    "query": ("sql", "SELECT a, sum(b) FROM t JOIN u USING (c) WHERE d > {low} GROUP BY a ORDER BY 2 DESC\n" * 2),
    "half a query": ("sql", "SELECT a, sum(b) FROM t WHERE d > {low} GROUP BY FROM"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_cells_start_no_process(pool: AnalysisPool, name: str) -> None:
    assert pool.analyse_sync(*ORDINARY[name]) == analyse(*ORDINARY[name])
    assert worker_pid(pool) is None


def test_a_text_that_took_too_long_is_not_read_again() -> None:
    pool = AnalysisPool(timeout_s=0.1)
    first = pool.analyse_sync("python", nested_finally(19))
    assert "within 0.1 s" in first.errors[0].message and worker_pid(pool) is None
    assert pool.analyse_sync("python", nested_finally(19)) == first
    assert worker_pid(pool) is None  # nobody was asked
    pool.close()


def test_who_waits_for_the_worker_is_in_nobodys_way(pool: AnalysisPool) -> None:
    async def others_go_on() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as default:
            loop.set_default_executor(default)
            with pool._lock:  # a text that takes the worker seconds
                waiting = [asyncio.create_task(pool.analyse("python", LARGE)) for _ in range(8)]
                async with asyncio.timeout(10):
                    await asyncio.to_thread(int)
                    assert (await pool.analyse("python", "x = y")).references == {"y"}
                assert not any(task.done() for task in waiting)
            await asyncio.gather(*waiting)

    asyncio.run(others_go_on())
