"""Tests of kernels_app/kernel.py against kernels that misbehave on purpose (rogue.py)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from kernels_app import kernel as kernel_module
from kernels_app.kernel import Kernel, KernelDied, KernelSilent, KernelStartTimeout
from tests.kernel.conftest import StartRogue, Watched, item, rogue_profile

pytestmark = pytest.mark.asyncio

SAY_ON = "frame({'t': 'notice', 'attempt': attempt, 'text': 'on'})\n"


async def test_a_plan_is_run_and_its_entries_arrive_before_its_reply(rogue: Watched):
    reply = await rogue.run("frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'hello'})")
    assert rogue.text() == "hello"
    assert reply["status"] == "ok" and [entry["attempt"] for entry in reply["finished"]] == ["a0"]


async def test_a_kernel_that_stays_mute_at_its_start_is_given_up_with_what_it_wrote(start_kernel: StartRogue):
    began = time.monotonic()
    with pytest.raises(KernelStartTimeout) as caught:
        await start_kernel(rogue_profile(start_timeout_s=3.0, ROGUE_START="mute"))
    assert "not ready after 3 s" in str(caught.value) and "then silence" in caught.value.stderr
    assert time.monotonic() - began < 20


async def test_a_kernel_that_dies_at_its_start_is_reported_with_what_it_wrote(start_kernel: StartRogue):
    with pytest.raises(KernelStartTimeout) as caught:
        await start_kernel(rogue_profile(ROGUE_START="die"))
    assert "exit code 7" in str(caught.value) and "a module is missing" in caught.value.stderr


async def test_a_slow_start_is_waited_for(start_kernel: StartRogue):
    watched = await start_kernel(rogue_profile(ROGUE_START="slow"))
    assert (await watched.run("pass"))["status"] == "ok"


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("os._exit(3)", "exit", "ended itself (exit code 3)"),
        ("os._exit(0)", "exit", "ended itself"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal", "killed (SIGKILL)"),
        ("import ctypes; ctypes.string_at(0)", "signal", "segmentation fault"),
        ("os.abort()", "signal", "abort"),
    ],
)
async def test_a_death_while_running_is_told_in_plain_words(
    rogue: Watched, source: str, kind: str, words: str
):
    with pytest.raises(KernelDied) as caught:
        await rogue.run(source)
    assert caught.value.death.kind == kind and words in caught.value.death.reason
    assert rogue.kernel.died.result() == caught.value.death


async def test_threads_count_as_processes_where_the_system_does_not_bound_them(start_kernel: StartRogue):
    watched = await start_kernel(replace(rogue_profile("none"), processes=32))
    with pytest.raises(KernelDied) as caught:
        threads = "for n in range(60): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        await watched.run(threads + "time.sleep(60)")
    assert caught.value.death.kind == "processes" and "more than 32 processes and threads" in caught.value.death.reason


async def test_a_death_without_a_sandbox_is_told_in_the_same_words(start_kernel: StartRogue):
    watched = await start_kernel(rogue_profile("none"))
    with pytest.raises(KernelDied, match="segmentation fault"):
        await watched.run("import ctypes; ctypes.string_at(0)")


async def test_a_cell_that_ignores_interrupts_costs_the_kernel_its_life(rogue: Watched):
    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    running = asyncio.ensure_future(rogue.run(deaf + SAY_ON + "time.sleep(60)"))
    await rogue.wait_for("notice")
    assert await rogue.kernel.interrupt(times=3, every_s=0.2) is False
    with pytest.raises(KernelDied, match="did not react to 3 interrupts"):
        await running


async def test_a_cell_that_heeds_an_interrupt_leaves_the_kernel_alive(rogue: Watched):
    running = asyncio.ensure_future(rogue.run(SAY_ON + "time.sleep(60)"))
    await rogue.wait_for("notice")
    assert await rogue.kernel.interrupt() is True
    assert (await running)["finished"][0]["outcome"] == "interrupted"


async def test_interrupting_a_kernel_that_runs_nothing_does_nothing(rogue: Watched):
    assert await rogue.kernel.interrupt() is True
    assert (await rogue.run("pass"))["status"] == "ok"


async def test_a_reply_that_never_comes_ends_in_a_lost_plan(rogue: Watched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "LOST_REPLY_S", 0.2)
    finished = "frame({'t': 'finished', 'attempt': 'a0', 'outcome': 'ok', 'duration_ms': 1})"
    reply = await rogue.run(finished, "no_reply = True")
    assert reply["status"] == "lost" and reply["left"] == ["a1"]
    assert [entry["attempt"] for entry in reply["finished"]] == ["a0"]


async def test_an_idle_message_that_never_comes_does_not_hold_the_reply_for_ever(
    rogue: Watched, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_module, "LAST_FRAMES_S", 0.2)
    assert (await rogue.run("no_idle = True"))["status"] == "ok"


async def test_a_missing_frame_is_shown_in_the_running_cell(rogue: Watched):
    source = (
        "frame({'t': 'started', 'attempt': attempt, 'cell': 'c', 'version': 1})\n"
        "frames += 1\n"
        "after = {'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'after'}\n"
        "frame(after, number=2)\n"
    )
    await rogue.run(source)
    notice = await rogue.wait_for("notice")
    assert notice["attempt"] == "a0" and "lost" in notice["text"]
    assert rogue.text() == "after"


async def test_a_frame_that_was_already_counted_is_not_believed(rogue: Watched):
    stream = "{'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'twice'}"
    await rogue.run(f"frame({stream}); frame({stream}, number=0)")
    assert rogue.text() == "twice"
    assert rogue.kernel.dropped > 0


@pytest.mark.parametrize(
    "source",
    [
        "frame({'t': 'stream', 'attempt': 'someone else', 'name': 'stdout', 'text': 'forged'})",
        "frame({'t': 'stream', 'attempt': attempt, 'name': 'stdin', 'text': 'forged'})",
        "frame({'t': 'finished', 'attempt': attempt, 'outcome': 'splendid', 'duration_ms': 1})",
        "frame({'t': 'started', 'attempt': attempt, 'cell': ['c'], 'version': 1})",
        "frame({'t': 'display', 'attempt': attempt, 'data': 'text', 'metadata': {}, 'result': True})",
        "frame('no entry', 7, None)",
        "publish('rill_frame', {'frame': 0, 'entries': {'t': 'stream'}})",
        "publish('rill_frame', {'frame': 'first', 'entries': []})",
        "raw(b'no', b'message')",
        "raw(b'<IDS|MSG>', b'bad signature', b'{}', b'{}', b'{}', b'{}')",
        "deep = b'[' * 200_000; raw(b'<IDS|MSG>', session.sign([deep] * 4), deep, deep, deep, deep)",
    ],
)
async def test_a_forged_message_is_left_out_and_the_kernel_goes_on(rogue: Watched, source: str):
    reply = await rogue.run(source)
    assert reply["status"] == "ok"
    assert rogue.entries == []
    assert rogue.kernel.dropped + rogue.kernel._channels.unreadable > 0
    number = "frames = max(frames, 1); globals().update(frames=frames)\n"
    await rogue.run(
        number + "frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'fine'}, number=50)"
    )
    assert rogue.text() == "fine"


async def test_a_message_above_the_limit_ends_the_kernel_with_its_reason(rogue: Watched):
    with pytest.raises(KernelDied) as caught:
        await rogue.run("raw(b'x' * 100_000_000); time.sleep(60)")
    assert caught.value.death.kind == "protocol" and "32 MiB" in caught.value.death.reason


async def test_a_reply_with_nonsense_in_it_is_reduced_to_what_is_well_formed(rogue: Watched):
    reply = await rogue.run("answer = {'finished': 'all', 'left': [1, 'a0', 'unknown'], 'status': 'fine'}")
    assert reply["status"] == "error" and reply["left"] == ["a0"]


async def test_names_that_no_cell_was_asked_for_are_kept_of_no_frame_and_no_reply(rogue: Watched):
    source = (
        "names = [f'n{n}' for n in range(50_000)] + ['x']\n"
        "end = {'t': 'finished', 'attempt': attempt, 'outcome': 'ok', 'names': names,\n"
        "       'kept': ['n0', 'x'], 'undeclared': ['h'], 'duration_ms': 1}\n"
        "frame(end); answer = {'status': 'ok', 'finished': [end, {**end, 'attempt': 'a1'}], 'left': []}"
    )
    items = [item("a0", source, definitions=["x", "y"]), item("a1", "pass")]
    reply = await rogue.kernel.run_plan("p", items)
    told = [(entry["names"], entry["kept"], entry["undeclared"]) for entry in [*rogue.entries, *reply["finished"]]]
    assert told == [(["x"], ["x"], ["h"]), (["x"], ["x"], ["h"]), ([], [], ["h"])]


async def test_a_closed_gate_makes_the_kernel_wait_and_loses_nothing(rogue: Watched):
    opened = asyncio.Event()
    rogue.kernel.gate = lambda: None if opened.is_set() else opened.wait()
    source = (
        "line = 'x' * 60_000 + '\\n'\n"
        "for n in range(300):\n"
        "    frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': f'{n} ' + line}, number=n)\n"
    )
    running = asyncio.ensure_future(rogue.run(source))
    await asyncio.sleep(0.5)
    assert not running.done() and len(rogue.entries) < 10
    opened.set()
    await running
    assert [line.split()[0] for line in rogue.text().splitlines()] == [str(n) for n in range(300)]


async def test_a_flood_is_taken_in_without_holding_up_the_event_loop(rogue: Watched):
    source = (
        "for n in range(500):\n"
        "    frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'y' * 65_000}, number=n)\n"
    )
    running = asyncio.ensure_future(rogue.run(source))
    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(rogue.text()) == 500 * 65_000
    assert turns > 100, "others had their turns between the messages"


async def test_frames_sent_just_before_a_death_are_handed_on(rogue: Watched):
    source = (
        "for n in range(50):\n"
        "    frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': 'z' * 60_000}, number=n)\n"
        "time.sleep(2); os._exit(1)"
    )
    with pytest.raises(KernelDied):
        await rogue.run(source)
    assert len(rogue.text()) == 50 * 60_000


async def test_a_listener_that_fails_does_not_end_the_reading(rogue: Watched):
    def fail(entries: list[object]) -> None:
        raise RuntimeError("not today")

    hear, rogue.kernel.on_entries = rogue.kernel.on_entries, fail
    await rogue.run("frame({'t': 'notice', 'attempt': attempt, 'text': 'x'})")
    rogue.kernel.on_entries = hear
    await rogue.run("frame({'t': 'notice', 'attempt': attempt, 'text': 'y'}, number=1)")
    assert [entry["text"] for entry in rogue.entries] == ["y"]


async def test_a_call_without_an_answer_ends_in_time(rogue: Watched):
    running = asyncio.ensure_future(rogue.run(SAY_ON + "time.sleep(1)"))
    await rogue.wait_for("notice")
    with pytest.raises(KernelSilent):
        await rogue.kernel.complete("x", 1, timeout_s=0.2)
    await running


async def test_amending_a_plan_returns_what_was_too_late(rogue: Watched):
    assert await rogue.kernel.amend("p", append=[item("a9", "pass")]) == ["x"]


async def test_input_is_asked_with_its_attempt_and_answered(rogue: Watched):
    asked: list[tuple[str, str, bool]] = []
    rogue.kernel.on_input = lambda *question: asked.append(question) or rogue.kernel.input_reply("blue", question[0])
    source = (
        "parent = {'header': {**message['header'], 'msg_id': attempt}}\n"
        "question = {'prompt': 'colour?', 'password': False}\n"
        "session.send(stdin, 'input_request', question, parent=parent, ident=identity)\n"
        "_, got = session.recv(stdin, mode=0)\n"
        "frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': got['content']['value']})\n"
    )
    await rogue.run(source)
    assert asked == [("a0", "colour?", False)] and rogue.text() == "blue"
    assert rogue.kernel.input_reply("too late", asked[0][0]) is False


async def test_shutdown_ends_a_kernel_that_listens_at_once(rogue: Watched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "ASK_S", 600)
    async with asyncio.timeout(60):
        await rogue.kernel.shutdown()
    assert rogue.kernel.died.result().kind == "shutdown"


async def test_shutdown_kills_a_kernel_that_neither_listens_nor_terminates(
    start_kernel: StartRogue, monkeypatch: pytest.MonkeyPatch, rung: str
):
    monkeypatch.setattr(kernel_module, "ASK_S", 0.3)
    monkeypatch.setattr(kernel_module, "TERMINATE_S", 0.3)
    watched = await start_kernel(rogue_profile(rung, ROGUE_STAYS="1"))
    process = watched.kernel._provisioner.process
    await watched.kernel.shutdown()
    assert process.poll() is not None and watched.kernel.died.done()


async def test_shutdown_terminates_a_kernel_that_does_not_listen(
    start_kernel: StartRogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_module, "ASK_S", 0.2)
    monkeypatch.setattr(kernel_module, "TERMINATE_S", 600.0)
    watched = await start_kernel(rogue_profile(ROGUE_STAYS="1"))
    await watched.run("signal.signal(signal.SIGTERM, signal.SIG_DFL)")
    async with asyncio.timeout(60):
        await watched.kernel.shutdown()
    assert watched.kernel.died.done()


async def test_too_many_processes_end_the_kernel(start_kernel: StartRogue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "WATCH_S", 0.1)
    profile = rogue_profile()
    profile = replace(profile, processes=20, use_cgroups=False)
    watched = await start_kernel(profile)
    source = "import subprocess\nfor _ in range(40): subprocess.Popen(['sleep', '60'])\ntime.sleep(60)"
    with pytest.raises(KernelDied) as caught:
        await watched.run(source)
    assert caught.value.death.kind == "processes" and "20 processes" in caught.value.death.reason


async def test_too_much_memory_ends_the_kernel(start_kernel: StartRogue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_module, "WATCH_S", 0.1)
    profile = rogue_profile()
    profile = replace(profile, memory_bytes=512 * 1024 * 1024, use_cgroups=False)
    watched = await start_kernel(profile)
    with pytest.raises(KernelDied) as caught:
        await watched.run("os.fork(); os.fork(); block = b'x' * (200 * 1024 * 1024); time.sleep(60)")
    assert caught.value.death.kind == "memory" and "may use 0.5 GiB" in caught.value.death.reason


async def test_children_of_a_kernel_without_a_sandbox_die_with_it(start_kernel: StartRogue):
    watched = await start_kernel(rogue_profile("none"))
    source = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "frame({'t': 'stream', 'attempt': attempt, 'name': 'stdout', 'text': str(child.pid)})\n"
    )
    await watched.run(source)
    child = int(watched.text())
    await watched.kernel.kill()
    deadline = time.monotonic() + 5
    while _state(child) not in ("", "Z") and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert _state(child) in ("", "Z")


async def test_memory_is_that_of_the_kernel_and_its_children(rogue: Watched):
    before = await rogue.kernel.memory_bytes()
    await rogue.run("import builtins; builtins.block = b'x' * 100_000_000")
    after = await rogue.kernel.memory_bytes()
    assert before > 10_000_000 and after - before > 90_000_000


async def test_a_kernel_started_twice_at_once_is_two_kernels(start_kernel: StartRogue):
    first, second = await asyncio.gather(start_kernel(rogue_profile()), start_kernel(rogue_profile()))
    assert isinstance(first.kernel, Kernel) and first.kernel.launch.run != second.kernel.launch.run


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""
