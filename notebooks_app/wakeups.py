"""The channel layer as we use it: hints that wake other server processes, never waited for longer than a moment.

The database is the truth and every process polls it, so that a layer that is gone, frozen or refuses connections costs
time and nothing else. What is sent is events.py's; who listens is kernels_app/feed.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

log = logging.getLogger("rillbook.wakeups")

LIMIT_S = 2.0  # for one question to the layer
PAUSE_S = 1.0  # after it did not answer, nothing is asked of it

_quiet_until = 0.0


def is_shared() -> bool:
    """Whether the layer reaches other processes."""
    return not isinstance(get_channel_layer(), InMemoryChannelLayer)


async def send(group: str, message: dict[str, Any]) -> bool:
    """Send to all who joined the group; False if the layer did not take it. Never raises, never takes over LIMIT_S."""
    if _is_quiet():
        return False
    try:
        async with asyncio.timeout(LIMIT_S):
            await get_channel_layer().group_send(group, message)
    except Exception as error:
        _failed(f"{message['type']} was not sent", error)
        return False
    return True


async def join(*groups: str) -> str:
    """A channel of our own that receives what is sent to the groups; empty if the layer does not answer now."""
    if _is_quiet():
        return ""
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(LIMIT_S):
            channel: str = await layer.new_channel()
            for group in groups:
                await layer.group_add(group, channel)
    except Exception as error:
        _failed("a group was not joined", error)
        return ""
    return channel


async def leave(channel: str, *groups: str) -> None:
    """Receive nothing more. A layer that does not answer has forgotten us when it is back."""
    try:
        async with asyncio.timeout(LIMIT_S):
            for group in groups:
                await get_channel_layer().group_discard(group, channel)
    except Exception as error:
        _failed("a group was not left", error)


def _is_quiet() -> bool:
    return time.monotonic() < _quiet_until


def _failed(what: str, error: Exception) -> None:
    """Said once a pause, however many wanted something."""
    global _quiet_until
    if not _is_quiet():
        log.warning("the channel layer does not answer: %s: %s", what, error or type(error).__name__)
    _quiet_until = time.monotonic() + PAUSE_S
