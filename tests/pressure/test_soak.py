"""Ten people for ten minutes: what the server's process holds does not grow with the time (goal G29)."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
import uuid
from pathlib import Path

import pytest
import websockets.exceptions

from tests.faults.test_processes import children, make
from tests.live.watching import Watcher, connect
from tests.pressure.test_sockets import resident
from tests.servers import LiveServer

pytestmark = [pytest.mark.asyncio, pytest.mark.soak]

MB = 1024 * 1024
PEOPLE = 10
MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
SAMPLE_S = 10.0
SOURCES = [
    "x = {0}\nprint('value', x)",
    "print('line ' * 5000)",
    "from IPython.display import HTML\nHTML('<p>{0}' + 'z' * 100_000)",
    "import sys\nfor _i in range(200): print(_i, '{0}', file=sys.stderr if _i % 2 else sys.stdout)",
    "1 / 0  # {0}",
]


async def live(server: LiveServer, path: str, cells: list[str], until: float, seed: int) -> int:
    """One person: edits, runs, comes and goes. How many runs ended."""
    dice, versions, runs = random.Random(seed), dict.fromkeys(cells, 1), 0
    while time.monotonic() < until:
        try:
            async with connect(server, path.split("/")[1]) as socket:
                watcher = Watcher(socket)
                greeting = await watcher.hello()
                versions = {cell["id"]: cell["version"] for cell in greeting["cells"]}
                for _ in range(dice.randrange(3, 12)):
                    place = dice.randrange(len(cells))
                    change = {"cell": cells[place], "version": versions[cells[place]], "source":
                              SOURCES[place].format(dice.random()), "operation_id": str(uuid.uuid4())}  # fmt: skip
                    reply = await watcher.ask(type="edit", **change)
                    versions[cells[place]] = reply["version"]
                    await watcher.run_all()
                    runs += 1
                    await asyncio.sleep(dice.random())
        except (TimeoutError, OSError, websockets.exceptions.WebSocketException):
            await asyncio.sleep(0.5)
    return runs


def sample(pid: int) -> tuple[float, int, int, int]:
    """Megabytes, descriptors, threads, zombies below."""
    zombies = 0
    for child in children(pid):
        try:
            zombies += Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
    return resident(pid) / MB, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), zombies


async def test_ten_people_for_ten_minutes_leave_nothing_behind(live_server: LiveServer):
    api = live_server.api()
    made = [make(api, *(source.format(0) for source in SOURCES)) for _ in range(PEOPLE)]
    until = time.monotonic() + 60 * MINUTES
    people = [
        asyncio.create_task(live(live_server, path, cells, until, number)) for number, (path, cells) in enumerate(made)
    ]
    samples = []
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_S)
        samples.append((time.monotonic(), *await asyncio.to_thread(sample, live_server.pid)))
        print(*(round(value, 1) for value in samples[-1]), flush=True)
    runs = sum(await asyncio.gather(*people))
    settled = samples[len(samples) // 3 :]  # the first minutes fill caches and pools
    times, sizes, files, threads, zombies = zip(*settled, strict=True)
    slope = statistics.linear_regression(times, sizes).slope * 60
    print(f"{runs} runs; {slope:+.2f} MB a minute, {min(files)} to {max(files)} descriptors, {max(threads)} threads")
    assert runs > 10 * MINUTES
    assert slope < 1.0
    assert max(files) - min(files) < 60 and max(threads) - min(threads) < 20
    assert max(zombies) <= 1  # one that ended as we looked
