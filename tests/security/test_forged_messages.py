# ruff: noqa: E501  (an attack is one line)
"""A notebook's own code, in a real kernel, with its connection file's key: it forges what it likes.

Each attack is a cell. Whatever it sends, the server answers others, its memory stays bounded, nothing of it stands in
another notebook, the own notebook says what was refused, and its next cell runs.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model

from kernels_app import attempts
from kernels_app import kernel as kernel_module
from kernels_app.models import KernelLimits
from notebooks_app import db
from notebooks_app.models import Notebook
from tests.runtime.conftest import data_dir  # noqa: F401  the fixture
from tests.runtime.lab import WAIT_S, Lab, close_lab, open_lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

GROWTH_BYTES = 150 * 1024 * 1024
REFUSED = "forged or damaged"

# What an attacker has: the kernel's own sockets and the key that signs. `say` publishes, `frame` is one of ours, `reply`
# answers the request that runs, `attempt` is this cell's attempt and `victim` another notebook's.
TOOLS = """
import json, os, sys, time, zmq
from ipykernel.kernelapp import IPKernelApp
app = IPKernelApp.instance(); kernel = app.kernel; session = kernel.session; iopub = kernel.iopub_thread
parent = kernel.get_parent("shell"); attempt = sys.modules[type(kernel).__module__].attempts.current_id(); victim = {victim!r}
DELIM = b"<IDS|MSG>"
def raw(*parts):
    done = []
    iopub.schedule(lambda: (iopub.socket.send_multipart(list(parts)), done.append(1)))
    until = time.monotonic() + 20
    while not done and time.monotonic() < until: time.sleep(0.001)
def signed(kind, content, header=None, above=None):
    made = [json.dumps(header or session.msg_header(kind), default=str).encode(),
            json.dumps(above if above is not None else parent["header"], default=str).encode(), b"{{}}",
            content if isinstance(content, bytes) else json.dumps(content).encode()]
    return [DELIM, session.sign(made), *made]
def say(kind, content, **more): raw(*signed(kind, content, **more))
next_frame = [10]
def frame(*entries, number=None):
    next_frame[0] += 1
    say("rill_frame", {{"plan": "p", "frame": next_frame[0] if number is None else number, "entries": list(entries)}})
time.sleep(0.1)  # this cell's start is told before what is forged
def text(words, whose): return {{"t": "stream", "attempt": whose, "name": "stdout", "text": words}}
"""

SHAPES = r"""
bad = [None, True, -1, 2**70, 1e308, float("nan"), float("inf"), "", "\0", "\ud800", "x" * 300_000, [], [[]], {}, {"a": 1}, ["a"] * 9]
kinds = {
  "started": {"attempt": attempt, "cell": "c", "version": 1}, "stream": text("x", attempt),
  "display": {"attempt": attempt, "data": {"text/plain": "x"}, "metadata": {}, "display_id": None, "result": True, "spool": {}},
  "update": {"attempt": attempt, "display_id": "d", "data": {}, "metadata": {}, "spool": {}},
  "clear": {"attempt": attempt, "wait": True}, "error": {"attempt": attempt, "ename": "E", "evalue": "v", "traceback": []},
  "notice": {"attempt": attempt, "text": "t"}, "note": {"attempt": attempt, "text": "t"},
  "finished": {"attempt": "other", "outcome": "ok", "names": [], "kept": [], "undeclared": [], "duration_ms": 1},
}
for kind, fields in kinds.items():
    for name in fields:
        frame(*({"t": kind, **fields, name: value} for value in bad))
"""

ATTACKS: dict[str, tuple[str, bool]] = {  # what it does, and whether the notebook is told of a refusal
    "entries for another notebook": ("frame(text('STOLEN', victim), {'t': 'finished', 'attempt': victim, 'outcome': 'error', 'duration_ms': 1})", True),
    "every field of every kind in every wrong type": (SHAPES, True),
    "unknown kinds and shapes": ("frame({'t': 'rm'}, 7, None, [], 'x', {'t': ['stream']}); say('rill_frame', {'frame': 12, 'entries': {}})", True),
    "a frame number beyond all": ("frame(text('a', attempt), number=2**62); frame(text('b', attempt), number=-5); frame(number=True); frame(number='x'); frame(number=1e9)", True),
    "json of a million lists": ("say('rill_frame', b'{\"frame\": 20, \"entries\": [' + b'[],' * 1_200_000 + b'[]]}')", True),
    "json ten megabytes long": ("say('rill_frame', {'frame': 20, 'entries': [], 'pad': 'x' * 10_000_000})", True),
    "json deeper than a stack": ("say('rill_frame', b'{\"frame\": 20, \"entries\": ' + b'[' * 400_000 + b']' * 400_000 + b'}')", True),
    "deep headers": ("deep = b'[' * 20_000 + b']' * 20_000; made = [deep, deep, b'{}', b'{}']; raw(DELIM, session.sign(made), *made)", True),
    "keys given twice, and not a number": ("say('rill_frame', b'{\"frame\": NaN, \"entries\": [], \"frame\": -1, \"entries\": [{\"t\": 1}]}')", True),
    "an integer of ten thousand digits": ("say('rill_frame', b'{\"frame\": ' + b'9' * 10_000 + b', \"entries\": []}')", True),
    "no signature, no parts, no text": ("raw(b'x'); raw(DELIM); raw(DELIM, b'', b'', b'', b'', b''); raw(b'\\xff' * 100, DELIM, b'\\xff', b'\\xff', b'{}', b'{}', b'{}')", True),
    "a comm flood": ("big = json.dumps({'data': 'x' * 3_000_000}).encode()\nfor n in range(60): say('comm_msg', big)", False),
    "two thousand small frames of nobody's": ("for n in range(2000): frame(*[text('STOLEN', victim)] * 20)", True),
    "status and ends that are not its to say": ("say('status', {'execution_state': ['idle']}); say('status', {'execution_state': 'idle'}, above={'msg_id': victim}); say('shutdown_reply', {}); say('rill_run_reply', {'finished': 'all'})", False),
    "displays of one id, updated without end": (
        "shown = {'t': 'display', 'attempt': attempt, 'data': {'text/plain': 'y' * 8000}, 'metadata': {}, 'display_id': 'd', 'result': False, 'spool': {}}\n"
        "for n in range(40): frame(*[shown] * 20)\n"
        "for n in range(40): frame(*[{**shown, 't': 'update', 'data': {'text/plain': str(i) * 8000}} for i in range(100)])", True),
    "names that no database takes": ("frame({'t': 'finished', 'attempt': attempt, 'outcome': 'ok', 'names': ['a\\0b', '\\ud800'], 'undeclared': ['x' * 2000], 'duration_ms': 10**400})", True),
    "durations beyond the database": ("frame({'t': 'finished', 'attempt': attempt, 'outcome': 'ok', 'names': [], 'undeclared': ['odd name'], 'duration_ms': 10**300})", True),
}  # fmt: skip

SPOOL = r"""
os.makedirs(".spool", exist_ok=True)
os.symlink("/etc/passwd", ".spool/link"); os.mkfifo(".spool/fifo"); os.mkdir(".spool/folder")
open(".spool/huge", "wb").truncate(140_000_000); open(".spool/one", "wb").write(b"STO" + b"LEN"); os.link(".spool/one", ".spool/two")
open("outside", "wb").write(b"STO" + b"LEN")
names = ["../outside", "..", ".", "", "/etc/passwd", "link", "fifo", "folder", "huge", "two", "none", "a/b", "\0", "x" * 500, "..\\x", "-rf", "one\n"]
for name in names:
    frame({"t": "display", "attempt": attempt, "data": {}, "metadata": {}, "display_id": None, "result": False,
           "spool": {"text/plain": {"file": name, "size_bytes": 1}}})
frame({"t": "display", "attempt": attempt, "data": {}, "metadata": {}, "display_id": None, "result": False,
       "spool": {"text/plain": {"file": "one", "size_bytes": -1}}})
"""


@pytest_asyncio.fixture
async def labs(transactional_db: None, data_dir: Any) -> AsyncIterator[tuple[Lab, Lab]]:  # noqa: F811
    """An attacker's notebook and a bystander's, of two people, in one server."""
    people = [
        await db.write(lambda name=name: get_user_model().objects.create_user(name)) for name in ("mallory", "ana")
    ]
    attacker = await open_lab(people[0], "Attack")
    other = await db.write(lambda: Notebook.objects.create(owner=people[1], name="Bystander"))
    bystander = Lab(attacker.host, other, type(attacker.author)(people[1].pk, "ana"))
    await bystander.add(calm="print('calm')")
    await bystander.run()
    yield attacker, bystander
    await close_lab(attacker)


async def attack(labs: tuple[Lab, Lab], source: str) -> None:
    """Run the attack, then show that both notebooks go on."""
    attacker, bystander = labs
    tools = TOOLS.format(victim=(await bystander.states())["calm"]["attempt"])
    if "attack" not in attacker.cells:
        await attacker.add(attack="0", after="print(6 * 7)")
    await attacker.edit("attack", f"{tools}\n{source}\nprint('sent')\n")
    run = asyncio.ensure_future(attacker.run("attack"))
    while not run.done():  # the server answers others meanwhile
        assert (await asyncio.wait_for(bystander.states(), WAIT_S))["calm"]["outcome"] == "ok"
        await asyncio.wait([run], timeout=0.2)
    await run
    await attacker.run("after")  # hears what was still on its way
    await unharmed(labs)


async def unharmed(labs: tuple[Lab, Lab]) -> None:
    attacker, bystander = labs
    assert "after" in await attacker.run("after")
    assert await attacker.text("after") == "42\n", (await attacker.outputs("after"), (await attacker.states())["after"])
    assert await bystander.text("calm") == "calm\n"
    assert (await bystander.states())["calm"]["outcome"] == "ok"
    assert await bystander.run("calm") == ["calm"]
    assert not attacker.host.saver.is_behind and not (await attacker.runtime()).is_fenced


def resident(*, tidy: bool = True) -> int:
    """Bytes in memory. Tidying up first takes longer than most turns of the event loop: not while something is timed."""
    if tidy:
        gc.collect()
    return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


BEGINS_AGAIN = """
until = time.monotonic() + 20
while time.monotonic() < until:
    frame({"t": "started", "attempt": attempt, "cell": "c", "version": 1})
    time.sleep(0.2)
"""


async def test_a_cell_that_says_it_begins_again_and_again_runs_no_longer(labs: tuple[Lab, Lab]):
    attacker = labs[0]
    await db.write(lambda: KernelLimits.objects.create(user=attacker.notebook.owner, run_seconds=2))
    await attack(labs, BEGINS_AGAIN)
    assert (await attacker.states())["attack"]["outcome"] == "interrupted"


async def test_no_forged_message_reaches_another_notebook_or_stays_unsaid(labs: tuple[Lab, Lab]):
    before = resident()
    for name, (source, is_told) in ATTACKS.items():
        await attack(labs, source)
        states = await labs[0].states()  # a busy machine may find it out while the next cell runs
        told = str([states[cell]["warnings"] for cell in ("attack", "after")])
        assert (REFUSED in told) is is_told, (name, told)
        assert "STOLEN" not in await labs[0].text("attack"), name
        assert resident() - before < GROWTH_BYTES, name
    runtime = await labs[0].runtime()
    assert runtime._kernel.dropped > 0 and runtime.kernel_document()["state"] == "idle"


async def test_no_file_but_its_own_is_taken_from_a_kernel(labs: tuple[Lab, Lab]):
    await attack(labs, SPOOL)
    outputs = await labs[0].outputs("attack")
    assert not [output for output in outputs if output.get("files")]
    shown = str(outputs)
    assert "STOLEN" not in shown and "root:" not in shown
    for words in ("not a plain name", "not a file", "other names too", "over the limit", "is not there"):
        assert words in shown, words


CLAIMS = """
entries = [{"t": kind, "attempt": attempt, "display_id": "d", "data": {}, "metadata": {}, "result": False,
            "spool": {f"a/b{number}": {"file": "x", "size_bytes": 1} for number in range(32)}}
           for kind in ("update", "display") for _ in range(450)]
for _ in range(4): frame(*entries)
time.sleep(1)
os._exit(3)
"""


async def test_a_dead_kernels_cell_ends_soon_whatever_files_it_named(labs: tuple[Lab, Lab], monkeypatch):
    attacker, _ = labs
    looked: list[str] = []
    real = attempts.copy_spooled
    monkeypatch.setattr(attempts, "LAST_FILES_S", 5.0)
    monkeypatch.setattr(attempts, "copy_spooled", lambda work, name, *more: looked.append(name) or real(work, name, *more))
    await attacker.add(attack=TOOLS.format(victim="x") + CLAIMS, after="print(6 * 7)")
    await attacker.run("attack")
    assert (await attacker.states())["attack"]["outcome"] == "died"
    assert 0 < len(looked) <= 4 * attempts.CLAIMS_MAX
    await unharmed(labs)


BY_HAND = """
import socket, stat, struct
for number in map(int, os.listdir('/proc/self/fd')):
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode): continue
        line = socket.socket(fileno=os.dup(number))
        if 'c-' not in str(line.getsockname()) or line.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN): continue
        line.setblocking(True)
        for _ in range(20): line.sendall(struct.pack('>BQ', 3, 8_000_000) + b'x' * 8_000_000)
    except OSError: pass
"""
TOO_LARGE = {
    "one frame of 100 MB": "raw(b'x' * 100_000_000)",
    "frames that are each below the limit": "raw(*[b'x' * 31_000_000] * 4)",
    "more frames than any message has": "raw(*[b''] * 5_000)",
    "frames without end, written by hand into the server's connection": BY_HAND,
}


async def test_a_message_of_any_size_costs_the_server_no_more_than_one_of_32_mib(labs: tuple[Lab, Lab]):
    attacker, _ = labs
    await attacker.add(attack="0", after="print(6 * 7)")
    for name, flood in TOO_LARGE.items():
        await attacker.edit("attack", f"{TOOLS.format(victim='x')}\n{flood}\ntime.sleep(60)")
        before, most = resident(), 0
        run = asyncio.ensure_future(attacker.run("attack"))
        while not run.done():
            most = max(most, resident(tidy=False) - before)
            await asyncio.wait([run], timeout=0.01)
        assert most < GROWTH_BYTES, name
        assert (await attacker.states())["attack"]["outcome"] == "died", name
        assert "32 MiB" in (await attacker.runtime()).kernel_document()["detail"], name
        await unharmed(labs)


HALF = """
import socket, stat, struct
for number in map(int, os.listdir('/proc/self/fd')):
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode): continue
        line = socket.socket(fileno=os.dup(number))
        if line.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN): continue
        if not str(line.getsockname()).endswith((f'c-{app.stdin_port}', f'c-{app.control_port}')): continue
        line.setblocking(True)
        line.sendall(struct.pack('>BQ', 2, 33_000_000) + b'x' * 32_900_000)
        line.setblocking(False)
        print('half')
    except OSError: pass
"""


async def test_messages_that_never_end_are_not_held_for_the_life_of_their_kernel(labs: tuple[Lab, Lab]):
    attacker, _ = labs
    before = resident()
    await attack(labs, HALF)
    assert (await attacker.text("attack")).count("half") == 2
    assert resident() - before < 20 * 1024 * 1024


async def test_a_flood_of_questions_is_asked_so_often_and_no_more(labs: tuple[Lab, Lab]):
    listener = await labs[0].listen()
    source = (
        "ident = kernel._plan_ident\n"
        "question = {'prompt': 'password of the server?' * 1000, 'password': True}\n"
        "for n in range(3000): session.send(kernel.stdin_socket, 'input_request', question, parent=parent, ident=ident)\n"
        "for n in range(20): session.send(kernel.stdin_socket, 'input_request', {'prompt': ['x'], 'password': 'x'},\n"
        "    parent={'header': {'msg_id': victim}}, ident=ident)\n"
        "time.sleep(0.5)"
    )
    await attack(labs, source)
    asked = listener.events("input.requested")
    assert 0 < len(asked) <= 2 * kernel_module.QUESTIONS_MAX  # the next plan may hear the last of them
    assert {event["cell"] for event in asked} <= {str(cell) for cell in labs[0].cells.values()}
    assert all(len(event["prompt"]) <= 10_000 for event in asked)
    assert "question out of turn" in str((await labs[0].states())["attack"]["warnings"])


async def test_an_end_and_an_idle_that_are_forged_end_nothing_but_their_own_cell(labs: tuple[Lab, Lab], monkeypatch):
    monkeypatch.setattr(kernel_module, "LOST_REPLY_S", 1.0)
    source = (
        "frame({'t': 'finished', 'attempt': attempt, 'outcome': 'ok', 'names': ['x'], 'kept': [], 'undeclared': [], 'duration_ms': 1})\n"
        "say('status', {'execution_state': 'idle'}, above=kernel._plan_parent['header'])\n"
        "time.sleep(2)\n"
    )
    await attack(labs, source)
    assert await labs[0].freshness() == {"attack": "current", "after": "current"}


async def test_replies_to_calls_are_believed_in_nothing(labs: tuple[Lab, Lab]):
    """The kernel's answers to completions, tables, variables and parameters are replaced by its cell."""
    attacker, _ = labs
    source = """
def forged(*arguments, **options): return answer
kernel.calls.answer = forged
kernel.do_complete = kernel.do_inspect = forged
answer = {}
"""
    await attack(labs, source)
    runtime = await attacker.runtime()
    answers: list[Any] = [
        {}, {"status": "ok", "matches": 5, "cursor_start": "x", "cursor_end": -1, "metadata": {"_jupyter_types_experimental": 7}},
        {"status": "ok", "matches": [1, "x" * 50_000], "cursor_start": 10**30, "cursor_end": 1.5, "metadata": []},
        {"status": "ok", "data": {"text/html": "<script>", "text/plain": ["x"]}, "found": True, "values": [1], "table": "x", "variables": {"a": 1}},
        {"status": "ok", "values": {"a": 10**400}, "table": {"rows": [[]] * 9}, "variables": [7, {"name": "\0"}] * 5000},
        {"status": "error", "ename": "X" * 50_000, "evalue": ["y"]}, {"status": None},
    ]  # fmt: skip
    for answer in answers:
        await attacker.add(**{f"set{len(attacker.cells)}": f"answer.clear(); answer.update({answer!r})"})
        await attacker.run(list(attacker.cells)[-1])
        for question in (
            runtime.complete("pri", 3),
            runtime.inspect("print", 2),
            runtime.variables(),
            runtime.table({"handle": "h"}),
        ):
            try:
                json_safe(await question)
            except Exception as error:
                assert type(error).__name__ == "BadRequest", error
    await unharmed(labs)


def json_safe(value: Any) -> None:
    import json

    json.dumps(value, allow_nan=False).encode()
    str(value).encode("utf-8")
