"""Tells notebooks_app/live.py what the runtimes of this process know. Called from request threads."""

from __future__ import annotations

import uuid
from typing import Any

from kernels_app.hosts import get_host
from notebooks_app.facts import CellState

ANSWER_S = 10.0  # a state is a matter of milliseconds; this long only when the server is overwhelmed
END_S = 30.0

type Document = dict[str, Any]


class HostLive:
    """See notebooks_app/live.py: Live."""

    def states(self, notebook_id: uuid.UUID) -> dict[str, CellState] | None:
        host = get_host()
        return host.call(host.notebook_states(notebook_id), ANSWER_S) if host.is_started else None

    def kernel(self, notebook_id: uuid.UUID) -> Document | None:
        host = get_host()
        return host.call(_kernel(notebook_id), ANSWER_S) if host.is_started else None

    def tell(self, notebook_id: uuid.UUID, events: list[Document]) -> None:
        host = get_host()
        if host.is_started:
            host.call(_tell(notebook_id, events), ANSWER_S)

    def end(self, notebook_id: uuid.UUID, reason: str) -> None:
        host = get_host()
        if host.is_started:
            host.call(host.stop(notebook_id, reason), END_S)


async def _kernel(notebook_id: uuid.UUID) -> Document | None:
    runtime = await get_host().get(notebook_id)
    return await runtime.info() if runtime is not None else None


async def _tell(notebook_id: uuid.UUID, events: list[Document]) -> None:
    feeds = get_host().feeds
    feed = await feeds.open(notebook_id)
    try:
        feed.tell_everywhere(events)
    finally:
        await feeds.release(feed)
