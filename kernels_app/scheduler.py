"""Decides which cells run next.

Pure: `decide(state, *events)` takes what is known and what just happened, and returns the new state and the
actions to carry out, in order. It does not await, query, log or read the clock; ids are made from the seed
given to `load`, so that the same events give the same actions. Talking to kernels, database and browsers is
the runtime's work (runtime.py). The values are in schedule.py, the choice of cells in choosing.py, the
kernel's plan in planning.py.

    event                        what it does                               actions
    RunCells, RunAll, RunStale   queue the cells and what goes with them    RunStarted, Refused, RecordQueued, …Joined
    CellsChanged, CellsDeleted   new facts; graph, queue and names follow   RecordDropped, RecordQueued
    Started                      the kernel took a cell of its plan         RecordRunning
    Finished                     names are loaded, or dependents blocked    RecordFinished, RecordValues, RecordDropped
    PlanEnded                    what was left goes into the next plan
    Stop, TakeOut                all, or one cell and its dependents, leave RecordDropped
    Restart, KernelGone          nothing is loaded or waits; outputs stay   RecordFinished, RecordDropped
    Hold                         the kernel gets nothing more until released
    KernelReady, SetMode         noted

Any of them may be followed by StartKernel, Unload, RunPlan, Amend or RunSql (the kernel is brought in line
with the queue), Interrupt, RunFinished and one Refresh with the cells whose state may differ. Reports of
attempts we did not send, or whose end we know, change nothing: kernel messages can be forged, and frames
and replies overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from kernels_app.choosing import choose
from kernels_app.draft import Draft, barred_cells, downwards, is_loaded, with_last
from kernels_app.planning import mark_running, synchronise
from kernels_app.schedule import (
    LENT,
    Action,
    Binding,
    CellsChanged,
    CellsDeleted,
    CellView,
    Event,
    Finished,
    Hold,
    Interrupt,
    Item,
    Kernel,
    KernelGone,
    KernelReady,
    Kind,
    Mode,
    PlanEnded,
    PlanItem,
    RecordJoined,
    RecordQueued,
    RecordValues,
    Refresh,
    Refused,
    Restart,
    RunAll,
    RunCells,
    RunFinished,
    RunStale,
    RunStarted,
    SetMode,
    Started,
    StartKernel,
    State,
    Stop,
    TakeOut,
    Why,
)
from notebooks_app.facts import CellFacts, Derived, Freshness, Outcome, Status
from notebooks_app.freshness import derive
from notebooks_app.graph import build

UNDECLARED_KEPT = 10_000  # Names of a notebook that analysis missed and that are known: each decision looks at all.
BARREN_PLANS_ALLOWED = 3  # Plans in a row that ended without starting a cell, before the queue is given up.

_STRUCTURE = ("position", "type", "definitions", "references", "disabled", "errors")


def load(
    cells: Iterable[CellFacts], *, seed: str, mode: Mode = Mode.AUTO, kernel: Kernel = Kernel.STOPPED
) -> State:
    """The state of a notebook that was just opened. `seed`: a fresh UUID, from which all ids are made."""
    facts = {cell.id: cell for cell in cells}
    graph = build(facts.values())
    return State(
        seed=seed,
        mode=Mode(mode),
        cells=facts,
        graph=graph,
        rank=graph.ranks,
        barred=barred_cells(facts, graph),
        kernel=kernel,
    )


def decide(state: State, *events: Event) -> tuple[State, list[Action]]:
    """Apply events in order. Cheaper for a batch than one by one: plans and refreshes are made once."""
    draft = Draft(state)
    for event in events:
        _HANDLERS[type(event)](draft, event)
    synchronise(draft)
    draft.actions.extend(draft.interrupts.values())
    _finish_runs(draft)
    if draft.touched:
        draft.actions.append(Refresh(frozenset(downwards(draft.graph, draft.touched & draft.cells.keys()))))
    return draft.freeze(), draft.actions


def freshness(state: State, cells: Iterable[str] | None = None) -> dict[str, Derived]:
    """What freshness.py derives for these cells (and what they depend on) while this state lasts."""
    live = (state.running.item.attempt,) if state.running else ()
    return derive(state.cells, state.graph, only=cells, live=live)


def views(state: State, cells: Iterable[str] | None = None) -> dict[str, CellView]:
    """Status, place and the like of these cells, or of all."""
    places = {cell: place for place, cell in enumerate(queue_order(state), start=1)}
    known = state.cells if cells is None else [cell for cell in cells if cell in state.cells]
    return {cell: _view(state, cell, places.get(cell)) for cell in known}


def queue_order(state: State) -> list[str]:
    """The waiting cells, next first."""
    return sorted(state.queue, key=state.rank.__getitem__)


def _view(state: State, cell: str, place: int | None) -> CellView:
    loaded = is_loaded(cell, state.cells, state.ran_here, state.loaded)
    running, queued, last = state.running, state.queue.get(cell), state.cells[cell].last
    if running is not None and running.item.cell == cell:
        return CellView(Status.RUNNING, loaded, None, running.item.attempt, running.item.reason)
    if queued is not None:
        return CellView(Status.QUEUED, loaded, place, queued.attempt, queued.reason)
    return CellView(Status.IDLE, loaded, None, last.id if last else None, None)


# --- Requests -------------------------------------------------------------------------------------


def _run_cells(draft: Draft, event: RunCells) -> None:
    targets, refused = [], []
    for cell in dict.fromkeys(event.cells):
        why = _refusal(draft, cell)
        if why is None:
            targets.append(cell)
            continue
        draft.actions.append(Refused(event.run, cell, why, _causes(draft, cell)))
        if why is not Why.TEXT:
            refused.append(cell)
    _request(draft, targets, run=event.run, by=event.by, kind=event.kind, only=event.only)
    if refused:
        draft.worsen((event.run,), Outcome.ERROR)


def _run_all(draft: Draft, event: RunAll) -> None:
    """Disabled cells are passed over: somebody chose that. A run that passes over broken ones does not end well."""
    targets = [cell for cell in draft.cells if _refusal(draft, cell) is None]
    _request(draft, targets, run=event.run, by=event.by, kind=event.kind)
    if any(why in (Why.ERROR, Why.BLOCKED) for why in draft.barred.values()):
        draft.worsen((event.run,), Outcome.ERROR)


def _run_stale(draft: Draft, event: RunStale) -> None:
    fresh = derive(draft.cells, draft.graph, live=draft.live())
    targets = [
        cell
        for cell, derived in fresh.items()
        if derived.freshness is not Freshness.CURRENT and _refusal(draft, cell) is None
    ]
    _request(draft, targets, run=event.run, by=event.by, kind="run_stale")


def _refusal(draft: Draft, cell: str) -> Why | None:
    facts = draft.cells.get(cell)
    if facts is None:
        return Why.MISSING
    return draft.barred.get(cell) if facts.runs else Why.TEXT


def _causes(draft: Draft, cell: str) -> tuple[str, ...]:
    if cell not in draft.barred:
        return ()
    derived = derive(draft.cells, draft.graph, only=(cell,))[cell]
    if draft.barred[cell] is Why.DISABLED:
        return derived.disabled_by
    blocking = [other for other, _ in derived.blocked_by]
    return tuple(dict.fromkeys(blocking + [other for error in derived.errors for other in error.cells]))


def _request(draft: Draft, targets: list[str], *, run: str, by: str, kind: str, only: bool = False) -> None:
    """Queue what the request makes run; let it share what waits or runs already."""
    draft.runs[run] = Outcome.OK
    reasons = choose(draft, targets, kind=kind, by=by, only=only)
    items = [Item(draft.new_id(), cell, reasons[cell], (run,), only) for cell in draft.in_order(reasons)]
    items += _join(draft, [cell for cell in targets if cell not in reasons], run, only=only)
    draft.queue |= {item.cell: item for item in items}
    draft.touched.update(item.cell for item in items)
    draft.actions.append(RunStarted(run, by, kind, tuple(draft.in_order(item.cell for item in items))))
    if items:
        draft.actions.append(RecordQueued(tuple(items)))
        draft.dirty = True


def _join(draft: Draft, cells: Iterable[str], run: str, *, only: bool) -> list[Item]:
    """Let a request wait for cells that are queued already, or run as they stand."""
    items = []
    for cell in cells:
        item, running = draft.queue.get(cell), draft.running
        if item is not None:
            items.append(Item(item.attempt, cell, item.reason, _with(item.runs, run), item.only and only))
        elif running is not None and running.item.cell == cell:
            runs = _with(running.runs, run)
            draft.running = replace(running, runs=runs)
            draft.actions.append(RecordJoined(running.item.attempt, run))
    return items


def _with(runs: tuple[str, ...], run: str) -> tuple[str, ...]:
    return runs if run in runs else (*runs, run)


# --- Cells change ---------------------------------------------------------------------------------


def _cells_changed(draft: Draft, event: CellsChanged) -> None:
    restructured, edited = False, []
    for facts in event.cells:
        old = draft.cells.get(facts.id)
        draft.cells[facts.id] = with_last(facts, old.last) if old else facts
        draft.touched.add(facts.id)
        restructured |= old is None or any(getattr(old, name) != getattr(facts, name) for name in _STRUCTURE)
        if old is not None and old.source_hash != facts.source_hash and facts.id in draft.queue:
            edited.append(facts.id)
    draft.dirty = True
    if restructured:
        _restructure(draft)
    if draft.running is not None:
        running = draft.cells.get(draft.running.item.cell)
        if running is not None and running.disabled:
            draft.interrupt()
    for cell in draft.in_order(edited):
        _complete(draft, cell)


def _cells_deleted(draft: Draft, event: CellsDeleted) -> None:
    gone = dict.fromkeys(cell for cell in event.cells if cell in draft.cells)
    if not gone:
        return
    draft.touched |= downwards(draft.graph, gone)
    for cell in gone:
        del draft.cells[cell]
        draft.ran_here.pop(cell, None)
        if draft.is_running(cell):
            draft.interrupt()
    _leave(draft, [name for name, binding in draft.loaded.items() if binding.cell in gone])
    _restructure(draft)


def _restructure(draft: Draft) -> None:
    """Build the graph anew; what can no longer run leaves the queue."""
    old, draft.dirty = draft.graph, True
    draft.touched |= downwards(old, draft.touched & draft.rank.keys())
    draft.replace_graph(build(draft.cells.values()))
    new = draft.graph
    errors = old.errors.keys() | new.errors.keys()
    draft.touched.update(cell for cell in errors if old.errors.get(cell) != new.errors.get(cell))
    for why in (Why.MISSING, Why.TEXT, Why.DISABLED, Why.ERROR, Why.BLOCKED):
        draft.drop([cell for cell in draft.queue if _refusal(draft, cell) is why], why)


def _complete(draft: Draft, cell: str) -> None:
    """A waiting cell was edited: it runs its new source, with what that depends on and what depends on it."""
    item = draft.queue.get(cell)
    if item is None or item.only:
        return
    reasons = choose(draft, [cell], kind=item.reason.kind, by=item.reason.by)
    items = [Item(draft.new_id(), other, reasons[other], item.runs) for other in draft.in_order(reasons)]
    draft.queue |= {added.cell: added for added in items}
    draft.touched.update(reasons)
    if items:
        draft.actions.append(RecordQueued(tuple(items)))


# --- The kernel reports ---------------------------------------------------------------------------


def _started(draft: Draft, event: Started) -> None:
    versions = draft.known.get(event.attempt, ())
    item = next((sent for sent in reversed(versions) if sent.version == event.version), None)
    if item is None or event.attempt in draft.live():
        return
    _begin(draft, item)


def _begin(draft: Draft, item: PlanItem, *, inputs_known: bool = True) -> None:
    """The kernel runs this, wanted or not: one that was dropped too late is interrupted."""
    if draft.running is not None:
        _fail(draft, Outcome.INTERRUPTED, draft.running.item.definitions)  # its end got lost
    draft.progressed = True
    draft.sent.pop(item.attempt, None)
    queued = draft.queue.get(item.cell)
    if queued is not None and queued.attempt == item.attempt:
        del draft.queue[item.cell]
        mark_running(draft, item, queued, inputs_known=inputs_known)
    else:
        mark_running(draft, item, None, inputs_known=inputs_known)
        draft.interrupt()


def _finished(draft: Draft, event: Finished) -> None:
    if event.attempt not in draft.live():
        versions = draft.known.get(event.attempt, ())
        if not versions:
            return
        if event.outcome is None:
            _skipped(draft, versions[-1])
            return
        _begin(draft, versions[-1], inputs_known=len(versions) == 1)
    if event.outcome is Outcome.OK:
        _succeed(draft, event)
    else:
        _fail(draft, event.outcome or Outcome.INTERRUPTED, _bound(draft, event))
    draft.known.pop(event.attempt, None)
    draft.interrupts.pop(event.attempt, None)


def _succeed(draft: Draft, event: Finished) -> None:
    running = draft.running
    assert running is not None
    item = running.item
    declared = item.definitions & event.names
    undeclared = _bound(draft, event) - declared
    kept = event.kept & running.held.keys()
    values = {name: running.held[name] if name in kept else item.attempt for name in sorted(declared)}
    if item.cell in draft.cells:
        draft.ran_here[item.cell] = item.attempt
        for name in declared | undeclared:
            value = values.get(name, item.attempt)
            draft.loaded[name] = Binding(item.cell, value, item.source_hash, name in declared)
            draft.leftover.discard(name)
            draft.doubt.discard(name)
    else:
        _leave(draft, declared | undeclared)
    draft.end_running(Outcome.OK, values, frozenset(undeclared))
    for name in undeclared & draft.loaded.keys():
        _lend(draft, name)
    changed = item.cell not in draft.cells or item.source_hash != draft.cells[item.cell].source_hash
    draft.dirty |= bool(undeclared) or changed or draft.plan is None


def _bound(draft: Draft, event: Finished) -> frozenset[str]:
    """The names that the running cell bound. Undeclared ones that are new are left out once many are known."""
    kept = sum(not binding.declared for binding in draft.loaded.values()) + len(draft.leftover) + len(draft.doubt)
    new = sorted(event.undeclared - draft.loaded.keys() - draft.leftover - draft.doubt)
    return event.names | (event.undeclared - set(new[max(0, UNDECLARED_KEPT - kept) :]))


def _leave(draft: Draft, names: Iterable[str]) -> None:
    """These names leave the kernel, whatever becomes of their cell before they have."""
    for name in names:
        draft.loaded.pop(name, None)
        draft.leftover.add(name)


def _lend(draft: Draft, name: str) -> None:
    """A function's `global` was carried out by its caller: the value counts as one of the cell that declares it.

    Not where that cell binds the name itself: then it was overwritten, and is made again when it is needed.
    """
    definers = draft.graph.definers(name)
    owner = draft.cells.get(definers[0]) if len(definers) == 1 else None
    if owner is None or owner.last is None or draft.ran_here.get(owner.id) != owner.last.id:
        return
    if not owner.last.values.get(name, LENT).startswith(LENT):
        return
    binding = draft.loaded[name]
    value = f"{LENT}{binding.value}"
    draft.loaded[name] = replace(binding, value=value)
    values = {**owner.last.values, name: value}
    draft.cells[owner.id] = with_last(owner, replace(owner.last, values=values))
    draft.touched.add(owner.id)
    draft.actions.append(RecordValues(owner.last.id, owner.id, values))


def _fail(draft: Draft, outcome: Outcome, names: frozenset[str]) -> None:
    """What it bound is half-made and leaves; what depends on it is blocked, unless it is to run again
    first.
    """
    running = draft.running
    assert running is not None
    item = running.item
    _leave(draft, names)
    draft.dirty = True
    draft.end_running(outcome, {}, frozenset())
    if item.cell in draft.cells and item.cell not in draft.queue:
        draft.drop(downwards(draft.graph, (item.cell,)), Why.BLOCKED)
    _expect_skips(draft, item.attempt)


def _expect_skips(draft: Draft, failed: str) -> None:
    """The kernel skips by itself what needs a failed attempt; what is still wanted needs a new attempt."""
    bad = {failed}
    for attempt, item in list(draft.sent.items()):
        if item.needs & bad:
            bad.add(attempt)
            _skipped(draft, item)


def _skipped(draft: Draft, item: PlanItem) -> None:
    draft.sent.pop(item.attempt, None)
    draft.known.pop(item.attempt, None)
    queued = draft.queue.get(item.cell)
    if queued is not None and queued.attempt == item.attempt:
        renewed = Item(draft.new_id(), item.cell, queued.reason, queued.runs, queued.only)
        draft.drop([item.cell], Why.BLOCKED, Outcome.OK)
        draft.queue[item.cell] = renewed
        draft.actions.append(RecordQueued((renewed,)))
        draft.dirty = True


def _plan_ended(draft: Draft, event: PlanEnded) -> None:
    if event.plan != draft.plan:
        return
    if draft.running is not None:
        _fail(draft, Outcome.INTERRUPTED, draft.running.item.definitions)  # its end got lost
    draft.barren_plans = 0 if draft.progressed else draft.barren_plans + 1
    draft.plan, draft.sent, draft.known, draft.progressed = None, {}, {}, False
    draft.doubt = set()
    draft.dirty = True
    if draft.barren_plans >= BARREN_PLANS_ALLOWED:
        draft.barren_plans = 0
        draft.drop(list(draft.queue), Why.KERNEL)


# --- Ending ---------------------------------------------------------------------------------------


def _stop(draft: Draft, event: Stop) -> None:
    draft.drop(list(draft.queue), Why.STOPPED)
    draft.interrupt()


def _take_out(draft: Draft, event: TakeOut) -> None:
    """What waits only because of the cell goes with it; so does what cannot do without it."""
    if draft.is_running(event.cell):
        draft.interrupt()
    if event.cell not in draft.queue:
        return
    below = draft.in_order(downwards(draft.graph, (event.cell,)) & draft.queue.keys() - {event.cell})
    draft.drop([event.cell], Why.STOPPED)
    fresh = derive(draft.cells, draft.graph, only=below, live=draft.live())
    for cell in below:
        if draft.queue[cell].reason.kind != "requested" or not _has_upstream(draft, cell, fresh):
            draft.drop([cell], Why.STOPPED)


def _has_upstream(draft: Draft, cell: str, fresh: dict[str, Derived]) -> bool:
    """Whether everything the cell depends on is there, waits, or runs."""
    return all(
        other in draft.queue
        or draft.will_be_current(other)
        or (fresh[other].freshness is Freshness.CURRENT and draft.is_loaded(other))
        for other in draft.graph.upstream(cell)
    )


def _restart(draft: Draft, event: Restart) -> None:
    had_kernel = draft.kernel is not Kernel.STOPPED
    _lose_kernel(draft, Outcome.INTERRUPTED)
    draft.kernel = Kernel.STARTING
    draft.actions.append(StartKernel(restart=had_kernel))


def _kernel_gone(draft: Draft, event: KernelGone) -> None:
    _lose_kernel(draft, event.outcome)
    draft.kernel = Kernel.STOPPED


def _lose_kernel(draft: Draft, outcome: Outcome) -> None:
    if draft.running is not None:
        item = draft.running.item
        if item.kind is Kind.SQL:
            draft.interrupts[item.attempt] = Interrupt(item.attempt, item.kind)
        draft.end_running(outcome, {}, frozenset())
    draft.drop(list(draft.queue), Why.KERNEL, outcome)
    draft.forget_kernel()


def _kernel_ready(draft: Draft, event: KernelReady) -> None:
    if draft.kernel is Kernel.STARTING:
        draft.kernel = Kernel.READY
        draft.dirty = True


def _set_mode(draft: Draft, event: SetMode) -> None:
    draft.mode = Mode(event.mode)


def _hold(draft: Draft, event: Hold) -> None:
    draft.held = event.on
    draft.dirty = True


def _finish_runs(draft: Draft) -> None:
    """Announce the runs of which nothing waits or runs any more."""
    if not draft.runs:
        return
    active = {run for item in draft.queue.values() for run in item.runs}
    if draft.running is not None:
        active.update(draft.running.runs)
    for run in [run for run in draft.runs if run not in active]:
        draft.actions.append(RunFinished(run, draft.runs.pop(run)))


_HANDLERS: dict[type[Any], Callable[[Draft, Any], None]] = {
    RunCells: _run_cells,
    RunAll: _run_all,
    RunStale: _run_stale,
    CellsChanged: _cells_changed,
    CellsDeleted: _cells_deleted,
    Started: _started,
    Finished: _finished,
    PlanEnded: _plan_ended,
    Stop: _stop,
    TakeOut: _take_out,
    Restart: _restart,
    KernelReady: _kernel_ready,
    KernelGone: _kernel_gone,
    SetMode: _set_mode,
    Hold: _hold,
}
