"""A notebook's life with a real kernel: what runs, in which order, what is shown and what is kept."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from notebooks_app import db, reading
from notebooks_app.errors import BadRequest
from notebooks_app.models import Cell, CellRun, Notebook, StreamChunk
from tests.runtime.lab import WAIT_S, Lab, Listener

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_running_a_cell_runs_what_it_needs_and_what_depends_on_it(lab: Lab):
    await lab.add(a="a = 1", b="b = a + 1", c="c = b * 10\nc", other="other = 5")
    assert await lab.run("b") == ["a", "b", "c"]
    assert await lab.text("c") == "20"
    assert await lab.freshness() == {"a": "current", "b": "current", "c": "current", "other": "new"}


@pytest.mark.database
async def test_an_edit_in_the_middle_runs_only_what_depends_on_it(lab: Lab):
    await lab.add(a="a = 1", b="b = a + 1", side="side = a * 100", c="c = b * 10\nc")
    await lab.run()
    await lab.edit("b", "b = a + 2")
    assert await lab.freshness() == {"a": "current", "b": "stale", "side": "current", "c": "stale"}
    assert await lab.run("b") == ["b", "c"]
    assert await lab.text("c") == "30"
    state = (await lab.states())["c"]
    assert state["reason"] == {"kind": "changed", "cell": str(lab.cells["b"]), "name": "b", "by": "ana"}


@pytest.mark.database
async def test_a_diamond_runs_each_cell_once(lab: Lab):
    await lab.add(d="d = b + c\nd", b="b = a + 1", c="c = a + 2", a="a = 1")
    assert await lab.run("a") == ["a", "b", "c", "d"]
    assert await lab.text("d") == "5"


@pytest.mark.database
async def test_a_failure_blocks_its_descendants_and_nothing_else(lab: Lab):
    await lab.add(a="a = 1", bad="bad = a / 0", below="below = bad + 1", sibling="sibling = a + 1")
    assert await lab.run() == ["a", "bad", "sibling"]
    states = await lab.states()
    assert {name: state["freshness"] for name, state in states.items()} == {
        "a": "current",
        "bad": "failed",
        "below": "blocked",
        "sibling": "current",
    }
    assert states["below"]["blocked_by"] == [{"cell": str(lab.cells["bad"]), "name": "bad"}]
    assert (await lab.outputs("bad"))[0]["ename"] == "ZeroDivisionError"


@pytest.mark.database
async def test_two_cells_of_one_name_are_errors_and_the_rest_runs(lab: Lab):
    await lab.add(one="x = 1", two="x = 2", reader="x + 1", free="free = 3")
    assert await lab.run() == ["free"]
    states = await lab.states()
    assert [states[name]["freshness"] for name in lab.cells] == ["failed", "failed", "blocked", "current"]
    assert states["one"]["errors"][0]["kind"] == "duplicate"
    assert states["one"]["errors"][0]["names"] == ["x"]
    assert states["one"]["errors"][0]["cells"] == [str(lab.cells["two"])]


async def test_a_cycle_is_an_error_on_exactly_its_cells(lab: Lab):
    await lab.add(a="a = b", b="b = a", c="c = 1")
    assert await lab.run() == ["c"]
    states = await lab.states()
    assert [states[name]["errors"][0]["kind"] for name in ("a", "b")] == ["cycle", "cycle"]


async def test_lazy_mode_only_marks_what_depends_on_a_run(lab: Lab):
    await db.write(lambda: Notebook.objects.filter(pk=lab.notebook.pk).update(run_mode="lazy"))
    await lab.add(a="a = 1", b="b = a + 1")
    await lab.run()
    await lab.edit("a", "a = 5")
    assert await lab.run("a") == ["a"]
    assert await lab.freshness() == {"a": "current", "b": "stale"}


async def test_a_deleted_cells_names_leave_the_kernel(lab: Lab):
    await lab.add(a="a = 1", b="b = a + 1", probe="'a' in globals()")
    await lab.run()
    await lab.delete("a")
    assert (await lab.freshness())["b"] == "stale"
    await lab.run("probe")
    assert await lab.text("probe") == "False"


async def test_a_disabled_cell_and_what_depends_on_it_do_not_run(lab: Lab):
    await lab.add(a="a = 1", b="b = a + 1", c="c = b + 1", d="d = a")
    await lab.update("b", disabled=True)
    assert await lab.run() == ["a", "d"]
    assert (await lab.states())["c"]["disabled_by"] == [str(lab.cells["b"])]


async def test_stop_interrupts_the_running_cell_and_empties_the_queue(lab: Lab):
    await lab.add(slow="import time\ntime.sleep(60)\nslow = 1", after="after = slow")
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    await lab.until("slow", "running")
    await runtime.stop()
    assert await runtime.wait(run, WAIT_S)
    states = await lab.states()
    assert states["slow"]["outcome"] == "interrupted"
    assert [state["status"] for state in states.values()] == ["idle", "idle"]
    await lab.edit("slow", "slow = 1")
    assert await lab.run("after") == ["slow", "after"]


async def test_a_run_of_a_cell_that_runs_already_is_served_by_that_attempt_and_says_so(lab: Lab):
    await lab.add(a="import time\nprint('once')\ntime.sleep(1.5)", b="print('b')")
    runtime = await lab.runtime()
    first = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    await lab.until("a", "running")
    again = await runtime.run({str(lab.cells["a"]): 0, str(lab.cells["b"]): 0}, by=lab.author)
    await lab.host.saver.flush()
    assert await lab.order(again) == ["a"]  # while it runs
    assert await runtime.wait(again, WAIT_S)
    assert (await lab.order(first), await lab.order(again)) == (["a"], ["a", "b"])
    assert await lab.text("a") == "once\n"
    assert await db.read(CellRun.objects.count) == 2


async def test_an_edit_while_a_cell_runs_leaves_it_stale(lab: Lab):
    await lab.add(a="import time\ntime.sleep(0.5)\na = 1", b="b = a")
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    await lab.until("a", "running")
    await lab.edit("a", "a = 2")
    assert await runtime.wait(run, WAIT_S)
    assert (await lab.freshness())["a"] == "stale"


async def test_a_cell_edited_while_queued_runs_its_new_source(lab: Lab):
    await lab.add(a="import time\ntime.sleep(0.7)\na = 1", b="b = a\nb")
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    await lab.until("a", "running")
    await lab.edit("b", "b = a + 100\nb")
    await runtime.feed.refresh()
    assert await runtime.wait(run, WAIT_S)
    assert await lab.text("b") == "101"
    assert (await lab.freshness())["b"] == "current"


@pytest.mark.database
async def test_a_kernel_that_dies_is_explained_and_outputs_stay(lab: Lab):
    await lab.add(a="print('kept')\na = 1", boom="import os\nos._exit(3)", after="after = a")
    listener = await lab.listen()
    await lab.run("a")
    await lab.run("boom")
    runtime = await lab.runtime()
    assert runtime.kernel_document()["state"] == "dead"
    assert "exit code 3" in runtime.kernel_document()["detail"]
    assert "cell 2" in runtime.kernel_document()["detail"]
    assert (await lab.states())["boom"]["outcome"] == "died"
    assert await lab.text("a") == "kept\n"
    assert any(event["state"] == "dead" for event in listener.events("kernel.changed"))
    assert "a" in await lab.run("after")


@pytest.mark.database
async def test_a_restart_unloads_everything_and_keeps_outputs(lab: Lab):
    await lab.add(a="a = 1\na", b="b = a + 1\nb")
    await lab.run()
    runtime = await lab.runtime()
    await runtime.restart(by=lab.author)
    states = await lab.states()
    assert [state["loaded"] for state in states.values()] == [False, False]
    assert [state["freshness"] for state in states.values()] == ["current", "current"]
    assert await lab.run("b") == ["a", "b"]


@pytest.mark.database
async def test_output_is_live_before_it_is_saved_and_saved_when_the_run_is_over(lab: Lab):
    await lab.add(a="import time\nfor i in range(4):\n    print(i)\n    time.sleep(0.2)\na = 1")
    listener = await lab.listen()
    await lab.run("a")
    assert len(listener.events("output.ops")) >= 3
    assert await lab.text("a") == "0\n1\n2\n3\n"
    assert await db.read(StreamChunk.objects.count) == 0
    numbered = [frame["seq"] for frame in listener.frames if frame.get("seq") and frame["type"] == "events"]
    assert numbered == sorted(set(numbered))


async def test_who_opens_the_page_during_a_run_sees_all_that_was_shown(lab: Lab):
    await lab.add(a="import time\nfor i in range(20):\n    print(i)\n    time.sleep(0.15)\na = 1")
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while True:
            [document] = await runtime.feed.cells([lab.cells["a"]])
            stored = await db.read(lambda: stored_outputs(lab))
            if document["outputs"] and document["outputs"][0]["text"].startswith("0\n1\n2\n") and stored:
                break
            await asyncio.sleep(0.05)
    assert (await lab.states())["a"]["status"] == "running"
    assert stored[0]["text"].startswith("0\n")
    assert await runtime.wait(run, WAIT_S)


def stored_outputs(lab: Lab) -> list:
    """What a reader of the database alone sees of a running cell."""
    cell = Cell.objects.get(pk=lab.cells["a"])
    return reading.outputs_of([cell.pk], running={cell.pk: cell.last_run_id}).get(cell.pk, [])


async def test_a_progress_bar_of_many_steps_is_one_line(lab: Lab):
    await lab.add(a="import sys\nfor i in range(20000):\n    sys.stdout.write(f'\\rstep {i}')\na = 1")
    await lab.run()
    assert await lab.text("a") == "step 19999"


async def test_a_cell_that_prints_for_ever_is_cut_and_stopped(lab: Lab):
    await lab.add(a="while True:\n    print('x' * 1000)", b="b = 1")
    runtime = await lab.runtime()
    run = await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    async with asyncio.timeout(WAIT_S):  # until more was printed than is kept
        while not ((runtime.live_outputs(str(lab.cells["a"])) or [{}])[0].get("cut")):
            await asyncio.sleep(0.05)
    await runtime.stop()
    assert await runtime.wait(run, WAIT_S)
    stream = (await lab.outputs("a"))[0]
    assert stream["cut"]["omitted_bytes"] > 0
    assert len(stream["text"]) + len(stream["cut"]["tail"]) < 200_000
    assert await lab.run("b") == ["b"]


async def test_a_large_image_is_a_file_and_not_in_the_row(lab: Lab):
    await lab.add(
        a="import os\nfrom IPython.display import Image, display\n"
        "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + os.urandom(300_000), format='png'))"
    )
    await lab.run()
    [output] = await lab.outputs("a")
    assert "image/png" not in output["data"]
    assert output["files"]["image/png"]["size_bytes"] == 300_008


async def test_sql_over_a_dataframe_binds_values_and_makes_a_dataframe(lab: Lab):
    await lab.add(
        df="import pandas as pd\ndf = pd.DataFrame({'x': [1, 2, 3, 4]})",
        limit="limit = 2",
        total="SELECT sum(x) AS s FROM df WHERE x > {limit}",
        use="int(total.s[0])",
    )
    assert await lab.run() == ["df", "limit", "total", "use"]
    assert await lab.text("use") == "7"
    assert "limit = 2" in (await lab.states())["total"]["note"]
    await lab.edit("limit", "limit = 3")
    assert await lab.run("limit") == ["limit", "total", "use"]
    assert await lab.text("use") == "4"


async def test_sql_reads_the_sample_database(lab: Lab):
    await lab.add(n="SELECT count(*) AS n FROM sample.orders", use="int(n.n[0])")
    await lab.run()
    assert int(await lab.text("use")) > 1000


async def test_input_is_asked_for_and_answered(lab: Lab):
    await lab.add(a="name = input('Who? ')\nprint('Hello', name)")
    listener = await lab.listen()
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while not listener.events("input.requested"):
            await asyncio.sleep(0.02)
    asked = listener.events("input.requested")[0]
    assert asked["prompt"] == "Who? "
    await runtime.input_reply(asked["attempt"], "Ana")
    assert await runtime.wait(run, WAIT_S)
    assert "Hello Ana" in await lab.text("a")


async def test_a_question_is_told_to_who_comes_later_and_answered_by_its_attempt_alone(lab: Lab):
    await lab.add(a="print('said', input('Who' + chr(0xd800)))\nprint('and', input('Who'))")
    listener = await lab.listen()
    runtime = await lab.runtime()
    run = await runtime.run_all(by=lab.author)
    for answer in ("Ana \ud800", "Bea"):
        async with asyncio.timeout(WAIT_S):
            while "asks" not in runtime.kernel_document():
                await asyncio.sleep(0.02)
        later = Listener()
        feed = await lab.host.feeds.open(lab.notebook.id)
        await feed.greet(later, None)
        asked = later.frames[0]["kernel"]["asks"]
        assert asked["cell"] == str(lab.cells["a"]) and asked["prompt"].startswith("Who")
        with pytest.raises(BadRequest, match="Nothing waits"):
            await runtime.input_reply(str(uuid.uuid4()), "of another")
        await runtime.input_reply(asked["attempt"], answer)
        with pytest.raises(BadRequest, match="Nothing waits"):
            await runtime.input_reply(asked["attempt"], "twice")
    assert await runtime.wait(run, WAIT_S)
    text = await lab.text("a")
    assert "said Ana \ufffd\n" in text and "and Bea\n" in text
    assert "asks" not in runtime.kernel_document()
    told = [event.get("asks") for event in listener.events("kernel.changed")]
    assert len([asked for asked in told if asked]) == 2 and told[-1] is None


async def test_completion_answers_from_the_live_kernel(lab: Lab):
    await lab.add(a="some_long_name = 1")
    await lab.run()
    runtime = await lab.runtime()
    async with asyncio.timeout(60):  # jedi reads its stubs first; a busy machine takes long over that
        while not (answer := await runtime.complete("x = '𝒳'; some_lo", 16))["matches"]:
            await asyncio.sleep(0.2)
    assert "some_long_name" in [match["text"] for match in answer["matches"]]
    assert (answer["from"], answer["to"]) == (10, 17) or answer["to"] == 16


async def test_a_source_that_does_not_parse_is_an_error_of_its_cell(lab: Lab):
    await lab.add(bad="def f(:\n    pass", ok="ok = 1")
    assert await lab.run() == ["ok"]
    error = (await lab.states())["bad"]["errors"][0]
    assert error["kind"] == "syntax"
    assert error["line"] == 1


async def test_a_5_mb_source_is_kept_and_refused_with_the_limit_named(lab: Lab):
    await lab.add(big="# " + "x" * 5_000_000, ok="ok = 1")
    assert await lab.run() == ["ok"]
    error = (await lab.states())["big"]["errors"][0]
    assert error["kind"] == "too_large"
    assert "512" in error["message"]


async def test_the_attempts_of_a_run_are_in_the_log(lab: Lab):
    await lab.add(a="a = 1", b="b = a")
    await lab.run()
    rows = await db.read(lambda: list(CellRun.objects.order_by("number").values_list("outcome", "number", "inputs")))
    assert [outcome for outcome, _, _ in rows] == ["ok", "ok"]
    assert list(rows[1][2]) == ["a"]


async def test_saving_a_run_costs_the_same_in_a_large_notebook(lab: Lab, django_assert_max_num_queries):
    from kernels_app.records import Batch, CellRecord, SessionRecord
    from kernels_app.saver import write_batches

    await lab.add(a="a = 1")
    runtime = await lab.runtime()

    def count(cells: int) -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        from notebooks_app import positions

        Cell.objects.filter(notebook=lab.notebook).exclude(pk=lab.cells["a"]).delete()
        Cell.objects.bulk_create(Cell(notebook=lab.notebook, position=positions.STEP * (i + 2)) for i in range(cells))
        batch = Batch(lab.notebook.pk, runtime.epoch, SessionRecord("idle", "", 1))
        batch.cells = {str(lab.cells["a"]): CellRecord(str(lab.cells["a"]), "idle", 1, None)}
        with CaptureQueriesContext(connection) as queries:
            assert write_batches([batch])[0] is not None
        return len(queries)

    assert await db.write(lambda: count(10)) == await db.write(lambda: count(1000))


async def test_a_value_that_is_the_same_again_keeps_its_readers_current(lab: Lab):
    await db.write(lambda: Notebook.objects.filter(pk=lab.notebook.pk).update(run_mode="lazy"))
    await lab.add(a="a = 1", b="b = a", c="print(b)")
    await lab.run()
    assert await lab.run("a") == ["a"]
    assert await lab.freshness() == {"a": "current", "b": "current", "c": "current"}
    await lab.edit("a", "a = 1.0")
    assert await lab.run("a") == ["a"]
    assert await lab.freshness() == {"a": "current", "b": "stale", "c": "stale"}


async def test_a_global_that_a_function_binds_is_current_in_its_readers_and_in_the_database(lab: Lab):
    await lab.add(define="def f():\n    global g\n    g = 7", call="f()", read="print(g)")
    assert await lab.run() == ["define", "call", "read"]
    await lab.host.saver.flush()
    assert set((await lab.freshness()).values()) == {"current"}
    stored = await db.read(lambda: reading.states_now(lab.notebook.id))
    assert {str(state.derived.freshness) for state in stored.values()} == {"current"}


async def test_each_cell_may_have_its_own_future_features(lab: Lab):
    source = "from __future__ import annotations\n{name}: Missing = 1"
    await lab.add(one=source.format(name="x"), two=source.format(name="y"))
    assert await lab.run() == ["one", "two"]
    states = await lab.states()
    assert [(state["freshness"], state["warnings"]) for state in states.values()] == [("current", [])] * 2


async def test_a_source_that_does_not_parse_blocks_what_needs_its_names(lab: Lab):
    await lab.add(a="a = 1", b="b = a", other="other = 2")
    await lab.run()
    await lab.edit("a", "a = (")
    assert await lab.freshness() == {"a": "failed", "b": "blocked", "other": "current"}
    assert await lab.run("b") == []
    await lab.edit("a", "c = 1")
    assert await lab.run("b") == ["b"]
    assert (await lab.outputs("b"))[0]["ename"] == "NameError"


async def test_the_last_words_of_a_cell_that_falls_silent_are_saved_while_it_runs(lab: Lab):
    await lab.add(a="import time\nfor _i in range(50): print('word', _i); time.sleep(0.01)\ntime.sleep(600)")
    runtime = await lab.runtime()
    await runtime.run({str(lab.cells["a"]): 0}, by=lab.author)
    async with asyncio.timeout(WAIT_S):
        while "word 49" not in str(await db.read(lambda: list(StreamChunk.objects.values_list("ops", flat=True)))):
            await asyncio.sleep(0.05)
    await runtime.stop()


async def test_an_opening_that_nobody_waits_for_any_more_is_carried_to_its_end(lab: Lab, monkeypatch):
    """A Stop that takes a run back leaves no lease that nobody holds."""
    claim, asked, may = lab.host._claim, asyncio.Event(), asyncio.Event()

    async def slow_claim(notebook_id: Any) -> Any:
        claimed = await claim(notebook_id)
        asked.set()
        await may.wait()
        return claimed

    monkeypatch.setattr(lab.host, "_claim", slow_claim)
    waits = asyncio.create_task(lab.host.ensure(lab.notebook.id))
    await asked.wait()
    waits.cancel()
    await asyncio.wait([waits])
    may.set()
    assert (await lab.runtime()).epoch == 1


async def test_what_is_held_of_runs_does_not_grow_with_their_number(lab: Lab):
    await lab.add(a="a = 1\na", b="b = a + 1\nprint(b)")

    async def held() -> dict[str, int]:
        await lab.host.saver.flush()
        runtime = await lab.runtime()
        parts = {**vars(runtime), **vars(runtime._book)}
        return {name: len(value) for name, value in parts.items() if isinstance(value, (dict, set, list))}

    await lab.run()
    before = await held()
    for _ in range(4):
        await lab.run()
    assert await held() == before
