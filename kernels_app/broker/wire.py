"""Messages between the server and its broker: JSON behind its length, on a socket pair."""

from __future__ import annotations

import json
import socket
from typing import Any

HEADER_BYTES = 4
MESSAGE_LIMIT = 64 * 1024 * 1024


def pack(message: dict[str, Any]) -> bytes:
    """Raises ValueError if it is longer than MESSAGE_LIMIT, or holds what JSON cannot."""
    body = json.dumps(message, allow_nan=False).encode("ascii")
    if len(body) > MESSAGE_LIMIT:
        raise ValueError(f"The query and its values are over {MESSAGE_LIMIT // 2**20} MiB.")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def body_length(header: bytes) -> int:
    length = int.from_bytes(header, "big")
    if length > MESSAGE_LIMIT:
        raise ValueError("message over the limit")
    return length


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message, waiting for it; None at the end."""
    header = _exactly(connection, HEADER_BYTES)
    if header is None:
        return None
    body = _exactly(connection, body_length(header))
    return None if body is None else json.loads(body)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
