"""Kernels that wait on the nodes of a cluster, as a web process sees them: it has each node's steward made and asks it.

What a steward does is steward.py's; what is done with an actor that it gives out is ray.py's.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from dataclasses import replace
from typing import Any

from django.conf import settings
from ray.exceptions import RayError

from kernels_app import cluster, needs
from kernels_app.hosts.steward import Steward, Told, Wanted
from kernels_app.needs import Needs

log = logging.getLogger("rillbook.ray")

LOOK_S = 5.0
ANSWER_S = 5.0
TAKE_S = 1.0
TRIES = 2  # nodes that are asked for one notebook
PREFIX = "steward-"


class Spares:
    """The stewards of all nodes. Nothing here keeps a notebook from running: whatever fails is logged and left out."""

    def __init__(self) -> None:
        self._stewards: dict[str, Any] = {}  # by node
        self._told: dict[str, Told] = {}
        self._wanted = Wanted(settings.KERNEL_POOL_SIZE, needs.standard().resources())

    @property
    def ready(self) -> int:
        """Kernels that wait, as last told."""
        return sum(told.ready for told in tuple(self._told.values()))

    async def keep(self) -> None:
        """See to it, for as long as this process lives, that each node which offers places has a steward."""
        while settings.KERNEL_POOL_SIZE > 0:
            try:
                await self._look()
            except Exception:
                log.warning("nodes could not be looked after", exc_info=True)
            await asyncio.sleep(LOOK_S)

    async def take(self, wanted: Needs) -> tuple[str, Any] | None:
        """An actor that waits, of the node with most room, and its name; None if there is none for such needs."""
        if wanted != needs.standard():
            return None
        waiting = [node for node, told in self._told.items() if told.waiting]
        for node in sorted(waiting, key=lambda node: -self._told[node].room)[:TRIES]:
            told = self._told[node]
            left = dict(list(told.waiting.items())[1:])
            self._told[node] = replace(told, waiting=left, ready=max(0, told.ready - 1))
            try:
                async with asyncio.timeout(TAKE_S):
                    found: tuple[str, Any] | None = await self._stewards[node].take.remote()
            except (RayError, TimeoutError):
                self._forget(node)
                continue
            if found is not None:
                return found
        return None

    async def give_way(self) -> None:
        """End what waits, everywhere: somebody has no room."""
        stewards = tuple(self._stewards.values())
        await asyncio.gather(*(_asked(steward) for steward in stewards), return_exceptions=True)

    async def _look(self) -> None:
        nodes = await asyncio.to_thread(cluster.nodes_for, needs.standard())
        for node in self._stewards.keys() - set(nodes):
            self._forget(node)
        await asyncio.gather(*(self._tend(node) for node in nodes))

    async def _tend(self, node: str) -> None:
        try:
            if node not in self._stewards:
                self._stewards[node] = await asyncio.to_thread(self._made, node)
            async with asyncio.timeout(ANSWER_S):
                told: Told = await self._stewards[node].tend.remote()
        except (RayError, TimeoutError, ValueError) as error:
            log.info("node %s: its steward does not answer (%s)", node[:12], type(error).__name__)
            self._forget(node)
            return
        if told.trouble and told.trouble != self._told.get(node, told).trouble:
            log.warning("node %s: %s", node[:12], told.trouble)
        self._told[node] = told

    def _forget(self, node: str) -> None:
        self._stewards.pop(node, None)
        self._told.pop(node, None)

    def _made(self, node: str) -> Any:
        """The steward of a node for servers with these settings, who may be several. Blocks."""
        import ray

        remote: Any = ray.remote
        options = cluster.actor_options(f"{PREFIX}{node[:16]}-{self._digest()}", node=node)
        made = remote(max_restarts=0, max_concurrency=100)(Steward).options(get_if_exists=True, num_cpus=0, **options)
        return made.remote(node, self._wanted)

    def _digest(self) -> str:
        return f"{zlib.crc32(repr(self._wanted).encode()):08x}"


async def _asked(steward: Any) -> None:
    async with asyncio.timeout(ANSWER_S):
        await steward.give_way.remote()


def stewards() -> list[Told]:
    """What each steward of the cluster says, for those who look at it from outside. Blocks a little."""
    import ray

    found: list[Told] = []
    for each in ray.util.list_named_actors(all_namespaces=True):
        if each["namespace"] == cluster.NAMESPACE and each["name"].startswith(PREFIX):
            try:
                told: Any = ray.get(ray.get_actor(**each).look.remote(), timeout=ANSWER_S)
            except (RayError, ValueError):  # it is ending
                continue
            found.append(told)
    return found
