"""What a first run waits for on a Ray cluster: new notebooks, by turns with kernels that wait and without.

`python -m benchmarks.first_run --times 10`, on a machine that does nothing else; needs what tests/cluster needs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from scripts.with_postgres import temporary_postgres
from tests.cluster.rays import NODES, RayCluster
from tests.faults.test_processes import make, until
from tests.servers import LiveServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with temporary_postgres() as database_url, tempfile.TemporaryDirectory(prefix="rillbook-first-") as folder:
        rays = RayCluster(Path(folder), database_url)
        try:
            rays.start()
            found = measure(rays, times)
        finally:
            rays.stop()
    for name, seconds in found.items():
        ordered = sorted(seconds)
        shown = f"median {statistics.median(ordered):.2f} s, {ordered[0]:.2f} to {ordered[-1]:.2f} s"
        print(f"{name}: {shown}, {len(ordered)} notebooks")
    middles = {name: statistics.median(seconds) for name, seconds in found.items()}
    print(f"{middles['without'] / middles['with']:.1f} times as long without")


def measure(rays: RayCluster, times: int) -> dict[str, list[float]]:
    """Seconds from the request of a notebook's first run to its end."""
    # Two notebooks of 0.6 have no place on a node of one processor: nothing waits there for such a one.
    usual = {"KERNEL_POOL_SIZE": "1"}
    servers = {"without": rays.server(KERNEL_RAY_CPUS="0.6", **usual), "with": rays.server(**usual)}
    found: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(times + 1):
        for name, server in servers.items():
            until(lambda: len(rays.waiting()) >= len(NODES), 120)
            time.sleep(1)
            seconds = first_run(server)
            if turn:
                found[name].append(seconds)
    return found


def first_run(server: LiveServer) -> float:
    api = server.api()
    path, _ = make(api, "print('here')")
    begun = time.perf_counter()
    status, run = api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60}, timeout_s=150)
    seconds = time.perf_counter() - begun
    assert status == 200 and run["run"]["outcome"] == "ok", run
    api("DELETE", path)
    return seconds


if __name__ == "__main__":
    main()
