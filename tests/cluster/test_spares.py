"""What a web process knows of kernels that wait, while nodes come and go. Ray is not needed: who answers is made up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from kernels_app import needs
from kernels_app.hosts.link import Lost
from kernels_app.hosts.spares import Spares
from kernels_app.hosts.steward import Told

pytestmark = pytest.mark.asyncio


class Wire:
    """Answers for stewards; `during` happens while one is asked to give something out."""

    def __init__(self) -> None:
        self.during: Any = None

    async def ask(self, method: str, *args: Any, within_s: float) -> Any:
        if method == "nodes_for":
            return ["A", "B"]
        if method == "steward":
            return None
        if args[1] == "tend":
            return Told(waiting={f"spare-{args[0]}": 1}, ready=1, resources={}, room=2.0 if "-A-" in args[0] else 1.0)
        await self.during(args[0])
        raise Lost("gone")


@pytest_asyncio.fixture
async def wired() -> tuple[Spares, Wire]:
    wire: Any = Wire()
    spares = Spares(wire)
    await spares._look()
    return spares, wire


async def test_a_node_that_is_forgotten_while_another_is_asked_is_left_out(wired: tuple[Spares, Wire]):
    spares, wire = wired

    async def forget_all(_: str) -> None:
        spares._forget("A")
        spares._forget("B")

    wire.during = forget_all
    assert await spares.take(needs.standard()) is None
    assert spares.ready == 0


async def test_a_late_answer_of_a_forgotten_node_is_not_kept(wired: tuple[Spares, Wire]):
    spares, wire = wired
    answered = asyncio.Event()
    ask = wire.ask

    async def late(method: str, *args: Any, within_s: float) -> Any:
        if method == "ask" and args[1] == "tend":
            await answered.wait()
        return await ask(method, *args, within_s=within_s)

    wire.ask = late  # type: ignore[method-assign]
    tending = asyncio.ensure_future(spares._tend("A"))
    await asyncio.sleep(0)
    spares._forget("A")
    answered.set()
    await tending
    assert "A" not in spares._told
