"""What begins while something else ends: no cell waits for ever, and no kernel is left over."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from django.db import OperationalError

from kernels_app import allowances
from notebooks_app.errors import Unavailable
from tests.runtime.lab import WAIT_S, Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_a_database_that_is_away_as_a_kernel_starts_delays_it(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="print(1)")
    failures = iter([OperationalError("away"), OperationalError("away")])
    of_notebook = allowances.of_notebook

    def sometimes(*args: Any) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return of_notebook(*args)

    monkeypatch.setattr(allowances, "of_notebook", sometimes)
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while not runtime._state.held:
            await asyncio.sleep(0.01)
        runtime.hold(False)  # the lease's next renewal
        assert await runtime.wait(run, WAIT_S)
    assert (await lab.states())["a"]["outcome"] == "ok"


async def test_an_error_of_ours_as_a_kernel_starts_ends_the_run_and_the_next_one_starts_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    await lab.add(a="print(1)")
    with monkeypatch.context() as broken:
        broken.setattr(allowances, "of_notebook", lambda *_: 1 / 0)
        await lab.run()
    state = (await lab.states())["a"]
    assert state["status"] == "idle" and state["outcome"] != "ok"
    document = (await lab.runtime()).kernel_document()
    assert document["state"] == "dead" and "did not start" in document["detail"]
    assert await lab.run() == ["a"]
    assert (await lab.states())["a"]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/rillbook/work/slots/x"), "No space left on device"),
        (OSError("/srv/rillbook is not ours."), "OSError"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
async def test_why_no_kernel_started_is_told_without_the_servers_paths(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
):
    async def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(lab.host, "claim_kernel", fail)
    await lab.add(a="print(1)")
    await lab.run()
    document = (await lab.runtime()).kernel_document()
    assert (document["state"], document["detail"]) == ("dead", f"The kernel did not start: {words}")


async def test_a_run_during_the_end_of_a_kernel_is_a_new_kernels(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    await lab.add(a="import os\nprint(os.getpid())")
    await lab.run()
    first = await lab.runtime()
    kernel = first._kernel
    assert kernel is not None
    is_ending, may_end = asyncio.Event(), asyncio.Event()
    shutdown = kernel.shutdown

    async def slow() -> None:
        is_ending.set()
        await may_end.wait()
        await shutdown()

    monkeypatch.setattr(kernel, "shutdown", slow)
    ending = asyncio.ensure_future(lab.host.stop(lab.notebook.id, "An operator stopped the kernel."))
    await is_ending.wait()
    with pytest.raises(Unavailable):
        await first.run_all(by=lab.author)
    opening = asyncio.ensure_future(lab.runtime())
    await asyncio.sleep(0.2)
    assert not opening.done() and first._kernel is None
    may_end.set()
    await ending
    second = await opening
    assert second is not first and second.epoch == first.epoch + 1
    assert await lab.run() == ["a"]
    assert first._kernel is None and (await lab.states())["a"]["outcome"] == "ok"
