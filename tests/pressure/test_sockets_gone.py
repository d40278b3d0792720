"""Sockets whose browsers are gone leave nothing behind: also those that flooded, which daphne cancels in the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from kernels_app import consumers, inbox
from tests.pressure.sockets import WAIT_S, Browser, Feed, are_in, feed

__all__ = ["feed"]
pytestmark = pytest.mark.asyncio

PRESENCE = json.dumps({"type": "presence", "id": 1, "cell": None})
VARIABLES = json.dumps({"type": "variables", "id": 1})
MANY = 20


def tasks_of_sockets() -> int:
    return sum("of a socket" in task.get_name() for task in asyncio.all_tasks())


async def test_sockets_that_flood_and_go_leave_nothing_when_daphne_ends_them(feed: Feed):
    browsers = [Browser() for _ in range(MANY)]
    await are_in(feed, MANY)
    await asyncio.gather(*(browser.flood(PRESENCE) for browser in browsers))
    for browser in browsers:
        browser.go()
    for browser in browsers:  # as daphne does after 10 s, wherever they are
        browser.task.cancel()
    await asyncio.wait([browser.task for browser in browsers], timeout=WAIT_S)
    await feed.settled()
    assert (len(feed.subscribers), feed.released) == (0, MANY)
    await asyncio.sleep(0)
    assert tasks_of_sockets() == 0


async def test_a_socket_that_is_ended_while_it_carries_out_its_last_commands_leaves_nothing(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "PER_SECOND", 0.01)
    monkeypatch.setattr(inbox, "BURST", 1)
    browser = Browser()
    await are_in(feed, 1)
    for _ in range(3):
        browser.say(json.dumps({"type": "stop", "id": 1}))
    browser.go()
    async with asyncio.timeout(WAIT_S):
        while feed.subscribers:  # it says goodbye, and waits for them
            await asyncio.sleep(0.001)
    browser.task.cancel()
    await asyncio.wait([browser.task], timeout=WAIT_S)
    await feed.settled()
    assert feed.released == 1
    await asyncio.sleep(0)
    assert tasks_of_sockets() == 0


async def test_who_is_gone_is_not_answered(feed: Feed, monkeypatch: pytest.MonkeyPatch):
    """The last commands are waited for, but not what only asks or says where a caret is."""
    monkeypatch.setattr(inbox, "PER_SECOND", 1)
    monkeypatch.setattr(inbox, "BURST", 1)
    monkeypatch.setattr(consumers, "LAST_COMMANDS_S", 60.0)
    browser = Browser()
    await are_in(feed, 1)
    for _ in range(inbox.MAX_WAITING // 2):
        browser.say(PRESENCE)
        browser.say(VARIABLES)
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    await feed.settled()
    assert feed.moves <= 2 and feed.released == 1


async def test_a_socket_that_was_ended_hears_goodbye_though_its_inbox_was_full(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "PER_SECOND", 0.01)
    monkeypatch.setattr(inbox, "BURST", 1)
    browser = Browser()
    await are_in(feed, 1)
    (socket,) = feed.subscribers
    await browser.flood(PRESENCE)
    socket.access_is(None)
    browser.go()
    await asyncio.wait_for(browser.task, WAIT_S)
    await feed.settled()
    assert (len(feed.subscribers), feed.released) == (0, 1)


async def test_who_asks_for_a_large_notebook_again_and_again_waits_as_for_many_commands(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "PER_SECOND", 0.001)
    browser = Browser()
    await are_in(feed, 1)
    for number in range(10):
        browser.say(json.dumps({"type": "hello", "id": number, "cursor": None}))
    await browser.reply(1)
    await asyncio.sleep(0.2)
    assert feed.greetings == 2  # of the 200 commands at once that a person has, each took 101
    browser.go()
    browser.task.cancel()
    await asyncio.wait([browser.task], timeout=WAIT_S)
