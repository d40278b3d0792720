"""Disk and memory that a kernel takes without a name: what no walk through folders and no count of pages finds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kernels_app import deaths, limits, nameless, shared_memory
from kernels_app import kernel as kernel_module
from kernels_app.deaths import Death
from kernels_app.sandbox import Rung
from tests.kernel.conftest import Watched
from tests.security.conftest import StartKernel
from tests.security.test_hostile_kernel import MIB, answers, death_of, landlock_in_soak

pytestmark = pytest.mark.asyncio
in_namespaces = pytest.mark.parametrize("rung", [Rung.BUBBLEWRAP], indirect=True, scope="module")

UNLINKED = """
import os, time
held = []
for n in range(20):
    held.append(open(f'f{n}', 'wb', 0))
    os.unlink(f'f{n}')
    for _ in range(10): held[-1].write(bytes([1]) * 1_000_000)
time.sleep(60)
"""
MAPPED_DISK = """
import mmap, os, time
held = []
for n in range(20):
    with open(f'f{n}', 'w+b', 0) as file:
        os.unlink(f'f{n}')
        for _ in range(10): file.write(bytes([1]) * 1_000_000)
        held.append(mmap.mmap(file.fileno(), 0))
time.sleep(60)
"""
LEADERLESS = """
import ctypes, os, platform, threading, time
if any(os.fork() == 0 for _ in range(3)):
    threading.Thread(target=exec, args=({source!r}, {{}})).start()
    ctypes.CDLL(None).syscall({{'x86_64': 60, 'aarch64': 93}}[platform.machine()], 0)
time.sleep(60)
"""
HELD = "import time\nheld = bytearray(b'x') * (400 << 20)\ntime.sleep(60)"
MEMFD = """
import os, time
held = []
for n in range(24):
    held.append(os.memfd_create('x'))
    for _ in range(32): os.write(held[-1], bytes([1]) * (1 << 20))
time.sleep(60)
"""
# A page that is given up goes from the process's own count and stays in memory.
MAPPED_MEMORY = """
import mmap, os, time
held = []
for n in range(24):
    held.append(mmap.mmap(-1, 32 << 20))
    held[-1].write(bytes([1]) * (32 << 20))
    held[-1].madvise(mmap.MADV_DONTNEED)
    if n % 4 == 3:
        if os.fork() == 0: time.sleep(60)
        held.clear()
time.sleep(60)
"""


async def death(watched: Watched, source: str) -> Death:
    """How the attack ends the kernel."""
    return (await death_of(watched, source)).death


@pytest.mark.parametrize("source", [UNLINKED, MAPPED_DISK], ids=["open", "mapped"])
async def test_deleted_files_that_are_open_or_mapped_count_as_disk(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch, source: str
):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker, neighbour = await start("bad", disk_bytes=50 * MIB), await start("good")
    died = await death(attacker, source)
    assert died.kind == "disk" and "more than 0.0488 GiB" in died.reason
    await answers(neighbour)


@pytest.mark.parametrize("source", [MEMFD, MAPPED_MEMORY], ids=["open", "mapped"])
async def test_files_in_memory_count_as_memory_where_no_control_group_does(start: StartKernel, source: str):
    attacker, neighbour = await start("bad", memory_bytes=512 * MIB, use_cgroups=False), await start("good")
    died = await death(attacker, source)
    assert died.kind == "memory" and "0.5 GiB" in died.reason
    await answers(neighbour)


@landlock_in_soak
@pytest.mark.parametrize("source", [UNLINKED, HELD], ids=["open", "resident"])
async def test_a_process_whose_first_thread_has_ended_hides_nothing(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch, source: str
):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker = await start("bad", disk_bytes=50 * MIB, memory_bytes=1024 * MIB, use_cgroups=False)
    died = await death(attacker, LEADERLESS.format(source=source))
    assert died.kind == ("disk" if source is UNLINKED else "memory")


@landlock_in_soak
async def test_a_kernel_that_opens_files_without_number_is_ended(start: StartKernel, monkeypatch: pytest.MonkeyPatch):
    for module in (nameless, deaths):
        monkeypatch.setattr(module, "MOST_OPEN", 1_000)
    attacker = await start("bad")
    many = "import os, time\nheld = [os.open('/dev/null', 0) for _ in range(1500)]\ntime.sleep(60)"
    died = await death(attacker, many)
    assert died.kind == "processes" and "more than 1,000 files open at once" in died.reason


async def test_sockets_and_pipes_without_number_count_as_memory_where_no_control_group_does(start: StartKernel):
    attacker, neighbour = await start("bad", memory_bytes=512 * MIB, use_cgroups=False), await start("good")
    fill = "import socket, time\nheld = [socket.socketpair() for _ in range(1600)]\ntime.sleep(60)"
    died = await death(attacker, fill)
    assert died.kind == "memory" and "0.5 GiB" in died.reason
    await answers(neighbour)


ON_LOOPBACK = """
import socket, time
listening = socket.{kind}
listening.listen(4096)
for n in range({number}):
    with socket.socket(listening.family) as one:
        one.connect(listening.getsockname())
        one.setblocking(False)
        try:
            while {fills}: one.send(bytes(65536))
        except BlockingIOError: pass
time.sleep(60)
"""


@in_namespaces
async def test_connections_that_nobody_accepts_count_as_memory_where_no_control_group_does(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nameless, "BUFFERS_FREE", 100)
    attacker, neighbour = await start("bad", memory_bytes=512 * MIB, use_cgroups=False), await start("good")
    listen = "socket(socket.AF_UNIX); listening.bind('queue')"
    died = await death(attacker, ON_LOOPBACK.format(kind=listen, number=3500, fills=False))
    assert died.kind == "memory" and "0.5 GiB" in died.reason
    await answers(neighbour)


@in_namespaces
async def test_what_waits_in_connections_of_a_kernel_to_itself_is_bounded(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deaths, "NETWORK_BYTES", 8 * MIB)
    attacker, neighbour = await start("bad"), await start("good")
    few = ON_LOOPBACK.format(kind="create_server(('127.0.0.1', 0))", number=1, fills=True)
    await attacker.run(few.replace("sleep(60)", "sleep(1.5)"))
    died = await death(attacker, ON_LOOPBACK.format(kind="create_server(('::1', 0), family=10)", number=20, fills=True))
    assert died.kind == "memory" and "connections to itself held more than 8 MiB" in died.reason
    await answers(neighbour)


@in_namespaces
async def test_empty_files_in_memory_count_as_memory(start: StartKernel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nameless, "INODE_BYTES", MIB)
    attacker, neighbour = await start("bad", memory_bytes=512 * MIB, use_cgroups=False), await start("good")
    folders = "('/tmp', '/dev/shm', '/home/kernel')"
    make = f"for n in range(200):\n    for at in {folders}: open(f'{{at}}/e{{n}}', 'w').close()"
    died = await death(attacker, f"import time\n{make}\ntime.sleep(60)")
    assert died.kind == "memory" and "0.5 GiB" in died.reason
    await answers(neighbour)


async def test_memory_and_disk_that_nothing_counts_are_refused(start: StartKernel):
    kernel = await start("one")
    source = """
import ctypes, errno, fcntl, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
column = ['x86_64', 'aarch64'].index(platform.machine())
file = os.open('big', os.O_CREAT | os.O_RDWR)
told = []
for numbers, arguments in (((278, 75), (0, 0, 0, 0)), ((447, 447), (0,)), ((285, 47), (file, 0, 0, 1 << 30))):
    assert libc.syscall(numbers[column], *map(ctypes.c_long, arguments)) == -1
    told.append(ctypes.get_errno())
for make in (socket.socket, socket.socketpair, lambda *_: fcntl.ioctl(file, 0x4030582A, bytes(48))):
    try: make(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError as error: told.append(error.errno)
print([errno.errorcode[code] for code in told], os.fstat(file).st_blocks)
"""
    await kernel.run(source)
    assert kernel.text() == "['EPERM', 'EPERM', 'ENOTSUP', 'EACCES', 'EACCES', 'ENOTSUP'] 0\n", kernel.entries


@in_namespaces
async def test_libraries_go_on_where_room_is_not_taken_ahead(start: StartKernel):
    kernel = await start("one")
    source = """
import duckdb, logging.handlers, numpy, os, pandas, sqlite3
with open('file', 'wb') as file: os.posix_fallocate(file.fileno(), 0, 1 << 20)
print(os.stat('file').st_size, os.stat('file').st_blocks * 512 >= 1 << 20)
logging.handlers.SysLogHandler('/dev/log')
numpy.arange(1000).tofile('array')
with duckdb.connect('a.duckdb') as made: made.execute('create table t as select range a from range(100000)')
made = sqlite3.connect('a.sqlite3')
made.execute('pragma journal_mode=wal')
pandas.DataFrame({'a': range(1000)}).to_sql('t', made)
made.commit()
pandas.DataFrame({'a': range(1000)}).to_parquet('a.parquet')
print(numpy.fromfile('array', int).size, made.execute('select count(*) from t').fetchone())
"""
    await kernel.run(source, timeout_s=60)
    assert kernel.text().splitlines() == [f"{MIB} True", "1000 (1000,)"], kernel.entries


async def test_what_a_kernel_left_in_shared_memory_is_not_the_next_ones(start: StartKernel, readable: Path):
    secret = readable / "data" / "secret_key"
    attacker = await start("bad")
    secret.write_text("canary")
    name = f"rillbook-test-{os.getpid()}"
    await attacker.run(
        f"import os\nos.umask(0)\nos.chdir('/dev/shm')\nos.mkdir({name!r})\n"
        f"os.symlink({str(secret)!r}, '{name}-link')\nos.symlink({str(secret.parent)!r}, '{name}/link')\n"
        f"for path in ('{name}-file', '{name}/file'): open(path, 'w').write('left')\n"
        f"os.chmod({name!r}, 0)\nprint('done')"
    )
    is_open = attacker.kernel._provisioner.uid is not None or attacker.kernel.launch.profile.rung == Rung.BUBBLEWRAP
    assert attacker.text() == ("done\n" if is_open else "")
    await attacker.kernel.shutdown()
    assert not list(Path("/dev/shm").glob(f"{name}*")) and secret.read_text() == "canary"


async def test_shared_memory_of_the_machine_counts_as_memory_of_its_kernel(start: StartKernel):
    """Bounded by its size (bubblewrap), closed (an ordinary user's server behind Landlock), or counted."""
    attacker = await start("bad", memory_bytes=512 * MIB, use_cgroups=False)
    uid = attacker.kernel._provisioner.uid
    write = "    open(f'/dev/shm/f{n}', 'wb').write(bytes([1]) * (64 << 20))"
    fill = f"import time\nfor n in range(12):\n{write}\ntime.sleep(60)"
    if uid and attacker.kernel.launch.profile.rung == Rung.LANDLOCK:
        assert (await death(attacker, fill)).kind == "memory"
        await attacker.kernel.kill()
        assert shared_memory.held_bytes(uid.number) == 0
    else:
        assert (await attacker.run(fill, timeout_s=60))["finished"][0]["outcome"] == "error"


@landlock_in_soak
async def test_a_kill_for_memory_elsewhere_is_not_a_later_deaths_reason(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    """The system counts kills of the whole machine; the one of this moment is a kernel's own."""
    kills, asked = [7], [0]

    def oom_kills() -> int:
        asked[0] += 1
        return kills[0]

    monkeypatch.setattr(limits, "oom_kills", oom_kills)
    first, second = [await start(name, use_cgroups=False) for name in ("first", "second")]
    kills[0] += 1
    seen = asked[0]
    async with asyncio.timeout(60):
        while asked[0] < seen + 8:  # each looks twice at least
            await asyncio.sleep(0.1)
    died = await death(first, "import os\nos.kill(os.getpid(), 9)")
    assert (died.kind, died.reason) == ("signal", "The kernel was killed (SIGKILL).")
    running = asyncio.ensure_future(death(second, "print('runs', flush=True)\nwhile True: pass"))
    await second.wait_for("stream", timeout_s=30)
    kills[0] += 1
    pid = second.kernel._provisioner.kernel_pid()
    assert pid is not None
    os.kill(pid, 9)
    assert (await running).kind == "memory"
