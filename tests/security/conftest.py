"""The rungs under attack, and the kernels of attackers and of others who must not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kernels_app import provisioner
from kernels_app.pool import KernelPool
from kernels_app.provisioner import Profile
from kernels_app.sandbox import Rung
from tests.kernel.conftest import Watched
from tests.readable import readable_folder
from tests.walls import Inside, behind, python_for

RUNGS = [Rung.BUBBLEWRAP, Rung.LANDLOCK]
StartKernel = Callable[..., Awaitable[Watched]]


@pytest.fixture(scope="module")
def landlock_python() -> Iterator[str]:
    with python_for(Rung.LANDLOCK) as python:
        yield python


@pytest.fixture(params=RUNGS, scope="module")
def rung(request: pytest.FixtureRequest) -> Rung:
    return request.param


@pytest.fixture(scope="module")
def python(rung: Rung, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("landlock_python")) if rung is Rung.LANDLOCK else ""


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every uid can walk to, as a server's data folder is."""
    with readable_folder() as folder:
        yield folder


@pytest.fixture
def inside(rung: Rung, python: str, readable: Path) -> Iterator[Inside]:
    """An attacker's process behind the walls."""
    with behind(rung, readable, python) as made:
        yield made


@pytest_asyncio.fixture
async def start(rung: Rung, python: str, readable: Path) -> AsyncIterator[StartKernel]:
    """Kernels of notebooks on one server: `await start("name", memory_bytes=…)`; all are gone after the test."""
    provisioner.register()
    pools: list[KernelPool] = []

    async def claim(notebook: str, **limits: object) -> Watched:
        profile = Profile(sandbox=rung.value, python=python, start_timeout_s=60, **limits)
        pool = KernelPool(0, profile, readable / "data")
        pools.append(pool)
        await pool.start()
        return Watched(await pool.claim(notebook))

    yield claim
    async with asyncio.timeout(60):
        for pool in pools:
            await pool.close()
