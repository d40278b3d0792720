"""The server's end of a kernel's ZeroMQ sockets: ZMTP 3.0 over Unix sockets, read with bounds of our own.

Why not libzmq: it limits a frame, not a message, and takes a message in whole before anybody may look at it. User code
that sends 32 MiB frames without end as parts of one message would fill the server's memory. Here a message is counted
while it comes, nobody reads ahead of who listens, and what is over a bound breaks the connection. Of a
message no more is kept than somebody may want: one that never ends stays in memory for as long as its kernel lives.

The specification is https://rfc.zeromq.org/spec/23/ (greeting, NULL mechanism, frames); this is a client's side. What
messages mean is channels.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from typing import Final

HEAD_BYTES: Final = 16 * 1024  # that a message's frames have before its content
MESSAGE_BYTES: Final = 32 * 1024 * 1024
MESSAGE_FRAMES: Final = 1_024  # ours have seven at most, and a widget's (a comm) one more for each array in it
MESSAGE_COMMANDS: Final = 4  # before a message; a kernel of ours sends none but READY, of some 60 bytes
COMMAND_BYTES: Final = 512
AHEAD_BYTES: Final = 128 * 1024  # read before anybody asked for it (asyncio stops at twice that)
UNSENT_BYTES: Final = 24 * 1024 * 1024  # the longest source of a cell (16 MiB), and half as much
RETRY_S: Final = 0.005  # a starting kernel's socket appears any moment

_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_MORE, _LONG, _COMMAND = 1, 2, 4
_SUBSCRIBE_ALL = b"\x01"


class Broken(Exception):
    """The connection ended, or what came over it is no ZMTP or over a bound. The message says which."""


class Line:
    """One connection to a bound socket. What is sent before it stands is sent when it does."""

    def __init__(self, path: str, kind: bytes, identity: bytes = b"") -> None:
        self._path, self._kind, self._identity = path, kind, identity
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._early: list[bytes] = []
        self._is_ready = False
        self._most = MESSAGE_BYTES  # that is kept of a message
        self._coming: list[list[bytes]] = []  # the frames of the message that is half here, in pieces
        self._kept = 0  # bytes of them
        self.left_out = 0  # bytes of the last message that were not kept

    async def connect(self) -> None:
        """Wait for the socket, connect and shake hands. Raises Broken."""
        reader, writer = await self._open()
        self._reader, self._writer = reader, writer
        with _as_broken():
            await self._shake_hands(reader, writer)
        for data in self._early:
            writer.write(data)
        self._early.clear()
        self._is_ready = True

    def send(self, parts: list[bytes]) -> bool:
        """Send a message; False if the other end has not taken in what was sent long before."""
        data = b"".join(_frame(part, more=at < len(parts) - 1) for at, part in enumerate(parts))
        if self._writer is None or not self._is_ready:
            self._early.append(data)
            return sum(map(len, self._early)) <= UNSENT_BYTES
        if self._writer.transport.get_write_buffer_size() > UNSENT_BYTES:
            return False
        self._writer.write(data)
        return True

    def keep(self, size_bytes: int) -> None:
        """Keep messages of so many bytes (HEAD_BYTES at least), from the one on that is half here; of a longer one,
        those of its first frames that are within HEAD_BYTES: the others are empty."""
        self._most = size_bytes
        self._let_go()

    async def receive(self) -> list[bytes]:
        """The frames of the next message. Raises Broken."""
        assert self._reader is not None, "connect first"
        self._kept = self.left_out = size = commands = 0
        with _as_broken():
            while True:
                flags, length = await self._head(self._reader)
                if flags & _COMMAND:
                    commands += 1
                    if commands > MESSAGE_COMMANDS:
                        raise Broken("commands without end")
                    await self._command(self._reader, length)
                    continue
                size += length
                if size > MESSAGE_BYTES or len(self._coming) >= MESSAGE_FRAMES:
                    raise Broken("a message is over the bounds")
                await self._frame(self._reader, length)
                if not flags & _MORE:
                    frames, self._coming = [b"".join(pieces) for pieces in self._coming], []
                    return frames

    def close(self) -> None:
        """End the connection at once. Harmless when repeated."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(self._path, limit=AHEAD_BYTES)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(RETRY_S)
            except OSError as error:
                raise Broken("no connection") from error

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_GREETING)
        theirs = await reader.readexactly(len(_GREETING))
        if theirs[0] != 0xFF or not theirs[9] & 1 or theirs[10] < 3 or theirs[12:32] != _GREETING[12:32]:
            raise Broken("no ZMTP 3 with the NULL mechanism")
        ready = b"\x05READY" + _property(b"Socket-Type", self._kind)
        if self._identity:
            ready += _property(b"Identity", self._identity)
        writer.write(_frame(ready, flags=_COMMAND))
        flags, length = await self._head(reader)
        if not flags & _COMMAND or not (await self._command(reader, length)).startswith(b"\x05READY"):
            raise Broken("the other end is not ready")
        if self._kind == b"SUB":
            writer.write(_frame(_SUBSCRIBE_ALL))

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, int]:
        flags, length = await reader.readexactly(2)
        if flags & ~(_MORE | _LONG | _COMMAND):
            raise Broken("flags that ZMTP does not have")
        if flags & _LONG:
            [length] = struct.unpack(">Q", bytes([length]) + await reader.readexactly(7))
        return flags, length

    async def _frame(self, reader: asyncio.StreamReader, length: int) -> None:
        pieces: list[bytes] = []
        self._coming.append(pieces)
        for start in range(0, length, AHEAD_BYTES):
            piece = await reader.readexactly(min(AHEAD_BYTES, length - start))
            if self.left_out:
                self.left_out += len(piece)
            else:
                pieces.append(piece)
                self._kept += len(piece)
                self._let_go()

    def _let_go(self) -> None:
        """Keep no more of the message that is half here than its first frames, if it is too long."""
        if not self._coming or self._kept <= self._most:
            return
        self._kept = 0
        for pieces in self._coming:
            size = sum(map(len, pieces))
            if self.left_out or self._kept + size > HEAD_BYTES:
                self.left_out += size
                pieces.clear()
            else:
                self._kept += size

    async def _command(self, reader: asyncio.StreamReader, length: int) -> bytes:
        if length > COMMAND_BYTES:
            raise Broken("a command is over the bounds")
        return await reader.readexactly(length)


@contextlib.contextmanager
def _as_broken() -> Iterator[None]:
    try:
        yield
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Broken("the connection ended") from error


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def _frame(data: bytes, *, more: bool = False, flags: int = 0) -> bytes:
    flags |= _MORE if more else 0
    if len(data) < 256:
        return bytes([flags, len(data)]) + data
    return struct.pack(">BQ", flags | _LONG, len(data)) + data
