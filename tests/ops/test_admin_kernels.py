"""The admin of live kernels: their memory, idle time, and stopping and restarting them by their runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from kernels_app import admin as kernels_admin
from kernels_app import gauges
from notebooks_app import db
from notebooks_app.models import KernelSession, Run
from tests.runtime.lab import Lab, close_lab, open_lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

LIST = "/admin/notebooks_app/kernelsession/"


@pytest_asyncio.fixture
async def lab(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> AsyncIterator[Lab]:
    settings.KERNEL_WORK_DIR = tmp_path / "work"
    settings.SAMPLE_DATABASE = tmp_path / "sample" / "sample.duckdb"
    owner = await db.write(lambda: get_user_model().objects.create_user("owner"))
    made = await open_lab(owner)
    for module in (kernels_admin, gauges):
        monkeypatch.setattr(module, "get_host", lambda: made.host)
    await made.add(one="x = 41", two="x + 1")
    await made.run()
    yield made
    await close_lab(made)


async def as_admin(work: Any) -> Any:
    """Run `work(client)` in a thread, as a request is: the host's loop stays free to answer it."""

    def run() -> Any:
        try:
            client = Client()
            client.force_login(get_user_model().objects.create_superuser("admin"))
            return work(client)
        finally:
            connection.close()

    return await asyncio.to_thread(run)


def act(client: Client, action: str, lab: Lab) -> str:
    body = {"action": action, "_selected_action": [str(lab.notebook.pk)]}
    return client.post(LIST, body, follow=True).content.decode()


async def test_a_live_kernel_is_shown_with_its_memory_and_idle_time(lab: Lab):
    runtime = await lab.runtime()
    assert runtime._kernel is not None
    await runtime._kernel.memory_bytes()
    page = await as_admin(lambda client: client.get(LIST + "?live=yes").content.decode())
    assert "this one" in page
    assert "0\xa0minutes" in page
    assert "of 2.0\xa0GB" in page
    assert "x = 41" not in page
    numbers = {name: value for name, _, value in gauges.HostGauges().gauges()}
    assert numbers["rillbook_kernels_live"] == 1
    assert numbers["rillbook_kernels_memory_bytes"] > 1_000_000
    assert numbers["rillbook_saver_lag_seconds"] == 0


async def test_a_kernel_is_stopped_and_its_outputs_stay(lab: Lab):
    page = await as_admin(lambda client: act(client, "stop", lab))
    assert "1 stopped" in page
    session = await db.read(lambda: KernelSession.objects.get())
    assert (session.host, session.state) == ("", "stopped")
    assert await lab.host.get(lab.notebook.pk) is None
    assert await lab.text("two") == "42"


async def test_a_kernel_is_restarted_and_its_variables_are_gone(lab: Lab):
    before = (await lab.runtime())._kernel
    assert "1 restarted" in await as_admin(lambda client: act(client, "restart", lab))
    await lab.run("two")
    assert (await lab.runtime())._kernel is not before
    assert await lab.text("two") == "42"
    runs = await db.read(lambda: Run.objects.count())
    assert runs == 2
