"""Sockets that hurt: they flood, they never read. The server's memory stays bounded and others go on."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import websockets.exceptions

from benchmarks.client import NotebookClient, sign_in
from tests.servers import Api, LiveServer

pytestmark = pytest.mark.asyncio

MB = 1024 * 1024
COMMANDS = 90  # each answered with 2.5 MB
PINGS = 150_000
# The server with seconds in place of the minute that a browser may take nothing of what is sent.
IMPATIENT = """
import runpy, sys
from kernels_app import pushback
pushback.UNREAD_S = 8.0
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Impatient(LiveServer):
    @property
    def prefix(self) -> list[str]:
        return [sys.executable, "-c", IMPATIENT]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = Impatient(tmp_path_factory.mktemp("impatient"))
    yield server
    server.stop()


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def make(api: Api, source: str) -> tuple[str, str]:
    """(id of a notebook of one cell, id of the cell)."""
    status, made = api("POST", "notebooks/", {"name": "Pressure"})
    assert status == 201
    status, cell = api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": source})
    assert status == 201
    return made["id"], cell["id"]


def metrics(server: LiveServer) -> str:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        return str(answer.read(), "utf-8")


def connect(server: LiveServer, notebook: str, cookie: str, **options: Any) -> Any:
    return websockets.connect(
        f"{server.url.replace('http', 'ws')}/ws/notebooks/{notebook}/",
        origin=server.url,
        additional_headers={"Cookie": cookie},
        max_size=None,
        **options,
    )


FLOODS = [
    json.dumps({"type": "variables", "id": 1}),
    json.dumps({"type": "presence", "id": 1, "cell": None}),
    "no json",
    json.dumps({"type": "edit", "id": 1, "cell": "x", "source": "y" * 20_000}),
    json.dumps({"type": "hello", "id": 1, "cursor": None}),
    json.dumps({"type": "complete", "id": 1, "cell": "x", "source": "import os; os." * 50, "cursor": 14}),
    json.dumps({"type": "input_reply", "id": 1, "attempt": "00000000-0000-4000-8000-000000000000", "value": "x" * 900}),
]


def frames(message: str) -> bytes:
    """At least 64 KiB of WebSocket frames of this text, masked with zeros (RFC 6455, 5.2)."""
    data = message.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return (b"\x81" + size + b"\0\0\0\0" + data) * (64 * 1024 // len(data) + 1)


async def flood(server: LiveServer, notebook: str, cookie: str, message: str) -> None:
    """Send as fast as the server takes it, until cancelled."""
    chunk = frames(message)
    async with connect(server, notebook, cookie, open_timeout=60) as socket:
        try:
            while True:
                if socket.transport.get_write_buffer_size() < len(chunk):
                    socket.transport.write(chunk)
                await asyncio.sleep(0.02)
        finally:
            socket.transport.abort()


async def test_sockets_that_flood_are_held_back_and_others_go_on(live_server: LiveServer):
    cookie = "; ".join(f"{name}={value}" for name, value in live_server.session_cookies("flooder").items())
    api = live_server.api("flooder")
    notebook, _ = make(api, "x = 1")
    quick, _ = make(live_server.api(), "1 + 1")
    async with NotebookClient(live_server, quick) as other:
        await other.run()
        before = resident(live_server.pid)
        floods = [
            asyncio.create_task(flood(live_server, notebook, cookie, FLOODS[number % len(FLOODS)]))
            for number in range(50)
        ]
        for _ in range(40):
            async with asyncio.timeout(30):
                await other.run()
            await asyncio.sleep(0.1)
        grown = resident(live_server.pid) - before
        for one in floods:
            one.cancel()
        ended = await asyncio.gather(*floods, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
    assert grown < 50 * MB
    assert api("GET", f"notebooks/{notebook}/")[0] == 200


async def test_what_was_typed_just_before_the_browser_went_is_kept(live_server: LiveServer):
    api = live_server.api()
    notebook, cell = make(api, "")
    async with connect(live_server, notebook, sign_in(live_server)) as socket:
        for version in range(1, 11):
            edit = {"type": "edit", "id": version, "cell": cell, "version": version, "source": f"x = {version}"}
            await socket.send(json.dumps({**edit, "operation_id": f"00000000-0000-4000-8000-{version:012}"}))
    end = time.monotonic() + 20
    while api("GET", f"notebooks/{notebook}/")[1]["cells"][0]["source"] != "x = 10":
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_socket_that_never_reads_costs_little(live_server: LiveServer):
    api = live_server.api()
    notebook, cell = make(api, "")

    async def write(first: int, count: int) -> None:
        for version in range(first, first + count):
            change = {"version": version, "source": f"# {version} " + "x" * 500_000}
            status, _ = await asyncio.to_thread(api, "PATCH", f"notebooks/{notebook}/cells/{cell}/", change)
            assert status == 200

    async with connect(live_server, notebook, sign_in(live_server), max_queue=1) as socket:
        await write(1, 80)  # what edits of this size cost by themselves
        socket.transport.pause_reading()
        await socket.send(json.dumps({"type": "hello", "id": 1, "cursor": None}))
        before = resident(live_server.pid)
        await write(81, 120)
        assert resident(live_server.pid) - before < 32 * MB
        socket.transport.abort()


@pytest.mark.soak
async def test_a_socket_that_never_reads_is_dropped(live_server: LiveServer):
    api = live_server.api()
    notebook, cell = make(api, "")
    async with connect(live_server, notebook, sign_in(live_server), max_queue=1) as socket:
        await socket.send(json.dumps({"type": "hello", "id": 1, "cursor": None}))
        socket.transport.pause_reading()
        for version in range(1, 31):
            change = {"version": version, "source": f"# {version} " + "x" * 500_000}
            assert (await asyncio.to_thread(api, "PATCH", f"notebooks/{notebook}/cells/{cell}/", change))[0] == 200
        end = time.monotonic() + 100
        while "rillbook_sockets_open 0.0" not in await asyncio.to_thread(metrics, live_server):
            assert time.monotonic() < end
            await asyncio.sleep(1)
        socket.transport.abort()


def make_large(api: Api) -> tuple[str, str]:
    """(id of a notebook, what asks for its 2.5 MB)."""
    status, made = api("POST", "notebooks/", {"name": "Large"})
    assert status == 201
    body = {"operations": [{"op": "insert", "type": "markdown", "source": "x" * 500_000} for _ in range(5)]}
    status, done = api("POST", f"notebooks/{made['id']}/batch/", body)
    assert status == 200
    cells = [each["cell"] for each in done["operations"]]
    return made["id"], json.dumps({"type": "cells", "id": 1, "cells": cells})


ALL_READ = json.dumps({"type": "ack", "bytes": 2**53 - 1})


async def are_open(server: LiveServer, count: int) -> None:
    """Wait until the server has so many sockets."""
    end = time.monotonic() + 60
    while f"rillbook_sockets_open {count}.0" not in await asyncio.to_thread(metrics, server):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


async def send_too_much(socket: Any, ask: str) -> None:
    """Ask for more than the system holds for a connection, and claim to have read it."""
    for _ in range(8):
        await socket.send(ask)
        await asyncio.sleep(0.3)
        await socket.send(ALL_READ)
    await asyncio.sleep(0.3)


async def test_a_socket_that_acknowledges_what_it_never_reads_costs_little_and_is_cut_off(impatient: LiveServer):
    api = impatient.api()
    notebook, ask = make_large(api)
    quick, _ = make(api, "1 + 1")
    cookie = sign_in(impatient)
    async with NotebookClient(impatient, quick) as other:
        await other.run()
        async with connect(impatient, notebook, cookie) as socket:  # what such answers cost by themselves
            for _ in range(5):
                await socket.send(ask)
                while len(await socket.recv()) < 2 * MB:
                    pass
                await socket.send(ALL_READ)
        await are_open(impatient, 1)
        before = most = resident(impatient.pid)
        liar = await connect(impatient, notebook, cookie, max_queue=1, ping_interval=None)
        liar.transport.pause_reading()
        try:
            for number in range(COMMANDS):
                await liar.send(ALL_READ)
                await liar.send(json.dumps({"type": "hello", "id": 2, "cursor": None}) if number % 4 == 0 else ask)
                most = max(most, resident(impatient.pid))
                await asyncio.sleep(0.03)
        except (websockets.exceptions.ConnectionClosed, ConnectionError):
            assert number > COMMANDS // 6  # it was cut off, but not at once
        async with asyncio.timeout(60):
            await other.run()
        await are_open(impatient, 1)
        most = max(most, resident(impatient.pid))
        liar.transport.abort()
    assert most - before < 48 * MB, (before, most)  # 22 to 33; 110 where what it says is believed


async def test_pings_of_a_socket_that_never_reads_are_not_answered_for_ever(live_server: LiveServer):
    notebook, ask = make_large(live_server.api())
    async with connect(live_server, notebook, sign_in(live_server), max_queue=1, ping_interval=None) as socket:
        socket.transport.pause_reading()
        await send_too_much(socket, ask)
        before = resident(live_server.pid)
        chunk = (b"\x89\xfd\0\0\0\0" + b"p" * 125) * 500
        for _ in range(PINGS // 500):
            socket.transport.write(chunk)
            while socket.transport.get_write_buffer_size() > MB:
                await asyncio.sleep(0.01)
        while socket.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        await asyncio.to_thread(metrics, live_server)
        grown = resident(live_server.pid) - before
        socket.transport.abort()
    assert grown < 12 * MB


async def test_a_socket_that_says_farewell_and_reads_nothing_is_gone_in_the_end(impatient: LiveServer):
    notebook, ask = make_large(impatient.api())
    socket = await connect(impatient, notebook, sign_in(impatient), max_queue=1, ping_interval=None)
    socket.transport.pause_reading()
    await send_too_much(socket, ask)
    await are_open(impatient, 1)
    socket.transport.write(b"\x88\x82\0\0\0\0\x03\xe8")
    await are_open(impatient, 0)
    socket.transport.abort()
