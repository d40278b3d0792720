"""Kernels of a pool that end while they are claimed, and claims of many notebooks at once: each has its own folder."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from kernels_app import provisioner
from kernels_app.pool import KernelPool
from kernels_app.provisioner import Profile
from tests.kernel.conftest import Watched

pytestmark = pytest.mark.asyncio
NAMES = ["first", "second", "third"]


async def test_kernels_that_end_as_they_are_claimed_leave_nobody_with_anothers_folder(readable: Path):
    """Each round, a ready kernel is killed in the moment of the claims; files stay with their notebooks."""
    provisioner.register()
    pool = KernelPool(1, Profile(sandbox="bubblewrap", start_timeout_s=60), readable / "data")
    await pool.start()
    try:
        for turn in range(2):
            await pool.wait_until_full(120)
            doomed = pool._ready[0]._provisioner.root_pid()
            claims = [asyncio.ensure_future(pool.claim(name)) for name in NAMES]
            await asyncio.sleep(0)
            if doomed is not None:
                os.killpg(doomed, signal.SIGKILL)
            kernels = dict(zip(NAMES, await asyncio.gather(*claims), strict=True))
            assert sum(kernel.is_alive for kernel in kernels.values()) >= len(NAMES) - 1
            for name, kernel in kernels.items():
                assert kernel.work == pool.folders.notebook(name)
                if not kernel.is_alive:  # it was killed after its claim: its notebook's next run starts another
                    continue
                watched = Watched(kernel)
                await watched.run(
                    f"import os\nopen('{name}-{turn}', 'w').close()\n"
                    "os.path.lexists('out') or os.symlink('../first', 'out')\n"
                    "print(sorted(os.listdir()))\ntry: print(os.listdir('out'))\nexcept OSError: print('nothing')",
                    timeout_s=60,
                )
                listed, beyond = watched.text().splitlines()
                assert all(each.startswith((name, "out", ".")) for each in eval(listed))  # noqa: S307  names of files
                assert beyond == "nothing"
            await asyncio.gather(*(kernel.shutdown() for kernel in kernels.values()))
    finally:
        await pool.close()
    for name in NAMES:
        left = [each for each in os.listdir(pool.folders.notebook(name)) if not each.startswith((name, "out", "."))]
        assert left == []
    assert os.listdir(readable / "data" / "slots") == []
