"""Notebooks that attack their server from a kernel, on both rungs: the attack ends, the server and others go on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from kernels_app import kernel as kernel_module
from kernels_app import limits, spool, trees
from kernels_app.kernel import KernelDied
from kernels_app.sandbox import Rung
from notebooks_app.outputs import OutputLog
from tests.kernel.conftest import Watched
from tests.security.conftest import StartKernel

pytestmark = pytest.mark.asyncio
MIB = 1024**2
ATTACK_S = 60.0
landlock_in_soak = pytest.mark.parametrize(
    "rung", [Rung.BUBBLEWRAP, pytest.param(Rung.LANDLOCK, marks=pytest.mark.soak)], indirect=True, scope="module"
)


async def answers(neighbour: Watched) -> None:
    """Another notebook computes as if nothing was."""
    neighbour.entries.clear()
    assert (await neighbour.run("print(6 * 7)", timeout_s=ATTACK_S))["finished"][0]["outcome"] == "ok"
    assert neighbour.text() == "42\n"


async def death_of(watched: Watched, *sources: str) -> KernelDied:
    with pytest.raises(KernelDied) as caught:
        await watched.run(*sources, timeout_s=ATTACK_S)
    return caught.value


async def nothing_is_left(watched: Watched) -> None:
    """Not a process of the kernel's tree, nor its sockets."""
    await watched.kernel.kill()
    assert not watched.kernel.launch.run.parent.exists()


def said(watched: Watched) -> str:
    """All that the cells showed: text, errors, notices."""
    log = OutputLog("a0")
    log.feed(watched.entries)
    return str(log.outputs())


def processes_below(pid: int) -> int:
    return len(limits.tree(pid))


async def test_a_fork_bomb_stays_in_its_kernel(start: StartKernel):
    attacker, neighbour = await start("bad", processes=64), await start("good")
    before = processes_below(os.getpid())
    bomb = (
        "import os, time\n"
        "refused = 0\n"
        "until = time.monotonic() + 3\n"
        "while time.monotonic() < until:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            while True:\n"
        "                try: os.fork()\n"
        "                except OSError: time.sleep(0.05)\n"
        "    except OSError: refused += 1\n"
        "raise BlockingIOError(11, 'Resource temporarily unavailable') if refused else SystemExit\n"
    )
    running = asyncio.ensure_future(attacker.run(bomb, timeout_s=ATTACK_S))
    await answers(neighbour)
    try:
        await running
        assert "64 processes and threads at once" in said(attacker)
    except KernelDied as died:  # where only the count from outside bounds it
        assert died.death.kind == "processes"
    await nothing_is_left(attacker)
    assert processes_below(os.getpid()) < before
    await answers(neighbour)


ERRORS = {
    "memory": ("held = []\nwhile True: held.append(bytearray(64 * 1024 * 1024))", "may use 1 GiB of memory"),
    "files": (
        "import os\nheld = []\ntry:\n    while True: held.append(os.open('/dev/null', 0))\n"
        "finally: [os.close(one) for one in held]",
        "256 files open at once",
    ),
    "tmp": (
        "import os\nwith open(os.environ['TMPDIR'] + '/x', 'wb', 0) as file:\n    try:\n"
        "        while True: file.write(bytes(1 << 20))\n    finally: file.truncate(0)",
        "holds at most 32 MiB|may hold at most 64 MiB",
    ),
    "argv": ("import subprocess\nsubprocess.run(['true', *['x' * 100_000] * 200])", "Argument list too long"),
    "fork": (
        "import os, time\nchildren = []\nwhile True:\n    child = os.fork()\n    if child == 0: time.sleep(300)\n"
        "    children.append(child)",
        "64 processes and threads at once",
    ),
}  # fmt: skip


async def test_bombs_of_one_process_are_errors_in_their_cells_that_say_whose_limit_it_was(start: StartKernel):
    limits_of_it = {"memory_bytes": 1024 * MIB, "files": 256, "tmp_bytes": 32 * MIB, "file_bytes": 64 * MIB}
    attacker, neighbour = await start("bad", processes=64, **limits_of_it), await start("good")
    for name, (source, words) in ERRORS.items():
        attacker.entries.clear()
        reply = await attacker.run(source, timeout_s=ATTACK_S)
        assert reply["finished"][0]["outcome"] == "error", name
        assert any(word in said(attacker) for word in words.split("|")), (name, said(attacker))
    await answers(neighbour)


async def test_no_process_of_a_kernel_stays_hard_to_choose_when_memory_runs_out(start: StartKernel):
    """Where the server may not forbid it (without CAP_SYS_RESOURCE), what a process says of itself is taken back."""
    attacker = await start("bad")
    lower = "open('/proc/self/oom_score_adj', 'w').write('0')"
    child = f"import time\ntry: {lower}\nfinally: print(flush=True), time.sleep(600)"
    source = f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=-1)\n"
    await attacker.run(source + f"child.stdout.readline()\n{lower}", timeout_s=ATTACK_S)
    pids = limits.tree(attacker.kernel._provisioner.kernel_pid())
    assert len(pids) == 2
    async with asyncio.timeout(ATTACK_S):
        while {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in pids} != {"800\n"}:
            await asyncio.sleep(0.05)


async def test_a_memory_bomb_of_many_processes_ends_its_kernel_and_says_why(start: StartKernel):
    attacker, neighbour = await start("bad", memory_bytes=1024 * MIB), await start("good")
    source = "import os, time\nfor _ in range(3): os.fork()\nheld = bytearray(b'x') * (200 << 20)\ntime.sleep(60)"
    died = await death_of(attacker, source)
    assert died.death.kind == "memory" and "1 GiB" in died.death.reason
    await nothing_is_left(attacker)
    await answers(neighbour)


@landlock_in_soak
async def test_filling_the_disk_ends_the_kernel_and_says_why(start: StartKernel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker, neighbour = await start("bad", disk_bytes=50 * MIB), await start("good")
    fill = "import time\nfor n in range(6):\n    open(f'f{n}', 'wb').write(bytes([1]) * 10_000_000)\ntime.sleep(60)"
    died = await death_of(attacker, fill)
    assert died.death.kind == "disk" and "more than 0.0488 GiB" in died.death.reason
    await answers(neighbour)
    again = await start("bad", disk_bytes=50 * MIB)  # what is there may stay, so that it can be deleted
    await again.run("import os, time\ntime.sleep(1)\nfor name in os.listdir(): os.unlink(name)", timeout_s=ATTACK_S)
    assert again.kernel.is_alive and os.listdir(again.kernel.work) == []


@landlock_in_soak
async def test_files_without_number_end_the_kernel(start: StartKernel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker, neighbour = await start("bad", disk_entries=500), await start("good")
    died = await death_of(attacker, "import time\nfor n in range(2000): open(f'f{n}', 'w').close()\ntime.sleep(60)")
    assert died.death.kind == "disk" and "more than 500 files" in died.death.reason
    await answers(neighbour)


@landlock_in_soak
async def test_folders_in_folders_without_end_cost_the_server_no_descriptors(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker = await start("bad")
    dig = "import os, time\nfor n in range(3000):\n    os.mkdir('d'); os.chdir('d')\ntime.sleep(60)"
    died = await death_of(attacker, dig)
    assert died.death.kind == "disk" and "too deep" in died.death.reason
    work = attacker.kernel.work
    assert trees.measure([work], most=10_000).is_too_deep
    await asyncio.to_thread(trees.remove, work)
    assert not work.exists()


@landlock_in_soak
async def test_a_kernel_that_hears_no_signal_ends_all_the_same(start: StartKernel):
    attacker, neighbour = await start("bad"), await start("good")
    deaf = (
        "import signal, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "while True:\n"
        "    try: time.sleep(1)\n"
        "    except BaseException: pass"
    )
    running = asyncio.ensure_future(attacker.run(deaf, timeout_s=ATTACK_S))
    await attacker.wait_for("stream", timeout_s=30)
    assert await attacker.kernel.interrupt(times=1, every_s=0.5) is False
    with pytest.raises(KernelDied, match="did not react"):
        await running
    await nothing_is_left(attacker)
    await answers(neighbour)


CLOSING = "import os\nos.closerange(0, 1000)"
REPLACING = "import os\nnull = os.open('/dev/zero', 0)\nfor n in range(3, 200):\n    if n != null: os.dup2(null, n)"


@landlock_in_soak
@pytest.mark.parametrize("source", [CLOSING, REPLACING], ids=["closed", "replaced"])
async def test_a_kernel_without_its_descriptors_is_ended_and_nobody_else(start: StartKernel, source: str):
    attacker, neighbour = await start("bad"), await start("good")
    running = asyncio.ensure_future(attacker.run(source, timeout_s=ATTACK_S))
    await asyncio.wait([running], timeout=2)
    await answers(neighbour)
    await nothing_is_left(attacker)
    await asyncio.wait([running], timeout=ATTACK_S)
    assert running.done() and (running.exception() is None or isinstance(running.exception(), KernelDied))


async def test_daemons_of_a_cell_end_with_the_kernel(start: StartKernel):
    attacker = await start("bad")
    source = (
        "import os, subprocess, sys\n"
        "code = '''import os, signal, time\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        "while True: open(\"beat\", \"a\").write(\"x\"); time.sleep(0.02)'''\n"
        "shell = [sys.executable, '-c', 'import os, sys; os.fork() and os._exit(0); os.setsid(); '\n"
        "         'os.fork() and os._exit(0); exec(sys.argv[1])', code]\n"
        "subprocess.run(shell)\n"
        "while not os.path.exists('beat'): pass\n"
    )
    await attacker.run(source, timeout_s=ATTACK_S)
    beat = attacker.kernel.work / "beat"
    await attacker.kernel.shutdown()
    before = beat.stat().st_size
    await asyncio.sleep(0.3)
    assert before > 0 and beat.stat().st_size == before


async def test_a_work_folder_full_of_traps_is_claimed_again_and_harms_nothing(start: StartKernel, readable: Path):
    """Links to the server's files, pipes, and a spool that is a link: the next kernel's uid is given none of them."""
    secret = readable / "data" / "secret_key"
    attacker = await start("bad")
    secret.write_text("canary")
    before = secret.stat()
    await attacker.run(
        "import os\n"
        f"os.symlink({str(secret)!r}, 'link')\nos.symlink({str(secret.parent)!r}, 'folder')\nos.mkfifo('pipe')\n"
        "os.mkdir('sub')\nos.symlink('/', 'sub/root')\nos.path.lexists('.spool') or os.symlink('link', '.spool')\n"
        "open('mine', 'w').write('kept')",
        timeout_s=ATTACK_S,
    )
    await attacker.kernel.shutdown()
    again = await start("bad")
    await again.run("print(open('mine').read()); open('mine', 'a').write('!')", timeout_s=ATTACK_S)
    assert again.text() == "kept\n"
    after = secret.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert secret.read_text() == "canary"


SPOOL_TRAPS = {
    "a link to the server's file": "os.symlink({secret!r}, name)",
    "a pipe that never ends": "os.mkfifo(name)",
    "a file with another name": "open('other', 'w').write('x'); os.link('other', name)",
    "a folder": "os.mkdir(name)",
    "a name that climbs": "name = '../../secret_key'",
    "a sparse giant": "open(name, 'wb').truncate(1 << 29)",
}


@landlock_in_soak
async def test_a_trap_in_the_spool_is_not_taken(start: StartKernel, readable: Path):
    secret = readable / "data" / "secret_key"
    attacker = await start("bad")
    secret.write_text("canary")
    await attacker.run("import os\nos.makedirs('.spool', exist_ok=True)\nos.chdir('.spool')")
    for number, (what, made) in enumerate(SPOOL_TRAPS.items()):
        attacker.entries.clear()
        source = f"name = 'trap{number}'\n{made.format(secret=str(secret))}\nprint(name)"
        await attacker.run(source, prefix=f"t{number}")
        name, taken = attacker.text().strip(), list[bytes]()
        with pytest.raises(spool.SpoolError):
            async with asyncio.timeout(20):
                await asyncio.to_thread(spool.copy_spooled, attacker.kernel.work, name, 10 * MIB, taken.append)
        assert b"canary" not in b"".join(taken), what
    assert secret.read_text() == "canary"


async def test_notebooks_do_not_reach_each_others_files_sockets_or_kernels(start: StartKernel):
    attacker, neighbour = await start("bad"), await start("good")
    await neighbour.run("open('theirs.txt', 'w').write('canary')\nimport os\nprint(os.getcwd())")
    run, work = neighbour.kernel.launch.run, neighbour.kernel.work
    pid = neighbour.kernel._provisioner.kernel_pid()
    probe = (
        "import os, socket\nfound = []\n"
        "def attempt(work):\n"
        "    try: found.append(repr(work()))\n"
        "    except Exception as error: found.append(type(error).__name__)\n"
        f"attempt(lambda: open({str(work / 'theirs.txt')!r}).read())\n"
        f"attempt(lambda: os.listdir({str(run)!r}))\n"
        f"attempt(lambda: open({str(run / 'connection.json')!r}).read())\n"
        f"attempt(lambda: socket.socket(socket.AF_UNIX).connect({str(run / 'c-1')!r}))\n"
        f"attempt(lambda: os.kill({pid}, 9))\n"
        f"attempt(lambda: open('/proc/{pid}/environ').read())\n"
        "print(found)"
    )
    await attacker.run(probe)
    found = eval(attacker.text())  # noqa: S307  a list of names of errors
    assert set(found) <= {"FileNotFoundError", "PermissionError", "ProcessLookupError"}, found
    await answers(neighbour)


@pytest.mark.soak
@pytest.mark.parametrize("attack", ["fork", "busy", "flood", "disk"])
async def test_a_minute_of_attack_leaves_the_neighbour_within_twice_its_time(start: StartKernel, attack: str):
    attacks = {
        "fork": "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)",
        "busy": "import os\nfor _ in range(8): os.fork()\nwhile True: pass",
        "flood": "while True: print('x' * 1000)",
        "disk": "while True: open('f', 'wb').write(bytes(100_000_000))",
    }
    neighbour = await start("good")
    calm = await _latencies(neighbour, 20)
    attacker = await start("bad", processes=64, disk_bytes=1024 * MIB)
    rss = limits.usage(os.getpid()).memory_bytes
    running = asyncio.ensure_future(attacker.run(attacks[attack], timeout_s=300))
    under = await _latencies(neighbour, 60, every_s=1.0)
    await nothing_is_left(attacker)
    await asyncio.wait([running])
    assert sorted(under)[57] < max(2 * sorted(calm)[18], 0.5)
    assert limits.usage(os.getpid()).memory_bytes - rss < 50 * MIB + attacker.kernel.memory


async def _latencies(watched: Watched, count: int, every_s: float = 0.0) -> list[float]:
    found: list[float] = []
    loop: Any = asyncio.get_running_loop()
    for _ in range(count):
        began = loop.time()
        await answers(watched)
        found.append(loop.time() - began)
        await asyncio.sleep(every_s)
    return found
