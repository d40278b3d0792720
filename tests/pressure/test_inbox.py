"""What a flood of commands meets: the pace of a person, and an inbox with an end."""

from __future__ import annotations

import asyncio

import pytest

from kernels_app import inbox
from kernels_app.inbox import Inbox, Pace, Paces


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_free_and_then_the_pace_holds():
    clock = Clock()
    pace = Pace(per_second=10, burst=5, clock=clock)
    assert [pace.wait_s(1) for _ in range(5)] == [0] * 5
    assert pace.wait_s(1) == pytest.approx(0.1)
    assert pace.wait_s(1) == pytest.approx(0.2)
    clock.now = 10.0
    assert [pace.wait_s(1) for _ in range(5)] == [0] * 5
    assert pace.wait_s(1) > 0


def test_a_long_message_counts_as_several():
    clock = Clock()
    pace = Pace(per_second=1, burst=10, clock=clock)
    assert pace.wait_s(10) == 0
    assert pace.wait_s(5) == pytest.approx(5)


def test_a_new_socket_of_the_same_person_brings_no_new_burst():
    paces = Paces()
    assert paces.of(1) is paces.of(1)
    assert paces.of(1) is not paces.of(2)


def test_the_people_who_were_here_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inbox, "MAX_PACES", 2)
    paces = Paces()
    first, second = paces.of(1), paces.of(2)
    paces.of(1)
    paces.of(3)
    assert paces.of(1) is first
    assert paces.of(2) is not second


@pytest.mark.asyncio
async def test_an_inbox_keeps_its_order_and_ends_when_it_is_empty():
    box = Inbox(Pace(per_second=1000, burst=1000))
    for number in range(10):
        await box.put(str(number))
    box.close(bool)
    assert [await box.take() for _ in range(11)] == [*map(str, range(10)), None]


@pytest.mark.asyncio
@pytest.mark.parametrize(("text", "room"), [("x", inbox.MAX_WAITING), ("x" * (inbox.MAX_WAITING_BYTES // 2), 2)])
async def test_who_writes_to_a_full_inbox_waits_until_something_was_taken(text: str, room: int):
    box = Inbox(Pace(per_second=1000, burst=1000))
    for _ in range(room):
        await asyncio.wait_for(box.put(text), 5)
    writer = asyncio.create_task(box.put(text))
    await asyncio.sleep(0.01)
    assert not writer.done()
    await box.take()
    await asyncio.wait_for(writer, 5)


@pytest.mark.asyncio
async def test_a_reader_waits_for_what_comes():
    box = Inbox(Pace(per_second=1000, burst=1000))
    reader = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    await box.put("late")
    assert await asyncio.wait_for(reader, 5) == "late"
