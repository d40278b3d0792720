"""Two hosts, one database: who holds the lease runs, and who lost it writes nothing more and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from kernels_app.hosts.local import HELD_ELSEWHERE, LocalKernelHost
from notebooks_app import db
from notebooks_app.errors import Unavailable
from notebooks_app.models import KernelSession
from tests.runtime.lab import WAIT_S, Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True), pytest.mark.database]

PRINTS_FOR_EVER = "import time\nwhile True:\n    print('tick')\n    time.sleep(0.05)"


async def until(is_true: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_true():
            await asyncio.sleep(0.02)


async def let_the_lease_run_out(lab: Lab) -> None:
    rows = KernelSession.objects.filter(notebook_id=lab.notebook.id)
    await db.write(lambda: rows.update(expires=timezone.now()))


async def test_a_replaced_runtime_ends_its_kernel_writes_nothing_and_says_so(lab: Lab):
    await lab.add(slow=PRINTS_FOR_EVER, other="print('second')")
    listener = await lab.listen()
    first = await lab.runtime()
    await first.run({str(lab.cells["slow"]): 0}, by=lab.author)
    await until(lambda: listener.events("output.ops"))
    kernel = first._kernel
    second_host = LocalKernelHost()
    await second_host.start()
    try:
        await let_the_lease_run_out(lab)
        second = await second_host.ensure(lab.notebook.id)
        assert second.epoch == first.epoch + 1
        await until(lambda: first.is_fenced)
        assert kernel is not None
        await asyncio.wait_for(asyncio.shield(kernel.died), WAIT_S)
        lost = listener.events("kernel.changed")
        assert any(event["state"] == "dead" and "taken this notebook over" in event["detail"] for event in lost)
        assert first.take_batch() is None
        run = await second.run({str(lab.cells["other"]): 0}, by=lab.author)
        assert await second.wait(run, WAIT_S)
        assert await lab.text("other") == "second\n"
        states = {cell: state.status for cell, state in (await second_host.notebook_states(lab.notebook.id)).items()}
        assert set(states.values()) == {"idle"}
    finally:
        await second_host.close()


async def test_a_notebook_that_runs_elsewhere_is_refused_with_what_to_do_and_runs_once_that_ends(lab: Lab):
    await lab.add(a="print('here')")
    await lab.run("a")
    second_host = LocalKernelHost()
    await second_host.start()
    try:
        with pytest.raises(Unavailable, match="another server process") as refused:
            await second_host.ensure(lab.notebook.id)
        assert refused.value.message == HELD_ELSEWHERE
        await lab.host.stop(lab.notebook.id, "ended")
        second = await second_host.ensure(lab.notebook.id)
        assert await second.wait(await second.run_all(by=lab.author), WAIT_S)
    finally:
        await second_host.close()


async def test_an_outage_pauses_and_the_run_goes_on_under_the_same_epoch(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="import time\ntime.sleep(1)\nprint('kept')\na = 1", b="print(a + 1)")
    listener = await lab.listen()
    runtime = await lab.runtime()
    epoch, really_write = runtime.epoch, db.write
    run = await runtime.run_all(by=lab.author)
    await lab.until("a", "running")

    async def fails(function: Callable[[], Any]) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(db, "write", fails)
    await until(lambda: any(event["state"] == "paused" for event in listener.events("kernel.changed")))
    monkeypatch.setattr(db, "write", really_write)
    assert await runtime.wait(run, WAIT_S)
    assert (await lab.text("a"), await lab.text("b"), runtime.epoch) == ("kept\n", "2\n", epoch)
