"""A kernel's side of a connection, written by hand: what it sends costs the server bounded turns and memory."""

from __future__ import annotations

import asyncio
import json
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from jupyter_client.session import DELIM, Session

from kernels_app import channels, zmtp
from kernels_app.channels import Channels
from kernels_app.zmtp import Broken, Line

pytestmark = pytest.mark.asyncio
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"


@asynccontextmanager
async def sends(
    path: Path, data: bytes, *, hello: bytes = zmtp._GREETING + READY
) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """A socket that greets whoever connects, and sends this; its connections, for more."""
    connections: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello + data)
        connections.append(writer)
        await reader.read(-1)

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield connections
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


MIB = 1024 * 1024


def long_frame(size: int, flags: int = 0) -> bytes:
    return struct.pack(">BQ", 2 | flags, size)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def held() -> Iterator[Callable[[], int]]:
    """How many bytes this process holds more than at its start."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()


async def test_of_a_long_message_its_first_frames_are_kept_and_the_next_one_whole(tmp_path: Path):
    data = b"\x01\x04head" + long_frame(2 * MIB, 1) + bytes(2 * MIB) + b"\x01\x01x\x00\x01y" + b"\x00\x04next"
    async with connected(tmp_path / "s", data) as line:
        line.keep(MIB)
        assert (await line.receive(), line.left_out) == ([b"head", b"", b"", b""], 2 * MIB + 2)
        assert (await line.receive(), line.left_out) == ([b"next"], 0)


@pytest.mark.parametrize("frame", [long_frame(31 * MIB), b""], ids=["one frame", "many frames"])
async def test_a_message_that_never_ends_is_kept_as_far_as_it_may_be_wanted(
    tmp_path: Path, held: Callable[[], int], frame: bytes
):
    async with asyncio.timeout(30), sends(tmp_path / "s", frame) as connections:
        line = Line(str(tmp_path / "s"), b"SUB")
        line.keep(MIB)
        await line.connect()
        coming = asyncio.ensure_future(line.receive())
        piece = bytes(MIB) if frame else long_frame(MIB, 1) + bytes(MIB)
        for _ in range(30):
            connections[0].write(piece)
            await connections[0].drain()
        assert held() < 3 * MIB
        coming.cancel()
        line.close()


async def test_what_is_half_here_is_let_go_once_nobody_waits_for_it(tmp_path: Path, held: Callable[[], int]):
    """A table's page of 10 MiB stops in its middle; later it goes on, and replies that are waited for come whole."""
    session, refused = Session(key=b"k"), list[str]()
    ports = {"shell_port": 0, "control_port": 1, "stdin_port": 2, "iopub_port": 3}
    asking = Channels(
        session, {"ip": str(tmp_path / "c"), **ports}, on_iopub=print, on_stdin=print,
        on_broken=refused.append, on_refused=refused.append, gate=lambda _: None,
    )  # fmt: skip

    def reply(message_id: str) -> bytes:
        content = json.dumps({"x": "x" * 10 * MIB}).encode()
        signed = [json.dumps({"msg_type": "any"}).encode(), json.dumps({"msg_id": message_id}).encode(), b"{}", content]
        parts = [DELIM, session.sign(signed), *signed]
        return b"".join(zmtp._frame(part, more=part is not content) for part in parts)

    async with sends(tmp_path / "c-0", b"") as connections:
        asking.open()
        forgotten, never = asking.request("shell", "rill_call_request", {"call": "table"})
        await until(lambda: bool(connections))
        data = reply(forgotten)
        connections[0].write(data[: 8 * MIB])
        rest = data[8 * MIB :]
        del data
        await connections[0].drain()
        assert held() > 9 * MIB
        asking.forget(forgotten)
        assert held() < 4 * MIB
        waited, future = asking.request("shell", "rill_call_request", {"call": "table"})
        connections[0].write(rest + reply(waited))
        async with asyncio.timeout(30):
            assert len((await future)["x"]) == 10 * MIB
        asking.close()
    assert refused == [] and not never.done()


async def test_what_a_kernel_does_not_take_in_is_held_for_it_up_to_a_bound(tmp_path: Path):
    async with connected(tmp_path / "s", b"") as line:
        sent = next(count for count in range(100) if not line.send([bytes(MIB)]))
        assert 16 < sent < 30, "a cell's source and some questions, not every question"


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
