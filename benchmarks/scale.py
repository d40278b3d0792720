"""Many browsers on many notebooks at a person's pace: waits, memory, Redis, database, and whether all agree at the end.

    python -m benchmarks.scale --browsers 100 --notebooks 50 --processes 2

The same people are first measured alone (one browser, one notebook): the ratio of one run is what machines have in
common, not the times. Everything real: PostgreSQL, Redis, nginx, web processes, kernels. docs/scaling.md has a table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import holding
from benchmarks.browser import Browser, Offline, Refused, agree
from scripts.cluster import Cluster, run_cluster
from scripts.nginx import HASHED, ROUND_ROBIN
from scripts.try_cluster import two_nodes
from scripts.with_postgres import temporary_postgres
from tests.servers import temporary_redis

EDIT_EVERY_S = 2.0  # of one browser, on average: as text is typed, in bursts
RUN_EVERY_S = 20.0
ALONE_EVERY_S = 3.0  # one browser alone runs oftener, for there is but one
WARM_TRIES = 4
ROOMY = {"KERNEL_RAY_CPUS": "0.01", "KERNEL_RAY_MEMORY_BYTES": str(32 * 1024**2), "KERNEL_IDLE_SECONDS": "3600"}
FIRST_S = 60.0  # for the first output of a run
CELLS = ["x = 1", "y = x + 1\nprint(y)", "z = y * 2\nprint(z)", "# notes", "# more notes"]

type Made = tuple[str, list[str]]  # a notebook and its cells


@dataclass
class Numbers:
    """What a number of browsers found; times in ms."""

    browsers: int
    edits: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    seconds: float = 0.0
    events: int = 0
    bytes: int = 0
    refused: int = 0
    reconnected: int = 0
    gaps: int = 0
    agreed: int = 0
    traffic: dict[str, float] = field(default_factory=dict)


class Person:
    """Edits one cell and runs another now and then, as somebody at a keyboard does."""

    def __init__(self, browser: Browser, cells: list[str], number: int, numbers: Numbers) -> None:
        self._browser, self._cells, self._numbers = browser, cells, numbers
        self._run_every_s = RUN_EVERY_S if numbers.browsers > 1 else ALONE_EVERY_S
        self._own = cells[3 + number % 2]
        self._made = 0
        self._random = random.Random(number)

    async def work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        runs = asyncio.create_task(self._run_now_and_then(until))
        while (pause := self._pause(EDIT_EVERY_S)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            self._made += 1
            started = time.perf_counter()
            await self._browser.edit(self._own, lambda _: f"# {'typed ' * (self._made % 20)}{self._made}")
            self._numbers.edits.append((time.perf_counter() - started) * 1000)
        await runs

    async def _run_now_and_then(self, until: float) -> None:
        while (pause := self._pause(self._run_every_s)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            with contextlib.suppress(Refused, Offline):
                self._numbers.runs.append(await first_output_ms(self._browser, self._cells))

    def _pause(self, mean_s: float) -> float:
        return mean_s * (0.5 + self._random.random())


async def warm(browser: Browser, cells: list[str]) -> None:
    """Have a kernel started; on a busy machine that may take longer than a page waits for an answer."""
    for _ in range(WARM_TRIES):
        with contextlib.suppress(TimeoutError, Refused):
            await first_output_ms(browser, cells)
            return
    raise AssertionError("no kernel came")


async def first_output_ms(browser: Browser, cells: list[str]) -> float:
    """Run the first cell, on which the two that print depend; ms until the first of them shows that it ran."""
    shown = asyncio.Event()

    def see(event: dict[str, Any]) -> None:
        cell = event["cell"]["id"] if event["type"] == "cell.refreshed" else event.get("cell")
        if event["type"] in ("output.ops", "cell.refreshed") and cell == cells[1]:
            shown.set()

    browser.listeners.append(see)
    try:
        started = time.perf_counter()
        first = browser.cells[cells[0]]
        await browser.ask("run", cells=[{"cell": cells[0], "version": first.version}])
        await asyncio.wait_for(shown.wait(), FIRST_S)
        return (time.perf_counter() - started) * 1000
    finally:
        browser.listeners.remove(see)


async def measure(
    cluster: Cluster,
    cookie: str,
    notebooks: list[Made],
    browsers: int,
    seconds: float,
    memory: holding.Memory,
    traffic: holding.Traffic,
) -> Numbers:
    """Open the browsers, warm the kernels, work, and wait until all agree."""
    numbers = Numbers(browsers)
    opened: list[tuple[Browser, int]] = []
    try:
        for number in range(browsers):
            place = number % len(notebooks)
            browser = Browser(cluster.url, notebooks[place][0], cookie, origin=cluster.origin)
            await browser.__aenter__()
            opened.append((browser, place))
        await asyncio.sleep(2)
        memory.note("connected")
        for browser, place in opened[: len(notebooks)]:  # a kernel for each
            await warm(browser, notebooks[place][1])
        await asyncio.sleep(2)
        memory.note("kernels")
        told = sum(each.events for each, _ in opened)
        traffic.start()
        started = time.monotonic()
        people = [
            Person(each, notebooks[place][1], number // len(notebooks), numbers)
            for number, (each, place) in enumerate(opened)
        ]
        await asyncio.gather(*(each.work(seconds) for each in people))
        numbers.seconds = time.monotonic() - started
        numbers.traffic = traffic.since()
        numbers.agreed = await all_agree(opened, len(notebooks))
        numbers.events = sum(each.events for each, _ in opened) - told
        numbers.refused = sum(len(each.refusals) for each, _ in opened)
        numbers.reconnected = sum(each.connections - 1 for each, _ in opened)
        numbers.gaps = sum(each.gaps for each, _ in opened)
        numbers.bytes = sum(each.bytes + each._received for each, _ in opened)
        memory.note("worked")
    finally:
        for browser, _ in opened:
            await browser.__aexit__()
    return numbers


async def all_agree(opened: list[tuple[Browser, int]], notebooks: int) -> int:
    """How many notebooks are the same in all their browsers, text and outputs. Raises AssertionError if one is not."""
    for place in range(notebooks):
        browsers = [each for each, at in opened if at == place]
        if not browsers:
            continue
        await agree(browsers, 60)
        shown = [json.dumps([each.outputs.get(cell) for cell in each.order[:3]]) for each in browsers]
        assert len(set(shown)) == 1, f"outputs differ: {set(shown)}"
    return notebooks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browsers", type=int, default=100, choices=range(1, 401), metavar="1..400")
    parser.add_argument("--notebooks", type=int, default=50, choices=range(1, 101), metavar="1..100")
    parser.add_argument("--processes", type=int, default=1, choices=range(1, 5))
    parser.add_argument("--seconds", type=int, default=60, choices=range(5, 601), metavar="5..600")
    parser.add_argument("--ray", action="store_true", help="kernels on a Ray cluster of two nodes")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")
    options = parser.parse_args()
    load = os.getloadavg()
    with parts(options.processes, with_ray=options.ray) as (cluster, database_url, redis_url):
        found = asyncio.run(run_all(cluster, database_url, redis_url, options))
    found |= {"load_before": load, "load_after": os.getloadavg(), "options": {**vars(options), "out": None}}
    report(found)
    if options.out:
        options.out.write_text(json.dumps(found, default=str), encoding="utf-8")


@contextlib.contextmanager
def parts(processes: int, *, with_ray: bool) -> Iterator[tuple[Cluster, str, str]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rillbook-scale-")))
        database_url = stack.enter_context(temporary_postgres("-c", "shared_buffers=256MB"))
        redis_url = stack.enter_context(temporary_redis())
        environment = {"KERNEL_POOL_SIZE": "1", "LOG_LEVEL": "WARNING"}
        if with_ray:
            environment |= stack.enter_context(two_nodes(folder / "data", database_url, redis_url, **ROOMY))
        cluster = stack.enter_context(
            run_cluster(
                folder, database_url=database_url, redis_url=redis_url, processes=processes,
                balance=ROUND_ROBIN if with_ray else HASHED, **environment,
            )
        )  # fmt: skip
        yield cluster, database_url, redis_url


async def run_all(cluster: Cluster, database_url: str, redis_url: str, options: argparse.Namespace) -> dict[str, Any]:
    cookie = "; ".join(f"{name}={value}" for name, value in cluster.webs[0].session_cookies().items())
    api = cluster.api(cluster.url)
    notebooks = [make_notebook(api, number) for number in range(options.notebooks + 1)]
    memory = holding.Memory([web.pid for web in cluster.webs])
    with redis.Redis.from_url(redis_url) as client, psycopg.connect(database_url, autocommit=True) as database:
        memory.note("idle")
        traffic = holding.Traffic(client, database)
        no_memory = holding.Memory([])
        alone = await measure(cluster, cookie, notebooks[:1], 1, min(options.seconds, 30), no_memory, traffic)
        await asyncio.sleep(1)
        memory.note("before")
        many = await measure(cluster, cookie, notebooks[1:], options.browsers, options.seconds, memory, traffic)
    return {"alone": asdict(alone), "many": asdict(many), "memory": memory.noted}


def make_notebook(api: Any, number: int) -> Made:
    status, made = api("POST", "notebooks/", {"name": f"Scale {number}"})
    assert status == 201, made
    cells = []
    for source in CELLS:
        status, cell = api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": source})
        assert status == 201, cell
        cells.append(cell["id"])
    return made["id"], cells


def report(found: dict[str, Any]) -> None:
    alone, many, memory = found["alone"], found["many"], found["memory"]
    notebooks, browsers = found["options"]["notebooks"], many["browsers"]
    print(f"load average before {found['load_before'][0]:.1f}, after {found['load_after'][0]:.1f}")
    print(f"{'ms':34}{'1 browser':>12}{f'{browsers} browsers':>14}{'ratio':>8}")
    for title, key in (("an edit to its acknowledgement", "edits"), ("a run to its first output", "runs")):
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            one, all_ = share_of(alone[key], share), share_of(many[key], share)
            print(f"{title + ', ' + name:34}{one:12.1f}{all_:14.1f}{all_ / one if one else 0:8.2f}")
    print(f"edits {len(many['edits'])}, runs {len(many['runs'])} in {many['seconds']:.0f} s")
    print(f"refused {many['refused']}, connections lost {many['reconnected']}, gaps asked for {many['gaps']}")
    print(f"{many['agreed']} of {notebooks} notebooks are the same in all browsers")
    for name, value in holding.derived(memory, browsers, notebooks).items():
        print(f"{name}: {value:,.2f}")
    for name, value in many["traffic"].items():
        print(f"{name}: {value:,.1f}")


def share_of(values: list[float], share: float) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


if __name__ == "__main__":
    main()
