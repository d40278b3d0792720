"""A run that waits for a place for its kernel: it holds nothing else up, keeps its turn, and Stop takes it back."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import get_channel_layer

from kernels_app import api, commands, waiting
from kernels_app.feed import Feeds
from notebooks_app.errors import Conflict, Forbidden
from tests.pressure.sockets import WAIT_S, Browser, Feed, are_in, feed

__all__ = ["feed"]
pytestmark = pytest.mark.asyncio

CELL = str(uuid.uuid4())


class Full(Feed):
    """A host without a place, until there is one; what was done is in `done`."""

    def __init__(self) -> None:
        super().__init__()
        self.notebook_id = uuid.uuid4()
        self.placed = asyncio.Event()
        self.asked = 0
        self.done: list[str] = []

    async def ensure(self, notebook_id: uuid.UUID) -> Full:
        self.asked += 1
        await self.placed.wait()
        return self

    async def get(self, notebook_id: uuid.UUID) -> Full | None:
        return self if self.placed.is_set() else None

    def take_back(self, notebook_id: uuid.UUID) -> None:
        waiting.take_back(notebook_id)

    async def run(self, versions: dict[str, int], **more: Any) -> str:
        await asyncio.sleep(0)
        self.done.append(f"run {versions[CELL]}")
        return "r"

    async def stop(self, run: str | None = None) -> None:
        self.done.append("stop")

    def edit(self, *_: Any, version: int, **more: Any) -> Any:
        self.done.append(f"edit {version}")
        return SimpleNamespace(seq=version, version=version + 1)


@pytest.fixture
def full(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> Full:  # noqa: F811  a fixture
    made = Full()

    async def write(function: Any) -> Any:
        return function()

    monkeypatch.setattr("kernels_app.consumers.get_host", lambda: made)
    monkeypatch.setattr("kernels_app.consumers.RUN_HOLDS_S", 0)
    monkeypatch.setattr(commands.db, "write", write)
    monkeypatch.setattr(commands.services, "edit_cell", made.edit)
    return made


async def open_socket(full: Full) -> Browser:
    browser = Browser()
    await are_in(full, 1)
    return browser


def run(version: int) -> str:
    return json.dumps({"type": "run", "id": f"run {version}", "cells": [{"cell": CELL, "version": version}]})


def edit(version: int) -> str:
    changed = {"cell": CELL, "operation_id": str(uuid.uuid4()), "version": version, "source": "x"}
    return json.dumps({"type": "edit", "id": f"edit {version}", **changed})


async def no_check() -> None:
    """Nobody waits for long here."""


STOP = json.dumps({"type": "stop", "id": "stop"})


async def test_edits_are_saved_and_stop_is_read_while_a_run_waits_for_a_place(full: Full):
    browser = await open_socket(full)
    for text in (run(1), run(2), edit(2), STOP, edit(3)):
        browser.say(text)
    assert (await browser.reply("edit 2"))["ok"]
    assert (await browser.reply("stop"))["ok"]
    assert (await browser.reply("edit 3"))["ok"]
    for version in (1, 2):
        taken_back = await browser.reply(f"run {version}")
        assert (taken_back["ok"], taken_back["error"]["message"]) == (False, waiting.TAKEN_BACK)
    full.placed.set()
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    assert full.done == ["edit 2", "edit 3"]


async def test_runs_keep_their_order_and_know_the_edits_before_them(full: Full):
    browser = await open_socket(full)
    for text in (edit(1), run(2), edit(2), run(3), run(4)):
        browser.say(text)
    await browser.reply("edit 2")
    assert not any(command.startswith("run") for command in browser.replies)
    full.placed.set()
    assert (await browser.reply("run 4"))["ok"]
    assert full.done == ["edit 1", "edit 2", "run 2", "run 3", "run 4"]


async def test_stop_reaches_a_run_that_was_just_being_decided(full: Full):
    browser = await open_socket(full)
    full.placed.set()
    for text in (run(1), STOP, run(2)):
        browser.say(text)
    await browser.reply("run 2")
    assert full.done[-2:] == ["stop", "run 2"] and full.done[:-2] in (["run 1"], [])
    assert browser.replies["run 1"]["ok"] == ("run 1" in full.done)


async def test_a_tab_that_is_closed_while_its_run_waits_loses_neither_the_run_nor_an_edit(full: Full):
    browser = await open_socket(full)
    for text in (run(1), edit(1), edit(2)):
        browser.say(text)
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    await full.settled()
    assert full.done == ["edit 1", "edit 2"] and full.released == 1
    full.placed.set()
    async with asyncio.timeout(WAIT_S):
        while "run 1" not in full.done:
            await asyncio.sleep(0.001)


async def test_who_may_not_run_any_more_when_there_is_a_place_does_not(full: Full, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "LONG_S", 0.0)
    browser = await open_socket(full)
    (socket,) = full.subscribers
    browser.say(run(1))
    async with asyncio.timeout(WAIT_S):
        while not full.asked:
            await asyncio.sleep(0.001)

    def refuse(role: Any, what: str) -> None:
        raise Forbidden("Not any more.")

    socket.access.require = refuse
    full.placed.set()
    assert (await browser.reply("run 1"))["error"]["code"] == "forbidden"
    assert full.done == []


async def test_whose_session_ended_before_there_is_a_place_does_not_run(full: Full, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "LONG_S", 0.0)
    browser = await open_socket(full)
    (socket,) = full.subscribers
    browser.say(run(1))
    async with asyncio.timeout(WAIT_S):
        while not full.asked:
            await asyncio.sleep(0.001)
    socket.seat.is_held = lambda: False
    full.placed.set()
    assert (await browser.reply("run 1"))["error"]["code"] == "forbidden"
    assert full.done == []


async def test_stop_of_the_api_takes_back_what_waits(full: Full, monkeypatch: pytest.MonkeyPatch):
    body = {"all": False, "stale": False, "cells": [CELL], "only": False}
    started = asyncio.create_task(api._start(full, full.notebook_id, body, None, None))  # type: ignore[arg-type]
    while not full.asked:
        await asyncio.sleep(0)
    monkeypatch.setattr(api, "_live_epoch", lambda notebook_id: None)
    await api._stop(full, full.notebook_id)  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await asyncio.wait_for(started, WAIT_S)


@pytest.mark.django_db(transaction=True)
async def test_stop_in_another_process_takes_back_what_waits_here_and_says_so():
    notebook_id = uuid.uuid4()
    feeds, host = Feeds(), Full()
    notebook = await feeds.open(notebook_id)
    told: list[Any] = []
    notebook.send_live = lambda happened, **_: told.extend(happened)  # type: ignore[method-assign]

    async def wait() -> None:
        async with waiting.runtime_of(host, notebook_id, asyncio.Lock(), no_check):  # type: ignore[arg-type]
            pass

    waits = asyncio.create_task(wait())
    while not host.asked:
        await asyncio.sleep(0)
    layer = get_channel_layer()
    group = notebook._groups[0]
    await layer.group_send(group, {"type": "notebook.stopped", "notebook": str(notebook_id), "process": "another"})
    with pytest.raises(Conflict):
        await asyncio.wait_for(waits, WAIT_S)
    assert [event["state"] for event in told if event["type"] == "kernel.changed"] == ["stopped"]
    await feeds.close()


async def test_what_is_typed_just_after_a_run_is_none_of_its(full: Full, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kernels_app.consumers.RUN_HOLDS_S", WAIT_S)
    browser = await open_socket(full)
    for text in (run(1), edit(1), run(2)):
        browser.say(text)
    for _ in range(100):
        await asyncio.sleep(0)
    assert full.done == []
    full.placed.set()
    assert (await browser.reply("run 2"))["ok"]
    assert full.done == ["run 1", "edit 1", "run 2"]
