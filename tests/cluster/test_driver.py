"""What the process that speaks to Ray answers where Ray refuses or does not answer. No cluster is needed."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from kernels_app.hosts import actor, driver
from kernels_app.hosts.link import AWAY, DONE, HEAD_BYTES, LOST

pytestmark = pytest.mark.asyncio


class Line:
    """What was answered, in order: numbers of questions, and what each came to."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, Any]] = []

    def write(self, frame: bytes) -> None:
        self.answers.append(pickle.loads(frame[HEAD_BYTES:]))  # noqa: S301  our own


async def ask(line: Line, number: int, asked: driver.Driver, method: str, *args: Any) -> None:
    writer: Any = line
    await driver._answer(writer, asked, number, method, args)


def raising(error: BaseException) -> Any:
    def fail(*args: Any, **more: Any) -> None:
        raise error

    return fail


async def test_others_are_answered_while_an_actor_is_made_known_to_a_silent_head(monkeypatch: pytest.MonkeyPatch):
    head = threading.Event()
    monkeypatch.setattr(actor, "make", lambda *args, **more: head.wait(30))
    monkeypatch.setattr(driver, "_found", raising(driver.NoActor("none")))
    asked, line = driver.Driver(), Line()
    making = asyncio.create_task(ask(line, 1, asked, "make", "kernel-a", {}, 0))
    await asyncio.sleep(0)
    await ask(line, 2, asked, "is_known", "kernel-b")
    head.set()
    await making
    assert line.answers == [(2, DONE, False), (1, DONE, None)]


async def test_what_ray_will_not_make_is_not_told_as_an_actor_that_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(actor, "make", raising(ValueError("The quantity of GPU must be whole")))
    monkeypatch.setattr(driver, "_found", raising(driver.NoActor("none")))
    asked, line = driver.Driver(), Line()
    await ask(line, 1, asked, "make", "kernel-a", {}, 0)
    await ask(line, 2, asked, "ask", "kernel-a", "ready")
    assert [(number, outcome) for number, outcome, _ in line.answers] == [(1, AWAY), (2, LOST)]
    assert "must be whole" in line.answers[0][2]


async def test_a_driver_that_a_new_head_refuses_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(actor, "make", raising(AuthenticationError("RPC error: WrongClusterID")))
    monkeypatch.setattr(driver.os, "_exit", raising(SystemExit("ended")))
    with pytest.raises(SystemExit, match="ended"):
        await ask(Line(), 1, driver.Driver(), "make", "kernel-a", {}, 0)
