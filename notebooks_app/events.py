"""Every stored event we announce, and `announce`. Who listens is kernels_app/feed.py.

The database is the truth; an announcement is a hint that it changed and what to, numbered by the notebook's `seq`. The
fields of each event are listed in docs/architecture.md, section 4.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction

from notebooks_app import wakeups

type Event = dict[str, Any]

# Larger ones travel as a wake-up only and are read from the log.
MAX_ANNOUNCED_BYTES = 32 * 1024

_loop: asyncio.AbstractEventLoop | None = None


def group_name(notebook_id: uuid.UUID | str) -> str:
    """The channel layer's group of a notebook: a fixed-width id only, so that no name can run into another."""
    return f"notebook.{uuid.UUID(str(notebook_id)).hex}"


def live_group_name(notebook_id: uuid.UUID | str) -> str:
    """The group of those who follow the notebook's runtime from another process (kernels_app/relay.py)."""
    return f"notebook-live.{uuid.UUID(str(notebook_id)).hex}"


def announce_on_commit(notebook_id: uuid.UUID, seq: int, events: list[Event]) -> None:
    """Tell all who watch, once the transaction is in the database. Call inside it, from synchronous code."""
    transaction.on_commit(lambda: announce(notebook_id, seq, events))


def announce_access(notebook_id: uuid.UUID, user_id: int | None) -> None:
    """Tell every process that a person's role changed, once that is in the database: their sockets look anew.

    None: that of many, or of guests.
    """
    message = {"type": "notebook.access", "notebook": str(notebook_id), "user": user_id}
    transaction.on_commit(lambda: post(message))


def tell_on_commit(notebook_id: uuid.UUID, events: list[Event]) -> None:
    """Tell all who watch, in every process, what has no number: it is news, and nothing is lost with it."""
    message = {"type": "notebook.told", "notebook": str(notebook_id), "events": events}
    transaction.on_commit(lambda: post(message))


def announce(notebook_id: uuid.UUID, seq: int, events: list[Event]) -> None:
    """Send to the group, from any thread: on the server's loop where there is one, else on a loop of its own."""
    post(envelope(notebook_id, seq, events))


def post(message: dict[str, Any]) -> None:
    """Send to all processes that watch the notebook, without waiting for it where the server's loop runs."""
    if _loop is not None and _loop.is_running():
        asyncio.run_coroutine_threadsafe(_send(message), _loop)
    else:
        async_to_sync(_send)(message)


def use_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the loop that sends: the in-memory layer's queues belong to the server's loop alone."""
    global _loop
    _loop = loop


def envelope(notebook_id: uuid.UUID, seq: int, events: list[Event]) -> dict[str, Any]:
    small = sum(len(repr(event)) for event in events) <= MAX_ANNOUNCED_BYTES
    return {
        "type": "notebook.event",
        "notebook": str(notebook_id),
        "seq": seq,
        "events": events if small else None,
    }


async def _send(message: dict[str, Any]) -> None:
    await wakeups.send(group_name(message["notebook"]), message)
