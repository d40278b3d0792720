"""What others feel while a cell floods, how soon a death is shown and a cell stops: `python -m benchmarks.pressure`.

Goals (research, G6 to G12): others' p95 under twice the quiet one, the server's memory under 50 MB more, a death shown
and a cell stopped within 2 s. Times of a shared machine drift: compare the ratios of one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.client import NotebookClient
from benchmarks.run import make_notebook
from tests.servers import LiveServer

MB = 1024 * 1024
FLOODS = {
    "print": ["while True: print('x' * 99)"],
    "both streams": ["import sys\nwhile True:\n    sys.stdout.write('o')\n    sys.stderr.write('e')"],
    "large pages": [
        "from IPython.display import HTML, display\nimport itertools\n"
        "for _n in itertools.count(): display(HTML(f'{_n}' + 'x' * 300_000))"
    ],
    "updates": [
        "from IPython.display import display\n_h = display('d', display_id=True)\nwhile True: _h.update('y' * 5000)"
    ],
    "four busy loops": ["while True: pass"] * 4,
}  # fmt: skip
WAIT_MS = 500  # a cell waits before it ends its kernel, so that its start is told before
DEATHS = {
    "os._exit": "import os\nos._exit(3)",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    # One process alone meets its own limit, which is an error in its cell. Of several the system ends one (control
    # groups, version 1), and the cell says so; or the kernel ends.
    "out of memory": (
        "import subprocess, sys\n_held = 'import time; held = b\"x\" * 250_000_000; time.sleep(20)'\n"
        "_all = [subprocess.Popen([sys.executable, '-c', _held]) for _n in range(12)]\n[_one.wait() for _one in _all]"
    ),
}
LOOPS = {
    "busy loop": "while True: pass",
    "C loop": "sum(range(10**12))",
    "output": "while True: print('x' * 99)",
    "sleep": "import time\ntime.sleep(600)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each flood")
    parser.add_argument("--rounds", type=int, default=5, help="of each death and stop")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rillbook-bench-") as folder:
        server = LiveServer(Path(folder), KERNEL_MEMORY_BYTES=str(1024 * MB))
        try:
            asyncio.run(measure(server, options.seconds, options.rounds))
        finally:
            server.stop()


async def measure(server: LiveServer, seconds: float, rounds: int) -> None:
    api = server.api()
    async with NotebookClient(server, make_notebook(api, ["1 + 1"])) as quiet:
        await quiet.run()
        before = await runs_for(quiet, seconds)
        print(f"quiet: p50 {share(before, 0.5):.0f} ms, p95 {share(before, 0.95):.0f} ms", flush=True)
        for name, sources in FLOODS.items():
            size = resident(server.pid)
            notebooks = [make_notebook(api, [source]) for source in sources]
            for notebook in notebooks:
                api("POST", f"notebooks/{notebook}/runs/", {"all": True})
            await asyncio.sleep(3)
            found = await runs_for(quiet, seconds)
            grown = (resident(server.pid) - size) / MB
            for notebook in notebooks:
                api("DELETE", f"notebooks/{notebook}/")
            ratio = share(found, 0.95) / share(before, 0.95)
            print(f"{name}: p95 {share(found, 0.95):.0f} ms, {ratio:.2f} x quiet; memory {grown:+.0f} MB", flush=True)
    for kind, sources_of, what in (("death", DEATHS, dies), ("stop", LOOPS, stops)):
        for name, source in sources_of.items():
            wait = f"__import__('time').sleep({WAIT_MS / 1000})\n" if what is dies else ""
            notebook = make_notebook(api, [wait + source])
            times = [await what(server, notebook) for _ in range(rounds)]
            print(f"{kind}, {name}: p50 {share(times, 0.5):.0f} ms, most {max(times):.0f} ms", flush=True)
            api("DELETE", f"notebooks/{notebook}/")


async def runs_for(client: NotebookClient, seconds: float) -> list[float]:
    until, found = time.monotonic() + seconds, []
    while time.monotonic() < until:
        found.append((await client.run()).done_ms)
        await asyncio.sleep(0.1)
    return found


async def dies(server: LiveServer, notebook: str) -> float:
    """From where the cell ends its kernel (or begins to fill its memory) to the event that says so, in ms."""

    def is_told(event: dict[str, Any]) -> bool:
        is_dead = event["type"] == "kernel.changed" and event["state"] == "dead"
        return is_dead or (event["type"] == "output.ops" and "of memory" in str(event["ops"]))

    async with Events(server, notebook) as events:
        await events.send("run_all")
        await events.until(lambda event: is_state(event, "running"))
        started = time.perf_counter()
        await events.until(is_told)
        ended = time.perf_counter()
        await events.send("stop")  # the rest of it, if it lives
        return (ended - started) * 1000 - WAIT_MS


async def stops(server: LiveServer, notebook: str) -> float:
    async with Events(server, notebook) as events:
        await events.send("run_all")
        await events.until(lambda event: is_state(event, "running"))
        await asyncio.sleep(1)
        started = time.perf_counter()
        await events.send("stop")
        await events.until(lambda event: event["type"] == "run.finished")
        return (time.perf_counter() - started) * 1000


def is_state(event: dict[str, Any], status: str) -> bool:
    return event["type"] == "cells.state" and any(state["status"] == status for state in event["states"].values())


class Events(NotebookClient):
    """The same socket, event by event."""

    async def send(self, kind: str) -> None:
        await self._send({"type": kind})

    async def until(self, is_it: Any) -> None:
        async with asyncio.timeout(60):
            while not any(is_it(event) for event in (await self._receive()).get("events", ())):
                pass


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
