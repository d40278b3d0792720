"""What a runtime without sockets of its own tells the web processes that follow its notebook.

Live events go to a group of the channel layer, which may lose any of them: they are numbered without gaps, so that who
listens (following.py) sees a loss and asks for the whole. Nothing waits for the layer; what it cannot take is dropped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import deque
from typing import Any

from notebooks_app import events, logs, wakeups

log = logging.getLogger("rillbook.relay")

GATHER_S = 0.016  # what is told within this goes as one message
QUEUE_BYTES = 4 * 1024 * 1024  # beyond, while the layer is slow, messages are dropped
MARK_FIRST_S, MARK_S = 0.5, 5.0  # after the last message, and then for ever: whether it came
CLOSE_S = 2.0

type Document = dict[str, Any]


class Relay:
    """One for the life of a runtime. Nothing is sent before somebody follows."""

    def __init__(self, notebook_id: uuid.UUID, epoch: int) -> None:
        self.number = 0
        self._notebook_id = notebook_id
        self._epoch = epoch
        self._is_followed = False
        self._told: list[Document] = []
        self._outbox: deque[tuple[int, str]] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._task = asyncio.create_task(self._send_all(), name=f"relay {notebook_id}", context=logs.context_of())

    def tell(self, happened: list[Document]) -> None:
        if self._is_followed and happened:
            self._told += happened
            self._wake.set()

    def cut(self) -> int:
        """Give everything told so far its number, which is returned: whatever is told later has a higher one."""
        if self._told:
            self.number += 1
            text = json.dumps(self._told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            self._told = []
            self._outbox.append((self.number, text))
            self._outbox_bytes += len(text)
        if self._outbox_bytes > QUEUE_BYTES:
            log.warning("notebook %s: live events are dropped, the channel layer is slow", self._notebook_id)
            self._outbox.clear()
            self._outbox_bytes = 0
        return self.number

    def follow(self) -> int:
        """Somebody follows from here on: the number up to which they know all from elsewhere."""
        self._is_followed = True
        return self.cut()

    def mark(self) -> Document:
        """For the announcement of what is saved now: it holds what all messages up to this one told."""
        return {"epoch": self._epoch, "live": self.cut()}

    async def close(self) -> None:
        """Send what there is, within a bounded time."""
        self._is_empty.clear()
        self._wake.set()
        try:
            await asyncio.wait_for(self._is_empty.wait(), CLOSE_S)
        except TimeoutError:
            log.warning("notebook %s: the last live events could not be sent", self._notebook_id)
        self._task.cancel()

    async def _send_all(self) -> None:
        await self._send(0, "[]")  # there is a runtime to follow
        pause_s = MARK_FIRST_S
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                pause_s = MARK_S
                await self._send(self.number, "[]")
                continue
            self._wake.clear()
            await asyncio.sleep(GATHER_S)
            pause_s = MARK_FIRST_S
            self.cut()
            while self._outbox:
                number, text = self._outbox.popleft()
                self._outbox_bytes -= len(text)
                await self._send(number, text)
                self.cut()
            self._is_empty.set()

    async def _send(self, number: int, text: str) -> None:
        message = {"type": "notebook.live", "epoch": self._epoch, "number": number, "text": text}
        await wakeups.send(events.live_group_name(self._notebook_id), message)
