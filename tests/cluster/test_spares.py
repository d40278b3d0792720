"""What a web process knows of kernels that wait, while nodes come and go. Ray is not needed: who answers is made up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import pytest_asyncio

from kernels_app import cluster, needs
from kernels_app.hosts import actor
from kernels_app.hosts.link import Lost
from kernels_app.hosts.spares import Spares
from kernels_app.hosts.steward import Steward, Told, Wanted

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


async def test_a_steward_answers_while_it_makes_an_actor_which_gives_way_too(monkeypatch: pytest.MonkeyPatch):
    head, ended = threading.Event(), list[Any]()
    monkeypatch.setattr(actor, "make", lambda *args, **more: head.wait(30) and "made")
    monkeypatch.setattr(actor, "kill", ended.append)
    monkeypatch.setattr(cluster, "resources_of", lambda node: ({"num_cpus": 4.0}, {"num_cpus": 4.0}))
    steward = Steward("A", Wanted(1, {"num_cpus": 1.0}))
    making = asyncio.create_task(steward._restock())
    async with asyncio.timeout(20):
        while not steward._making.locked():
            await asyncio.sleep(0.01)
    assert (await steward.look()).waiting == {} and not making.done()
    giving = asyncio.create_task(steward.give_way())
    await asyncio.sleep(0)
    assert not giving.done()
    head.set()
    await making
    assert await giving == 1 and ended == ["made"]
