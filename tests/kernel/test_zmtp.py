"""A kernel's side of a connection, written by hand: what it sends costs the server bounded turns and memory."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from jupyter_client.session import Session

from kernels_app import channels, zmtp
from kernels_app.channels import Channels
from kernels_app.zmtp import Broken, Line

pytestmark = pytest.mark.asyncio
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"


@asynccontextmanager
async def sends(path: Path, data: bytes, *, hello: bytes = zmtp._GREETING + READY) -> AsyncIterator[None]:
    """A socket that greets whoever connects, and sends this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello + data)
        await reader.read(-1)

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def connected(path: Path, data: bytes, **more: bytes) -> AsyncIterator[Line]:
    line = Line(str(path), b"SUB")
    async with sends(path, data, **more), asyncio.timeout(30):
        await line.connect()
        try:
            yield line
        finally:
            line.close()


async def test_messages_come_in_parts_short_and_long(tmp_path: Path):
    data = b"\x01\x01a\x00\x02bc" + struct.pack(">BQ", 2, 300) + b"x" * 300
    async with connected(tmp_path / "s", data) as line:
        assert await line.receive() == [b"a", b"bc"]
        assert await line.receive() == [b"x" * 300]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x01x", b"\xff\xff", struct.pack(">BQ", 2, 2**63),
        struct.pack(">BQ", 2, zmtp.MESSAGE_BYTES + 1), b"\x01\x00" * 5_000, b"\x04\x00" * 5,
        struct.pack(">BQ", 6, 513), b"\x04\x01x\x01\x01a" * 5_000,
    ],
    ids=["flags", "rubbish", "2^63 bytes", "one part", "parts without end", "commands without end",
         "a long command", "commands between parts"],
)  # fmt: skip
async def test_what_is_over_a_bound_breaks_the_connection(tmp_path: Path, data: bytes):
    async with connected(tmp_path / "s", data) as line:
        with pytest.raises(Broken):
            await line.receive()


@pytest.mark.parametrize(
    "hello", [b"\x00" * 64, b"HTTP/1.1 200 OK\r\n" * 8, zmtp._GREETING[:10] + b"\x01" + zmtp._GREETING[11:] + READY]
)
async def test_who_does_not_greet_as_a_kernel_does_is_no_kernel(tmp_path: Path, hello: bytes):
    with pytest.raises(Broken):
        async with connected(tmp_path / "s", b"", hello=hello):
            pass


@pytest.mark.parametrize(
    ("message", "pieces"),
    [(b"\0\0", 1), (b"\1\0" * 1_023 + b"\0\0", 1_024), (b"\4\0" * 4 + b"\1\0" * 14 + b"\0\0", 19)],
    ids=["one frame", "many frames", "commands, too"],
)  # fmt: skip
async def test_a_flood_of_messages_of_nothing_gives_others_their_turn(tmp_path: Path, message: bytes, pieces: int):
    """Between two turns of anybody else, each connection is read as far as one burst goes."""
    names = ("shell", "control", "stdin", "iopub")
    ports = {f"{name}_port": number for number, name in enumerate(names)}
    refused: list[str] = []
    flooded = Channels(
        Session(key=b"k"), {"ip": str(tmp_path / "c"), **ports}, on_iopub=print, on_stdin=print,
        on_broken=refused.append, on_refused=refused.append, gate=lambda _: None,
    )  # fmt: skip
    async with asyncio.timeout(30):
        flood = message * (60_000 // pieces)
        async with sends(tmp_path / "c-3", flood), sends(tmp_path / "c-0", flood):
            flooded.open()
            seen, largest = 0, 0
            while seen * pieces < 5_000:
                await asyncio.sleep(0)
                largest, seen = max(largest, flooded.received - seen), flooded.received
            flooded.close()
    assert largest <= 2 * channels.UNWANTED_AT_ONCE
    assert largest * pieces <= 2 * channels.UNWANTED_AT_ONCE * 1.5 * channels.FRAMES
    assert set(refused) == {"unreadable"}
