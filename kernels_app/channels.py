"""The four channels to one kernel: sending requests, matching replies, reading what it publishes.

The Jupyter wire protocol only; what messages mean is kernel.py's, the bytes below are zmtp.py's. Nothing here trusts a
message: user code holds the key that signs them. One that cannot be read, that nobody asked for or that is larger than
its kind ever is, is left out unread and counted; one above zmtp.MESSAGE_BYTES breaks its connection, and that is
reported. A reader that waits at the gate reads nothing more, and so the kernel waits too (risks.md, 16).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any, NamedTuple

import zmq.asyncio
from jupyter_client.session import DELIM, Session

from kernels_app.throttle import MESSAGE_BYTES, VALUE_BYTES
from kernels_app.zmtp import HEAD_BYTES, Broken, Line

log = logging.getLogger("rillbook.kernel")

Message = dict[str, Any]

HEADER_BYTES = 4 * 1024  # of a message's header, its parent's and its metadata: some 600 are used
TURN_S = 0.005
UNWANTED_AT_ONCE, UNWANTED_PAUSE_S = 100, 0.02  # 5,000 a second of each connection; fewer of long ones:
UNWANTED_BYTES = 512  # so many count as one more
FRAMES = 8  # of a message; with as many more it counts for another one
_KINDS = {"shell": b"DEALER", "control": b"DEALER", "stdin": b"DEALER", "iopub": b"SUB"}


class Bound(NamedTuple):
    """What is read of a message. A value of JSON has a few bytes, some 70 in memory, and takes a microsecond."""

    size_bytes: int
    values: int


# By the kind of the message; others are not read at all. A frame is sent at 64 KiB; its largest entry has 256 KiB.
PUBLISHED = {"rill_frame": Bound(4 * 1024 * 1024, 100_000), "status": Bound(HEADER_BYTES, HEADER_BYTES)}
QUESTIONS = {"input_request": Bound(64 * 1024, 1_000)}
# By the kind of the request, or the name of the call. Others have at most a page of a table: 500 rows of 200 columns.
LOOK, ANSWER, ALL = Bound(512 * 1024, 20_000), Bound(16 * 1024 * 1024, 150_000), Bound(16 * 1024 * 1024, 1_000_000)
WORD = Bound(HEADER_BYTES, HEADER_BYTES)  # of a request that nobody forgets, for nobody waits for its reply
REPLIES = {
    "complete_request": LOOK, "inspect_request": LOOK, "values": ALL, "rill_run_request": ALL,
    "interrupt_request": WORD, "shutdown_request": WORD,
}  # fmt: skip


class _Request(NamedTuple):
    channel: str
    reply: asyncio.Future[Message]
    bound: Bound


class Channels:
    """Connections to a kernel, made on the event loop: `open` them, `close` them when the kernel ends."""

    def __init__(
        self,
        session: Session,
        info: Message,
        *,
        on_iopub: Callable[[Message], None],
        on_stdin: Callable[[Message], None],
        on_broken: Callable[[str], None],
        on_refused: Callable[[str], None],
        gate: Callable[[str], Awaitable[None] | None],
    ) -> None:
        self.received = 0
        self.read_bytes = 0  # of messages that were read, with what they cost beside their bytes (throttle.py)
        self.unreadable = 0
        self._session = session
        self._info = info
        self._handlers = {
            "iopub": on_iopub,
            "stdin": on_stdin,
            "shell": self._reply,
            "control": self._reply,
        }
        self._on_broken, self._on_refused, self._gate = on_broken, on_refused, gate
        self._lines: dict[str, Line] = {}
        self._waiting: dict[str, _Request] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Set once the kernel knows our stdin: a question it asked before would be dropped without a word.
        self.stdin_connected = asyncio.Event()

    def open(self) -> None:
        """Connect; the kernel need not be there yet."""
        for channel, kind in _KINDS.items():
            # What comes on stdin follows the identity that asked on shell.
            identity = b"" if channel == "iopub" else self._session.bsession
            line = Line(f"{self._info['ip']}-{self._info[f'{channel}_port']}", kind, identity)
            self._lines[channel] = line
            self._keep(channel)
            self._start(self._read(channel, line), f"kernel-{channel}")

    def close(self) -> None:
        """Stop reading and close every connection; requests that wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        for request in self._waiting.values():
            request.reply.cancel()
        self._waiting.clear()
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def request(
        self, channel: str, kind: str, content: Message, *, subshell: str | None = None
    ) -> tuple[str, asyncio.Future[Message]]:
        """Send a request; its id, and a future of the reply's content. Bound the wait, then `forget`."""
        message = self._session.msg(kind, content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        bound = REPLIES.get(content.get("call", kind), ANSWER)
        self._waiting[message["msg_id"]] = _Request(channel, future, bound)
        self._keep(channel)
        self._send(channel, message)
        return message["msg_id"], future

    def forget(self, message_id: str) -> None:
        """Nobody waits for this reply any more."""
        self._answered(message_id)

    def _answered(self, message_id: str) -> _Request | None:
        request = self._waiting.pop(message_id, None)
        if request is not None:
            self._keep(request.channel)
        return request

    def _keep(self, channel: str) -> None:
        """Keep as much of a message on this channel as somebody may read of it, and its head."""
        bounds = {"iopub": PUBLISHED, "stdin": QUESTIONS}.get(channel, {}).values()
        asked = (request.bound for request in self._waiting.values() if request.channel == channel)
        if channel in self._lines:
            self._lines[channel].keep(HEAD_BYTES + max((bound.size_bytes for bound in (*bounds, *asked)), default=0))

    def answer(self, kind: str, content: Message, parent: Message) -> None:
        """Answer a request that came on stdin."""
        self._send("stdin", self._session.msg(kind, content, parent=parent))

    def _send(self, channel: str, message: Message) -> None:
        line = self._lines.get(channel)
        if line is not None and not line.send(self._session.serialize(message)):
            self._on_broken(channel)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def _read(self, channel: str, line: Line) -> None:
        try:
            await line.connect()
            if channel == "stdin":
                self.stdin_connected.set()
            pace = _Pace()
            while True:
                if (waiting := self._gate(channel)) is not None:
                    await waiting
                parts = await line.receive()
                await pace.after(self._take(channel, parts, line.left_out))
        except Broken:
            line.close()
            self._on_broken(channel)

    def _take(self, channel: str, parts: list[bytes], left_out: int = 0) -> int:
        """0 for a message that may come as fast as it is read, else for how many it counts."""
        self.received += 1
        message = self._decode(channel, parts, left_out)
        size, messages = sum(map(len, parts)) + left_out, 1 + len(parts) // FRAMES
        self.read_bytes += MESSAGE_BYTES * messages + (size if message else 0)
        if message is not None:
            self._hand_on(channel, message)
        is_wanted = message is not None and channel != "stdin"  # nobody answers questions as fast as they can come
        return 0 if is_wanted else messages + size // UNWANTED_BYTES

    def _hand_on(self, channel: str, message: Message) -> None:
        try:
            self._handlers[channel](message)
        except Exception:  # whoever listens failed: the next message is another matter
            log.exception("A message on %s was not taken.", channel)

    def _reply(self, message: Message) -> None:
        request = self._answered(message["parent_header"].get("msg_id", ""))
        if request is not None and not request.reply.done():
            request.reply.set_result(message["content"])

    def _decode(self, channel: str, parts: list[bytes], left_out: int) -> Message | None:
        """A message with header, parent and content as dictionaries; None for one that is not read.

        As `Session.deserialize`, which is four times slower: it looks for dates and keeps a history of
        signatures against replay. Frames carry numbers, and a reply is taken once.
        """
        try:
            start = parts.index(DELIM) + 1
            signature, *signed = parts[start : start + 5]
            if len(signed) != 4 or sum(map(len, signed[:3])) > HEADER_BYTES:
                return self._refuse("unreadable")
            header, parent = _header(signed[0]), _header(signed[1])
            if not header["msg_type"]:
                return self._refuse("unreadable")
            bound = self._bound(channel, header, parent)
            if bound is None:  # nobody's business: a comm, a reply that nobody waits for
                return None
        except (ValueError, RecursionError, TypeError):
            return self._refuse("unreadable")
        if left_out:
            self.read_bytes += left_out
            return self._refuse("too large")
        content = self._content(signed, signature, bound)
        return None if content is None else {"header": header, "parent_header": parent, "content": content}

    def _content(self, signed: list[bytes], signature: bytes, bound: Bound) -> Message | None:
        """The content of a message that somebody wants, if it may be read. Looking at what may not costs, too."""
        data = signed[3]
        values = _values(data, bound.values) if len(data) <= bound.size_bytes else 0
        self.read_bytes += VALUE_BYTES * values
        if len(data) > bound.size_bytes or values > bound.values:
            why = "too large"
        elif not hmac.compare_digest(signature, self._session.sign(signed)):
            why = "unreadable"
        else:
            try:
                return _object(data)
            except (ValueError, RecursionError, TypeError):
                why = "unreadable"
        self.read_bytes += len(data)
        return self._refuse(why)

    def _bound(self, channel: str, header: Message, parent: Message) -> Bound | None:
        """How much is read of this message: None for one that nobody wants."""
        if channel == "iopub":
            return PUBLISHED.get(header["msg_type"])
        if channel == "stdin":
            return QUESTIONS.get(header["msg_type"])
        request = self._waiting.get(parent.get("msg_id", ""))
        return request.bound if request is not None else None

    def _refuse(self, why: str) -> Message | None:
        """No message: it is left out, and counted."""
        self.unreadable += 1
        self._on_refused(why)
        return None


class _Pace:
    """Keeps what comes over one connection from holding up the event loop, however small and many the messages are."""

    def __init__(self) -> None:
        self._unwanted = 0
        self._since = time.monotonic()

    async def after(self, unwanted: int) -> None:
        """Let others go first: at least every TURN_S, and for longer where much came that nobody wanted."""
        if unwanted:
            self._unwanted += unwanted
            if self._unwanted >= UNWANTED_AT_ONCE:
                self._unwanted = 0
                await asyncio.sleep(UNWANTED_PAUSE_S)
                self._since = time.monotonic()
        elif time.monotonic() - self._since > TURN_S:
            await asyncio.sleep(0)
            self._since = time.monotonic()


def _header(data: bytes) -> Message:
    """A header, or a parent's, whose fields that are used are text. Raises ValueError, TypeError."""
    header = _object(data)
    for name in ("msg_type", "msg_id"):
        if not isinstance(header.get(name, ""), str):
            raise TypeError(name)
    return {"msg_type": "", **header}


def _object(data: bytes) -> Message:
    """An object in JSON. Raises ValueError, TypeError, RecursionError.

    UTF-8 only: given bytes, `json` guesses other encodings, in which what `_values` counts stands for something else.
    """
    value = json.loads(data.decode(errors="surrogatepass"))
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _values(data: bytes, most: int) -> int:
    """How many values the JSON has, whatever is in its texts; only about how many, where they are more than `most`."""
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    quotes = plain.count(b'"')
    if quotes > 4 * (most + 1):  # a text and its key have four
        return quotes // 4
    plain = b"".join(plain.split(b'"')[::2])
    return plain.count(b",") + plain.count(b"[") + plain.count(b"{")  # each but the first follows a comma


@lru_cache(maxsize=1)
def context() -> zmq.asyncio.Context:
    """The process's one ZeroMQ context, which jupyter_client's manager asks for; nothing is sent over it."""
    return zmq.asyncio.Context()
