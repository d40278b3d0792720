"""What the walls cost: a kernel from nothing to ready, and a cell that does next to nothing, behind each rung and
without any, by turns."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

GOAL_S = 0.3  # at most this much longer than without a sandbox
CELL = "sum(range(1000))"


def measure(times: int) -> dict[str, list[float]]:
    """Seconds of each start, by rung; only rungs that this machine offers."""
    return asyncio.run(_measure(times))


async def _measure(times: int) -> dict[str, list[float]]:
    from kernels_app import provisioner, sandbox

    provisioner.register()
    rungs = ["none", *(rung for rung in ("bubblewrap", "landlock") if sandbox.available(rung) == rung)]
    found: dict[str, list[float]] = {rung: [] for rung in rungs}
    with tempfile.TemporaryDirectory(prefix="rillbook-starts-") as folder:
        for turn in range(times + 1):
            for rung in rungs:
                seconds = await _start(rung, Path(folder))
                if turn:  # the first one reads the files from the disk
                    found[rung].append(seconds)
    return found


async def _start(rung: str, folder: Path) -> float:
    from kernels_app.kernel import Kernel
    from kernels_app.provisioner import Profile

    begun = time.perf_counter()
    kernel = await Kernel.start(Profile(sandbox=rung), Path(tempfile.mkdtemp(dir=folder)))
    seconds = time.perf_counter() - begun
    await kernel.kill()
    return seconds


def executions(times: int) -> dict[str, list[float]]:
    """Seconds of each run of a small cell in a kernel that lives, from the server's question to its answer, by rung."""
    return asyncio.run(_executions(times))


async def _executions(times: int) -> dict[str, list[float]]:
    from kernels_app import provisioner, sandbox
    from kernels_app.kernel import Kernel
    from kernels_app.provisioner import Profile
    from tests.kernel.conftest import item

    provisioner.register()
    rungs = ["none", *(rung for rung in ("bubblewrap", "landlock") if sandbox.available(rung) == rung)]
    found: dict[str, list[float]] = {rung: [] for rung in rungs}
    with tempfile.TemporaryDirectory(prefix="rillbook-starts-") as folder:
        works = {rung: Path(tempfile.mkdtemp(dir=folder)) for rung in rungs}
        kernels = {rung: await Kernel.start(Profile(sandbox=rung), work) for rung, work in works.items()}
        for turn in range(times + 5):
            for rung, kernel in kernels.items():
                begun = time.perf_counter()
                await kernel.run_plan(f"p{turn}", [item(f"a{turn}", CELL)])
                if turn >= 5:
                    found[rung].append(time.perf_counter() - begun)
        for kernel in kernels.values():
            await kernel.kill()
    return found


def report(found: dict[str, list[float]]) -> None:
    plain = statistics.median(found["none"])
    print(f"kernel start without a sandbox: {plain:.2f} s (median)")
    for rung, seconds in found.items():
        if rung != "none":
            own = statistics.median(seconds)
            more = f"{own - plain:+.2f} s (goal: at most {GOAL_S})"
            print(f"kernel start behind {rung}: {own:.2f} s, ratio {own / plain:.2f}, {more}")


def report_executions(found: dict[str, list[float]]) -> None:
    plain = statistics.median(found["none"])
    print(f"a small cell without a sandbox: {plain * 1000:.2f} ms (median)")
    for rung, seconds in found.items():
        if rung != "none":
            own = statistics.median(seconds)
            print(f"a small cell behind {rung}: {own * 1000:.2f} ms, ratio {own / plain:.2f}")


if __name__ == "__main__":
    report(measure(8))
    report_executions(executions(200))
