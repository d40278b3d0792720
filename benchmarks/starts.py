"""What the walls cost at a kernel's start: from nothing to ready, behind each rung and without any, by turns."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

GOAL_S = 0.3  # at most this much longer than without a sandbox


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


def report(found: dict[str, list[float]]) -> None:
    plain = statistics.median(found["none"])
    print(f"kernel start without a sandbox: {plain:.2f} s (median)")
    for rung, seconds in found.items():
        if rung != "none":
            own = statistics.median(seconds)
            more = f"{own - plain:+.2f} s (goal: at most {GOAL_S})"
            print(f"kernel start behind {rung}: {own:.2f} s, ratio {own / plain:.2f}, {more}")


if __name__ == "__main__":
    report(measure(8))
