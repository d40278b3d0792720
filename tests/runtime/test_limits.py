"""Limits of kernels as a notebook's readers meet them: settings, a person's own by the admin, and what is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kernels_app import allowances, checks, sandbox
from kernels_app.allowances import NoRoom
from kernels_app.hosts import local
from kernels_app.models import KernelLimits
from notebooks_app import db
from notebooks_app.models import Notebook
from tests.runtime.lab import WAIT_S, Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def allow(lab: Lab, **limits: Any) -> None:
    await db.write(lambda: KernelLimits.objects.create(user=lab.notebook.owner, **limits))


async def kernel_of(lab: Lab) -> dict[str, Any]:
    return (await lab.runtime()).kernel_document()


async def test_a_persons_own_limits_hold_for_their_kernels(lab: Lab):
    await allow(lab, memory_mib=1024, processes=64, disk_mib=100, idle_seconds=0)
    await lab.add(a="import resource\nprint(resource.getrlimit(resource.RLIMIT_AS)[1] // 2**20)")
    await lab.run()
    assert await lab.text("a") == "1024\n"
    assert (await kernel_of(lab))["limit_bytes"] == 1024**3


async def test_without_a_row_the_settings_hold_and_the_pools_kernel_is_taken(lab: Lab):
    common = allowances.profile()
    found = await db.read(lambda: allowances.of_notebook(lab.notebook.id, common))
    assert found.profile is common


async def test_a_cell_that_runs_too_long_is_interrupted_and_says_why(lab: Lab):
    await allow(lab, run_seconds=1)
    await lab.add(a="kept = 1", b="import time\nwhile True: time.sleep(0.05)")
    await lab.run()
    states = await lab.states()
    assert (states["a"]["outcome"], states["b"]["outcome"]) == ("ok", "interrupted")
    assert "ran for 1 seconds, as long as a cell may" in str(await lab.outputs("b"))
    assert (await kernel_of(lab))["state"] == "idle"


BUSY = "import time\nuntil = time.monotonic() + 30\nwhile time.monotonic() < until: pass\n"
ASKS = "import threading\nthreading.Thread(target=input, daemon=True).start()\n"
async def test_a_cell_that_computes_beside_its_question_does_not_wait(lab: Lab):
    await allow(lab, run_seconds=2)
    await lab.add(a=ASKS + BUSY)
    await lab.run()
    assert (await lab.states())["a"]["outcome"] == "interrupted"
    assert "as long as a cell may" in str(await lab.outputs("a"))


async def test_a_cell_that_waits_for_an_answer_runs_no_clock(lab: Lab):
    await allow(lab, run_seconds=1)
    await lab.add(a="input()")
    runtime = await lab.runtime()
    run = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    await lab.until("a", "running")
    await asyncio.sleep(3)
    assert not await runtime.wait(run, 0.1)
    await runtime.stop()


async def test_an_error_at_a_limit_says_whose_limit_it_is(lab: Lab):
    await allow(lab, memory_mib=1024)
    await lab.add(a="x = bytearray(4 * 1024**3)")
    await lab.run()
    assert "This kernel may use 1 GiB of memory." in str(await lab.outputs("a"))


async def test_an_idle_kernel_is_stopped_and_says_after_how_long(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "IDLE_LOOK_S", 0.1)
    lab.host.keep(lab.host._stop_idle())
    await allow(lab, idle_seconds=2)
    await lab.add(a="a = 1")
    await lab.run()
    runtime = await lab.runtime()
    async with asyncio.timeout(WAIT_S):
        while await lab.host.get(lab.notebook.id) is not None:
            await asyncio.sleep(0.05)
    assert runtime.kernel_document()["detail"].startswith("Stopped after 2 seconds without use.")


async def test_a_kernel_in_use_is_not_idle(lab: Lab):
    await allow(lab, idle_seconds=1)
    await lab.add(a="import time\ntime.sleep(60)")
    runtime = await lab.runtime()
    await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    await lab.until("a", "running")
    assert runtime.idle_limit_s == 1 and runtime.idle_s() == 0.0
    await runtime.stop()


async def test_a_question_that_nobody_answers_is_no_use_of_a_kernel(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "IDLE_LOOK_S", 0.1)
    lab.host.keep(lab.host._stop_idle())
    await allow(lab, idle_seconds=2)
    await lab.add(a="input()")
    runtime = await lab.runtime()
    await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while await lab.host.get(lab.notebook.id) is not None:
            await asyncio.sleep(0.05)
    assert runtime.kernel_document()["detail"].startswith("Stopped after 2 seconds without use.")


async def test_one_kernel_too_many_is_refused_in_plain_words(lab: Lab):
    await allow(lab, kernels=1)
    await lab.add(a="1 + 1")
    await lab.run()
    other = await db.write(lambda: Notebook.objects.create(owner=lab.notebook.owner, name="Other"))
    second = Lab(lab.host, other, lab.author)
    await second.add(b="2 + 2")
    await second.run()
    assert (await kernel_of(second))["state"] == "dead"
    assert "There is one kernel of this owner's notebooks" in (await kernel_of(second))["detail"]
    assert (await kernel_of(lab))["state"] == "idle"
    await lab.host.stop(lab.notebook.id, "stopped")
    await second.run()
    assert await second.text("b") == "4"


async def test_of_two_notebooks_run_at_once_where_one_may_have_a_kernel_one_gets_it(lab: Lab):
    await allow(lab, kernels=1)
    await lab.add(a="1 + 1")
    other = await db.write(lambda: Notebook.objects.create(owner=lab.notebook.owner, name="Other"))
    second = Lab(lab.host, other, lab.author)
    await second.add(b="2 + 2")
    await asyncio.gather(lab.runtime(), second.runtime())
    await asyncio.gather(lab.run(), second.run())
    states = [(await kernel_of(each))["state"] for each in (lab, second)]
    assert sorted(states) == ["dead", "idle"]


async def test_the_server_as_a_whole_takes_so_many_kernels_and_no_more(lab: Lab, settings: Any):
    settings.KERNELS_MAX, settings.KERNELS_PER_USER = 1, 0
    await lab.add(a="1 + 1")
    await lab.run()

    def ask() -> None:
        other = Notebook.objects.create(owner=lab.notebook.owner, name="Other")
        found = allowances.of_notebook(other.id, allowances.profile())
        allowances.check_room(other.id, found, [(lab.notebook.id, lab.notebook.owner_id)])

    with pytest.raises(NoRoom, match="one kernel on this server"):
        await db.write(ask)
    settings.KERNEL_HOST = "ray"
    with pytest.raises(NoRoom, match="one kernel in this cluster"):
        await db.write(ask)


async def test_many_users_without_a_sandbox_get_no_kernel(lab: Lab, settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sandbox, "verdict", lambda *asked: sandbox.Verdict(sandbox.Rung.NONE, "No bwrap here."))
    settings.RILLBOOK_MODE = "multi"
    await lab.add(a="1 + 1")
    await lab.run()
    assert "Multi mode needs a sandbox" in (await kernel_of(lab))["detail"]
    (error,) = checks.many_users_need_a_sandbox(None)
    assert error.id == "rillbook.E010" and "RILLBOOK_ALLOW_UNSANDBOXED" in str(error.hint)
    settings.RILLBOOK_ALLOW_UNSANDBOXED = True
    assert checks.many_users_need_a_sandbox(None) == []
    (warning,) = checks.what_the_sandbox_stops(None)
    assert warning.id == "rillbook.W010" and "Not isolated" in str(warning.hint)


async def test_a_real_sandbox_passes_the_checks(settings: Any):
    settings.RILLBOOK_MODE = "multi"
    assert checks.many_users_need_a_sandbox(None) == []
    assert checks.what_the_sandbox_stops(None) == []


async def test_limits_and_isolation_are_in_the_admin(lab: Lab):
    from django.contrib.auth import get_user_model
    from django.test import Client

    def look() -> tuple[str, str]:
        client = Client()
        client.force_login(get_user_model().objects.create_superuser("admin"))
        made = client.post(
            "/admin/kernels_app/kernellimits/add/", {"user": lab.notebook.owner_id, "memory_mib": 1024, "kernels": 3}
        )
        assert made.status_code == 302
        listed = client.get("/admin/kernels_app/kernellimits/").content.decode()
        return listed, client.get("/admin/notebooks_app/kernelsession/").content.decode()

    limits, kernels = await db.write(look)
    assert "1024" in limits
    assert "bubblewrap sandbox" in kernels and "System calls: a filter denies ptrace" in kernels
    found = await db.read(lambda: allowances.of_notebook(lab.notebook.id, allowances.profile()))
    assert found.kernels == 3 and found.profile.memory_bytes == 1024**3


async def test_a_persons_own_bounds_of_output_and_of_open_files_hold(lab: Lab):
    await allow(lab, output_mib=1, output_kib_a_second=0, files=256, cpu_seconds=3600)
    await lab.add(
        a="import resource as r\nprint(r.getrlimit(r.RLIMIT_NOFILE)[0], r.getrlimit(r.RLIMIT_CPU)[0])",
        b="for _ in range(3000): print('x' * 999)\nprint('the end')",
    )
    await lab.run()
    assert await lab.text("a") == "256 3600\n"
    shown = await lab.text("b")
    assert "the end" not in shown and "1 MB" in shown
    profile = (await lab.runtime())._kernel.launch.profile
    assert (profile.output_bytes, profile.output_rate_bytes) == (1024**2, 0)
