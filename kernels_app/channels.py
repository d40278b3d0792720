"""The four sockets to one kernel: sending requests, matching replies, reading what it publishes.

ZeroMQ and the Jupyter wire protocol only; what messages mean is kernel.py's. Nothing here trusts a message:
one that cannot be read is counted and left out, one above MAX_MESSAGE_BYTES breaks its connection, and that
is reported. A reader that waits at the gate reads nothing more, and so the kernel waits too (risks.md, 16).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session
from zmq.utils.monitor import parse_monitor_message

log = logging.getLogger("rillbook.kernel")

Message = dict[str, Any]

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
IOPUB_HIGH_WATER = 4  # messages; more would let an unread flood grow the server
_KINDS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}
_WATCHED = ("shell", "iopub")
_MONITORED = (*_WATCHED, "stdin")


class Channels:
    """Connected sockets to a kernel, made on the event loop: `open` it, `close` it when the kernel ends."""

    def __init__(
        self,
        session: Session,
        info: Message,
        *,
        on_iopub: Callable[[Message], None],
        on_stdin: Callable[[Message], None],
        on_broken: Callable[[str], None],
        gate: Callable[[], Awaitable[None] | None],
    ) -> None:
        self.received = 0
        self.unreadable = 0
        self._session = session
        self._info = info
        self._handlers = {
            "iopub": on_iopub,
            "stdin": on_stdin,
            "shell": self._reply,
            "control": self._reply,
        }
        self._on_broken, self._gate = on_broken, gate
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Set once the kernel knows our stdin: a question it asked before would be dropped without a word.
        self.stdin_connected = asyncio.Event()

    def open(self) -> None:
        """Connect; the kernel need not be there yet."""
        identity = self._session.bsession
        for channel, kind in _KINDS.items():
            socket = context().socket(kind)
            socket.linger = 0
            socket.maxmsgsize = MAX_MESSAGE_BYTES
            socket.reconnect_ivl = 5  # milliseconds: a starting kernel's socket appears any moment
            if channel == "iopub":
                socket.rcvhwm = IOPUB_HIGH_WATER
                socket.subscribe(b"")
            else:
                socket.setsockopt(zmq.ROUTING_ID, identity)  # stdin requests follow the shell's identity
            self._sockets[channel] = socket
            if channel in _WATCHED:
                monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                self._start(self._watch(channel, monitor), f"kernel-monitor-{channel}")
            elif channel == "stdin":
                monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
                self._start(self._see_stdin(monitor), "kernel-monitor-stdin")
            socket.connect(f"ipc://{self._info['ip']}-{self._info[f'{channel}_port']}")
            self._start(self._read(channel, socket), f"kernel-{channel}")

    def close(self) -> None:
        """Stop reading and close every socket; requests that wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()
        for channel, socket in self._sockets.items():
            if channel in _MONITORED:
                socket.disable_monitor()
            socket.close(0)
        self._sockets.clear()

    def request(
        self, channel: str, kind: str, content: Message, *, subshell: str | None = None
    ) -> tuple[str, asyncio.Future[Message]]:
        """Send a request; its id, and a future of the reply's content. Bound the wait, then `forget`."""
        message = self._session.msg(kind, content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message["msg_id"]] = future
        self._send(channel, message)
        return message["msg_id"], future

    def forget(self, message_id: str) -> None:
        """Nobody waits for this reply any more."""
        self._waiting.pop(message_id, None)

    def answer(self, kind: str, content: Message, parent: Message) -> None:
        """Answer a request that came on stdin."""
        self._send("stdin", self._session.msg(kind, content, parent=parent))

    def _send(self, channel: str, message: Message) -> None:
        if channel in self._sockets:
            self._session.send(self._sockets[channel], message)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def _read(self, channel: str, socket: zmq.asyncio.Socket) -> None:
        while True:
            if channel == "iopub" and (waiting := self._gate()) is not None:
                await waiting
            parts = await socket.recv_multipart()
            self.received += 1
            message = self._decode(parts)
            if message is None:
                self.unreadable += 1
                continue
            try:
                self._handlers[channel](message)
            except Exception:  # whoever listens failed: the next message is another matter
                log.exception("A message on %s was not taken.", channel)

    async def _see_stdin(self, monitor: zmq.asyncio.Socket) -> None:
        await monitor.recv_multipart()
        self.stdin_connected.set()

    async def _watch(self, channel: str, monitor: zmq.asyncio.Socket) -> None:
        while True:
            event = parse_monitor_message(await monitor.recv_multipart())
            if event["event"] == zmq.EVENT_DISCONNECTED:
                self._on_broken(channel)

    def _reply(self, message: Message) -> None:
        future = self._waiting.pop(message["parent_header"].get("msg_id", ""), None)
        if future and not future.done():
            future.set_result(message["content"])

    def _decode(self, parts: list[bytes]) -> Message | None:
        """A message with header, parent and content as dictionaries, or None.

        As `Session.deserialize`, which is four times slower: it looks for dates and keeps a history of
        signatures against replay. Frames carry numbers, and a reply is taken once.
        """
        try:
            start = parts.index(DELIM) + 1
            signature, *signed = parts[start : start + 5]
            if len(signed) != 4 or not hmac.compare_digest(signature, self._session.sign(signed)):
                return None
            header, parent, content = (json.loads(signed[index]) for index in (0, 1, 3))
        except (ValueError, RecursionError):
            return None
        if not all(isinstance(part, dict) for part in (header, parent, content)):
            return None
        if not isinstance(header.get("msg_type"), str) or not isinstance(parent.get("msg_id", ""), str):
            return None
        return {"header": header, "parent_header": parent, "content": content}


@lru_cache(maxsize=1)
def context() -> zmq.asyncio.Context:
    """The process's one ZeroMQ context for kernels."""
    made = zmq.asyncio.Context()
    with contextlib.suppress(zmq.ZMQError):
        made.set(zmq.MAX_SOCKETS, 8192)
    return made
