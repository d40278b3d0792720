"""An attempt runs once, whatever its kernel says of it: ends that are forged, replies that never come."""

from __future__ import annotations

import asyncio

import pytest

from kernels_app import kernel as kernel_module
from tests.runtime.lab import WAIT_S, Lab
from tests.security.test_forged_messages import TOOLS

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

# What a cell forges of itself while it runs on; `shell` answers the plan's request as the kernel would at its end.
SHELL = """
above = sys._getframe()
while "stream" not in above.f_locals: above = above.f_back
stream = above.f_locals["stream"]; del above
def shell(content): session.send(stream, "rill_run_reply", content, parent, ident=kernel._plan_ident)
end = {"t": "finished", "attempt": attempt, "outcome": "ok", "names": [], "kept": [], "undeclared": []}
end["duration_ms"] = 1
plan = parent["content"]["plan"]; ids = [item["attempt"] for item in parent["content"]["cells"]]
def idle(): say("status", {"execution_state": "idle"})
"""
FORGERIES = {
    "its end": "frame(end)",
    "its end and the plan's": "frame(end); idle()",
    "the plan's end alone": "idle()",
    "a reply that leaves the rest": "shell({'status': 'ok', 'plan': plan, 'finished': [end], 'left': ids[1:]}); idle()",
    "a reply that ends all": (
        "ends = [{**end, 'attempt': one} for one in ids]\n"
        "shell({'status': 'ok', 'plan': plan, 'finished': ends, 'left': []}); idle()"
    ),
}
COUNTS = "open('ran', 'a').write('{}')"


async def test_cells_behind_a_forged_end_run_once(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "LOST_REPLY_S", 0.1)
    monkeypatch.setattr(kernel_module, "LAST_FRAMES_S", 0.1)
    await lab.add(a="", b=f"a\n{COUNTS.format('b')}\nb = 1", c=f"b\n{COUNTS.format('c')}", d=COUNTS.format("d"))
    await lab.add(ran="print(open('ran').read()); open('ran', 'w').close()")
    for name, forgery in FORGERIES.items():
        tools = TOOLS.format(victim="x") + SHELL
        await lab.edit("a", f"{COUNTS.format('a')}\n{tools}\n{forgery}\ntime.sleep(0.8)\na = 1")
        runtime = await lab.runtime()
        run = await runtime.run({str(lab.cells[cell]): 0 for cell in "abcd"}, by=lab.author)
        assert await runtime.wait(run, WAIT_S)
        async with asyncio.timeout(WAIT_S):  # what the kernel had been given may still run
            while runtime._state.plan is not None or runtime._state.queue:
                await asyncio.sleep(0.02)
        await lab.run("ran")
        ran = (await lab.text("ran")).strip()
        assert len(ran) == len(set(ran)), (name, ran, await lab.states())
        assert {"a", "d"} <= set(ran), (name, ran, await lab.outputs("a"))
