"""Run-to-result latency and a 200-cell chain, beside plain ipykernel, in one run (`make bench`).

Times of a shared machine drift: compare the ratios of one run only. Ours is measured through everything a browser
uses: the real server, its socket, its database. Plain ipykernel is the floor: one blocking client on IPC sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from jupyter_client import KernelManager

from benchmarks import starts
from benchmarks.client import NotebookClient
from tests.servers import LiveServer

CHAIN = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--chains", type=int, default=5)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write every sample to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rillbook-bench-") as folder:
        server = LiveServer(Path(folder))
        try:
            ours = asyncio.run(measure_ours(server, options.runs, options.chains))
        finally:
            server.stop()
    plain = measure_plain(options.runs, options.chains)
    report(ours, plain)
    started = starts.measure(options.starts)
    starts.report(started)
    if options.out:
        options.out.write_text(json.dumps({"ours": ours, "plain": plain, "starts": started}), encoding="utf-8")


async def measure_ours(server: LiveServer, runs: int, chains: int) -> dict[str, list[float]]:
    api = server.api()
    single = make_notebook(api, ["1 + 1"])
    chained = make_notebook(api, chain_sources())
    found: dict[str, list[float]] = {}
    async with NotebookClient(server, single) as client:
        await client.run()  # binds a kernel
        found["result"] = [(await client.run()).result_ms for _ in range(runs)]
    async with NotebookClient(server, chained) as client:
        await client.run()
        results = [await client.run() for _ in range(chains)]
    found["chain"] = [result.result_ms for result in results]
    found["chain_frames"] = [float(result.frames) for result in results]
    return found


def make_notebook(api: Any, sources: list[str]) -> str:
    _, made = api("POST", "notebooks/", {"name": "Bench"})
    notebook = made["id"]
    _, body = api("GET", f"notebooks/{notebook}/cells/")
    for cell in body if isinstance(body, list) else body["cells"]:
        api("DELETE", f"notebooks/{notebook}/cells/{cell['id']}/")
    for source in sources:
        status, _ = api("POST", f"notebooks/{notebook}/cells/", {"type": "python", "source": source})
        assert status == 201, status
    return notebook


def chain_sources() -> list[str]:
    return ["x0 = 1\nx0", *(f"x{i} = x{i - 1} + 1\nx{i}" for i in range(1, CHAIN))]


def measure_plain(runs: int, chains: int) -> dict[str, list[float]]:
    manager = KernelManager(transport="ipc")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        execute(client, ["1 + 1"])
        return {
            "result": [execute(client, ["1 + 1"]) for _ in range(runs)],
            "chain": [execute(client, chain_sources()) for _ in range(chains)],
        }
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def execute(client: Any, sources: list[str]) -> float:
    """Send all, wait for the last one's result; milliseconds."""
    started = time.perf_counter()
    ids = [client.execute(source) for source in sources]
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "execute_result" and message["parent_header"]["msg_id"] == ids[-1]:
            return (time.perf_counter() - started) * 1000


def report(ours: dict[str, list[float]], plain: dict[str, list[float]]) -> None:
    rows = [("run 1 + 1 to its result", "result"), (f"chain of {CHAIN}, run to last result", "chain")]
    print(f"{'':36}{'Rillbook':>12}{'ipykernel':>12}{'ratio':>8}   (medians, ms)")
    for title, key in rows:
        mine, floor = statistics.median(ours[key]), statistics.median(plain[key])
        print(f"{title:36}{mine:12.2f}{floor:12.2f}{mine / floor:8.2f}")
    print(f"frames of a chain: {statistics.median(ours['chain_frames']):.0f}")


if __name__ == "__main__":
    main()
