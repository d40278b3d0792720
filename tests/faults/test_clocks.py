"""Clocks that are set while the server runs: an hour back, a month ahead. Order and leases do not follow them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from kernels_app import leases
from kernels_app.hosts.link import Lost
from kernels_app.hosts.ray import RayKernelHost
from notebooks_app import db, reading, sign_in_limits
from notebooks_app.errors import Unavailable
from notebooks_app.models import CellRun, KernelSession, Run
from notebooks_app.sign_in_limits import Limit, TooManyAttempts, take
from tests.runtime.lab import WAIT_S, Lab

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

HOUR = timedelta(hours=1)
SLEEPS = "import time\nprint('begun')\ntime.sleep(60)"

type SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Moves what this process takes for the time, as Django and `time.time` tell it."""
    now, seconds = timezone.now, time.time

    def move(by: timedelta) -> None:
        monkeypatch.setattr(timezone, "now", lambda: now() + by)
        monkeypatch.setattr(time, "time", lambda: seconds() + by.total_seconds())

    return move


@pytest.mark.asyncio
@pytest.mark.parametrize("by", [-HOUR, timedelta(days=40)], ids=["an hour back", "40 days ahead"])
async def test_a_run_in_the_middle_of_which_the_clock_is_set_ends_and_is_saved(
    lab: Lab, set_clock: SetClock, by: timedelta
):
    await lab.add(before="x = 1", a=SLEEPS, after="print('x is', x)")
    await lab.run("before")
    runtime = await lab.runtime()
    run = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    await says(lab, "begun")
    set_clock(by)
    await runtime.stop()
    assert await runtime.wait(run, WAIT_S)
    assert (await lab.states())["a"]["outcome"] == "interrupted"
    await lab.edit("before", "x = 2")  # edits go on, and the lease is still ours
    await lab.run("after")
    assert await lab.text("after") == "x is 2\n"
    # What a kernel that dies leaves to us to be measured.
    await lab.edit("a", "import os, time\nprint('again')\ntime.sleep(2)\nos._exit(1)")
    run = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    await says(lab, "again")
    set_clock(timedelta())
    assert await runtime.wait(run, WAIT_S)
    assert not runtime.is_fenced and (await lab.states())["a"]["outcome"] == "died"
    await lab.host.saver.flush()
    assert not await db.read(lambda: Run.objects.filter(outcome="").exists())
    assert not await db.read(lambda: CellRun.objects.filter(outcome="").exists())


async def says(lab: Lab, word: str) -> None:
    """Wait until the cell has said it, which is saved while it runs."""
    async with asyncio.timeout(WAIT_S):
        while word not in await lab.text("a"):
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_a_lease_that_a_wrong_clock_dated_ahead_is_free_once_nobody_renews_it(lab: Lab, settings: Any):
    settings.LEASE_SECONDS = 1
    ahead = timezone.now() + HOUR
    held = {"host": f"elsewhere:1:{uuid.uuid4().hex}", "epoch": 7, "expires": ahead, "state": "running"}
    await db.write(lambda: KernelSession.objects.create(notebook_id=lab.notebook.pk, **held))
    await lab.add(a="print('runs')")
    await lab.run()
    assert await lab.text("a") == "runs\n"
    session = await db.read(KernelSession.objects.get)
    assert session.epoch == 8


@pytest.mark.asyncio
async def test_a_lease_that_is_renewed_is_never_taken_however_its_end_is_dated(lab: Lab, settings: Any):
    settings.LEASE_SECONDS = 1
    session = {"host": f"elsewhere:1:{uuid.uuid4().hex}", "epoch": 7, "expires": timezone.now() + HOUR}
    await db.write(lambda: KernelSession.objects.create(notebook_id=lab.notebook.pk, **session))

    def renew(end: datetime) -> None:
        KernelSession.objects.filter(notebook_id=lab.notebook.pk, epoch=7).update(expires=end)

    async def keep() -> None:
        while True:
            await db.write(lambda: renew(timezone.now() + HOUR))
            await asyncio.sleep(0.2)

    keeper = asyncio.create_task(keep())
    await lab.add(a="1")
    with pytest.raises(Unavailable, match="another server process"):
        await lab.runtime()
    keeper.cancel()
    assert (await db.read(KernelSession.objects.get)).epoch == 7


def test_a_clock_that_is_set_back_locks_nobody_out_for_longer(set_clock: SetClock):
    limit = Limit("account ana", 3, 900)
    for _ in range(3):
        take(limit)
    with pytest.raises(TooManyAttempts) as refused:
        take(limit)
    assert refused.value.wait_s <= 900
    set_clock(-HOUR)
    for _ in range(3):
        take(limit)
    with pytest.raises(TooManyAttempts) as refused:
        take(limit)
    assert refused.value.wait_s <= 900
    assert sign_in_limits.AttemptCount.objects.count() == 1


@pytest.fixture
def leased(lab: Lab, settings: Any) -> uuid.UUID:
    """A notebook, in a database that has a clock of its own: leases last two seconds."""
    settings.LEASE_SECONDS = 2
    return lab.notebook.pk


def claimed(notebook_id: uuid.UUID, machine: str) -> bool:
    return leases.claim(notebook_id, f"{machine}:1:{uuid.uuid4().hex}") is not None


@pytest.mark.postgresql
@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
def test_a_lease_of_a_machine_whose_clock_is_wrong_ends_when_it_dies_and_not_before(
    leased: uuid.UUID, set_clock: SetClock, by: timedelta
):
    set_clock(by)
    assert claimed(leased, "wrong")
    set_clock(timedelta())
    session = reading.session_of(leased)
    assert session is not None and session.is_live() and not claimed(leased, "right")
    set_clock(by)
    assert leases.renew(leased, session.epoch)  # nobody has fenced it
    KernelSession.objects.filter(pk=leased).update(expires=F("expires") - timedelta(seconds=2))  # so long passes
    set_clock(timedelta())
    assert claimed(leased, "right")


@pytest.mark.postgresql
@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
def test_who_reads_with_a_wrong_clock_sees_what_lives_and_what_is_over(
    leased: uuid.UUID, set_clock: SetClock, by: timedelta
):
    assert claimed(leased, "right")
    KernelSession.objects.update(state="running")
    set_clock(by)
    assert reading.kernel_document(reading.session_of(leased))["state"] == "running"
    assert KernelSession.objects.live().exists() and not claimed(leased, "wrong")
    KernelSession.objects.filter(pk=leased).update(expires=F("expires") - timedelta(seconds=2))
    assert reading.kernel_document(reading.session_of(leased))["state"] == "dead"
    assert not KernelSession.objects.live().exists()


@pytest.mark.postgresql
def test_clear_stale_sessions_of_a_machine_whose_clock_is_ahead_leaves_what_lives(
    leased: uuid.UUID, set_clock: SetClock
):
    assert claimed(leased, "right")
    set_clock(HOUR)
    call_command("clear_stale_sessions")
    session = reading.session_of(leased)
    assert session is not None and session.is_live()


class NoActors:
    """A cluster that knows none; what it is asked to make."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def ask(self, method: str, *args: Any, within_s: float) -> Any:
        if method == "make":
            self.made.append(args[0])
        raise Lost("there is none")


@pytest.mark.asyncio
async def test_on_a_cluster_too_a_lease_that_was_dated_ahead_is_over_once_nobody_renews_it(lab: Lab, settings: Any):
    settings.LEASE_SECONDS = 0
    held = {"host": "elsewhere:1:kernel-a", "epoch": 7, "expires": timezone.now() + HOUR, "state": "running"}
    await db.write(lambda: KernelSession.objects.create(notebook_id=lab.notebook.pk, **held))
    host, wire = RayKernelHost(), NoActors()
    host.link, host.is_started = wire, True  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        await host.ensure(lab.notebook.pk)
    assert len(wire.made) == 1
