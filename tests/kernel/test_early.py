"""What a kernel says while nothing of it comes: each entry once, in order, and at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels_app.early import MOST_BYTES, Early
from kernels_app.inside.frames import FrameWriter
from kernels_app.inside.journal import HALF, open_beside
from kernels_app.journal import Journal, Record
from kernels_app.provisioner import Profile
from tests.kernel.conftest import StartRogue, Watched, item

# Holds the interpreter lock, as a long call into C may, until the test opens the other end.
HOLD = "import ctypes, os\nos.mkfifo('gate')\nctypes.PyDLL(None).open(b'gate', 0)\n"


def let_go(watched: Watched) -> None:
    os.close(os.open(watched.kernel.work / "gate", os.O_WRONLY | os.O_NONBLOCK))


def kinds(watched: Watched) -> list[tuple[str, str]]:
    return [(entry["t"], entry["attempt"]) for entry in watched.entries if entry["t"] != "stream"]


async def until(watched: Watched, count: int) -> None:
    async with asyncio.timeout(20):
        while len(kinds(watched)) < count:
            watched.heard.clear()
            await watched.heard.wait()


@pytest.mark.asyncio
async def test_a_cell_that_holds_the_interpreter_is_seen_running_and_those_before_it_done(
    start_kernel: StartRogue, rung: str
):
    watched = await start_kernel(Profile(sandbox=rung))
    cells = [item("a0", "print('first')\n1 + 1"), item("a1", f"print('begun', flush=True)\n{HOLD}print('ended')\n3")]
    plan = asyncio.ensure_future(watched.kernel.run_plan("p", cells))
    seen = [("started", "a0"), ("display", "a0"), ("finished", "a0"), ("started", "a1")]
    await until(watched, len(seen))
    assert kinds(watched) == seen and not plan.done()
    async with asyncio.timeout(20):
        while watched.text() != "first\nbegun\n":
            await asyncio.sleep(0.02)
        let_go(watched)
        reply = await plan
    assert [entry["outcome"] for entry in reply["finished"]] == ["ok", "ok"]
    assert kinds(watched) == [*seen, ("display", "a1"), ("finished", "a1")]
    assert watched.text() == "first\nbegun\nended\n" and watched.kernel.dropped == 0
    watched.entries.clear()
    assert (await watched.run("print('later')", prefix="b"))["finished"][0]["outcome"] == "ok"
    assert kinds(watched) == [("started", "b0"), ("finished", "b0")] and watched.text() == "later\n"


@pytest.mark.asyncio
async def test_the_last_words_of_a_kernel_are_not_those_that_were_taken_early(start_kernel: StartRogue):
    watched = await start_kernel(Profile())
    dying = f"print('begun', flush=True)\n{HOLD}print('ended', flush=True)\nos.kill(os.getpid(), 9)"
    plan = asyncio.ensure_future(watched.kernel.run_plan("p", [item("a0", dying)]))
    async with asyncio.timeout(20):
        while watched.text() != "begun\n":
            await asyncio.sleep(0.02)
    let_go(watched)
    await asyncio.wait({plan}, timeout=20)
    assert plan.exception() is not None
    assert kinds(watched) == [("started", "a0")] and watched.text() == "begun\nended\n"


class Wire:
    """A kernel's frame writer with its journal, and the server's side of both."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal.make(folder)
        self.sent: list[bytes] = []
        self.next = 0
        self.early = Early(self.journal, lambda: self.next)
        self.writer = FrameWriter(lambda content, when_sent: self.sent.append(content), open_beside(str(folder / "c")))
        self.got: list[Any] = []

    def deliver(self) -> None:
        """The next frame comes."""
        if self.sent:
            frame = json.loads(self.sent.pop(0))
            assert frame["frame"] == self.next
            self.next += 1
            self.got += self.early.rest(frame["frame"], frame["entries"])

    async def look(self) -> None:
        self.got += await self.early.take()


def merged(entries: list[Any]) -> list[Any]:
    """With text that follows text of the same attempt and stream as one."""
    told: list[Any] = []
    for entry in entries:
        if told and entry["t"] == "stream" and {**told[-1], "text": ""} == {**entry, "text": ""}:
            told[-1] = {**entry, "text": told[-1]["text"] + entry["text"]}
        else:
            told.append(entry)
    return told


TEXTS = st.tuples(
    st.just("text"), st.sampled_from(["a", "b"]), st.sampled_from(["", "x", "y", "xy", "é\n", "x" * 9000])
)
LARGE = st.tuples(st.just("push"), st.sampled_from([10, 10, 12_000, HALF, 2 * HALF]))
LOOKS = st.sampled_from([("flush",), ("deliver",), ("look",), ("look",)])
FLOOD = st.tuples(st.just("flood"), st.sampled_from([70, 140]))  # pieces of 16 KB: the journal holds 1 to 2 MB


async def follow(wire: Wire, steps: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """What was said."""
    said: list[dict[str, Any]] = []
    numbers = itertools.count()

    def say(attempt: str, text: str) -> None:
        said.append({"t": "stream", "attempt": attempt, "name": "stdout", "text": text})
        wire.writer.text(attempt, "stdout", text)

    for kind, *details in steps:
        match kind, details:
            case "text", (attempt, text):
                say(attempt, text)
            case "flood", (pieces,):
                for _ in range(pieces):
                    say("a", "z" * 16_000)
            case "push", (size,):
                said.append({"t": "display", "number": next(numbers), "data": "x" * size})
                wire.writer.push(said[-1])
            case "flush", _:
                wire.writer.flush()
            case "deliver", _:
                wire.deliver()
            case "look", _:
                await wire.look()
    return [entry for entry in said if entry.get("text") != ""]


@settings(deadline=None)
@given(st.lists(st.one_of(TEXTS, TEXTS, LARGE, LOOKS, FLOOD), max_size=60))
def test_each_entry_comes_once_and_in_order_however_the_two_ways_mix(steps: list[tuple[Any, ...]]):
    with tempfile.TemporaryDirectory() as folder:
        wire = Wire(Path(folder))
        said = asyncio.run(follow(wire, steps))
        wire.writer.flush()
        while wire.sent:
            wire.deliver()
        asyncio.run(wire.look())
        wire.journal.close()
    assert merged(wire.got) == merged(said)


@settings(deadline=None)
@given(st.lists(st.one_of(TEXTS, TEXTS, LARGE, LOOKS), max_size=60))
def test_last_words_are_what_had_not_come_but_for_what_was_too_large(steps: list[tuple[Any, ...]]):
    async def die(wire: Wire) -> list[dict[str, Any]]:
        said = await follow(wire, steps)
        wire.got += (await wire.early.last())[1]
        return said

    with tempfile.TemporaryDirectory() as folder:
        wire = Wire(Path(folder))
        said = asyncio.run(die(wire))
        wire.journal.close()
    small, kept = ([one for one in all_ if len(one.get("data", "")) < HALF] for all_ in (said, wire.got))
    assert merged(kept) == merged(small)


@pytest.mark.asyncio
async def test_the_last_words_say_what_is_missing(tmp_path: Path):
    wire = Wire(tmp_path)
    for number in range(4):
        wire.writer.push({"t": "display", "number": number})
        wire.writer.flush()
    wire.deliver()
    await wire.look()
    wire.writer.push({"t": "display", "number": 4})
    assert [entry["number"] for entry in wire.got] == [0, 1, 2, 3]
    assert await wire.early.last() == (0, [{"t": "display", "number": 4}])
    for number in range(5, 2000):
        wire.writer.push({"t": "display", "number": number, "data": "x" * 3000})
    missing, entries = await wire.early.last()
    assert missing > 0 and entries[-1]["number"] == 1999 and len(entries) < 1900


class Forged:
    """A journal in which there is always more, in frames that never come."""

    def __init__(self) -> None:
        self.reads = 0

    def more(self, start: int) -> list[Record]:
        self.reads += 1
        return [Record(start + self.reads, {"t": "stream", "text": "x"}, 1024 * 1024)]


@pytest.mark.asyncio
async def test_what_a_cell_writes_into_its_journal_is_taken_within_bounds():
    journal: Any = Forged()
    early = Early(journal, lambda: 0)
    taken = [await early.take() for _ in range(50)]
    assert sum(map(len, taken)) == journal.reads == MOST_BYTES // 1024 // 1024 + 1
    assert early.read_bytes == journal.reads * 1024 * 1024
