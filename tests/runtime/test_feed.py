"""What a feed tells who comes while others work, and who missed something."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import OperationalError

from kernels_app.feed import NotebookFeed
from notebooks_app import events, services
from tests.runtime.lab import WAIT_S, Lab


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_who_says_hello_while_others_edit_without_pause_is_greeted_and_misses_nothing(lab: Lab, monkeypatch: Any):
    await lab.add(a="x = 0")
    feed = await lab.host.feeds.open(lab.notebook.id)
    read, reads = feed._since, []

    async def read_and_be_overtaken(cursor: int | None) -> dict[str, Any]:
        document = await read(cursor)
        await lab.edit("a", f"x = {len(reads) + 1}")
        reads.append(asyncio.create_task(feed.poll(document["seq"] + 1)))
        await asyncio.wait({reads[-1]}, timeout=0.5)
        return document

    monkeypatch.setattr(feed, "_since", read_and_be_overtaken)
    feed.add(lab.listener)
    async with asyncio.timeout(WAIT_S):
        await feed.greet(lab.listener, None)
        await asyncio.gather(*reads)
    assert len(reads) == 2
    snapshot = next(frame for frame in lab.listener.frames if frame["type"] == "snapshot")
    later = [frame["seq"] for frame in lab.listener.frames if frame.get("seq") and frame["type"] == "events"]
    assert [seq for seq in later if seq > snapshot["seq"]] == [feed.seq] == [snapshot["seq"] + 1]


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_what_the_poll_finds_is_told_at_once_and_says_what_it_follows(lab: Lab, monkeypatch: Any):
    await lab.add(a="x = 0")
    listener = await lab.listen()
    feed = await lab.host.feeds.open(lab.notebook.id)
    before = feed.seq
    monkeypatch.setattr(feed, "receive", lost)  # the channel layer's messages
    for value in range(3):
        await lab.edit("a", f"x = {value + 1}")
    await feed.poll(before + 3)
    told = [frame for frame in listener.frames if frame["type"] == "events" and frame["seq"]]
    assert [(frame["since"], frame["seq"]) for frame in told if frame["seq"] > before] == [(before, before + 3)]
    assert [event["version"] for event in told[-1]["events"] if event["type"] == "cell.edited"] == [2, 3, 4]


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_a_feed_that_cannot_be_read_leaves_its_channel_and_starts_later(lab: Lab, monkeypatch: Any):
    await lab.add(a="x = 0")
    feed = NotebookFeed(lab.notebook.id)
    channels = get_channel_layer().groups.setdefault(events.group_name(lab.notebook.id), {})
    before = set(channels)

    def away() -> int:
        raise OperationalError("the database is away")

    monkeypatch.setattr(feed, "_read_seq", away)
    with pytest.raises(OperationalError):
        await feed.start()
    assert set(get_channel_layer().groups.get(events.group_name(lab.notebook.id), {})) == before
    monkeypatch.undo()
    await feed.start()
    joined = set(get_channel_layer().groups[events.group_name(lab.notebook.id)])
    assert (len(joined - before), feed.seq) == (1, 1)
    await feed.close()


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_a_cell_that_waits_for_the_analysis_worker_holds_no_thread_of_others(lab: Lab):
    await lab.add(a="x = 0")
    feed = await lab.host.feeds.open(lab.notebook.id)
    pool = services._analysis_pool()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with pool._lock:  # the worker reads another's text
        await lab.edit("a", "!l\n" * 120)
        refreshing = asyncio.create_task(feed.refresh())
        await asyncio.wait({refreshing}, timeout=0.5)
        async with asyncio.timeout(WAIT_S):
            await asyncio.to_thread(int)
        assert not refreshing.done()
    async with asyncio.timeout(WAIT_S):
        await refreshing


async def lost(*_: Any) -> None:
    return None
