"""Kernels that wait on the nodes of a cluster, as a web process sees them: it has each node's steward made and asks it.

What a steward does is steward.py's; what is done with an actor that it gives out is ray.py's.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from dataclasses import replace

from django.conf import settings

from kernels_app import needs
from kernels_app.hosts.link import Away, Link, Lost
from kernels_app.hosts.steward import PREFIX, Told, Wanted
from kernels_app.needs import Needs

log = logging.getLogger("rillbook.ray")

LOOK_S = 5.0
ANSWER_S = 5.0
TAKE_S = 3.0  # an answer that is late leaves its actor to nobody, until it leaves
TRIES = 2  # nodes that are asked for one notebook


class Spares:
    """The stewards of all nodes. Nothing here keeps a notebook from running: whatever fails is logged and left out."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stewards: dict[str, str] = {}  # their names, by node
        self._told: dict[str, Told] = {}
        self._wanted = Wanted(settings.KERNEL_POOL_SIZE, needs.standard().resources())
        # Servers with the same settings share a steward.
        self._digest = f"{zlib.crc32(repr(self._wanted).encode()):08x}"

    @property
    def ready(self) -> int:
        """Kernels that wait, as last told."""
        return sum(told.ready for told in tuple(self._told.values()))

    async def keep(self) -> None:
        """See to it, for as long as this process lives, that each node which offers places has a steward."""
        while settings.KERNEL_POOL_SIZE > 0:
            try:
                await self._look()
            except (Lost, Away, TimeoutError):  # whoever keeps the line has said so
                self._told.clear()
            except Exception:
                log.exception("nodes could not be looked after")
            await asyncio.sleep(LOOK_S)

    async def take(self, wanted: Needs) -> str | None:
        """The name of an actor that waits, of the node with most room; None if there is none for such needs."""
        if wanted != needs.standard():
            return None
        waiting = [node for node, told in self._told.items() if told.waiting]
        for node in sorted(waiting, key=lambda node: -self._told[node].room)[:TRIES]:
            told, steward = self._told.get(node), self._stewards.get(node)
            if told is None or steward is None:  # forgotten while another one was asked
                continue
            left = dict(list(told.waiting.items())[1:])
            self._told[node] = replace(told, waiting=left, ready=max(0, told.ready - 1))
            try:
                found: str | None = await self._link.ask("ask", steward, "take", within_s=TAKE_S)
            except (Lost, Away, TimeoutError):
                self._forget(node)
                continue
            if found is not None:
                return found
        return None

    async def give_way(self) -> None:
        """End what waits, everywhere: somebody has no room."""
        names = tuple(self._stewards.values())
        asked = (self._link.ask("ask", name, "give_way", within_s=ANSWER_S) for name in names)
        await asyncio.gather(*asked, return_exceptions=True)

    async def _look(self) -> None:
        nodes = await self._link.ask("nodes_for", needs.standard().resources(), within_s=ANSWER_S)
        for node in self._stewards.keys() - set(nodes):
            self._forget(node)
        await asyncio.gather(*(self._tend(node) for node in nodes))

    async def _tend(self, node: str) -> None:
        name = f"{PREFIX}{node[:16]}-{self._digest}"
        try:
            if node not in self._stewards:
                await self._link.ask("steward", name, node, self._wanted, within_s=ANSWER_S)
                self._stewards[node] = name
            told: Told = await self._link.ask("ask", name, "tend", within_s=ANSWER_S)
        except (Lost, Away, TimeoutError) as error:
            log.info("node %s: its steward does not answer (%s)", node[:12], type(error).__name__)
            self._forget(node)
            return
        if told.trouble and told.trouble != self._told.get(node, told).trouble:
            log.warning("node %s: %s", node[:12], told.trouble)
        if node in self._stewards:  # not forgotten meanwhile
            self._told[node] = told

    def _forget(self, node: str) -> None:
        self._stewards.pop(node, None)
        self._told.pop(node, None)
