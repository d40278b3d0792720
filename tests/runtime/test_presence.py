"""What a feed tells of people: each once with their windows, and carets not more often than one can see."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from kernels_app.consumers import selection_of
from kernels_app.feed import NotebookFeed
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
async def test_who_left_is_in_no_later_move():
    feed = NotebookFeed(uuid.uuid4())
    one, other = Window("a", 1), Window("b", 2)
    feed.add(one), feed.add(other)
    feed.announce_move(one)
    feed.announce_move(other)
    feed.remove(one)
    other.told.clear()
    other.heard.clear()
    async with asyncio.timeout(WAIT_S):
        await other.heard.wait()
    assert [place["window"] for place in other.told[0]["windows"]] == ["b"]
    await feed.close()


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
