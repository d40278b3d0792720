"""Kernels for tests: real processes, behind the sandbox that the machine has."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kernels_app import provisioner
from kernels_app.kernel import Kernel
from kernels_app.provisioner import Profile

HERE = Path(__file__).parent
StartRogue = Callable[..., Awaitable["Watched"]]


class Watched:
    """A kernel and what it said."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.entries: list[dict[str, Any]] = []
        self.heard = asyncio.Event()
        self._ran: Counter[str] = Counter()
        kernel.on_entries = self._hear

    def _hear(self, entries: list[dict[str, Any]]) -> None:
        self.entries += entries
        self.heard.set()

    async def run(self, *sources: str, prefix: str = "a", timeout_s: float = 20.0) -> dict[str, Any]:
        """Run cells a0, a1, … and return the plan's reply. A second time these are a0-1, …: an attempt runs once."""
        again = f"-{self._ran[prefix]}" if self._ran[prefix] else ""
        self._ran[prefix] += 1
        items = [item(f"{prefix}{number}{again}", source) for number, source in enumerate(sources)]
        async with asyncio.timeout(timeout_s):
            return await self.kernel.run_plan("p", items)

    async def wait_for(self, kind: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The first entry of a kind, once it came."""
        async with asyncio.timeout(timeout_s):
            while True:
                for entry in self.entries:
                    if entry["t"] == kind:
                        return entry
                self.heard.clear()
                await self.heard.wait()

    def text(self) -> str:
        return "".join(entry["text"] for entry in self.entries if entry["t"] == "stream")


def item(attempt: str, source: str, **more: Any) -> dict[str, Any]:
    """A plan's item for a Python cell."""
    return {
        "attempt": attempt,
        "cell": f"cell-{attempt}",
        "number": 1,
        "version": 1,
        "kind": "python",
        "source": source,
        "result_name": "",
        "definitions": [],
        "references": [],
        "needs": [],
        "unload": [],
        "count": 1,
    } | more


def rogue_profile(sandbox: str = "auto", start_timeout_s: float = 20.0, **env: str) -> Profile:
    """A profile of kernels that do what they are told."""
    if Profile(sandbox=sandbox).rung == "none":
        argv = (str(HERE / "rogue.py"), "{connection_file}")
    else:
        argv = ("/opt/tests/rogue.py", "{connection_file}")
    readonly = {"/opt/tests": HERE}
    return Profile(sandbox=sandbox, argv=argv, readonly=readonly, env=env, start_timeout_s=start_timeout_s)


@pytest_asyncio.fixture
async def start_kernel(tmp_path: Path) -> AsyncIterator[StartRogue]:
    """Start kernels of a profile; all are gone after the test."""
    provisioner.register()
    started: list[Kernel] = []

    async def start(profile: Profile) -> Watched:
        work = Path(tempfile.mkdtemp(dir=tmp_path))
        kernel = await Kernel.start(profile, work)
        started.append(kernel)
        return Watched(kernel)

    yield start
    for kernel in started:
        await kernel.kill()
        assert not kernel.launch.run.parent.exists()


@pytest_asyncio.fixture
async def rogue(start_kernel: StartRogue) -> Watched:
    return await start_kernel(rogue_profile())


@pytest.fixture(params=["bubblewrap", "none"])
def rung(request: pytest.FixtureRequest) -> str:
    return str(request.param)
