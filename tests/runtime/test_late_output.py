"""What a cell left behind still prints under it: live and saved, also when no plan runs any more."""

from __future__ import annotations

import asyncio

import pytest

from tests.runtime.lab import WAIT_S, Lab, Listener

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

# Each waits for a file, which the test makes when the plan is over.
HEAD = "import asyncio, os, threading, time\nfrom concurrent.futures import ThreadPoolExecutor\n"
THREAD = HEAD + "def late():\n    while not os.path.exists('go'): time.sleep(0.01)\n    print('late')\n"
TASK = HEAD + "async def late():\n    while not os.path.exists('go'): await asyncio.sleep(0.01)\n    print('late')\n"
CALLBACK = HEAD + (
    "def late(loop):\n    if os.path.exists('go'): print('late')\n    else: loop.call_later(0.01, late, loop)\n"
)
LEFT_BEHIND = {
    "thread": THREAD + "thread = threading.Thread(target=late)\nthread.start()",
    "timer": THREAD + "threading.Timer(0.01, late).start()",
    "executor": THREAD + "ThreadPoolExecutor(1).submit(late);",
    "task": TASK + "task = asyncio.create_task(late())",
    "callback": CALLBACK + "late(asyncio.get_running_loop())",
    "thread of a task": THREAD + "task = asyncio.create_task(asyncio.to_thread(late))",
}


async def let_go(lab: Lab) -> None:
    kernel = (await lab.runtime())._kernel
    assert kernel is not None
    (kernel.work / "go").touch()


async def hear(listener: Listener, cell: str, text: str) -> None:
    """Return when a cell's live output had this text."""
    async with asyncio.timeout(WAIT_S):
        while not any(
            text in op.get("text", "")
            for event in listener.events("output.ops")
            for op in event["ops"]
            if event["cell"] == cell
        ):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", LEFT_BEHIND)
async def test_what_is_printed_after_the_plan_ended_is_the_cells_live_and_saved(lab: Lab, kind: str):
    await lab.add(a=LEFT_BEHIND[kind], b="print('second')")
    listener = await lab.listen()
    await lab.run()
    assert await lab.text("a") == ""
    await let_go(lab)
    await hear(listener, str(lab.cells["a"]), "late\n")
    assert await lab.text("a") == "late\n"
    assert await lab.text("b") == "second\n"


async def test_a_thread_prints_under_its_own_cell_while_another_cell_waits_for_it(lab: Lab):
    await lab.add(a=LEFT_BEHIND["thread"], b="print('second')\nopen('go', 'w').close()", c="thread.join()")
    await lab.run()
    assert [await lab.text(name) for name in "abc"] == ["late\n", "second\n", ""]


async def test_late_output_of_an_attempt_that_was_replaced_is_not_mixed_with_the_new_one(lab: Lab):
    await lab.add(a=LEFT_BEHIND["thread"].replace("'late'", "'old'"))
    await lab.run()
    await lab.edit("a", LEFT_BEHIND["thread"].replace("'late'", "'new'"))
    listener = await lab.listen()
    await lab.run()
    await let_go(lab)
    await hear(listener, str(lab.cells["a"]), "new\n")
    assert await lab.text("a") == "new\n"
