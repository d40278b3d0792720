"""One kernel: start it, run plans in it, ask it things, interrupt it, end it, and say why it died.

Everything is on the event loop and nothing blocks it. Messages are checked (messages.py) but their meaning
is the runtime's: a kernel does not know cells, only attempts it was given. Which cell is next, what is
saved and who is told is runtime.py's; where kernels come from is pool.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kernels_app import deaths, hints, limits, messages, nameless, trees
from kernels_app.believed import Believed
from kernels_app.channels import Channels, Message, context
from kernels_app.deaths import CallFailed, Death, KernelDied, KernelSilent, KernelStartTimeout
from kernels_app.early import FIRST_S, MOST_S, Early
from kernels_app.journal import Journal
from kernels_app.messages import Entry
from kernels_app.provisioner import Launch, Manager, Profile, Provisioner, remove_run_folder, run_folder
from kernels_app.run_clock import RunClock
from kernels_app.throttle import Throttle
from kernels_app.trees import Held

log = logging.getLogger("rillbook.kernel")

ASK_S = 2.0  # each rung of the ladder that ends a kernel
TERMINATE_S = 1.0
KILL_S = 5.0
INTERRUPT_TIMES = 3
INTERRUPT_EVERY_S = 2.0
LOST_REPLY_S = 5.0  # a plan is over (idle) and its reply has not come
LAST_FRAMES_S = 5.0  # its reply has come and idle has not
CALL_S = 30.0
LAST_WORDS_S = 1.0
WATCH_S = 0.5
DISK_WATCH_S = 2.0
DISK_SHARE = 20  # a walk through many files is repeated after this many times as long
REMOVE_S = 3.0  # of KILL_S: no other kernel starts in the folder meanwhile
BROKEN_GRACE_S = 0.5
GAP_MAX = 1_000_000  # frames: more were never sent between two
_LOOKERS = ThreadPoolExecutor(4, "kernel-look")  # a slow look at a kernel holds up nothing but looks
QUESTIONS_MAX = 100  # of a plan, unanswered: a cell that is interrupted at each input() asks a few


@dataclass(slots=True)
class _Plan:
    id: str
    attempts: dict[str, frozenset[str]]  # and the names that each is to bind
    message_id: str = ""
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)
    started: set[str] = field(default_factory=set)
    finished: dict[str, Entry] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, items: Sequence[Message]) -> None:
        """These are to run, too, or are to run as these now say."""
        for item in items:
            before = self.attempts.get(item["attempt"], frozenset())
            self.attempts[item["attempt"]] = before.union(item.get("definitions", ()))


class Kernel:
    """A live kernel, made by `Kernel.start`; set `on_…` and `gate` before the first plan."""

    def __init__(self, manager: Manager, launch: Launch, journal: Journal) -> None:
        self.launch = launch
        self.work: Path = launch.work
        self.notebook_id: str | None = None
        self.on_entries: Callable[[list[Entry]], None] = lambda entries: None
        self.on_input: Callable[[str, str, bool], None] = lambda attempt, prompt, password: None
        self.on_refused: Callable[[str], None] = lambda why: None
        self.on_slowed: Callable[[str, str], None] = lambda attempt, why: None
        self.gate: Callable[[], Awaitable[None] | None] = lambda: None
        self.died: asyncio.Future[Death] = asyncio.get_running_loop().create_future()
        self.dropped = 0  # entries and messages that were not believed
        self._refused: set[str] = set()  # why, of this plan
        self._counts_anew = False  # numbers were forged: the next frame says where the true ones are
        self._questions = 0  # asked on stdin and not answered, of this plan
        self.memory = 0  # bytes, as last seen
        self._manager = manager
        self._journal = journal
        self._early = Early(journal, lambda: self._next_frame or 0)
        self._tasks: list[asyncio.Task[Any]] = []
        self._plan: _Plan | None = None
        self._attempts = Believed()
        self._next_frame: int | None = None
        self._latest: str | None = None  # the attempt that runs, or ran last
        self._run_clock, self._cpu_s = RunClock(), 0.0
        self.question: Message | None = None  # that `input()` asked: attempt, prompt, password
        self.asked_at = 0.0  # time.monotonic() of the newest question
        self._subshell: str | None = None
        self._published = asyncio.Event()
        self._claimed = asyncio.Event()
        self._before = self._roomy = Held(0, 0)  # when it was claimed; when the disk last had room
        self._within_ns: int | None = None  # the newest change in the folder when it was last seen within its bounds
        self._is_disk_short = False  # as of the last look
        self._why: Death | None = None  # decided by us before the process ended
        self._oom = limits.OomWatch()
        self._nameless = nameless.Watch()
        self._held = limits.MemoryWatch()
        self._main_thread = limits.MainThreadWatch()
        self._is_short = False  # it was said that one of its processes was ended for memory
        self._channels: Channels | None = None
        self.throttle = Throttle(launch.profile.output_rate_bytes, self._say_slowed)
        self._slowed: str | None = None  # the last cell that was told

    # --- Life ---------------------------------------------------------------------------------------------

    @classmethod
    async def start(cls, profile: Profile, work: Path) -> Kernel:
        """Start a kernel in this work folder; it is connected and ready on shell and IOPub (risks.md, 17).

        Raises KernelStartTimeout if it is not ready after the profile's `start_timeout_s`, or dies before.
        """
        launch = Launch(profile, work, await asyncio.to_thread(run_folder))
        manager = await asyncio.to_thread(Manager.of, launch, context())
        kernel = cls(manager, launch, await asyncio.to_thread(Journal.make, launch.run))
        try:
            async with asyncio.timeout(profile.start_timeout_s):
                await kernel._launch()
                await kernel._get_ready()
        except TimeoutError as error:
            stderr = kernel._stderr()
            await kernel.kill()
            message = f"The kernel was not ready after {profile.start_timeout_s:g} s."
            raise KernelStartTimeout(message, stderr) from error
        except (KernelDied, KernelSilent) as error:
            stderr = kernel._stderr()
            await kernel.kill()
            raise KernelStartTimeout(f"The kernel did not get ready: {error}", stderr) from error
        except BaseException:
            await kernel.kill()
            raise
        return kernel

    def belong_to(self, notebook_id: str, work: Path, before: Held) -> None:
        """The kernel was claimed: its work folder is the notebook's now, which held so much `before`."""
        self.notebook_id, self.work, self._before, self._roomy = notebook_id, work, before, before
        self._within_ns = None
        self._claimed.set()

    @property
    def is_alive(self) -> bool:
        return not self.died.done()

    async def shutdown(self) -> None:
        """End the kernel by the ladder: ask, terminate, kill, clean up. Nothing of it is left afterwards."""
        self._decide(Death("shutdown", "The kernel was stopped."))
        if self.is_alive and self._channels:
            self._channels.request("control", "shutdown_request", {"restart": False})
            if not await self._ends_within(ASK_S):
                await self._provisioner.terminate()
                if not await self._ends_within(TERMINATE_S):
                    log.warning("Kernel %s did not end when asked; it is killed.", self.notebook_id)
        await self.kill()

    async def kill(self, death: Death | None = None) -> None:
        """End the kernel at once and clean up. `death` says why, if nothing was decided before."""
        if death:
            self._decide(death)
        if self._manager.provisioner is not None and self._provisioner.has_process:
            await self._provisioner.kill()
            if not await self._ends_within(KILL_S):
                log.error("A kernel's process is still there %g s after SIGKILL.", KILL_S)
        await self._clean_up()

    async def _launch(self) -> None:
        await self._manager.start_kernel()
        self._nameless = self._provisioner.watch()
        self._manager._close_control_socket()
        self._keep(self._see_death(), "kernel-death")
        self._channels = Channels(
            self._manager.session,
            dict(self._manager.get_connection_info()),
            on_iopub=self._take_iopub,
            on_stdin=self._take_stdin,
            on_broken=self._take_broken,
            on_refused=self._refuse,
            gate=self._before_reading,
        )
        self._channels.open()

    def _before_reading(self, channel: str = "iopub") -> Awaitable[None] | None:
        """What the reader of a channel waits for."""
        read = self._channels.read_bytes if self._channels else 0
        waiting = self.throttle.after(read + self._early.read_bytes)
        return waiting or (self.gate() if channel == "iopub" else None)

    def _say_slowed(self) -> None:
        """Once a cell."""
        attempt = self._latest
        if attempt is None or attempt == self._slowed:
            return
        self._slowed = attempt
        rate = hints.size(self.launch.profile.output_rate_bytes)
        text = f"This cell prints and shows more than {rate} a second for long, so it is slowed down to that."
        self.on_slowed(attempt, text)

    async def _get_ready(self) -> None:
        """Ready: an answer on shell *and* one message on IOPub, or the first output would be lost; and stdin."""
        patience_s = self.launch.profile.start_timeout_s
        while not self._published.is_set():
            await self._ask("shell", "kernel_info_request", {}, timeout_s=patience_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._published.wait(), 0.05)
        assert self._channels is not None
        await self._channels.stdin_connected.wait()
        pid = await asyncio.to_thread(self._provisioner.kernel_pid)
        if pid is not None:
            await asyncio.to_thread(limits.die_first, pid)
            await asyncio.to_thread(self._nameless.look, [pid])  # before it runs code of users, which might hide
        answer = await self._ask("control", "create_subshell_request", {}, timeout_s=CALL_S)
        self._subshell = answer.get("subshell_id") if isinstance(answer.get("subshell_id"), str) else None
        self._keep(self._watch_limits(), "kernel-limits")
        self._keep(self._watch_disk(), "kernel-disk")

    async def _see_death(self) -> None:
        code = await self._provisioner.wait()
        was_out_of_memory = self._was_out_of_memory()
        await self._take_last_words()
        death = self._why or deaths.explain(code, self.launch.profile, oom=was_out_of_memory)
        if death.kind == "disk":
            death = await self._without_excess(death)
        if not self.died.done():
            self.died.set_result(death)
        if self._plan:
            self._plan.ended.set()
        self._keep(self._clean_up(), "kernel-clean-up")

    async def _take_last_words(self) -> None:
        """The process is gone; what it had sent may still be on its way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                before = -1
                while self._channels and self._channels.received != before:
                    before = self._channels.received
                    await asyncio.sleep(0.02)
        await self._take_journal()

    async def _take_journal(self) -> None:
        """What had not come when the process ended, as if it had. Nobody waits for that of a kernel we stopped."""
        if self._why is not None and self._why.kind == "shutdown":
            return
        missing, entries = await self._early.last()
        self.on_refused = lambda why: None  # that the kernel died is said, and what it forged at last is nobody's loss
        self._take_written(entries, missing)

    async def _clean_up(self) -> None:
        """Close sockets, tasks and pipes, delete the private folder. Harmless when repeated."""
        channels, self._channels = self._channels, None
        if channels:
            channels.close()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current and task.get_name() != "kernel-clean-up":
                task.cancel()
        if self._manager.provisioner is not None:
            await self._provisioner.cleanup()
        self._journal.close()
        await asyncio.to_thread(remove_run_folder, self.launch.run)
        if not self.died.done():
            self.died.set_result(self._why or Death("exit", "The kernel did not start."))

    # --- Plans --------------------------------------------------------------------------------------------

    async def run_plan(self, plan_id: str, items: Sequence[Message], *, allow_stdin: bool = True) -> Message:
        """Run cells in order; the reply (architecture.md, section 5) once all their output was handed on.

        Its `status` is "ok", or "lost" if the kernel never replied: then `finished` is what was reported
        and `left` the rest. Raises KernelDied.
        """
        assert self._plan is None, "one plan at a time"
        plan = self._plan = _Plan(plan_id, {})
        plan.expect(items)
        self._latest = items[0]["attempt"]
        self._run_clock.begin()
        self._counts_anew = self._counts_anew or bool(self._refused)
        self._refused, self._questions = set(), 0
        self._expect(items)
        try:
            content = {"plan": plan_id, "cells": list(items), "allow_stdin": allow_stdin}
            plan.message_id, reply = self._open_channels().request("shell", "rill_run_request", content)
            self._keep(self._listen_early(plan), "kernel-early")
            answer = await self._reply_of(plan, reply)
            return answer if answer is not None else self._lost(plan)
        finally:
            self._open_channels_or_none_forget(plan.message_id)
            self._plan, self.question = None, None
            self.throttle.hold()
            plan.ended.set()

    async def amend(
        self,
        plan_id: str,
        *,
        drop: Sequence[str] = (),
        replace: Sequence[Message] = (),
        append: Sequence[Message] = (),
    ) -> list[str]:
        """Change the running plan; the attempts it was too late for. Raises KernelDied, KernelSilent."""
        added = [*replace, *append]
        self._expect(added)
        if self._plan and self._plan.id == plan_id:
            self._plan.expect(added)
        content = {"plan": plan_id, "drop": list(drop), "replace": list(replace), "append": list(append)}
        answer = await self._ask("control", "rill_amend_request", content, timeout_s=CALL_S)
        return messages.clean_ids(answer.get("too_late"))

    async def interrupt(self, *, times: int = INTERRUPT_TIMES, every_s: float = INTERRUPT_EVERY_S) -> bool:
        """Interrupt the running plan until it ends: `times` messages, then the kernel is killed.

        Whether the kernel lives. Nothing runs: nothing happens. Raises nothing.
        """
        plan = self._plan
        if plan is None:
            return self.is_alive
        self.throttle.let_go()
        for _ in range(times):
            if self._channels:
                self._channels.request("control", "interrupt_request", {})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await plan.ended.wait()
                return self.is_alive
        seconds = f"{times * every_s:g}"
        await self.kill(
            Death(
                "interrupt",
                f"The cell did not react to {times} interrupts in {seconds} s, so its kernel was ended.",
            )
        )
        return False

    def input_reply(self, value: str, attempt: str) -> bool:
        """Answer the `input()` of this attempt; False if it does not wait: an answer is never another question's."""
        if self.question is None or self.question["attempt"] != attempt or self._channels is None:
            return False
        self.question, self._questions = None, 0
        parent = {"header": {"msg_id": attempt, "msg_type": "input_request"}}
        self._channels.answer("input_reply", {"value": messages.clean_text(value)}, parent)
        return True

    async def _reply_of(self, plan: _Plan, reply: asyncio.Future[Message]) -> Message | None:
        """The reply, after the last output; None if it is lost. Waits for as long as the plan runs."""
        idle = asyncio.ensure_future(plan.is_idle.wait())
        try:
            await self._first(reply, idle)
            if not reply.done():
                await self._first(reply, timeout_s=LOST_REPLY_S)
            elif not idle.done():
                await self._first(idle, timeout_s=LAST_FRAMES_S)
        finally:
            idle.cancel()
        return self._checked(plan, reply.result()) if reply.done() and not reply.cancelled() else None

    async def _listen_early(self, plan: _Plan) -> None:
        """Take from the journal what the plan's cells said, while nothing comes of it."""
        silent_s, received = FIRST_S, -1
        while not plan.ended.is_set() and self._channels:
            if (waiting := self._before_reading()) is not None:
                await waiting
                received = -1  # it was we who did not read
            if self._channels and self._channels.received == received:
                entries = await self._early.take()
                self._take_written(entries)
                silent_s = FIRST_S if entries else min(2 * silent_s, MOST_S)
            elif self._channels:
                silent_s, received = FIRST_S, self._channels.received
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(plan.ended.wait(), silent_s)

    async def _first(self, *futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
        """Wait for one of these; raise KernelDied if the kernel ends first."""
        done, _ = await asyncio.wait(
            {*futures, self.died}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if self.died in done and not any(future in done for future in futures):
            raise KernelDied(self.died.result())
        if any(future.cancelled() for future in futures):
            raise KernelDied(await self.died)

    def _checked(self, plan: _Plan, content: Message) -> Message:
        """The reply with only what is well-formed and about this plan's attempts."""
        told = {entry["attempt"]: entry for entry in messages.clean_finished(content.get("finished"))}
        finished = plan.finished | {
            attempt: messages.asked_names(told[attempt], asked)
            for attempt, asked in plan.attempts.items()
            if attempt in told
        }
        left = [attempt for attempt in messages.clean_ids(content.get("left")) if attempt in plan.attempts]
        status = "ok" if content.get("status") == "ok" else "error"
        return {"status": status, "plan": plan.id, "finished": list(finished.values()), "left": left}

    def _lost(self, plan: _Plan) -> Message:
        left = [attempt for attempt in plan.attempts if attempt not in plan.finished]
        return {"status": "lost", "plan": plan.id, "finished": list(plan.finished.values()), "left": left}

    # --- Questions ----------------------------------------------------------------------------------------

    async def call(self, name: str, /, *, timeout_s: float = CALL_S, **arguments: Any) -> Message:
        """A call of our extension, also while a cell runs. Raises CallFailed, KernelDied, KernelSilent."""
        if name == "load":
            self._expect([arguments])
        content = {"call": name, **arguments}
        channel = "shell" if self._subshell else "control"
        answer = await self._ask(
            channel, "rill_call_request", content, subshell=self._subshell, timeout_s=timeout_s
        )
        if answer.get("status") != "ok":
            raise CallFailed(str(answer.get("ename", "Error"))[:200], str(answer.get("evalue", ""))[:2000])
        return answer

    async def complete(self, code: str, cursor: int, *, timeout_s: float = 5.0) -> Message:
        """Completions at a cursor in code points, also while a cell runs: the stock reply's content."""
        content = {"code": code, "cursor_pos": cursor}
        return await self._ask(
            "shell", "complete_request", content, subshell=self._subshell, timeout_s=timeout_s
        )

    async def inspect(self, code: str, cursor: int, *, detail: int = 0, timeout_s: float = 5.0) -> Message:
        """What is at a cursor in code points, also while a cell runs: the stock reply's content."""
        content = {"code": code, "cursor_pos": cursor, "detail_level": detail}
        return await self._ask(
            "shell", "inspect_request", content, subshell=self._subshell, timeout_s=timeout_s
        )

    async def memory_bytes(self) -> int:
        """What the kernel and its children hold in memory now; 0 when it is gone."""
        root = self._provisioner.root_pid()
        if root is not None:
            loop = asyncio.get_running_loop()
            self.memory = (await loop.run_in_executor(_LOOKERS, limits.usage, root)).memory_bytes
        return self.memory if root is not None else 0

    async def _ask(
        self, channel: str, kind: str, content: Message, *, timeout_s: float, subshell: str | None = None
    ) -> Message:
        channels = self._open_channels()
        message_id, reply = channels.request(channel, kind, content, subshell=subshell)
        try:
            await self._first(reply, timeout_s=timeout_s)
        finally:
            channels.forget(message_id)
        if not reply.done():
            raise KernelSilent(f"The kernel did not answer {kind} within {timeout_s:g} s.")
        return reply.result()

    # --- What the kernel says -----------------------------------------------------------------------------

    def _take_iopub(self, message: Message) -> None:
        self._published.set()
        kind = message["header"]["msg_type"]
        if kind == "rill_frame":
            self._take_frame(message["content"])
        elif kind == "status" and message["content"].get("execution_state") == "idle":
            plan = self._plan
            if plan and message["parent_header"].get("msg_id") == plan.message_id:
                plan.is_idle.set()

    def _take_frame(self, content: Message) -> None:
        number, entries = content.get("frame"), content.get("entries")
        gap = self._count_frame(number if type(number) is int else -1)
        if gap is None:
            self._refuse("wrong number", 1 + len(messages.clean_entries(entries)[0]))
        else:
            self._take_entries(self._early.rest(number, entries), gap)

    def _take_entries(self, found: Any, gap: int = 0) -> None:
        """Entries of a frame before which so many are missing, or of the journal."""
        entries, dropped = messages.clean_entries(found)
        known = [
            self._as_asked(entry)
            for entry in entries
            if entry["attempt"] is None or entry["attempt"] in self._attempts
        ]
        if dropped:
            self._refuse("wrong shape", dropped)
        if len(known) < len(entries):
            self._refuse("unknown attempt", len(entries) - len(known))
        for entry in known:
            self._note(entry)
        if gap:
            text = f"Some output was lost on its way from the kernel ({gap} messages)."
            known.insert(0, {"t": "notice", "attempt": self._latest, "text": text})
        if known:
            self.on_entries(self._with_hints(known))

    def _as_asked(self, entry: Entry) -> Entry:
        if entry["t"] != "finished":
            return entry
        asked = self._plan.attempts.get(entry["attempt"]) if self._plan else None
        return messages.asked_names(entry, asked or frozenset())

    def _take_written(self, entries: list[Any], missing: int = 0) -> None:
        """Entries of the journal."""
        if not entries:
            return
        try:
            self._take_entries(entries, missing)
        except Exception:  # whoever listens failed: the kernel goes on, or is dead all the same
            log.exception("What kernel %s had written was not taken.", self.notebook_id)

    def _with_hints(self, entries: list[Entry]) -> list[Entry]:
        """Errors that are our limits say so."""
        told: list[Entry] = []
        for entry in entries:
            told.append(entry)
            text = hints.hint(entry, self.launch.profile) if entry["t"] == "error" else None
            if text:
                told.append({"t": "notice", "attempt": entry["attempt"], "text": text})
        return told

    def _count_frame(self, number: int) -> int | None:
        """How many frames are missing before this one; None if it is not a later one, and so not believed."""
        expected = self._next_frame if self._next_frame is not None else 0
        if self._counts_anew and 0 <= number < expected:
            expected = number
        if not expected <= number <= expected + GAP_MAX:
            return None
        self._next_frame, self._counts_anew = number + 1, False
        return number - expected

    def _note(self, entry: Entry) -> None:
        attempt, plan = entry["attempt"], self._plan
        if plan is None or attempt not in plan.attempts:
            return
        if entry["t"] == "started" and attempt not in plan.started:
            plan.started.add(attempt)
            self._latest = attempt
            self._run_clock.begin()
        elif entry["t"] == "finished":
            plan.finished[attempt] = entry

    def _take_stdin(self, message: Message) -> None:
        attempt = message["parent_header"].get("msg_id")
        content = message["content"]
        if self._plan is None or self._questions >= QUESTIONS_MAX:
            self._refuse("question out of turn")
            return
        self._questions += 1
        if attempt not in self._attempts:
            attempt = self._latest
        prompt = content.get("prompt")
        prompt = messages.clean_text(prompt[:10_000]) if isinstance(prompt, str) else ""
        self.question = {"attempt": str(attempt), "prompt": prompt, "password": content.get("password") is True}
        self.asked_at = time.monotonic()
        self.on_input(str(attempt), prompt, self.question["password"])

    def _take_broken(self, channel: str) -> None:
        self._keep(self._after_break(channel), "kernel-broken")

    async def _after_break(self, channel: str) -> None:
        """A connection broke: the kernel is ending, or something that no kernel should send came over it."""
        if await self._ends_within(BROKEN_GRACE_S):
            return
        reason = (
            f"The kernel broke its connection ({channel}), as a message above 32 MiB does, so it was ended."
        )
        await self.kill(Death("protocol", reason))

    def _refuse(self, why: str, count: int = 1) -> None:
        """Something that no kernel of ours sends was left out. Told once a plan, for there may be many."""
        self.dropped += count
        if why not in self._refused:
            self._refused.add(why)
            self.on_refused(why)

    # --- Limits and reasons -------------------------------------------------------------------------------

    async def _watch_limits(self) -> None:
        loop = asyncio.get_running_loop()
        while self.is_alive:
            await asyncio.sleep(WATCH_S)
            root = self._provisioner.root_pid()
            if root is None:
                return
            has_lost_one, death = await loop.run_in_executor(_LOOKERS, self._look, root)
            self._end_overlong()
            if has_lost_one and not self._is_short:
                self._say_short()
            if death is not None:
                await self.kill(death)

    def _look(self, root: int) -> tuple[bool, Death | None]:
        """Whether the system ended one of the kernel's processes for its memory, and why we end all of them. Blocks."""
        profile = self.launch.profile
        used = limits.usage(root, most=profile.processes + 10)
        own = used.pids[self._provisioner.depth :]
        for pid in own:
            limits.die_first(pid)  # again: where the server lacks CAP_SYS_RESOURCE, a process may lower its score
        found = self._nameless.look(own)
        self._oom.tick()
        self._is_disk_short = _is_nearly_full(self.work)
        self.memory, self._cpu_s = used.memory_bytes, limits.cpu_s(used.pids)
        death = deaths.over_tasks(used, profile.processes) or deaths.over_descriptors(found)
        death = death or deaths.over_network(found)
        if death is None and self._held.is_over(used, found.memory_bytes, profile.memory_bytes):
            death = deaths.out_of_memory(profile.memory_bytes)
        if self._main_thread.has_ended(own):
            death = death or deaths.without_main_thread()
        return self._lost_a_process(), death

    def _end_overlong(self) -> None:
        """Interrupt a cell that has run for longer than it may (waiting for input does not count), and say so."""
        limit_s = self.launch.profile.run_s
        ran_s = self._run_clock.tick(self._cpu_s, waits=self.question is not None)
        if limit_s and self._plan is not None and ran_s > limit_s:
            self._run_clock.begin(grace_s=INTERRUPT_TIMES * INTERRUPT_EVERY_S)
            text = f"This cell ran for {limit_s:,} seconds, as long as a cell may, so it was interrupted."
            self.on_entries([{"t": "notice", "attempt": self._latest, "text": text}])
            self._keep(self.interrupt(), "kernel-overlong")

    async def _watch_disk(self) -> None:
        """End a kernel whose files grow past its limit, or while the disk is nearly full. What its notebook held before
        may stay, and not grow."""
        while self.is_alive:
            began, owner = time.monotonic(), self.notebook_id
            reason = await self._look_at_disk()
            if reason and owner == self.notebook_id:
                await self.kill(Death("disk", reason))
            pause_s = max(DISK_WATCH_S, DISK_SHARE * (time.monotonic() - began))
            await self._until_next_walk(pause_s, self._claimed.wait() if owner is None else asyncio.shield(self.died))

    async def _look_at_disk(self) -> str:
        """Why the kernel is to be ended; "" if it may go on."""
        owner, before, profile = self.notebook_id, self._before, self.launch.profile
        most = profile.disk_entries
        folders = (self.work, self.launch.run.parent)
        held = await asyncio.to_thread(trees.measure, folders, most=deaths.entries_allowed(before, most))
        held = replace(held, bytes=held.bytes + self._nameless.last.disk_bytes)
        is_short = self._is_disk_short = await asyncio.to_thread(_is_nearly_full, self.work)
        reason = deaths.over_disk(held, before, bound=profile.disk_bytes, most=most)
        if owner == self.notebook_id and not reason:
            self._within_ns = held.newest_ns if owner else None
            self._roomy = self._roomy if is_short else held
        return reason or (deaths.over_free(held, self._roomy) if is_short else "")

    async def _until_next_walk(self, pause_s: float, event: Awaitable[Any]) -> None:
        """Wait so long; less if this happens meanwhile, or the disk gets nearly full."""
        waiting, until, was_short = asyncio.ensure_future(event), time.monotonic() + pause_s, self._is_disk_short
        try:
            while not waiting.done() and (left_s := until - time.monotonic()) > 0:
                await asyncio.wait({waiting}, timeout=min(WATCH_S, left_s))
                if self._is_disk_short and not was_short:
                    return
        finally:
            waiting.cancel()

    async def _without_excess(self, death: Death) -> Death:
        """Delete what the kernel wrote last where too much would stay; the death, which says so. No process is left."""
        removed = await asyncio.to_thread(self._remove_excess)
        if not removed:
            return death
        said = f"What it wrote last was deleted, {removed:,} of its files: there was no room for them."
        return replace(death, reason=f"{death.reason} {said}")

    def _remove_excess(self) -> int:
        """How many files were deleted. Blocks."""
        if self._within_ns is None:
            return 0
        profile = self.launch.profile
        most = deaths.most_left(profile.disk_bytes, profile.disk_entries, is_short=_is_nearly_full(self.work))
        held = trees.measure([self.work], most=2 * most.entries)
        return trees.remove_newer(self.work, held, than_ns=self._within_ns, most=most, within_s=REMOVE_S)

    def _lost_a_process(self) -> bool:
        """Whether the system ended a process of the kernel's group for its memory."""
        group = self._provisioner.group
        return group is not None and group.counts_memory and group.is_out_of_memory

    def _say_short(self) -> None:
        """The kernel lives, and a process that its cell had started does not: without a word nobody knew why."""
        self._is_short = True
        if self._latest is not None:
            held = f"{self.launch.profile.memory_bytes / 1024**3:.3g} GiB"
            text = f"A process of this kernel was ended by the system: together they may hold {held} of memory."
            self.on_entries([{"t": "notice", "attempt": self._latest, "text": text}])

    def _was_out_of_memory(self) -> bool:
        group = self._provisioner.group
        if group is not None and group.counts_memory:
            return group.is_out_of_memory
        return self._oom.has_killed

    def _decide(self, death: Death) -> None:
        if self._why is None and not self.died.done():
            self._why = death

    # --- Small helpers ------------------------------------------------------------------------------------

    @property
    def _provisioner(self) -> Provisioner:
        provisioner = self._manager.provisioner
        assert isinstance(provisioner, Provisioner)
        return provisioner

    def _open_channels(self) -> Channels:
        if self._channels is None:
            raise KernelDied(self.died.result() if self.died.done() else self._why or _GONE)
        return self._channels

    def _open_channels_or_none_forget(self, message_id: str) -> None:
        if self._channels:
            self._channels.forget(message_id)

    def _expect(self, items: Sequence[Message]) -> None:
        """Attempts whose entries are believed from now on."""
        for item in items:
            self._attempts.add(item["attempt"], item["cell"])

    def _keep(self, work: Any, name: str) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def _ends_within(self, seconds: float) -> bool:
        """Whether the process ends in this time."""
        if not self._provisioner.has_process:
            return True
        await asyncio.wait({self.died}, timeout=seconds)
        return self.died.done()

    def _stderr(self) -> str:
        errors = self._provisioner.errors if self._manager.provisioner is not None else None
        return errors.text if errors else ""


def _is_nearly_full(folder: Path) -> bool:
    """Whether kernels may not fill the folder's file system any more. Blocks."""
    with contextlib.suppress(OSError):
        free_bytes, size_bytes = trees.free_bytes(folder)
        return free_bytes < deaths.free_wanted(size_bytes)
    return False


_GONE = Death("exit", "The kernel is gone.")
