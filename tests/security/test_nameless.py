"""Disk and memory that a kernel takes without a name: what no walk through folders and no count of pages finds."""

from __future__ import annotations

import pytest

from kernels_app import kernel as kernel_module
from kernels_app.deaths import Death
from tests.kernel.conftest import Watched
from tests.security.conftest import StartKernel
from tests.security.test_hostile_kernel import MIB, answers, death_of

pytestmark = pytest.mark.asyncio

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
IN_A_THREAD_OF_A_PROCESS_THAT_HAS_ENDED = """
import ctypes, os, threading, time
if os.fork() == 0:
    def hold():
        time.sleep(0.5)
        exec(source)
    threading.Thread(target=hold).start()
    ctypes.CDLL(None).syscall({number}, 0)
time.sleep(60)
"""
MEMFD = """
import os, time
held = []
for n in range(24):
    held.append(os.memfd_create('x'))
    for _ in range(64): os.write(held[-1], bytes([1]) * (1 << 20))
time.sleep(60)
"""
# A page that is given up goes from the process's own count and stays in memory.
MAPPED_MEMORY = """
import mmap, os, time
held = []
for n in range(24):
    if n % 8 == 0 and os.fork() == 0:
        time.sleep(60)
    held.append(mmap.mmap(-1, 64 << 20))
    held[-1].write(bytes([1]) * (64 << 20))
    held[-1].madvise(mmap.MADV_DONTNEED)
    if n % 8 == 7:
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
    attacker, neighbour = await start("bad", memory_bytes=1024 * MIB, use_cgroups=False), await start("good")
    died = await death(attacker, source)
    assert died.kind == "memory" and "1 GiB" in died.reason
    await answers(neighbour)
