"""What a feed tells of people: each once with their windows, and carets not more often than one can see."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from kernels_app import presence
from kernels_app.consumers import selection_of
from kernels_app.feed import NotebookFeed
from kernels_app.presence import Presence
from notebooks_app.access import Role
from notebooks_app.standing import Seat

WAIT_S = 20.0


class Window:
    """A socket's place in the feed."""

    def __init__(self, name: str, person: int) -> None:
        self.cursor: int | None = None
        self.name, self.who, self.head = name, person, 0
        self.told: list[dict[str, Any]] = []
        self.heard = asyncio.Event()

    def send_text(self, text: str) -> None:
        self.told += json.loads(text)["events"]
        self.heard.set()

    @property
    def seat(self) -> Seat:
        return Seat(uuid.UUID(int=0), "", self.who, "")

    def access_is(self, role: Role | None) -> None:
        raise AssertionError("nobody's access changes here")

    def person(self) -> dict[str, Any]:
        return {"id": self.who, "name": f"Person {self.who}", "initials": "P", "color": 1}

    def window(self) -> dict[str, Any]:
        selection = {"anchor": 0, "head": self.head, "version": 1}
        return {"window": self.name, "person": self.who, "cell": "c", "selection": selection}


@pytest.mark.asyncio
async def test_a_person_with_two_windows_is_one_person():
    feed = NotebookFeed(uuid.uuid4())
    for window in (Window("a", 1), Window("b", 1), Window("c", 2)):
        feed.add(window)
    people = feed.people()
    assert [person["id"] for person in people] == [1, 2]
    assert sorted(place["window"] for place in people[0]["windows"]) == ["a", "b"]
    await feed.close()


@pytest.mark.asyncio
async def test_a_thousand_moves_at_once_are_told_once_with_the_last_place():
    feed = NotebookFeed(uuid.uuid4())
    one, other = Window("a", 1), Window("b", 2)
    feed.add(one), feed.add(other)
    async with asyncio.timeout(WAIT_S):
        await other.heard.wait()
    other.heard.clear()
    other.told.clear()
    for head in range(1000):
        one.head = head
        feed.announce_move(one)
    feed.announce_move(other)
    async with asyncio.timeout(WAIT_S):
        await other.heard.wait()
    assert [event["type"] for event in other.told] == ["presence.moved"]
    heads = {place["window"]: place["selection"]["head"] for place in other.told[0]["windows"]}
    assert heads == {"a": 999, "b": 0}
    await feed.close()


@pytest.mark.asyncio
async def test_a_hundred_who_come_at_once_are_told_together():
    feed = NotebookFeed(uuid.uuid4())
    windows = [Window(f"w{number}", number) for number in range(100)]
    for window in windows:
        feed.add(window)
    async with asyncio.timeout(WAIT_S):
        await windows[0].heard.wait()
    assert [len(event["people"]) for event in windows[0].told] == [100]
    await feed.close()


@pytest.mark.asyncio
async def test_who_left_is_in_no_later_move():
    feed = NotebookFeed(uuid.uuid4())
    one, other = Window("a", 1), Window("b", 2)
    feed.add(one), feed.add(other)
    feed.announce_move(one)
    feed.announce_move(other)
    feed.remove(one)
    async with asyncio.timeout(WAIT_S):
        await other.heard.wait()
    assert other.told == [{"type": "presence.changed", "people": [{**other.person(), "windows": [other.window()]}]}]
    await feed.close()


class Room:
    """The presence of one process; what it posts reaches the others and itself, as a channel layer does."""

    def __init__(self, processes: list[Room]) -> None:
        self.told: list[dict[str, Any]] = []
        self.posted = 0
        self.is_cut = False
        self._processes = processes
        self.presence = Presence(self.told.extend, self._post)
        processes.append(self)

    def _post(self, message: dict[str, Any]) -> None:
        self.posted += 1
        if not self.is_cut:
            for room in self._processes:
                room.presence.hear(json.loads(json.dumps(message)))

    def names(self) -> list[str]:
        return [place["window"] for person in self.presence.people() for place in person["windows"]]


async def settled() -> None:
    """Everything that waits to be told together was told, and what that caused."""
    await asyncio.sleep(presence.GATHER_S * 4)


@pytest.fixture
def rooms() -> list[Room]:
    made: list[Room] = []
    for _ in range(2):
        Room(made)
    return made


@pytest.mark.asyncio
async def test_who_comes_to_another_process_is_seen_and_sees_who_was_here(rooms: list[Room]):
    here, there = rooms
    here.presence.enter(Window("a", 1))
    await settled()
    there.presence.enter(Window("b", 2))
    await settled()
    assert here.names() == there.names() == ["a", "b"]
    assert here.told[-1]["type"] == there.told[-1]["type"] == "presence.changed"
    assert [len(one.told[-1]["people"]) for one in rooms] == [2, 2]
    assert here.posted + there.posted <= 4


@pytest.mark.asyncio
async def test_one_person_in_two_processes_is_one_person(rooms: list[Room]):
    for room, name in zip(rooms, "ab", strict=True):
        room.presence.enter(Window(name, 1))
    await settled()
    for room in rooms:
        assert len(room.presence.people()) == 1
        assert sorted(room.names()) == ["a", "b"]


@pytest.mark.asyncio
async def test_a_caret_that_moves_is_told_to_the_other_process_once_for_many_moves(rooms: list[Room]):
    here, there = rooms
    one = Window("a", 1)
    here.presence.enter(one), there.presence.enter(Window("b", 2))
    await settled()
    posted = here.posted
    for head in range(1000):
        one.head = head
        here.presence.moved(one)
    await settled()
    assert here.posted == posted + 1
    assert [event["windows"] for event in there.told if event["type"] == "presence.moved"] == [[one.window()]]
    assert there.presence.people()[0]["windows"] == [one.window()]


@pytest.mark.asyncio
async def test_people_of_a_process_that_says_nothing_any_more_are_gone(rooms: list[Room], monkeypatch: Any):
    here, there = rooms
    now = time.monotonic()
    monkeypatch.setattr(presence, "time", SimpleNamespace(monotonic=lambda: now))
    here.presence.enter(Window("a", 1)), there.presence.enter(Window("b", 2))
    await settled()
    there.is_cut = True
    for _ in range(9):
        now += 1
        here.presence.beat(), there.presence.beat()
    assert here.names() == ["a", "b"] and there.names() == ["a", "b"]
    now += 1
    here.presence.beat(), there.presence.beat()
    await settled()
    assert here.names() == ["a"] and there.names() == ["a", "b"]
    assert [person["id"] for person in here.told[-1]["people"]] == [1]
    there.is_cut = False  # it was only cut off
    now += 4
    there.presence.beat()
    await settled()
    assert here.names() == ["a", "b"]


@pytest.mark.asyncio
async def test_who_closes_is_gone_from_the_other_process_at_once(rooms: list[Room]):
    here, there = rooms
    here.presence.enter(Window("a", 1)), there.presence.enter(Window("b", 2))
    await settled()
    here.presence.close()
    await settled()
    assert there.names() == ["b"]


@pytest.mark.asyncio
async def test_nobody_is_told_of_a_room_without_people(rooms: list[Room]):
    here, _ = rooms
    for _ in range(20):
        here.presence.beat()
    here.presence.close()
    await settled()
    assert here.posted == 0


@pytest.mark.asyncio
async def test_a_crowd_is_told_to_a_bound_and_each_person_of_it_before_anybodys_second_window(rooms: list[Room]):
    here, there = rooms
    most = presence.WINDOWS_MAX
    for number in range(most + 50):
        here.presence.enter(Window(f"w{number}", number % (most - 10)))
    await settled()
    assert len(here.names()) == most + 50
    assert len(there.names()) == most
    assert len(there.presence.people()) == most - 10


@pytest.mark.parametrize(
    "given",
    [None, 7, {}, {"anchor": 1, "head": 2}, {"anchor": -1, "head": 0, "version": 1},
     {"anchor": True, "head": 0, "version": 1}, {"anchor": 0, "head": 2**40, "version": 1}],
)  # fmt: skip
def test_a_selection_that_is_none_is_left_out(given: Any):
    assert selection_of(given) is None


def test_a_selection_is_kept_without_what_else_was_sent():
    assert selection_of({"anchor": 3, "head": 1, "version": 2, "more": "x" * 9}) == {
        "anchor": 3,
        "head": 1,
        "version": 2,
    }
