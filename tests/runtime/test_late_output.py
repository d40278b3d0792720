"""What a cell left behind still prints under it: live and saved, also when no plan runs any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kernels_app import attempts, saver
from notebooks_app import db
from notebooks_app.models import Output, StreamChunk
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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of output in each save."""
    sizes: list[int] = []
    write = saver.write_batches

    def count(batches: Any) -> Any:
        work = list(batches)
        for batch in work:
            outputs = [record.outputs for record in batch.outputs.values()]
            sizes.append(len(json.dumps([outputs, batch.chunks])))
        return write(work)

    monkeypatch.setattr(saver, "write_batches", count)
    return sizes


async def until_whole(lab: Lab, name: str) -> None:
    """Return when nothing of a cell's output is saved in pieces any more."""
    async with asyncio.timeout(WAIT_S):
        while await db.read(StreamChunk.objects.filter(cell=lab.cells[name]).exists):
            await asyncio.sleep(0.05)


async def test_a_thread_that_prints_on_costs_what_it_prints_and_not_its_output_again(lab: Lab, written: list[int]):
    late = HEAD + (
        "print('x' * 60_000)\ndef late():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
        "    for n in range(200): print('late', n, flush=True); time.sleep(0.01)\n"
        "threading.Thread(target=late).start()"
    )
    await lab.add(a=late)
    listener = await lab.listen()
    await lab.run()
    del written[:]
    await let_go(lab)
    await hear(listener, str(lab.cells["a"]), "late 199\n")
    async with asyncio.timeout(WAIT_S):
        while not (await lab.text("a")).endswith("late 198\nlate 199\n"):
            await asyncio.sleep(0.2)
    await until_whole(lab, "a")
    assert len(written) > 3, "it was saved while it printed"
    assert sum(written) < 6 * 60_000
    rows = await db.read(lambda: list(Output.objects.filter(cell=lab.cells["a"])))
    assert rows[0].data["text"].endswith("late 199\n")


async def test_pieces_of_a_cell_that_prints_on_and_on_are_put_together(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "CHUNKS_BYTES", 20_000)
    await lab.add(
        a=HEAD + "for n in range(300):\n    print('\\r' + 'y' * 300, n, end='', flush=True)\n    time.sleep(0.005)\n"
        "while not os.path.exists('go'): time.sleep(0.01)"
    )
    runtime = await lab.runtime()
    run = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while await lab.text("a") != "y" * 300 + " 299":
            await asyncio.sleep(0.05)
    pieces = await db.read(lambda: list(StreamChunk.objects.filter(cell=lab.cells["a"]).values_list("ops", flat=True)))
    assert len(json.dumps(pieces)) < 21_000
    await let_go(lab)
    assert await runtime.wait(run, WAIT_S)
    assert await lab.text("a") == "y" * 300 + " 299"
