"""The queue between a connection and its application: while it is full, the connection is not read."""

from __future__ import annotations

import pytest

from kernels_app.pushback import EMPTY, FULL, FULL_BYTES, PushbackQueue

pytestmark = pytest.mark.asyncio


class Transport:
    def __init__(self) -> None:
        self.said: list[str] = []

    def pauseProducing(self) -> None:
        self.said.append("pause")

    def resumeProducing(self) -> None:
        self.said.append("resume")


async def test_a_full_queue_pauses_once_and_goes_on_when_it_is_nearly_empty():
    transport = Transport()
    queue = PushbackQueue(transport)
    for _ in range(FULL + 5):  # what was read already still arrives
        queue.put_nowait({"type": "websocket.receive", "text": "x"})
    assert transport.said == ["pause"]
    while queue.qsize() > EMPTY + 1:
        await queue.get()
    assert transport.said == ["pause"]
    await queue.get()
    assert transport.said == ["pause", "resume"]


async def test_one_long_message_fills_it():
    transport = Transport()
    queue = PushbackQueue(transport)
    queue.put_nowait({"type": "websocket.receive", "bytes": b"x" * FULL_BYTES})
    assert transport.said == ["pause"]
    await queue.get()
    assert transport.said == ["pause", "resume"]
