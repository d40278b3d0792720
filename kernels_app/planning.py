"""Decides what the kernel is told: which names leave it, which plan it gets, how a running plan is amended.

Pure. The queue says what shall run; the plan in the kernel is a prefetch of its head. Everything here
compares the two and emits the difference, so that the rules in scheduler.py need only change the queue.

Names: one that no cell owns any more leaves the kernel at once, unless something that may be running (or
start before our message arrives) binds it: then taking it away could hit the new value, and it waits until
that has ended.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile

from kernels_app.draft import Draft, with_last
from kernels_app.schedule import (
    Amend,
    Binding,
    Item,
    Kernel,
    Kind,
    PlanItem,
    RecordRunning,
    Running,
    RunPlan,
    RunSql,
    StartKernel,
    Unload,
)
from notebooks_app.facts import Attempt
from notebooks_app.freshness import UNKNOWN_VALUE


def synchronise(draft: Draft) -> None:
    """Bring the kernel in line with the queue: emit StartKernel, Unload, RunPlan, Amend or RunSql as
    needed.
    """
    if draft.queue and draft.kernel is Kernel.STOPPED:
        draft.kernel = Kernel.STARTING
        draft.actions.append(StartKernel())
    if draft.kernel is not Kernel.READY or not draft.dirty:
        return
    draft.dirty = False
    _unload_orphans(draft)
    pending = [] if draft.held else draft.in_order(draft.queue)
    if draft.plan is not None:
        _amend(draft, _kernel_items(draft, pending))
    elif draft.running is None and pending:
        if draft.kind_of(pending[0]) is Kind.SQL:
            _run_sql(draft, draft.queue[pending[0]])
        else:
            _run_plan(draft, _kernel_items(draft, pending))


def mark_running(draft: Draft, item: PlanItem, queued: Item | None, *, inputs_known: bool = True) -> None:
    """An attempt runs: its old names are gone, and the inputs it sees are what the kernel holds now."""
    draft.ran_here.pop(item.cell, None)
    held = {}
    for name in item.unload:
        binding = draft.loaded.pop(name, None)
        if binding is not None and binding.cell == item.cell and binding.declared and name not in draft.doubt:
            held[name] = binding.value
        draft.leftover.discard(name)
    inputs = {name: value for name in item.references if (value := _input(draft, item.cell, name)) is not None}
    if not inputs_known:
        inputs = dict.fromkeys(item.references, UNKNOWN_VALUE)
    runs = queued.runs if queued else ()
    draft.running = Running(item, runs, inputs, held=held)
    facts = draft.cells.get(item.cell)
    if facts is None:
        return
    draft.cells[item.cell] = with_last(facts, Attempt(item.attempt, item.source_hash, None, inputs))
    draft.touched.add(item.cell)
    draft.actions.append(
        RecordRunning(item.attempt, item.cell, item.version, item.source_hash, item.reason, runs, inputs)
    )


def _input(draft: Draft, cell: str, name: str) -> str | None:
    """The value id a cell's reference has in the kernel now; None if the name is not there."""
    if name in draft.doubt or name in draft.leftover:
        return UNKNOWN_VALUE
    binding = draft.loaded.get(name)
    if binding is None:
        return None
    is_early = not binding.declared and draft.rank.get(binding.cell, 0) > draft.rank.get(cell, 0)
    return UNKNOWN_VALUE if is_early else binding.value


def _run_plan(draft: Draft, items: list[PlanItem]) -> None:
    draft.plan = draft.new_id()
    draft.progressed = False
    draft.sent = {item.attempt: item for item in items}
    draft.known = {item.attempt: (item,) for item in items}
    draft.actions.append(RunPlan(draft.plan, tuple(items)))


def _run_sql(draft: Draft, queued: Item) -> None:
    """The broker has no plan: the query runs from now on, and its old names leave the kernel first."""
    item = _plan_item(draft, queued, {}, _undeclared_names(draft))
    del draft.queue[queued.cell]
    held = item.unload & (draft.loaded.keys() | draft.leftover)
    if held:
        draft.actions.append(Unload(held))
    draft.actions.append(RunSql(item))
    mark_running(draft, item, queued)


def _kernel_items(draft: Draft, pending: list[str]) -> list[PlanItem]:
    """The head of the queue that the kernel may have: everything before the first query on a connection."""
    head = takewhile(lambda cell: draft.kind_of(cell) is not Kind.SQL, pending)
    items = [draft.queue[cell] for cell in head]
    attempts = {draft.running.item.cell: draft.running.item.attempt} if draft.running else {}
    attempts |= {item.cell: item.attempt for item in items}
    undeclared = _undeclared_names(draft)
    return [_plan_item(draft, item, attempts, undeclared) for item in items]


def _plan_item(
    draft: Draft, queued: Item, attempts: dict[str, str], undeclared: dict[str, set[str]]
) -> PlanItem:
    facts = draft.cells[queued.cell]
    upstream = draft.graph.upstream(queued.cell)
    return PlanItem(
        attempt=queued.attempt,
        cell=queued.cell,
        version=facts.version,
        kind=draft.kind_of(queued.cell),
        source_hash=facts.source_hash,
        reason=queued.reason,
        definitions=facts.definitions,
        references=facts.references,
        needs=frozenset(attempts[cell] for cell in upstream if cell in attempts and cell != queued.cell),
        unload=facts.definitions | undeclared.get(queued.cell, set()),
    )


def _undeclared_names(draft: Draft) -> dict[str, set[str]]:
    names: dict[str, set[str]] = defaultdict(set)
    for name, binding in draft.loaded.items():
        if not binding.declared:
            names[binding.cell].add(name)
    return names


def _amend(draft: Draft, wanted: list[PlanItem]) -> None:
    """Emit the smallest change that makes the rest of the kernel's plan the wanted one, in the wanted
    order.
    """
    assert draft.plan is not None
    attempts = {item.attempt for item in wanted}
    kept = [attempt for attempt in draft.sent if attempt in attempts]
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1].attempt, zip(kept, wanted, strict=False)))
    dropped = [attempt for attempt in draft.sent if attempt not in attempts] + kept[same:]
    replaced = [item for item in wanted[:same] if _differs(draft, draft.sent[item.attempt], item)]
    appended = wanted[same:]
    draft.sent = {item.attempt: item for item in wanted}
    for item in replaced + appended:
        draft.known[item.attempt] = (*draft.known.get(item.attempt, ()), item)
    if dropped or replaced or appended:
        draft.actions.append(Amend(draft.plan, tuple(dropped), tuple(replaced), tuple(appended)))


def _differs(draft: Draft, sent: PlanItem, wanted: PlanItem) -> bool:
    """Whether the kernel must be told anew. Needs that have ended well since are no difference."""
    live = draft.sent.keys() | draft.live()
    return (
        (sent.version, sent.source_hash, sent.kind) != (wanted.version, wanted.source_hash, wanted.kind)
        or sent.definitions != wanted.definitions
        or sent.references != wanted.references
        or sent.needs & live != wanted.needs
        or not sent.unload >= wanted.unload
    )


def _unload_orphans(draft: Draft) -> None:
    """Take names out of the kernel that belong to no cell (see the module's docstring for when)."""
    owned_by_nobody = {name for name, binding in draft.loaded.items() if not _is_owned(draft, name, binding)}
    orphans = (owned_by_nobody | draft.leftover) - _names_in_play(draft)
    if not orphans:
        return
    for name in orphans:
        if binding := draft.loaded.pop(name, None):
            draft.touched.add(binding.cell)
    draft.leftover -= orphans
    if draft.plan is not None:
        draft.doubt |= orphans
    draft.actions.append(Unload(frozenset(orphans)))


def _is_owned(draft: Draft, name: str, binding: Binding) -> bool:
    owner = draft.cells.get(binding.cell)
    if owner is None or owner.disabled:
        return False
    if binding.declared:
        return name in owner.definitions
    if owner.source_hash != binding.source_hash:
        return False
    return binding.is_lent or not draft.graph.definers(name)


def _names_in_play(draft: Draft) -> set[str]:
    """Names that an attempt binds which runs, waits in the kernel, or may have started before we could drop
    it.
    """
    names: set[str] = set(draft.running.item.definitions) if draft.running else set()
    for versions in draft.known.values():
        for item in versions:
            names |= item.definitions
    return names
