"""Devices of GPUs: a kernel uses those that it was given and no others. Those here are what any machine has."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kernels_app.deaths import KernelDied
from kernels_app.hosts.single import DRIVER, gpu_devices
from tests.security.conftest import StartKernel


@pytest.mark.asyncio
async def test_a_kernel_uses_the_devices_it_is_given_and_no_others(start: StartKernel, readable: Path):
    given, other = readable / "given", readable / "other"
    for path in (given, other):
        os.mknod(path, stat.S_IFCHR, os.makedev(1, 5))  # zeros without end
        path.chmod(0o666)
    kernel = await start("learner", devices=(str(given), str(readable / "not there")))
    reply = await kernel.run(
        f"print(open({str(given)!r}, 'rb').read(2))",
        "import resource; print(resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY)",
        f"open({str(other)!r}, 'rb')",
        timeout_s=60,
    )
    assert [entry["outcome"] for entry in reply["finished"]] == ["ok", "ok", "error"], kernel.text()
    assert kernel.text() == "b'\\x00\\x00'\nTrue\n"


@pytest.mark.asyncio
async def test_memory_is_bounded_where_address_space_is_not(start: StartKernel, readable: Path):
    kernel = await start("greedy", devices=(str(readable / "not there"),), memory_bytes=512 << 20)
    with pytest.raises(KernelDied, match="memory"):
        await kernel.run("held = bytearray(b'x') * (2 << 30)\nimport time; time.sleep(60)", timeout_s=60)


def test_devices_are_those_of_the_gpus_that_were_reserved():
    assert gpu_devices("0,2") == ("/dev/nvidia0", "/dev/nvidia2", *DRIVER)
    assert gpu_devices("") == gpu_devices("NoDevFiles") == ()
