"""The queue between a connection and its application: while it is full, the connection is not read."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest

from kernels_app import pushback
from kernels_app.pushback import BODY_BYTES, EMPTY, FULL, FULL_BYTES, BodyQueue, PushbackQueue, Valve

pytestmark = pytest.mark.asyncio


class Transport:
    offset = _tempDataLen = 0
    dataBuffer = b""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pauseProducing(self) -> None:
        self.said.append("pause")

    def resumeProducing(self) -> None:
        self.said.append("resume")

    def abortConnection(self) -> None:
        self.said.append("abort")


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


class Slow(Transport):
    """At each look there is less to be sent, and in the end nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 5

    @property
    def dataBuffer(self) -> bytes:  # type: ignore[override]
        self._left = max(0, self._left - 1)
        return b"x" * self._left


async def test_who_takes_a_little_now_and_then_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pushback, "UNREAD_S", 0.01)
    transport = Slow()
    valve = Valve(transport)
    valve.pauseProducing()
    await valve.opened()
    assert transport.said == []
    assert pushback.unsent(transport) == 0


async def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pushback, "UNREAD_S", 0.01)
    transport = Transport()
    transport._tempDataLen = 5
    valve = Valve(transport)
    valve.pauseProducing()
    await valve.opened()
    assert transport.said == ["abort"]


async def test_a_connection_that_is_lost_holds_nobody_up():
    transport = Transport()
    transport._tempDataLen = 5
    valve = Valve(transport)
    valve.pauseProducing()
    waits = asyncio.create_task(valve.opened())
    await asyncio.sleep(0)
    valve.stopProducing()
    await waits
    assert transport.said == []


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES - 1, BODY_BYTES, BODY_BYTES + 1, 3 * BODY_BYTES])
async def test_a_body_arrives_in_pieces_and_then_the_end_of_the_request(size: int):
    content = BytesIO(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    expected = content.getvalue()
    queue = BodyQueue(content)
    queue.put_nowait({"type": "http.request", "body": b"", "more_body": False})  # daphne's own
    received, more = b"", True
    while more:
        item = await queue.get()
        received, more = received + item["body"], item["more_body"]
        assert len(item["body"]) <= BODY_BYTES
    assert received == expected
    assert content.closed
    queue.put_nowait({"type": "http.disconnect"})
    assert await queue.get() == {"type": "http.disconnect"}
