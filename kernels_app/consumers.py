"""The notebook's socket: connect, decode, call one function, forward what the feed says.

Rules are in services.py and the runtime; what is sent when is feed.py's. Each command's access is read anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError

from kernels_app import commands
from kernels_app.feed import NotebookFeed, encode
from kernels_app.hosts import get_host
from kernels_app.inbox import PACES, Inbox
from notebooks_app import db, sharing
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.errors import BadRequest, Forbidden, NotFound, RillbookError, TooLarge, Unavailable, database_away
from notebooks_app.models import Notebook
from notebooks_app.parsers import parse
from notebooks_app.services import Author
from notebooks_app.standing import Seat

log = logging.getLogger("rillbook.socket")

HEARTBEAT_S = 5.0
IN_FLIGHT_BYTES = 4 * 1024 * 1024  # sent and not acknowledged by the browser: beyond, we wait
QUEUE_BYTES = 8 * 1024 * 1024  # waiting beyond this and one answer: dropped, the browser asks again from its cursor
MAX_COMMANDS = 64  # of one socket waiting for the kernel at once
MAX_RUNS = 64  # of one socket waiting for a runtime: the next one, and what comes after it, waits for one of them
RUN_HOLDS_S = 3.0  # the edits after it: about as long as a kernel takes to start
LAST_COMMANDS_S = 5.0  # for what was sent just before the browser went
UNREAD_S = 60.0  # a browser that acknowledges nothing for so long, while something waits for it, is gone
ACK_CHARACTERS = 200  # no acknowledgement is longer
SELECTION_LIMIT = 2**31

ACCESS_ENDED = 4403
TOO_MANY_COMMANDS = 4429
NOTHING_READ = 4408


class NotebookConsumer(AsyncWebsocketConsumer):
    # The feed listens for all sockets of its notebook: none has a channel of its own, or waits for a layer's answer.
    channel_layer_alias = None

    feed: NotebookFeed
    access: Access
    _joined = False  # whether the feed is ours to release

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Until the browser went; daphne cancels it 10 s later, wherever it is. Nothing of the socket stays."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: set[asyncio.Task[None]] = set()  # not ended with the socket: a run goes on without its browser
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()

    async def connect(self) -> None:
        self.cursor: int | None = None
        self.window_id = uuid.uuid4().hex[:12]
        self.at_cell: str | None = None
        self.selection: dict[str, int] | None = None
        self._queue: deque[tuple[int, deque[str]]] = deque()  # groups of frames, each with its size
        self._queued_bytes = self._largest_bytes = self._sent_bytes = self._acked_bytes = 0
        self._waiting_since = time.monotonic()
        self._lost = self._ended = False
        self._sender: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._held_until = 0.0
        self._reading = asyncio.Lock()  # the access of one command at a time: no socket fills the database's queue
        session = self.scope["session"]
        self.notebook_id: uuid.UUID = self.scope["url_route"]["kwargs"]["notebook_id"]
        try:
            self.user = await db.read(lambda: sharing.person_of(self.scope["user"], session))
            self.access = await self._read_access()
            self.seat = await db.read(lambda: Seat.of(self.user, session, self.notebook_id))
        except RillbookError:
            await self.close()
            return
        self._told_role = self.access.role
        self.author = Author.of(self.user)
        self._inbox = Inbox(PACES.of(self.user.pk or self.seat.session_key))
        self.feed = await get_host().feeds.open(self.notebook_id)
        self._joined = True
        await self.accept()
        self.feed.add(self)
        self._start(self._heartbeat(), "heartbeat")
        self._worker = self._start(self._work(), "commands")

    async def disconnect(self, code: int) -> None:
        if not self._joined:
            return
        self.feed.remove(self)
        if not self._ended:
            # What was typed just before a tab was closed is carried out; what only asks has nobody to be told.
            self._inbox.close(_is_change)
            await asyncio.wait([self._worker], timeout=LAST_COMMANDS_S)

    def _leave(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if self._joined:
            self._ended = True  # whatever is answered now has nobody to hear it
            self.feed.remove(self)
            host = get_host()
            host.keep(host.feeds.release(self.feed))

    def person(self) -> dict[str, Any] | None:
        if self.user.pk is None:
            return None
        words = self.author.name.split()
        initials = (words[0][0] + (words[-1][0] if len(words) > 1 else words[0][1:2])).upper() if words else "?"
        return {
            "id": self.user.pk,
            "name": self.author.name,
            "initials": initials,
            "color": self.user.pk % 5 + 1,
        }

    def window(self) -> dict[str, Any]:
        return {
            "window": self.window_id,
            "person": self.user.pk,
            "cell": self.at_cell,
            "selection": self.selection,
        }

    # --- In -----------------------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Read ahead of the work, as far as the inbox goes."""
        if self._ended:
            return
        text = text_data or ""
        if len(text) <= ACK_CHARACTERS and '"ack"' in text:
            message = self._decode(text)
            if message is not None and message["type"] == "ack":
                self._acknowledge(message)
                return
        await self._inbox.put(text)

    async def _end(self, code: int) -> None:
        self._shut()
        self._queue.clear()
        await self.close(code)

    def _shut(self) -> None:
        """From here on nothing is taken in or sent, whatever waits."""
        self._ended = True
        self._inbox.close(lambda text: False)

    async def _work(self) -> None:
        """Take one message after the other, so that edits keep their order."""
        while not self._ended:
            text = await self._inbox.take()
            if text is None:
                return
            message = self._decode(text)
            if message is None:
                continue
            if message["type"] == "ack":
                self._acknowledge(message)
                continue
            if message["type"] in commands.IN_ORDER:
                if message["type"] != "stop":
                    await self._after_runs()
                await self._answer(message)
            elif message["type"] in commands.RUNS:
                await self._begin(message)
            elif len(self._tasks) > MAX_COMMANDS:
                await self._end(TOO_MANY_COMMANDS)
            else:
                self._start(self._answer(message), message["type"])

    async def _begin(self, message: dict[str, Any]) -> None:
        """Return when a run was allowed, or answered: what comes after it does not wait for a place for its kernel."""
        while len(self._runs) >= MAX_RUNS:
            await asyncio.wait(self._runs, return_when=asyncio.FIRST_COMPLETED)
        allowed = asyncio.Event()
        run = asyncio.create_task(self._answer(message, allowed), name=f"{message['type']} of {self.notebook_id}")
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        run.add_done_callback(lambda _: allowed.set())
        await allowed.wait()
        self._held_until = time.monotonic() + RUN_HOLDS_S

    async def _after_runs(self) -> None:
        """Return when the runs were answered (what is typed after them is none of theirs), or some time has passed."""
        wait_s = self._held_until - time.monotonic()
        if self._runs and wait_s > 0:
            await asyncio.wait(self._runs, timeout=wait_s)

    def _decode(self, text: str) -> dict[str, Any] | None:
        """The message, or None after saying what is wrong with it."""
        try:
            message = parse(text)
        except ValueError as error:
            self._reply(None, error=BadRequest(f"The message is not JSON: {error}."))
            return None
        except TooLarge as error:
            self._reply(None, error=error)
            return None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self._reply(None, error=BadRequest('A message is a JSON object with a "type".'))
            return None
        command_id = message.get("id")
        if message["type"] != "ack" and not isinstance(command_id, (str, int)):
            self._reply(None, error=BadRequest('A command has an "id" that its reply repeats.'))
            return None
        return message

    async def _answer(self, message: dict[str, Any], allowed: asyncio.Event | None = None) -> None:
        """`allowed` is set when the command was, or was refused."""
        try:
            command = await self._allowed(message)
            if allowed is not None:
                allowed.set()
            result = await command()
        except RillbookError as error:
            self._reply(message["id"], error=error)
        except Notebook.DoesNotExist:
            self._reply(message["id"], error=NotFound("There is no such notebook."))
        except (OperationalError, InterfaceError) as error:
            log.warning("command %.40s of notebook %s: %s", message["type"], self.notebook_id, type(error).__name__)
            self._reply(message["id"], error=database_away(error))
        except Exception:
            log.exception("command %.40s of notebook %s failed", message["type"], self.notebook_id)
            self._reply(
                message["id"], error=Unavailable("The server could not do this; nothing was changed. Try again.")
            )
        else:
            self._reply(message["id"], result)

    async def _allowed(self, message: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
        """What carries a command out, if the person may have it done now."""
        kind = message["type"]
        if kind == "presence":  # several a second, and nothing is read or written: the heartbeat looks at access
            return partial(self._move, message)
        command = commands.COMMANDS.get(kind)
        await self._check(command)
        if kind == "hello":
            return partial(self._hello, message)
        if command is None:
            raise BadRequest(f"There is no command {kind[:40]!r}.")
        check = partial(self._check_again, command)
        context = commands.Context(self.feed, self.access, self.user, self.author, get_host(), self._turn, check)
        return partial(command.carry_out, context, message)

    async def _check(self, command: commands.Command | None) -> None:
        """Read the access anew. Raises what refuses the command."""
        async with self._reading:
            self.access = await self._read_access()
        if command is not None:
            self.access.require(command.role, command.what)

    async def _check_again(self, command: commands.Command) -> None:
        """As `_check`, for who has waited: also whether the session still holds, for the socket may be gone."""
        await self._check(command)
        if not await db.read(self.seat.is_held):
            raise Forbidden("You are not signed in any more.")

    async def _hello(self, message: dict[str, Any]) -> dict[str, Any]:
        cursor = message.get("cursor")
        if cursor is not None and (not isinstance(cursor, int) or isinstance(cursor, bool)):
            raise BadRequest("cursor: must be a whole number or null.")
        self.cursor = None
        self._lost = False
        self._inbox.charge(await self.feed.greet(self, cursor))
        if message.get("role", self._told_role.name.lower()) != self.access.role.name.lower():
            self._tell_role(self.access.role)
        return {"window": self.window_id}

    async def _move(self, message: dict[str, Any]) -> dict[str, Any]:
        """The person is in another cell now (or in none), or their caret moved in its text."""
        cell = message.get("cell")
        self.at_cell = cell if isinstance(cell, str) and len(cell) == 36 else None
        self.selection = selection_of(message.get("selection")) if self.at_cell else None
        if self.user.pk is not None:  # guests are not shown
            self.feed.announce_move(self)
        return {}

    async def _read_access(self) -> Access:
        return await db.read(lambda: open_notebook(self.user, self.notebook_id))

    # --- Out ----------------------------------------------------------------------------------------------------

    def _reply(
        self, command_id: Any, result: dict[str, Any] | None = None, *, error: RillbookError | None = None
    ) -> None:
        if error is not None:
            self.send_text(encode({"type": "reply", "id": command_id, "ok": False, "error": error.as_json()}))
        else:
            text = encode({"type": "reply", "id": command_id, "ok": True, **(result or {})})
            self._inbox.charge(len(text))
            self.send_text(text)

    def send_text(self, text: str) -> None:
        """Queue a frame; never blocks. A browser that does not keep up is told so and asks again from its cursor."""
        self.send_frames([text])

    def send_frames(self, texts: list[str]) -> None:
        """Queue frames that belong together."""
        if self._lost or self._ended:
            return
        if not self._queue:
            self._waiting_since = time.monotonic()
        self._append(texts)
        # Whatever its size, one group gets through: an answer that was always dropped would be asked for for ever.
        if self._queued_bytes - self._largest_bytes > QUEUE_BYTES:
            self._queue.clear()
            self._queued_bytes = self._largest_bytes = 0
            self._lost = True
            self.cursor = None
            self._append([encode({"type": "resync", "seq": self.feed.seq})])
        if self._sender is None or self._sender.done():
            self._sender = self._start(self._send_queued(), "sender")

    def _append(self, texts: list[str]) -> None:
        size = sum(map(size_of, texts))
        self._queue.append((size, deque(texts)))
        self._queued_bytes += size
        self._largest_bytes = max(self._largest_bytes, size)

    async def _send_queued(self) -> None:
        while self._queue and self._sent_bytes - self._acked_bytes < IN_FLIGHT_BYTES:
            size, texts = self._queue[0]
            text = texts.popleft()
            if not texts:
                self._queue.popleft()
                if size >= self._largest_bytes:
                    self._largest_bytes = max((size for size, _ in self._queue), default=0)
            self._queued_bytes -= size_of(text)
            self._sent_bytes += size_of(text)
            await self.send(text_data=text)

    def _acknowledge(self, message: dict[str, Any]) -> None:
        received = message.get("bytes")
        if isinstance(received, int) and received > self._acked_bytes:
            self._acked_bytes = min(received, self._sent_bytes)
            self._waiting_since = time.monotonic()
        if self._queue and (self._sender is None or self._sender.done()):
            self._sender = self._start(self._send_queued(), "sender")

    async def _heartbeat(self) -> None:
        """Tell where the notebook stands."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._is_unread():
                await self._end(NOTHING_READ)
                return
            self.send_text(encode({"type": "heartbeat", "seq": self.feed.seq}))

    def access_is(self, role: Role | None) -> None:
        """What the person is here now (standing.py): nothing ends the socket, another role is told to the page."""
        if self._ended:
            return
        if role is None:
            self._shut()
            self._start(self._end(ACCESS_ENDED), "end")
        elif role != self._told_role:
            self._tell_role(role)

    def _tell_role(self, role: Role) -> None:
        self._told_role = role
        event = {"type": "access.changed", "role": role.name.lower()}
        self.send_text(encode({"type": "events", "seq": None, "events": [event]}))

    def _is_unread(self) -> bool:
        """Whether something has waited for long for a browser that does not say that it reads."""
        waits = bool(self._queue) and self._sent_bytes - self._acked_bytes >= IN_FLIGHT_BYTES
        return waits and time.monotonic() - self._waiting_since > UNREAD_S

    def _start(self, work: Any, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{name} of a socket")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_change(text: str) -> bool:
    """Whether a message asks for something that stays, also if nobody hears the answer."""
    try:
        message = parse(text)
    except (ValueError, TooLarge):
        return False
    kind = message.get("type") if isinstance(message, dict) else None
    return isinstance(kind, str) and kind in commands.CHANGES


def selection_of(given: Any) -> dict[str, int] | None:
    """A selection as a browser gave it; None unless all of it is whole numbers of a possible size."""
    if not isinstance(given, dict):
        return None
    values = {name: given.get(name) for name in ("anchor", "head", "version")}
    if not all(type(value) is int and 0 <= value < SELECTION_LIMIT for value in values.values()):
        return None
    return values  # type: ignore[return-value]


def size_of(text: str) -> int:
    """Bytes on the wire, as the browser counts them."""
    return len(text) if text.isascii() else len(text.encode())
