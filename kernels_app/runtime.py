"""One live notebook: asks the scheduler, carries out its actions, gathers outputs, tells the feed.

It owns the only kernel of its notebook and the lease that says so. Which cell is next is scheduler.py's; what an
output becomes, outputs.py's; saving, saver.py's; queries on connections, queries.py's.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from kernels_app import answers, scheduler
from kernels_app.attempts import AttemptBook
from kernels_app.deaths import CallFailed, Death, KernelDied, KernelSilent, KernelStartTimeout
from kernels_app.kernel import Kernel
from kernels_app.queries import error_entry, run_query
from kernels_app.records import Batch, CellRecord, RunRecord, SessionRecord
from kernels_app.schedule import (
    Action,
    Amend,
    CellsChanged,
    CellsDeleted,
    Event,
    Finished,
    Hold,
    Interrupt,
    KernelGone,
    KernelReady,
    Mode,
    PlanEnded,
    PlanItem,
    RecordDropped,
    RecordFinished,
    RecordJoined,
    RecordQueued,
    RecordRunning,
    RecordValues,
    Refresh,
    Refused,
    Restart,
    RunAll,
    RunCells,
    RunFinished,
    RunPlan,
    RunSql,
    RunStale,
    RunStarted,
    SetMode,
    Started,
    StartKernel,
    Stop,
    TakeOut,
    Unload,
    Why,
)
from kernels_app.sources import Sources
from notebooks_app import db, facts, logs, metrics
from notebooks_app.errors import BadRequest, NotFound, RillbookError, Unavailable
from notebooks_app.facts import Outcome, Status
from notebooks_app.models import Cell, KernelSession, Notebook
from notebooks_app.services import Author

if TYPE_CHECKING:
    from kernels_app.feed import NotebookFeed
    from kernels_app.hosts.local import LocalKernelHost

log = logging.getLogger("rillbook.runtime")

type Json = dict[str, Any]

STATES_EVERY_S = 0.05  # states of a burst are merged; the last one is always sent
CHUNKS_AFTER_S = 0.25  # output of a cell that runs on is saved in pieces this often
RETRY_S = 1.0
STOPPED_WORDS = "The kernel was stopped."
PAUSED_WORDS = "The database does not answer: what runs goes on, and nothing else starts until it does."
REPLACED_WORDS = "Another server process has taken this notebook over. Outputs are kept; variables are gone."
REFUSED_WORDS = "Messages that code in this kernel forged or damaged were left out ({})."
FAILED_WORDS = "The kernel did not start: the server made an error, which its log tells. Run again."
QUERY_FAILED_WORDS = "The server made an error with this query, which its log tells. Run the cell again."
DATABASE_AWAY = (OperationalError, InterfaceError)


class Runtime:
    """See kernels_app/hosts/base.py: RuntimeHandle. Made and used on the server's loop."""

    def __init__(self, host: LocalKernelHost, feed: NotebookFeed, epoch: int, session: KernelSession) -> None:
        self.host = host
        self.feed = feed
        self.notebook_id: uuid.UUID = feed.notebook_id
        self.epoch = epoch
        self.executions = session.executions
        self.is_fenced = False
        self.is_closing = False
        self._kernel: Kernel | None = None
        self._kernel_state = "stopped"
        self._kernel_detail = ""
        self._told_kernel: Json = {}
        self._outbox: list[Json] | None = None
        self._revision = -1
        self._sources = Sources(self.notebook_id)
        self._book = AttemptBook(self.notebook_id, self.tell, self._mark_dirty, self._stored)
        self._runs: dict[str, RunRecord] = {}
        self._dirty_runs: set[str] = set()
        self._dirty_cells: set[str] = set()
        self._dirty_session = False
        self._refresh: set[str] = set()
        self._states_sent_at = 0.0
        self._states_later: asyncio.TimerHandle | None = None
        self._waiters: dict[str, asyncio.Event] = {}
        self._deliveries: asyncio.Queue[Action] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._chunks_at = 0.0
        self._chunks_later: asyncio.TimerHandle | None = None
        self._queries: dict[str, asyncio.Task[None]] = {}
        self._used_at = time.monotonic()
        self._state = scheduler.load([], seed=str(uuid.uuid4()))

    # --- Life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load the notebook's small columns and begin to carry actions out."""
        mode = await db.read(lambda: Notebook.objects.values_list("run_mode", flat=True).get(pk=self.notebook_id))
        self._state = scheduler.load([], seed=str(uuid.uuid4()), mode=Mode(mode))
        self._start(self._carry_out(), "deliveries")
        self.feed.runtime = self
        await self.feed.refresh()

    async def close(self, detail: str = STOPPED_WORDS) -> None:
        """End the kernel; attempts that run end as interrupted, outputs stay. Nothing is begun from here on."""
        self.is_closing = True
        self._decide(KernelGone(Outcome.INTERRUPTED))
        kernel, self._kernel = self._kernel, None
        self._kernel_state, self._kernel_detail = "stopped", detail
        self._dirty_session = True
        if kernel is not None:
            await kernel.shutdown()
        await self._book.settled()
        self._end_tasks()
        self._flush_states()
        self.feed.runtime = None

    def leave(self) -> None:
        """It could not be opened: let go of the feed."""
        self._end_tasks()
        self.feed.runtime = None

    def fenced(self, why: str = REPLACED_WORDS) -> None:
        """Another runtime has taken over (or `why`): end the kernel, write nothing more, tell those who watch here."""
        if self.is_fenced:
            return
        self.is_fenced = True
        log.warning("the runtime of notebook %s (epoch %s) ends: %s", self.notebook_id, self.epoch, why)
        self.host.drop(self)
        kernel, self._kernel = self._kernel, None
        self._end_tasks()
        if kernel is not None:
            self.host.keep(kernel.kill(Death("shutdown", why)))
        self.feed.lose_runtime(why)
        self.host.keep(self.host.feeds.release(self.feed))

    def _end_tasks(self) -> None:
        for task in tuple(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        for timer in (self._states_later, self._chunks_later):
            if timer is not None:
                timer.cancel()
        self._states_later = self._chunks_later = None
        self._book.close()
        for waiter in self._waiters.values():
            waiter.set()

    def hold(self, is_held: bool) -> None:
        """The database is out of reach (or back): the running cell goes on, no other starts."""
        if is_held == self._state.held:
            return
        log.warning("notebook %s %s", self.notebook_id, "is paused" if is_held else "goes on")
        self._decide(Hold(is_held))
        self._tell_kernel()
        if not is_held:  # what was edited or derived meanwhile may not have been told
            self.feed.refresh_soon(0)

    async def _stored[T](self, read: Callable[[], Awaitable[T]]) -> T:
        """What the database says, also if it is away for a while: until it answers, nothing else starts."""
        while True:
            try:
                return await read()
            except DATABASE_AWAY:
                self.hold(True)  # released with the lease's next renewal
                await asyncio.sleep(RETRY_S)

    # --- Commands -----------------------------------------------------------------------------------------------

    async def run(
        self, versions: dict[str, int], *, by: Author, only: bool = False, revision: int | None = None
    ) -> str:
        await self._catch_up(revision, versions)
        unknown = [cell for cell in versions if cell not in self._state.cells]
        if unknown:
            raise NotFound(f"There is no cell {unknown[0]} in this notebook.")
        run = self._new_run("requested", by)
        self._decide(RunCells(run, tuple(versions), by=by.name, only=only))
        return run

    async def run_all(self, *, by: Author, revision: int | None = None) -> str:
        await self._catch_up(revision)
        run = self._new_run("run_all", by)
        self._decide(RunAll(run, by=by.name))
        return run

    async def run_stale(self, *, by: Author, revision: int | None = None) -> str:
        await self._catch_up(revision)
        run = self._new_run("run_stale", by)
        self._decide(RunStale(run, by=by.name))
        return run

    async def restart(self, *, by: Author, run_all: bool = False) -> str | None:
        await self._catch_up(None)
        if not run_all:
            self._decide(Restart())
            return None
        run = self._new_run("restart", by)
        self._decide(Restart(), RunAll(run, by=by.name, kind="restart"))
        return run

    async def stop(self, run: str | None = None) -> None:
        if run is not None and run not in self._state.runs:  # over: what goes on now is another's
            return
        had_plan = self._state.plan is not None
        self._decide(Stop())
        if had_plan and self._kernel is not None:
            # Also where no start was reported: a cell in C code never gets it out. The ladder ends at SIGKILL.
            self._start(self._kernel.interrupt(), "interrupt")

    async def take_out(self, cell: str) -> None:
        self._decide(TakeOut(cell))

    async def wait(self, run: str, timeout_s: float) -> bool:
        waiter = self._waiters.get(run)
        if waiter is None:
            return True
        try:
            await asyncio.wait_for(waiter.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def keep_files(self) -> None:
        await self._book.settled()
        await self.host.saver.flush()

    async def settle(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._state.runs or self._state.running or self._state.plan:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        await self.host.saver.flush()
        return True

    async def input_reply(self, attempt: str, value: str) -> None:
        if self._kernel is None or not self._kernel.input_reply(value, attempt):
            raise BadRequest("Nothing waits for input.")
        self._tell_kernel()

    # --- Questions ----------------------------------------------------------------------------------------------

    async def complete(self, source: str, cursor: int) -> Json:
        return await self._ask(
            lambda kernel: answers.complete(kernel, source, cursor), {"matches": [], "from": cursor, "to": cursor}
        )

    async def inspect(self, source: str, cursor: int) -> Json:
        return await self._ask(lambda kernel: answers.inspect(kernel, source, cursor), {})

    async def table(self, request: Json) -> Json:
        table = await self._ask(lambda kernel: answers.table(kernel, request), None)
        if table is None:
            raise BadRequest("This table is from an earlier run; run its cell again to page, sort or search it.")
        return table

    async def variables(self) -> list[Json]:
        return await self._ask(answers.variables, [])

    async def _ask[T](self, question: Callable[[Kernel], Awaitable[T]], nothing: T) -> T:
        if self._kernel is None:
            return nothing
        self._used_at = time.monotonic()
        try:
            return await question(self._kernel)
        except CallFailed as error:
            raise BadRequest(error.evalue or error.ename) from error
        except (KernelDied, KernelSilent):
            return nothing

    async def info(self) -> Json:
        return {**self.kernel_document(), "epoch": self.epoch}

    def kernel_document(self) -> Json:
        state, detail, cell = self._kernel_state, self._kernel_detail, None
        running = self._running_cell()
        if state == "idle" and running is not None:
            state, cell = "running", running
            detail = f"Running cell {self._number(running)}"
        if self._state.held:
            state, detail = "paused", PAUSED_WORDS
        document: Json = {"state": state, "detail": detail, "cell": cell}
        if self._kernel is not None:
            document |= {"memory_bytes": self._kernel.memory, "limit_bytes": self._kernel.launch.profile.memory_bytes}
            if (question := self._asked(self._kernel)) is not None:
                document["asks"] = question
        return document

    def _asked(self, kernel: Kernel) -> Json | None:
        """The question of the cell that waits for input: who opens the page now can answer it, too."""
        question = kernel.question
        cell = self._known_attempts().get(question["attempt"]) if question is not None else None
        return {"cell": cell, **question} if question is not None and cell is not None else None

    @property
    def has_kernel(self) -> bool:
        return self._kernel is not None

    @property
    def idle_limit_s(self) -> int:
        """How long the kernel may be unused; 0: as long as it likes, or there is none."""
        return self._kernel.launch.profile.idle_s if self._kernel is not None else 0

    def idle_s(self) -> float:
        """How long nothing has run, or has waited for an answer, and nobody has asked the kernel anything."""
        used_at = self._used_at
        if self._state.plan is not None or self._state.running is not None or self._state.queue:
            if self._kernel is None or self._kernel.question is None:
                return 0.0
            used_at = max(used_at, self._kernel.asked_at)
        return time.monotonic() - used_at

    def _running_cell(self) -> str | None:
        running = self._state.running
        if running is not None:
            return running.item.cell
        plan = self._state.plan  # sent, and not yet reported: it may be in C code from its first line
        return plan.sent[0].cell if plan is not None and plan.sent else None

    def _number(self, cell: str) -> int:
        order = sorted(self._state.cells.values(), key=lambda known: known.position)
        return next((number for number, known in enumerate(order, start=1) if known.id == cell), 0)

    def live_outputs(self, cell_id: str) -> list[Json] | None:
        return self._book.unsaved_outputs(cell_id)

    def outputs_of(self, cells: Iterable[str]) -> dict[str, tuple[str, list[Json]]]:
        """Attempt and outputs, as they are now, of those cells that ran in this runtime."""
        return self._book.outputs_of(cells)

    def unsaved_cells(self) -> set[str]:
        """Cells of which the database does not know everything."""
        return self._dirty_cells | self._book.unsaved_cells()

    # --- What the notebook is -----------------------------------------------------------------------------------

    async def _catch_up(self, revision: int | None, versions: dict[str, int] | None = None) -> None:
        """Know every edit that was accepted before this request."""
        if self.is_fenced:
            raise Unavailable("Another server has taken this notebook over; reload the page.")
        if self.is_closing:
            raise Unavailable("The kernel is ending; try again in a moment.")
        if revision is None:
            revision = await db.read(self._read_revision)
        known = self._state.cells
        behind = any(cell in known and known[cell].version < version for cell, version in (versions or {}).items())
        if revision > self._revision or behind:
            await self.feed.refresh()

    def _read_revision(self) -> int:
        return Notebook.objects.values_list("revision", flat=True).get(pk=self.notebook_id)

    def cells_changed(
        self, cells: list[Cell], now: Mapping[str, facts.CellFacts], revision: int, run_mode: str
    ) -> dict[str, facts.CellState]:
        """The feed read the notebook anew, analysed; the states that may be others for it."""
        self._revision = max(revision, self._revision)
        known, graph = self._state.cells, self._state.graph
        happened: list[Event] = []
        gone = tuple(cell for cell in known if cell not in now)
        if gone:
            happened.append(CellsDeleted(gone))
        changed = tuple(fact for row in now.values() if (fact := self._fact(row)) != known.get(fact.id))
        if changed:
            happened.append(CellsChanged(changed))
        if run_mode != self._state.mode:
            happened.append(SetMode(Mode(run_mode)))
        self._book.learn(cells, known)
        if happened:
            self._decide(*happened)
        # The decision tells by itself what follows from it; what a changed graph means for the others is looked up.
        return self.states() if self._state.graph is not graph else {}

    def _fact(self, row: facts.CellFacts) -> facts.CellFacts:
        """The row's facts, but for the last attempt: what we know of it is newer than the row."""
        known = self._state.cells.get(row.id)
        if known is None or row.last is known.last:
            return row
        return facts.replace_last(row, known.last)

    def states(self) -> dict[str, facts.CellState]:
        return self._states_of(None)

    def _states_of(self, cells: Iterable[str] | None) -> dict[str, facts.CellState]:
        derived = scheduler.freshness(self._state, cells)
        views = scheduler.views(self._state, cells)
        return {
            cell: facts.CellState(
                derived=derived[cell],
                status=view.status,
                loaded=view.loaded,
                place=view.place,
                **self._book.fields(cell, view),
            )
            for cell, view in views.items()
            if cell in derived
        }

    # --- Deciding and telling -----------------------------------------------------------------------------------

    def _decide(self, *happened: Event) -> None:
        """Let the scheduler decide; record at once, hand the rest to the kernel in order."""
        self._state, actions = scheduler.decide(self._state, *happened)
        for action in actions:
            self._take(action)
        if self._refresh:
            self._send_states_soon()

    def _take(self, action: Action) -> None:
        match action:
            case StartKernel() | Unload() | RunPlan() | Amend() | RunSql():
                self._deliveries.put_nowait(action)
            case Interrupt():
                self._interrupt(action)
            case Refresh():
                self._refresh |= action.cells
            case RunStarted():
                self.tell([{"type": "run.started", "run": action.run, "by": action.by, "cells": list(action.cells)}])
            case Refused():
                self._refuse(action)
            case RunFinished():
                self._finish_run(action)
            case RecordJoined():
                self._serve(action.run, action.attempt)
            case RecordQueued() | RecordRunning() | RecordFinished() | RecordValues() | RecordDropped():
                self._record(action)

    def _record(
        self, action: RecordQueued | RecordRunning | RecordFinished | RecordValues | RecordDropped
    ) -> None:
        match action:
            case RecordQueued():
                self._dirty_cells |= {item.cell for item in action.items}
            case RecordDropped():
                self._dirty_cells |= {cell for _, cell in action.attempts}
            case RecordRunning():
                self.executions += 1
                self._book.start(action, self.executions)
                for run in action.runs:
                    self._serve(run, action.attempt)
                self._dirty_cells.add(action.cell)
                self._dirty_session = True
            case RecordFinished():
                self._book.finish(action)
                self._dirty_cells.add(action.cell)
            case RecordValues():
                self._book.revalue(action)
        self._mark_dirty()

    def _serve(self, run: str, attempt: str) -> None:
        """The attempt is one of those that this run is made of."""
        if run in self._runs:
            self._runs[run].attempts.append(attempt)
            self._dirty_runs.add(run)
            self._mark_dirty()

    def _refuse(self, action: Refused) -> None:
        if action.why is not Why.TEXT:
            self.tell(
                [
                    {
                        "type": "run.refused",
                        "run": action.run,
                        "cell": action.cell,
                        "why": action.why.value,
                        "cells": list(action.cells),
                    }
                ]
            )

    def _new_run(self, kind: str, by: Author) -> str:
        run = str(uuid.uuid4())
        self._runs[run] = RunRecord(run, kind, by.user_id, timezone.now())
        self._waiters[run] = asyncio.Event()
        self._dirty_runs.add(run)
        self._mark_dirty()
        return run

    def _finish_run(self, action: RunFinished) -> None:
        run = self._runs.get(action.run)
        if run is None:
            return
        run.outcome, run.finished_at = action.outcome.value, timezone.now()
        self._dirty_runs.add(action.run)
        self._mark_dirty()
        seconds = max(0.0, (run.finished_at - run.started_at).total_seconds())
        metrics.run_ended(run.kind, run.outcome, seconds)
        about = {"notebook_id": self.notebook_id, "run_id": run.id, "user_id": run.user_id}
        log.info("run ended: %s, %s, %.3f s", run.kind, run.outcome, seconds, extra=about)
        self.tell([{"type": "run.finished", "run": action.run, "outcome": action.outcome.value}])

    def tell(self, happened: list[Json]) -> None:
        """Send live events; while a frame of the kernel is taken, they gather into one."""
        if self._outbox is not None:
            self._outbox += happened
        else:
            self.feed.send_live(happened)

    def _send_states_soon(self) -> None:
        """Now, if the last ones were a while ago, else together with what follows them."""
        if self._states_later is not None:
            return
        wait = self._states_sent_at + STATES_EVERY_S - time.monotonic()
        if wait <= 0:
            self._flush_states()
        else:
            self._states_later = asyncio.get_running_loop().call_later(wait, self._flush_states)

    def _flush_states(self) -> None:
        if self._states_later is not None:
            self._states_later.cancel()
            self._states_later = None
        refresh, self._refresh = self._refresh, set()
        refresh |= set(scheduler.queue_order(self._state))
        refresh &= set(self._state.cells)
        self._states_sent_at = time.monotonic()
        changed = self.feed.changed_states(self._states_of(refresh)) if refresh else []
        self.tell(changed + self._kernel_event())

    def _kernel_event(self) -> list[Json]:
        document = self.kernel_document()
        compared = {key: document.get(key) for key in ("state", "detail", "cell", "asks")}
        if compared == self._told_kernel:
            return []
        self._told_kernel = compared
        self._dirty_session = True  # other processes read it there
        self._mark_dirty()
        return [{"type": "kernel.changed", **document}]

    def _tell_kernel(self) -> None:
        self.tell(self._kernel_event())

    # --- Carrying out -------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        """Deliver actions to the kernel one after the other; each knows that those before it have arrived."""
        while True:
            action = await self._deliveries.get()
            try:
                await self._deliver(action)
            except (KernelDied, KernelSilent, CallFailed) as error:
                log.info("notebook %s: %s was not delivered: %s", self.notebook_id, type(action).__name__, error)
            except Exception:
                log.exception("notebook %s: %s failed", self.notebook_id, type(action).__name__)
                if isinstance(action, RunPlan):
                    self._decide(PlanEnded(action.plan))

    async def _deliver(self, action: Action) -> None:
        self._used_at = time.monotonic()
        match action:
            case StartKernel():
                await self._start_kernel(restart=action.restart)
            case Unload() if self._kernel is not None:
                await self._kernel.call("unload", names=sorted(action.names))
            case RunPlan():
                await self._run_plan(action)
            case Amend() if self._kernel is not None:
                await self._amend(action)
            case RunSql():
                self._begin_query(action.item)

    def _begin_query(self, item: PlanItem) -> None:
        running = self._state.running
        if running is None or running.item.attempt != item.attempt or running.stopping:  # stopped while it waited here
            self._decide(Finished(item.attempt, Outcome.INTERRUPTED, frozenset()))
            return
        self._queries[item.attempt] = task = self._start(self._run_sql(item), "query")
        task.add_done_callback(lambda task: self._query_ended(item.attempt, task))

    def _query_ended(self, attempt: str, task: asyncio.Task[None]) -> None:
        self._queries.pop(attempt, None)
        if task.cancelled() and not self.is_closing and not self.is_fenced:  # before its first step
            self._decide(Finished(attempt, Outcome.INTERRUPTED, frozenset()))

    async def _start_kernel(self, *, restart: bool) -> None:
        if self.is_closing:
            return
        old, self._kernel = self._kernel, None
        self._kernel_state, self._kernel_detail = "starting", ""
        self._tell_kernel()
        if old is not None:
            await old.kill(Death("shutdown", "The kernel was restarted."))
        try:
            kernel = await self._stored(lambda: self.host.claim_kernel(self.notebook_id, self.epoch))
        except (KernelStartTimeout, OSError, RuntimeError) as error:
            log.warning("no kernel for notebook %s: %s", self.notebook_id, error)
            metrics.kernel_start_failed()
            self._lose_kernel(f"The kernel did not start: {_why(error)}")
            return
        except Exception:
            self._lose_kernel(FAILED_WORDS)
            raise  # to the log
        if self.is_closing:
            await kernel.kill()
            return
        self._kernel = kernel
        self._book.output_bytes = kernel.launch.profile.output_bytes
        self._book.throttle = kernel.throttle
        kernel.on_entries = self._take_entries
        kernel.on_input = self._take_input
        kernel.on_refused = self._say_refused
        kernel.on_slowed = self._warn
        kernel.gate = self._gate
        self._start(self._see_death(kernel), "kernel's death")
        self._kernel_state, self._kernel_detail = "idle", ""
        self._dirty_session = True
        self._decide(KernelReady())
        self._tell_kernel()

    async def _see_death(self, kernel: Kernel) -> None:
        death = await asyncio.shield(kernel.died)
        if self._kernel is not kernel:  # it was restarted: what the next one says comes behind its last words
            await self._book.kernel_ended()
            return
        self.host.kernel_died(death)
        log.warning("the kernel of notebook %s died: %s", self.notebook_id, death.reason)
        self._kernel_state, self._kernel_detail = "dead", self._where_it_ended(death, self._cell_at_end())
        self._tell_kernel()
        await self._book.kernel_ended()  # what it said last may wait for its files
        if self._kernel is not kernel:
            return
        plan = self._state.plan
        if self._state.running is None and plan is not None and plan.sent:
            # It may have died before its first word: what was next is what ran.
            self._take_now([{"t": "started", "attempt": plan.sent[0].attempt, "version": plan.sent[0].version}])
        cell = self._running_cell()
        self._kernel = None
        self._lose_kernel(self._where_it_ended(death, cell))

    def _cell_at_end(self) -> str | None:
        """The cell that ran when the kernel died, by all that it said: also by what waits for its files."""
        cell, known = self._running_cell(), self._known_attempts()
        for entry in self._book.waiting():
            if entry["t"] in ("started", "finished"):
                cell = known.get(entry["attempt"]) if entry["t"] == "started" else None
        return cell

    def _where_it_ended(self, death: Death, cell: str | None) -> str:
        where = f" It ended while cell {self._number(cell)} ran." if cell is not None else ""
        return f"{death.reason}{where}"

    def _lose_kernel(self, detail: str) -> None:
        self._kernel_state, self._kernel_detail = "dead", detail
        self._dirty_session = True
        self._decide(KernelGone())
        self._flush_states()
        self._mark_dirty()

    def _gate(self) -> Awaitable[Any] | None:
        """Stop reading the kernel while its output cannot be kept: it waits, nothing is lost."""
        if self._book.is_behind:
            return self._book.drained()
        return self.host.saver_has_room() if self.host.saver.is_behind else None

    async def _run_plan(self, action: RunPlan) -> None:
        items = await self._items(action.items)
        if self._kernel is None or not items:
            self._decide(PlanEnded(action.plan))
            return
        self._start(self._await_plan(self._kernel, action.plan, items), "plan")

    async def _await_plan(self, kernel: Kernel, plan: str, items: list[Json]) -> None:
        try:
            reply = await kernel.run_plan(plan, items)
        except KernelDied:
            return
        await self._book.drained()
        self._used_at = time.monotonic()
        happened: list[Event] = [_finished(entry) for entry in reply["finished"]]
        self._book.note_durations(reply["finished"])
        self._decide(*happened, PlanEnded(plan))
        self._flush_states()

    async def _amend(self, action: Amend) -> None:
        assert self._kernel is not None
        await self._kernel.amend(
            action.plan,
            drop=action.drop,
            replace=await self._items(action.replace),
            append=await self._items(action.append),
        )

    async def _items(self, items: Iterable[PlanItem]) -> list[Json]:
        """Plan items as the kernel wants them. One whose source has changed since is left out: it comes again."""
        wanted = list(items)
        found = await self._stored(lambda: self._sources.of(wanted))
        numbers = {known.id: number for number, known in enumerate(self._in_order(), start=1)}
        messages = [
            found[item.cell].as_item(item, number=numbers.get(item.cell, 0), count=self.executions + place)
            for place, item in enumerate(wanted, start=1)
            if item.cell in found
        ]
        if len(messages) < len(wanted):
            self.feed.refresh_soon(0)
        return messages

    def _in_order(self) -> list[facts.CellFacts]:
        return sorted(self._state.cells.values(), key=lambda known: known.position)

    def _interrupt(self, action: Interrupt) -> None:
        query = self._queries.get(action.attempt)
        if query is not None:
            query.cancel()
            return
        running = self._state.running
        if self._kernel is not None and running is not None and running.item.attempt == action.attempt:
            self._start(self._kernel.interrupt(), "interrupt")

    async def _run_sql(self, item: PlanItem) -> None:
        outcome, names = Outcome.INTERRUPTED, frozenset[str]()
        try:
            found = (await self._stored(lambda: self._sources.of([item]))).get(item.cell)
            if found is None or self._kernel is None:
                self.feed.refresh_soon(0)
                return
            number = self._number(item.cell)
            result = await run_query(self.host.broker, self._kernel, item, found, number=number, stored=self._stored)
            await self._book.drained()
            self._book.feed(item.attempt, list(result.entries))
            self._book.note(item.attempt, result.note)
            outcome, names = result.outcome, result.names
        except asyncio.CancelledError:
            self._book.feed(item.attempt, [_interrupted(item.attempt)])
        except KernelDied:
            raise  # the cell is told of its death
        except Exception:
            outcome = Outcome.ERROR
            self._book.feed(item.attempt, [error_entry(item.attempt, "ServerError", QUERY_FAILED_WORDS)])
            raise  # to the log
        finally:
            self._decide(Finished(item.attempt, outcome, names))
            self._flush_states()

    # --- What the kernel says -----------------------------------------------------------------------------------

    def _take_entries(self, entries: list[Json]) -> None:
        """A frame. Entries with files wait for those; what comes after them waits too, so that order is kept."""
        self._book.tidy(entries)
        if self._book.must_wait(entries):
            self._book.later(entries, self._work_folder(), self._take_now)
        else:
            self._take_now(entries)

    def _work_folder(self) -> Any:
        return self._kernel.work if self._kernel is not None else None

    def _take_now(self, entries: list[Json]) -> None:
        happened: list[Event] = []
        known = self._known_attempts()
        for entry in entries:
            attempt = entry.get("attempt")
            kind = entry["t"]
            if kind == "started" and attempt in known:
                happened.append(Started(attempt, entry["version"]))
                self._book.expect(attempt, known[attempt])
            elif kind == "finished":
                happened.append(_finished(entry))
                self._book.note_durations([entry])
            elif kind == "note":
                self._book.note(str(attempt), entry["text"])
            else:
                self._book.put(attempt or self._owner_of_stray(), entry)
        # One frame: what was shown first, then what follows from it.
        self._outbox = told = self._book.flush()
        has_output = bool(told)
        try:
            if happened:
                self._decide(*happened)
            if self._state.plan is None or self._states_are_due():
                self._flush_states()
        finally:
            self._outbox = None
        self.tell(told)
        if has_output and self._chunks_later is None:
            wait = max(0.0, self._chunks_at + CHUNKS_AFTER_S - time.monotonic())
            self._chunks_later = asyncio.get_running_loop().call_later(wait, self._save_chunks)

    def _save_chunks(self) -> None:
        self._chunks_later = None
        self._chunks_at = time.monotonic()
        self._mark_dirty()

    def _states_are_due(self) -> bool:
        return bool(self._refresh) and time.monotonic() - self._states_sent_at >= STATES_EVERY_S

    def _known_attempts(self) -> dict[str, str]:
        """The cell of each attempt that the kernel may report: only of the plan we sent."""
        known: dict[str, str] = {}
        if self._state.plan is not None:
            known |= {attempt: items[0].cell for attempt, items in self._state.plan.known.items() if items}
        if self._state.running is not None:
            known[self._state.running.item.attempt] = self._state.running.item.cell
        return known

    def _owner_of_stray(self) -> str | None:
        return self._state.running.item.attempt if self._state.running is not None else None

    def _take_input(self, attempt: str, prompt: str, password: bool) -> None:
        # The question may overtake the report that its cell started.
        cell = self._known_attempts().get(attempt)
        if cell is not None:
            event = {
                "type": "input.requested",
                "cell": cell,
                "attempt": attempt,
                "prompt": prompt,
                "password": password,
            }
            self.tell([event, *self._kernel_event()])

    def _say_refused(self, why: str) -> None:
        """Something came that no kernel of ours sends: said in the cell that runs, for its code did it."""
        log.warning("notebook %s: messages of its kernel were refused: %s", self.notebook_id, why)
        known = self._known_attempts()
        attempt = self._owner_of_stray() or next(iter(known), None)
        if attempt is not None:
            self._warn(attempt, REFUSED_WORDS.format(why))

    def _warn(self, attempt: str, words: str) -> None:
        """Say it at the attempt's cell, while it runs already."""
        self._book.warn(attempt, words)
        cell = self._known_attempts().get(attempt)
        if cell is not None:
            self._refresh.add(cell)
            self._send_states_soon()

    # --- Saving -------------------------------------------------------------------------------------------------

    def _mark_dirty(self) -> None:
        if not self.is_fenced:
            self.host.saver.mark(self)

    def take_batch(self) -> Batch | None:
        """Everything new since the last one, or None. Called by the saver on the loop."""
        if self.is_fenced:
            return None
        cells, self._dirty_cells = self._dirty_cells, set()
        runs, self._dirty_runs = self._dirty_runs, set()
        batch = Batch(self.notebook_id, self.epoch, self._session_record())
        # Copies: what happens while they are being written belongs to the next batch.
        batch.runs = {run: self._runs[run].copy() for run in runs if run in self._runs}
        self._book.fill(batch)
        views = scheduler.views(self._state, [cell for cell in cells if cell in self._state.cells])
        batch.cells = {cell: self._cell_record(cell, view.status) for cell, view in views.items()}
        is_empty = not (batch.runs or batch.attempts or batch.cells or batch.outputs or batch.chunks)
        if is_empty and not self._dirty_session:
            return None
        self._dirty_session = False
        batch.mark = self.feed.relay.mark() if self.feed.relay is not None else {}
        return batch

    def _session_record(self) -> SessionRecord:
        known = self.kernel_document()
        return SessionRecord(known["state"], known["detail"], self.executions)

    def _cell_record(self, cell: str, status: Status) -> CellRecord:
        last = self._book.last(cell)
        return CellRecord(cell, status.value, last.number if last else None, last.id if last else None)

    def saved(self, batch: Batch) -> None:
        """A batch is in the database: those who wait for its runs may read it there."""
        self._book.forget_saved()
        for run in batch.runs.values():
            if run.finished_at is not None:
                self._runs.pop(run.id, None)
                waiter = self._waiters.pop(run.id, None)
                if waiter is not None:
                    waiter.set()

    def _start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        # Not in the context of the request that happened to start it.
        context = logs.context_of(self.notebook_id)
        task = asyncio.create_task(work, name=f"{name} of {self.notebook_id}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), RillbookError):
            log.error("%s failed", task.get_name(), exc_info=task.exception())


def _why(error: Exception) -> str:
    """A line for all who read the notebook: an error of the system's is told without the path that it names."""
    told = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return next(iter(told.splitlines()), type(error).__name__)[:300]


def _finished(entry: Json) -> Finished:
    outcome = None if entry["outcome"] == "skipped" else Outcome(entry["outcome"])
    names, undeclared, kept = (frozenset(entry[key]) for key in ("names", "undeclared", "kept"))
    return Finished(entry["attempt"], outcome, names, undeclared, kept)


def _interrupted(attempt: str) -> Json:
    return {**error_entry(attempt, "Interrupted", "The query was stopped."), "traceback": []}
