"""Who watches one notebook, in which windows and where in its text: here, and as other server processes tell.

Each process tells its own people to the others, over the channel layer: when they change, when a caret moves, and every
few seconds, so that those of a process that was killed are gone soon and a message that was lost is made good. Pure but
for the timer; how messages travel is feed.py's and notebooks_app/wakeups.py's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

type Document = dict[str, Any]

GATHER_S = 0.05  # who came, went or moved within this is told together
BEAT_S = 3.0  # how often a process says who is there although nothing changed
GONE_S = 9.0  # a process that said nothing for so long is no more
WINDOWS_MAX = 200  # of one process, told to the others: those beyond are not shown there
PROCESSES_MAX = 64


class Seated(Protocol):
    """A socket's place in the room; see feed.py: Subscriber."""

    def person(self) -> Document | None: ...

    def window(self) -> Document: ...


@dataclass(slots=True)
class Elsewhere:
    """The people of another process, as it told them last."""

    people: list[Document] = field(default_factory=list)
    heard_at: float = 0.0


class Presence:
    """The people of one notebook. `tell` reaches the sockets of this process, `post` the other processes."""

    def __init__(self, tell: Callable[[list[Document]], None], post: Callable[[Document], None]) -> None:
        self.process = uuid.uuid4().hex[:12]  # what others call this room: new in each incarnation
        self._tell, self._post = tell, post
        self._here: set[Seated] = set()
        self._moved: set[Seated] = set()
        self._elsewhere: dict[str, Elsewhere] = {}
        self._has_changed = self._has_to_post = self._was_told = False
        self._posted_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- Here ---------------------------------------------------------------------------------------------------

    def enter(self, one: Seated) -> None:
        self._here.add(one)
        self._has_changed = self._has_to_post = True
        self._soon()

    def leave(self, one: Seated) -> None:
        self._here.discard(one)
        self._moved.discard(one)
        self._has_changed = self._has_to_post = True
        self._soon()

    def moved(self, one: Seated) -> None:
        """A caret moved: told with the others that move now, however often it is said."""
        self._moved.add(one)
        self._soon()

    def people(self) -> list[Document]:
        """Who is here or elsewhere, each once, with the windows they have open."""
        rooms = [self._people_here(), *(room.people for room in self._elsewhere.values())]
        return _together(person for room in rooms for person in room)

    def close(self) -> None:
        """This process watches the notebook no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._here.clear()
        self._tell_others()

    # --- Elsewhere ----------------------------------------------------------------------------------------------

    def hear(self, message: Document) -> None:
        """What a process told: all its people, or the windows that moved. Our own words come back too."""
        process = message["process"]
        if process == self.process:
            return
        if "people" in message:
            self._hear_people(process, message["people"])
        elif (room := self._elsewhere.get(process)) is not None:
            room.heard_at = time.monotonic()
            _replace_windows(room.people, message["windows"])
            self._tell([{"type": "presence.moved", "windows": message["windows"]}])

    def beat(self) -> None:
        """Called every second: says that our people are still there, forgets processes that say nothing."""
        now = time.monotonic()
        for process, room in list(self._elsewhere.items()):
            if now - room.heard_at > GONE_S:
                del self._elsewhere[process]
                self._has_changed = True
        if self._has_changed:
            self._soon()
        if self._people_here() and now - self._posted_at > BEAT_S:
            self._tell_others()

    def _hear_people(self, process: str, people: list[Document]) -> None:
        known = self._elsewhere.get(process)
        if not people:
            self._has_changed |= self._elsewhere.pop(process, None) is not None
        elif known is None and len(self._elsewhere) >= PROCESSES_MAX:
            return
        else:
            self._has_to_post |= known is None  # a newcomer does not know who is here
            self._has_changed |= known is None or known.people != people
            self._elsewhere[process] = Elsewhere(people, time.monotonic())
        if self._has_changed or self._has_to_post:
            self._soon()

    # --- Telling ------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._tell_now)

    def _tell_now(self) -> None:
        self._timer = None
        moved = [one.window() for one in self._moved]
        self._moved.clear()
        if self._has_changed:
            self._tell([{"type": "presence.changed", "people": self.people()}])
        elif moved:
            self._tell([{"type": "presence.moved", "windows": moved}])
        self._has_changed = False
        if self._has_to_post:
            self._tell_others()
        elif moved and self._was_told:
            self._post({"process": self.process, "windows": moved[:WINDOWS_MAX]})

    def _tell_others(self) -> None:
        """All who are here; nobody is told once."""
        self._has_to_post = False
        people = _first_windows(self._people_here(), WINDOWS_MAX)
        if people or self._was_told:
            self._was_told = bool(people)
            self._posted_at = time.monotonic()
            self._post({"process": self.process, "people": people})

    def _people_here(self) -> list[Document]:
        seen = [(one.person(), one) for one in self._here]
        return _together({**person, "windows": [one.window()]} for person, one in seen if person is not None)


def _together(people: Iterable[Document]) -> list[Document]:
    """Each person once, with all their windows, by name."""
    found: dict[int, Document] = {}
    for person in people:
        found.setdefault(person["id"], {**person, "windows": []})["windows"].extend(person["windows"])
    return sorted(found.values(), key=lambda person: (person["name"], person["id"]))


def _first_windows(people: list[Document], most: int) -> list[Document]:
    """The people with as many windows as may be told, the first of each before the second of any."""
    shown: list[Document] = []
    left = most - min(len(people), most)
    for person in people[:most]:
        more = min(len(person["windows"]) - 1, left)
        left -= more
        shown.append({**person, "windows": person["windows"][: 1 + more]})
    return shown


def _replace_windows(people: list[Document], moved: list[Document]) -> None:
    places = {window["window"]: window for window in moved}
    for person in people:
        person["windows"] = [places.get(window["window"], window) for window in person["windows"]]
