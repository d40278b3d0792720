"""Tests of kernels_app/kernel.py with the real kernel (inside/boot.py), on both rungs where it matters."""

from __future__ import annotations

import asyncio
import os
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kernels_app import provisioner
from kernels_app.kernel import CallFailed, KernelDied
from kernels_app.models import KernelLimits
from kernels_app.provisioner import Profile
from kernels_app.spool import copy_spooled
from kernels_app.throttle import BURST_S
from notebooks_app.outputs import OutputLog
from tests.kernel.conftest import StartRogue, Watched, item

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def real(start_kernel: StartRogue) -> Watched:
    return await start_kernel(Profile())


def outputs(watched: Watched, attempt: str = "a0") -> list[dict[str, Any]]:
    log = OutputLog(attempt)
    log.feed([entry for entry in watched.entries if entry["attempt"] == attempt])
    return log.outputs()


async def test_cells_run_in_order_on_either_rung(start_kernel: StartRogue, rung: str):
    watched = await start_kernel(Profile(sandbox=rung))
    reply = await watched.run("x = 20\nprint('first')", "x + 22")
    assert [entry["outcome"] for entry in reply["finished"]] == ["ok", "ok"]
    assert outputs(watched, "a0")[0]["text"] == "first\n"
    assert outputs(watched, "a1")[0]["data"] == {"text/plain": "42"}


async def test_a_progress_bar_is_one_line_in_the_end(real: Watched):
    await real.run("from tqdm import tqdm\nfor _ in tqdm(range(20_000), mininterval=0): pass")
    (output,) = outputs(real)
    assert output["name"] == "stderr" and output["text"].count("\n") == 1
    assert "20000/20000" in output["text"]


async def test_a_large_figure_comes_by_the_spool(real: Watched):
    await real.run("from IPython.display import HTML\nHTML('<p>' + 'x' * 500_000 + '</p>')")
    (display,) = [entry for entry in real.entries if entry["t"] == "display"]
    parts: list[bytes] = []
    copied = copy_spooled(real.kernel.work, display["spool"]["text/html"]["file"], 10**6, parts.append)
    assert copied.size_bytes == 500_007 and b"".join(parts).startswith(b"<p>xxx")
    assert os.listdir(real.kernel.work / ".spool") == []


async def test_a_widget_of_many_arrays_is_no_attack(real: Watched):
    source = "import comm\nfor size in (1, 200_000): comm.create_comm(target_name='x', buffers=[b'x' * size] * 40)"
    await real.run(source)
    await real.run("print('after')", prefix="b")
    assert real.text() == "after\n" and not outputs(real)[1:]


async def test_a_failing_cell_is_an_output_and_what_needs_it_is_skipped(real: Watched):
    items = [item("a0", "1/0"), item("a1", "print('no')", needs=["a0"]), item("a2", "print('yes')")]
    reply = await real.kernel.run_plan("p", items)
    assert [entry["outcome"] for entry in reply["finished"]] == ["error", "skipped", "ok"]
    assert outputs(real, "a0")[0]["ename"] == "ZeroDivisionError"


async def test_input_reaches_the_person_and_comes_back(real: Watched):
    asked: list[tuple[str, str, bool]] = []
    real.kernel.on_input = lambda *question: asked.append(question) or real.kernel.input_reply("blue 😀", question[0])
    await real.run("print(input('colour? ') + '!')")
    assert asked == [("a0", "colour? ", False)]
    assert outputs(real)[0]["text"] == "colour? blue 😀\nblue 😀!\n"


async def test_a_sleeping_cell_is_interrupted_and_the_kernel_lives(real: Watched):
    running = asyncio.ensure_future(real.run("kept = 1", "import time\ntime.sleep(60)", "print('never')"))
    await real.wait_for("finished")
    assert await real.kernel.interrupt() is True
    reply = await running
    assert [entry["outcome"] for entry in reply["finished"]] == ["ok", "interrupted"] and reply["left"] == [
        "a2"
    ]
    await real.run("print(kept)", prefix="later")
    assert real.text() == "1\n"


async def test_once_a_stopped_plan_has_ended_its_kernel_is_read_at_its_rate_again(start_kernel: StartRogue):
    rate = 1_000_000
    watched = await start_kernel(Profile(output_rate_bytes=rate))
    running = asyncio.ensure_future(watched.run("import time\ntime.sleep(60)"))
    await watched.wait_for("started")
    await watched.kernel.interrupt()
    await running
    watched.kernel.throttle.charge(rate * (BURST_S + 1))
    waiting = watched.kernel.throttle.wait()
    assert waiting is not None
    waiting.close()  # type: ignore[attr-defined]


async def test_a_loop_in_c_costs_the_kernel_and_says_so(real: Watched):
    running = asyncio.ensure_future(real.run("open('looping', 'w').close()\nsum(range(10**12))"))
    while not (real.kernel.work / "looping").exists():  # the loop holds the interpreter lock: no frame comes
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    assert await real.kernel.interrupt(times=2, every_s=0.3) is False
    with pytest.raises(KernelDied, match="did not react to 2 interrupts"):
        await running


async def test_a_cell_that_ends_the_process_is_a_death_in_plain_words(real: Watched):
    with pytest.raises(KernelDied, match=r"ended itself \(exit code 3\)"):
        await real.run("import os\nos._exit(3)")


async def test_what_a_cell_printed_before_its_process_died_is_not_lost(real: Watched):
    with pytest.raises(KernelDied):
        await real.run("import os, sys, time\nprint('last words')\ntime.sleep(0.1)\nos._exit(3)")
    assert real.text() == "last words\n"


async def test_a_cell_may_take_no_more_memory_than_its_limit(start_kernel: StartRogue):
    watched = await start_kernel(Profile(memory_bytes=1024**3))
    reply = await watched.run("block = bytearray(3 * 1024**3)")
    assert reply["finished"][0]["outcome"] == "error"
    assert outputs(watched)[0]["ename"] == "MemoryError"
    assert (await watched.run("1 + 1"))["finished"][0]["outcome"] == "ok"


async def test_a_kernel_that_used_its_processor_time_ends_with_that_reason(start_kernel: StartRogue, rung: str):
    watched = await start_kernel(Profile(sandbox=rung, cpu_s=4))
    with pytest.raises(KernelDied, match="may use 4 seconds of processor time"):
        await watched.run("while True: pass", timeout_s=60)


async def test_a_library_that_aborts_for_want_of_memory_ends_the_kernel_with_that_reason(real: Watched):
    with pytest.raises(KernelDied, match="when memory runs out: it may use 2 GiB"):
        await real.run("import polars\nkept = [polars.zeros(50_000_000, eager=True) for _ in range(20)]")


async def test_shared_memory_that_is_full_is_said_to_be(start_kernel: StartRogue):
    watched = await start_kernel(Profile(sandbox="bubblewrap"))
    await watched.run("open('/dev/shm/x', 'wb').write(bytes(300 << 20))")
    (notice,) = [entry["text"] for entry in watched.entries if entry["t"] == "notice"]
    assert "/dev/shm 256 MiB" in notice
    with pytest.raises(KernelDied, match="/dev/shm, which holds at most 256 MiB, was full"):
        await watched.run("import mmap\nfile = open('/dev/shm/x', 'w+b')\nfile.truncate(400 << 20)\n"
                          "mmap.mmap(file.fileno(), 0).write(bytes(400 << 20))")  # fmt: skip


async def test_a_main_thread_that_ends_alone_is_a_death_with_that_reason(start_kernel: StartRogue, rung: str):
    watched = await start_kernel(Profile(sandbox=rung))
    number = 60 if os.uname().machine == "x86_64" else 93  # exit(2): of the thread, not of its process
    with pytest.raises(KernelDied, match="main thread ended"):
        await watched.run(f"import ctypes\nctypes.CDLL(None).syscall({number}, 0)", timeout_s=30)


HOLDS = "import time; held = bytearray(200 << 20); held[::4096] = bytes([1]) * (200 << 8); time.sleep(600)"
CROWD = f"""import subprocess, sys, time
crowd = [subprocess.Popen([sys.executable, '-c', {HOLDS!r}]) for _ in range(6)]
while all(one.poll() is None for one in crowd): time.sleep(0.02)
for one in crowd: one.kill()"""


async def test_processes_that_hold_too_much_together_cost_one_or_the_kernel_and_it_is_said(start_kernel: StartRogue):
    """One of them where control groups may be made; else the kernel, of which the server itself counts."""
    watched = await start_kernel(Profile(memory_bytes=768 << 20))
    group = watched.kernel._provisioner.group
    try:
        reply = await watched.run(CROWD, timeout_s=60)
    except KernelDied as dead:
        assert dead.death.kind == "memory" and "0.75 GiB" in dead.death.reason
        return
    assert group is not None and group.is_out_of_memory
    assert reply["finished"][0]["outcome"] == "ok"
    assert "A process of this kernel was ended by the system" in (await watched.wait_for("notice"))["text"]
    assert (await watched.run("1 + 1"))["finished"][0]["outcome"] == "ok"


async def test_a_file_may_grow_no_larger_than_its_limit(start_kernel: StartRogue):
    watched = await start_kernel(Profile(file_bytes=10_000_000))
    await watched.run("open('big', 'wb').write(b'x' * 20_000_000)")
    assert outputs(watched)[0]["ename"] == "OSError"
    assert (watched.kernel.work / "big").stat().st_size <= 10_000_000


async def test_completion_and_inspection_answer_while_a_cell_runs(real: Watched):
    await real.run("value_of_mine = 3", prefix="first")
    running = asyncio.ensure_future(real.run("import time\nwhile True: time.sleep(0.01)"))
    await real.wait_for("finished")
    matches = (await real.kernel.complete("value_of", 8, timeout_s=20))["matches"]
    found = await real.kernel.inspect("value_of_mine", 13, timeout_s=20)
    assert matches == ["value_of_mine"] and "int" in found["data"]["text/plain"]
    assert not running.done()
    await real.kernel.interrupt()
    await running


async def test_calls_answer_while_a_cell_runs_and_fail_in_their_own_words(real: Watched):
    running = asyncio.ensure_future(real.run("shown = 5\nimport time\nwhile True: time.sleep(0.01)"))
    await real.wait_for("started")
    assert (await real.kernel.call("ping"))["status"] == "ok"
    with pytest.raises(CallFailed):
        await real.kernel.call("no such call")
    await real.kernel.interrupt()
    await running
    assert "shown" in [variable["name"] for variable in (await real.kernel.call("variables"))["variables"]]


async def test_a_running_plan_is_amended(real: Watched):
    running = asyncio.ensure_future(
        real.run("import time\ntime.sleep(0.5)", "print('old')", "print('dropped')")
    )
    await real.wait_for("started")
    late = await real.kernel.amend(
        "p", drop=["a2", "a0"], replace=[item("a1", "print('new')")], append=[item("a3", "print('added')")]
    )
    reply = await running
    assert late == ["a0"]
    assert [entry["attempt"] for entry in reply["finished"]] == ["a0", "a1", "a3"]
    assert real.text() == "new\nadded\n"


async def test_a_flood_of_prints_leaves_the_server_small_and_loses_nothing(real: Watched):
    seen = [0, 0]

    def count(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if entry["t"] == "stream":
                seen[0] += entry["text"].count("\n")
                seen[1] = max(seen[1], len(entry["text"]))

    real.kernel.on_entries = count
    before = _resident()
    await real.run("for n in range(100_000): print('line', n, 'x' * 100)")
    assert seen[0] == 100_000 and seen[1] <= 65_536
    assert _resident() - before < 50_000_000


async def test_a_stopped_reader_stops_the_kernel_and_nothing_is_lost(real: Watched):
    opened = asyncio.Event()
    real.kernel.gate = lambda: None if opened.is_set() else opened.wait()
    running = asyncio.ensure_future(real.run("for n in range(50_000): print(n, 'x' * 100)"))
    await asyncio.sleep(1.0)
    assert not running.done() and await real.kernel.memory_bytes() < 300_000_000
    opened.set()
    await running
    assert [int(line.split()[0]) for line in real.text().splitlines()] == list(range(50_000))


async def test_a_kernel_cannot_see_the_server(real: Watched, monkeypatch: pytest.MonkeyPatch):
    source = (
        "import os, pathlib\n"
        f"hidden = [{str(Path(__file__).resolve())!r}, '/etc/shadow', {str(Path.home() / '.bashrc')!r}]\n"
        "print([path for path in hidden if pathlib.Path(path).exists()], sorted(os.environ), os.getcwd())"
    )
    await real.run(source)
    seen = real.text()
    assert seen.startswith("[] ") and seen.rstrip().endswith("/work")
    assert "SECRET" not in seen and "DJANGO" not in seen and "KERNEL_" not in seen


async def test_kernels_give_way_to_the_server(real: Watched):
    pid = real.kernel._provisioner.kernel_pid()
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 800


SERVER = """
import asyncio, sys
from pathlib import Path
from kernels_app import provisioner
from kernels_app.kernel import Kernel
from tests.kernel.conftest import item

async def main():
    provisioner.register()
    kernel = await Kernel.start(provisioner.Profile(sandbox=sys.argv[1]), Path(sys.argv[2]))
    print(kernel._provisioner.kernel_pid(), flush=True)
    await kernel.run_plan("p", [item("a0", "sum(range(10**12))")])

asyncio.run(main())
"""


async def test_a_kernel_stuck_in_c_dies_with_a_server_that_is_killed(tmp_path: Path, rung: str):
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, rung, str(tmp_path)), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    kernel = os.pidfd_open(int(await server.stdout.readline()))
    await asyncio.sleep(0.3)  # into the loop
    server.kill()
    await server.wait()
    ended, _, _ = await asyncio.to_thread(select.select, [kernel], [], [], 5)
    os.close(kernel)
    provisioner.remove_stale_run_folders()
    assert ended and not list(Path("/tmp").glob(f"rb-{server.pid}-*"))


async def test_one_plus_one_takes_a_few_milliseconds(real: Watched):
    await real.run("1+1")
    took = []
    for number in range(50):
        began = time.perf_counter()
        await real.kernel.run_plan("p", [item(f"b{number}", "1+1")])
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.05, f"{statistics.median(took) * 1000:.1f} ms"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("ending", ["os._exit(3)", "os.kill(os.getpid(), 9)", "ctypes.string_at(0)"])
async def test_a_process_that_ends_at_once_leaves_what_it_had_said(start_kernel: StartRogue, rung: str, ending: str):
    watched = await start_kernel(Profile(sandbox=rung))
    with pytest.raises(KernelDied):
        await watched.run("print('first')", f"import ctypes, os\nprint('before')\n{ending}", "print('never')")
    told = [(entry["t"], entry["attempt"]) for entry in watched.entries]
    assert told == [("started", "a0"), ("stream", "a0"), ("finished", "a0"), ("started", "a1"), ("stream", "a1")]
    assert watched.text() == "first\nbefore\n" and watched.kernel.dropped == 0


async def test_what_came_already_is_not_told_again_when_the_process_ends(real: Watched):
    with pytest.raises(KernelDied):
        await real.run("print('first')\nimport time\ntime.sleep(0.1)", "import os\nprint('before')\nos._exit(3)")
    assert real.text() == "first\nbefore\n" and real.kernel.dropped == 0
    assert [entry["t"] for entry in real.entries].count("started") == 2


async def test_a_listener_that_fails_on_the_last_words_does_not_hide_the_death(real: Watched):
    def fail(entries: list[dict[str, Any]]) -> None:
        raise RuntimeError("cannot listen")

    real.kernel.on_entries = fail
    with pytest.raises(KernelDied, match="exit code 3"):
        await real.run("import os\nos._exit(3)")


async def test_output_that_nobody_read_while_the_server_was_behind_is_in_the_last_words(real: Watched):
    free = asyncio.Event()
    flood = "import os\nfor i in range(50_000): print(i)\nos._exit(3)"
    running = asyncio.ensure_future(real.run("print('x' * 10)", flood))
    real.kernel.gate = lambda: free.wait() if not free.is_set() else None
    with pytest.raises(KernelDied):
        await running
    assert real.text().splitlines() == ["x" * 10, *map(str, range(50_000))]


async def test_the_least_memory_that_a_person_may_be_given_is_enough_for_tables(start_kernel: StartRogue, rung: str):
    least = next(v.limit_value for v in KernelLimits._meta.get_field("memory_mib").validators if v.code == "min_value")
    kernel = await start_kernel(Profile(sandbox=rung, memory_bytes=least * 1024**2))
    reply = await kernel.run("import pandas as pd, matplotlib.pyplot\nprint(pd.DataFrame({'a': [1]}).a.sum())")
    assert reply["finished"][0]["outcome"] == "ok", kernel.text()
    assert kernel.text() == "1\n"


async def test_most_of_a_kernels_memory_is_for_its_cells(start_kernel: StartRogue, rung: str):
    kernel = await start_kernel(Profile(sandbox=rung, memory_bytes=2 * 1024**3))
    warm = "import pandas as pd, pyarrow as pa\npa.table({'a': [1]}).to_pandas()"
    reply = await kernel.run(f"{warm}\nprint(len(bytearray(1300 << 20)) >> 20)")
    assert reply["finished"][0]["outcome"] == "ok", kernel.text()
    assert kernel.text() == "1300\n"
