"""The steward of a node: it keeps actors there that have begun and wait for a notebook, and gives each out once.

A small detached actor without Django. Web processes have it made, ask it and keep it (spares.py); one that nobody asks
any more ends what waits and leaves. If it dies, what waited leaves by itself (actor.py: UNUSED_S).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from kernels_app import cluster
from kernels_app.hosts import actor

PREFIX = "steward-"  # of their names
LOOK_S = 2.0
ANSWER_S = 5.0
START_S = 90.0  # for an actor to begin
REFILL_S = 2.0  # the first run in a kernel that was taken comes first
RETRY_MOST_S = 60.0
HOLD_S = 30.0  # nothing waits for so long after somebody had no room
UNASKED_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to wait on a node: so many actors, each reserving so much (resources as Ray names them)."""

    size: int
    resources: dict[str, float]


@dataclass(frozen=True, slots=True)
class Told:
    """What a steward says."""

    waiting: dict[str, int]  # names of actors, and their pids
    ready: int  # of those, how many have a kernel
    resources: dict[str, float]  # that each reserves
    room: float  # the share of the node that is free
    trouble: str = ""


@dataclass(slots=True, eq=False)
class _Spare:
    name: str
    actor: Any
    since: float
    pid: int = 0  # once it is there
    kernels: int = 0


class Steward:
    """Actors of one node that wait: made while there is room for one more notebook beside them."""

    def __init__(self, node: str, wanted: Wanted) -> None:
        self._node = node
        self._wanted = wanted
        self._spares: list[_Spare] = []
        self._asked_at = time.monotonic()
        self._not_before = 0.0
        self._retry_s = LOOK_S
        self._room = 1.0
        self._trouble = ""
        self._making = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    async def tend(self) -> Told:
        """Go on for a while; what waits here."""
        self._asked_at = time.monotonic()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="keeping of spares")
        return await self.look()

    async def look(self) -> Told:
        """What waits here; it is none the longer kept for that."""
        there = [spare for spare in self._spares if spare.pid]
        ready = sum(bool(spare.kernels) for spare in there)
        waiting = {spare.name: spare.pid for spare in there}
        return Told(waiting, ready, self._wanted.resources, self._room, self._trouble)

    async def take(self) -> str | None:
        """The name of an actor that waits, which is the caller's from now on: at best one whose kernel is ready."""
        there = [spare for spare in self._spares if spare.pid]
        if not there:
            return None
        taken = max(there, key=lambda spare: spare.kernels)
        self._spares.remove(taken)
        self._not_before = max(self._not_before, time.monotonic() + REFILL_S)
        return taken.name

    async def give_way(self) -> int:
        """End what waits, and make nothing for a while: somebody has no room. How many there were."""
        self._not_before = time.monotonic() + HOLD_S
        async with self._making:  # what is being made now ends, too
            ended, self._spares = self._spares, []
        for spare in ended:
            actor.kill(spare.actor)
        return len(ended)

    async def _keep(self) -> None:
        while time.monotonic() - self._asked_at < UNASKED_S:
            try:
                await asyncio.gather(*(self._look_at(spare) for spare in tuple(self._spares)))
                await self._restock()
            except Exception as error:  # told to whoever asks: this process has no log of ours
                self._trouble = f"{type(error).__name__}: {error}"[:300]
            await asyncio.sleep(LOOK_S)
        await self.give_way()
        await actor.leave()

    async def _look_at(self, spare: _Spare) -> None:
        """Ask whether it is there, by which it also stays."""
        trouble = ""
        try:
            async with asyncio.timeout(ANSWER_S):
                spare.pid, spare.kernels = await spare.actor.stay.remote()
            self._retry_s, self._trouble = LOOK_S, ""
        except TimeoutError:
            if spare.pid or time.monotonic() - spare.since > START_S:
                trouble = "An actor that waited did not answer."
        except Exception as error:
            trouble = f"An actor that waited ended: {type(error).__name__}: {error}"[:300]
        if trouble and spare in self._spares:  # else it was taken meanwhile
            self._spares.remove(spare)
            actor.kill(spare.actor)
            self._trouble = trouble
            self._not_before = time.monotonic() + self._retry_s
            self._retry_s = min(RETRY_MOST_S, 2 * self._retry_s)

    async def _restock(self) -> None:
        free, total = await asyncio.to_thread(cluster.resources_of, self._node)
        wanted = {name: amount for name, amount in self._wanted.resources.items() if amount}
        self._room = min((free.get(name, 0.0) / total[name] for name in wanted if total.get(name)), default=0.0)
        has_room = all(free.get(name, 0.0) >= 2 * amount for name, amount in wanted.items())
        if len(self._spares) < self._wanted.size and has_room and time.monotonic() >= self._not_before:
            async with self._making:
                await self._make()

    async def _make(self) -> None:
        """One more; the head, which may be away, is told of it."""
        name, wanted = cluster.new_name(), self._wanted.resources
        made = await asyncio.to_thread(actor.make, name, wanted, ready_kernels=1, node=self._node)
        self._spares.append(_Spare(name, made, time.monotonic()))


def all_told() -> list[Told]:
    """What each steward of the cluster says, for those who look at it from outside. Blocks a little."""
    import ray
    from ray.exceptions import RayError

    found: list[Told] = []
    for each in ray.util.list_named_actors(all_namespaces=True):
        if each["namespace"] == cluster.NAMESPACE and each["name"].startswith(PREFIX):
            try:
                told: Any = ray.get(ray.get_actor(**each).look.remote(), timeout=ANSWER_S)
            except (RayError, ValueError):  # it is ending
                continue
            found.append(told)
    return found
