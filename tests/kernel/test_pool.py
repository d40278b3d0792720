"""Tests of kernels_app/pool.py with the real kernel."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kernels_app import limits
from kernels_app import pool as pool_module
from kernels_app.folders import Folders
from kernels_app.kernel import Kernel, KernelStartTimeout
from kernels_app.pool import KernelPool
from kernels_app.provisioner import Profile
from tests.kernel.conftest import Watched, rogue_profile

pytestmark = pytest.mark.asyncio
MakePool = Callable[..., Awaitable[KernelPool]]
FIRST, SECOND = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"


def descendants(since: float) -> list[int]:
    """Those of this process that were started after `since`: one reading of the system's list may miss an older one."""
    found = []
    for pid in limits.tree(os.getpid()):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).create_time() > since:
                found.append(pid)
    return found


@pytest_asyncio.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[MakePool]:
    """Pools of one test; after it no process of theirs is left."""
    began = time.time()
    made: list[KernelPool] = []

    async def make(size: int = 1, profile: Profile | None = None, full: bool = True) -> KernelPool:
        pool = KernelPool(size, profile or rogue_profile(), tmp_path / "work")
        made.append(pool)
        await pool.start()
        if full:
            await pool.wait_until_full()
        return pool

    yield make
    for pool in made:
        await pool.close()
    assert descendants(since=began) == []
    for pool in made:
        assert list((pool.folders.root / "slots").iterdir()) == []


def write(name: str, text: str) -> str:
    return f"open({name!r}, 'w').write({text!r})"


async def test_a_claimed_kernel_works_in_its_notebooks_own_folder(make_pool: MakePool, rung: str):
    pool = await make_pool(profile=Profile(sandbox=rung))
    kernel = await pool.claim(FIRST)
    await Watched(kernel).run(write("made.txt", "by the kernel"))
    assert kernel.notebook_id == FIRST
    assert kernel.work == pool.folders.notebook(FIRST)
    assert (kernel.work / "made.txt").read_text() == "by the kernel"


async def test_a_pool_whose_folders_could_not_be_made_tries_again(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as full:

        def no_room(self: Folders) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(Folders, "prepare", no_room)
        pool = await make_pool(full=False)
        with pytest.raises(OSError, match="No space left"):
            await pool.claim(FIRST)
    assert (await pool.claim(FIRST)).is_alive
    await pool.wait_until_full()


async def test_a_large_item_is_spooled_into_the_claimed_folder(make_pool: MakePool, rung: str):
    pool = await make_pool(profile=Profile(sandbox=rung))
    kernel = await pool.claim(FIRST)
    watched = Watched(kernel)
    await watched.run("from IPython.display import HTML\nHTML('x' * 200_000)")
    (display,) = [entry for entry in watched.entries if entry["t"] == "display"]
    assert os.listdir(kernel.work / ".spool") == [display["spool"]["text/html"]["file"]]


async def test_a_notebooks_files_are_there_with_its_next_kernel(make_pool: MakePool):
    pool = await make_pool(profile=Profile())
    first = await pool.claim(FIRST)
    await Watched(first).run(write("made.txt", "kept"))
    await first.shutdown()
    second = Watched(await pool.claim(FIRST))
    await second.run("print(open('made.txt').read())", write("made.txt", "again"))
    assert second.text() == "kept\n"
    assert (pool.folders.notebook(FIRST) / "made.txt").read_text() == "again"


async def test_two_notebooks_do_not_see_each_others_files(make_pool: MakePool):
    pool = await make_pool(2, Profile())
    first, second = Watched(await pool.claim(FIRST)), Watched(await pool.claim(SECOND))
    await first.run(write("secret.txt", "mine"))
    await second.run("import os; print(os.listdir('/work'), os.path.exists('/work/../secret.txt'))")
    assert "secret" not in second.text() and "False" in second.text()


async def test_a_claim_takes_a_kernel_that_is_ready(make_pool: MakePool):
    pool = await make_pool()
    (waiting,) = pool._ready
    kernel = await pool.claim(FIRST)
    assert kernel is waiting
    assert (await Watched(kernel).run("pass"))["status"] == "ok"


async def test_the_pool_is_full_again_after_a_claim(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool_module, "REFILL_DELAY_S", 0.05)
    pool = await make_pool()
    first = await pool.claim(FIRST)
    await pool.wait_until_full()
    assert await pool.claim(SECOND) is not first


async def test_an_empty_pool_starts_a_kernel_now(make_pool: MakePool):
    pool = await make_pool(0)
    assert (await Watched(await pool.claim(FIRST)).run("pass"))["status"] == "ok"


async def test_claims_at_once_all_get_a_kernel_of_their_own(make_pool: MakePool):
    pool = await make_pool(1, full=False)
    names = [f"nb{number}" for number in range(4)]
    kernels = await asyncio.gather(*(pool.claim(name) for name in names))
    assert len({id(kernel) for kernel in kernels}) == 4
    assert [kernel.notebook_id for kernel in kernels] == names


async def test_a_waiting_kernel_that_dies_is_replaced(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool_module, "REFILL_DELAY_S", 0.05)
    pool = await make_pool()
    (waiting,) = pool._ready
    await waiting._provisioner.kill()
    await waiting.died
    await asyncio.sleep(0)
    await pool.wait_until_full()
    kernel = await pool.claim(FIRST)
    assert kernel is not waiting and kernel.is_alive


async def test_a_start_that_fails_is_told_to_who_claims_and_the_pool_tries_again(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool_module, "RETRY_FIRST_S", 0.2)
    pool = await make_pool(1, rogue_profile(ROGUE_START="die"), full=False)
    with pytest.raises(KernelStartTimeout, match="a module is missing"):
        await pool.claim(FIRST)
    pool.profile = rogue_profile()
    await pool.wait_until_full()
    assert isinstance(await pool.claim(FIRST), Kernel)


async def test_closing_ends_claimed_and_waiting_kernels_and_one_that_is_starting(make_pool: MakePool):
    pool = await make_pool(1)
    kernel = await pool.claim(FIRST)
    await asyncio.sleep(pool_module.REFILL_DELAY_S + 0.1)  # the refill is on its way
    await pool.close()
    assert kernel.died.done() and pool.ready_count == 0
    with pytest.raises(RuntimeError, match="closed"):
        await pool.claim(SECOND)


async def test_an_id_that_is_not_flat_claims_nothing(make_pool: MakePool):
    pool = await make_pool()
    with pytest.raises(ValueError, match="Not a notebook id"):
        await pool.claim("../other")
    assert pool.ready_count == 1
