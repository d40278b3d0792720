"""A working copy of the scheduler's state, while one batch of events is applied to it.

Pure bookkeeping: what holds of cells, names, queue and runs, and the changes the rules are made of. The
rules themselves are in scheduler.py (events), choosing.py (what a request makes run) and planning.py (what
the kernel gets).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from kernels_app.schedule import (
    Action,
    Binding,
    Interrupt,
    Item,
    Kernel,
    Kind,
    Plan,
    PlanItem,
    RecordDropped,
    RecordFinished,
    Running,
    State,
    Why,
)
from notebooks_app.facts import Attempt, CellFacts, CellType, Outcome
from notebooks_app.graph import Graph

_SEVERITY = {Outcome.OK: 0, Outcome.ERROR: 1, Outcome.INTERRUPTED: 2, Outcome.DIED: 3}
_RUN_OUTCOME = {Why.BLOCKED: Outcome.ERROR, Why.STOPPED: Outcome.INTERRUPTED, Why.KERNEL: Outcome.INTERRUPTED}


class Draft:
    """The fields of `State`, open to change. `dirty`: the queue or what it depends on changed, so plan
    again.
    """

    def __init__(self, state: State) -> None:
        self.seed, self.serial, self.mode = state.seed, state.serial, state.mode
        self.cells: dict[str, CellFacts] = dict(state.cells)
        self.graph, self.rank, self.barred = state.graph, state.rank, state.barred
        self.kernel: Kernel = state.kernel
        self.queue: dict[str, Item] = dict(state.queue)
        self.running: Running | None = state.running
        self.plan: str | None = state.plan.id if state.plan else None
        self.sent: dict[str, PlanItem] = (
            {item.attempt: item for item in state.plan.sent} if state.plan else {}
        )
        self.known: dict[str, tuple[PlanItem, ...]] = dict(state.plan.known) if state.plan else {}
        self.progressed = state.plan.progressed if state.plan else False
        self.loaded: dict[str, Binding] = dict(state.loaded)
        self.ran_here: dict[str, str] = dict(state.ran_here)
        self.leftover, self.doubt = set(state.leftover), set(state.doubt)
        self.runs: dict[str, Outcome] = dict(state.runs)
        self.barren_plans, self.held = state.barren_plans, state.held
        self.actions: list[Action] = []
        self.interrupts: dict[str, Interrupt] = {}
        self.touched: set[str] = set()
        self.dirty = False

    def freeze(self) -> State:
        plan = None
        if self.plan is not None:
            plan = Plan(self.plan, tuple(self.sent.values()), self.known, self.progressed)
        return State(
            seed=self.seed,
            serial=self.serial,
            mode=self.mode,
            cells=self.cells,
            graph=self.graph,
            rank=self.rank,
            barred=self.barred,
            kernel=self.kernel,
            queue=self.queue,
            running=self.running,
            plan=plan,
            loaded=self.loaded,
            ran_here=self.ran_here,
            leftover=frozenset(self.leftover),
            doubt=frozenset(self.doubt),
            runs=self.runs,
            barren_plans=self.barren_plans,
            held=self.held,
        )

    def new_id(self) -> str:
        """A fresh UUID that depends on the seed and the number of ids made, so that a replay makes the same
        ones.
        """
        self.serial += 1
        return str(uuid.uuid5(uuid.UUID(self.seed), str(self.serial)))

    # --- What holds ---

    def in_order(self, cells: Iterable[str]) -> list[str]:
        return sorted(cells, key=self.rank.__getitem__)

    def live(self) -> frozenset[str]:
        return frozenset((self.running.item.attempt,)) if self.running else frozenset()

    def is_loaded(self, cell: str) -> bool:
        return is_loaded(cell, self.cells, self.ran_here, self.loaded)

    def is_running(self, cell: str) -> bool:
        return self.running is not None and self.running.item.cell == cell

    def will_be_current(self, cell: str) -> bool:
        """Whether the cell runs now, as it stands, and may end well."""
        running = self.running
        return (
            running is not None
            and running.item.cell == cell
            and not running.stopping
            and cell in self.cells
            and running.item.source_hash == self.cells[cell].source_hash
        )

    def kind_of(self, cell: str) -> Kind:
        facts = self.cells[cell]
        if facts.type is not CellType.SQL:
            return Kind.PYTHON
        return Kind.SQL if facts.on_connection else Kind.DUCKDB

    # --- Changes ---

    def replace_graph(self, graph: Graph) -> None:
        self.graph = graph
        self.rank = graph.ranks
        self.barred = barred_cells(self.cells, graph)

    def drop(self, cells: Iterable[str], why: Why, outcome: Outcome | None = None) -> None:
        """Take cells out of the queue; their runs end no better than `outcome`."""
        items = [self.queue.pop(cell) for cell in list(cells) if cell in self.queue]
        if not items:
            return
        for item in items:
            self.worsen(item.runs, outcome or _RUN_OUTCOME.get(why, Outcome.OK))
            self.touched.add(item.cell)
        self.actions.append(RecordDropped(tuple((item.attempt, item.cell) for item in items), why))
        self.dirty = True

    def worsen(self, runs: Iterable[str], outcome: Outcome) -> None:
        for run in runs:
            if run in self.runs:
                self.runs[run] = max(self.runs[run], outcome, key=_SEVERITY.__getitem__)

    def interrupt(self) -> None:
        """Tell the running attempt to end; what it reports counts, but nothing builds on it."""
        if self.running is not None:
            running = self.running
            self.running = replace(running, stopping=True)
            self.interrupts[running.item.attempt] = Interrupt(running.item.attempt, running.item.kind)

    def end_running(self, outcome: Outcome, values: dict[str, str], undeclared: frozenset[str]) -> None:
        """The running attempt becomes its cell's last attempt. A cell deleted meanwhile has none to keep."""
        running = self.running
        assert running is not None
        self.running = None
        item = running.item
        self.worsen(running.runs, outcome)
        facts = self.cells.get(item.cell)
        if facts is None:
            return
        last = Attempt(item.attempt, item.source_hash, outcome, running.inputs, values)
        self.cells[item.cell] = with_last(facts, last)
        self.touched.add(item.cell)
        self.actions.append(
            RecordFinished(
                item.attempt,
                item.cell,
                item.version,
                item.source_hash,
                outcome,
                inputs=running.inputs,
                values=values,
                undeclared=undeclared,
            )
        )

    def forget_kernel(self) -> None:
        """Nothing is in a kernel any more; outputs and freshness stay."""
        self.touched.update(self.ran_here)
        self.plan, self.sent, self.known, self.progressed = None, {}, {}, False
        self.loaded, self.ran_here = {}, {}
        self.leftover, self.doubt = set(), set()
        self.barren_plans = 0
        self.dirty = True


def with_last(facts: CellFacts, last: Attempt | None) -> CellFacts:
    """`dataclasses.replace(facts, last=last)`, which is five times slower and runs twice a cell."""
    return CellFacts(
        facts.id,
        facts.position,
        facts.type,
        facts.version,
        facts.source_hash,
        facts.definitions,
        facts.references,
        facts.disabled,
        facts.on_connection,
        facts.errors,
        last,
    )


def is_loaded(
    cell: str,
    cells: Mapping[str, CellFacts],
    ran_here: Mapping[str, str],
    loaded: Mapping[str, Binding],
) -> bool:
    """Whether the cell's last attempt succeeded in this kernel, and all it bound is still there."""
    facts = cells.get(cell)
    last = facts.last if facts else None
    if last is None or ran_here.get(cell) != last.id:
        return False
    return all(_holds(loaded.get(name), cell, value) for name, value in last.values.items())


def _holds(binding: Binding | None, cell: str, value: str) -> bool:
    """Whether the kernel has this value of a cell's name, bound by the cell or by a caller of its functions."""
    return binding is not None and binding.value == value and (binding.cell == cell or not binding.declared)


def barred_cells(cells: dict[str, CellFacts], graph: Graph) -> dict[str, Why]:
    """The cells that cannot run, and why. Being disabled wins over being blocked: it is what the person
    chose.
    """
    errors = [cell for cell, facts in cells.items() if facts.errors or graph.errors.get(cell)]
    disabled = [cell for cell, facts in cells.items() if facts.disabled]
    barred = dict.fromkeys(downwards(graph, errors), Why.BLOCKED) | dict.fromkeys(errors, Why.ERROR)
    return barred | dict.fromkeys(downwards(graph, disabled), Why.DISABLED)


def downwards(graph: Graph, starts: Iterable[str]) -> set[str]:
    """The cells and all that depend on them."""
    seen = set(starts)
    stack = list(seen)
    while stack:
        for cell in graph.downstream(stack.pop()):
            if cell not in seen:
                seen.add(cell)
                stack.append(cell)
    return seen


def upwards(graph: Graph, starts: Iterable[str]) -> set[str]:
    """The cells and all that they depend on."""
    seen = set(starts)
    stack = list(seen)
    while stack:
        for cell in graph.upstream(stack.pop()):
            if cell not in seen:
                seen.add(cell)
                stack.append(cell)
    return seen
