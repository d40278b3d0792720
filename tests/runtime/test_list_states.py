"""What the list of notebooks says of their cells, after real runs, and what asking costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notebooks_app import db, list_states, notebooks
from notebooks_app.models import KernelSession, Notebook
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.database]


def counted() -> tuple[list[Mapping[str, int]], int]:
    """The counts of all notebooks, in the order of their making; how many queries that took."""
    listed = list(Notebook.objects.alive().order_by("created_at").with_cell_count())
    with CaptureQueriesContext(connection) as queries:
        found = list_states.counts_of(listed)
    return [found[item.pk] for item in listed if item.pk in found], len(queries)


async def test_counts_follow_every_change_and_are_kept_in_between(lab: Lab):
    await lab.add(a="a = 1", bad="bad = a / 0", below="below = bad + 1", other="other = 5")
    assert await db.read(counted) == ([{"new": 4}], 2)
    await lab.run("a")
    ran = {"current": 1, "failed": 1, "blocked": 1, "new": 1}
    assert await db.read(counted) == ([ran], 2)
    assert await db.read(counted) == ([ran], 1)
    await lab.edit("bad", "bad = a")
    assert await db.read(counted) == ([{"current": 1, "stale": 1, "new": 2}], 2)


async def test_running_cells_are_counted_while_their_kernel_lives(lab: Lab):
    await lab.add(slow="import time\ntime.sleep(60)")
    runtime = await lab.runtime()
    await runtime.run({str(lab.cells["slow"]): 0}, by=lab.author)
    async with asyncio.timeout(20):
        while (await db.read(counted))[0] != [{"running": 1}]:
            await asyncio.sleep(0.05)
    passed = timezone.now() - timedelta(minutes=1)
    await db.write(lambda: KernelSession.objects.update(expires=passed))
    assert (await db.read(counted))[0] == [{"failed": 1}]


async def test_one_list_reads_no_more_cells_than_it_may(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_states, "CELLS_AT_ONCE", 3)
    await lab.add(a="a = 1", b="b = 1")
    for name in ("second", "third"):
        await db.write(lambda name=name: notebooks.create_notebook(lab.notebook.owner, name))
    assert await db.read(counted) == ([{"new": 2}, {"new": 1}], 2)  # two and one cells; no room for the third's one
    assert await db.read(counted) == ([{"new": 2}, {"new": 1}, {"new": 1}], 2)
