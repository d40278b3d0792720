"""A notebook of arithmetic cells and the kernel that runs them, for the tests of the scheduler.

Sources are lines `name = expression` (or just an expression), evaluated for real. The kernel is ahead of
what the scheduler has heard: `work` makes it do one thing, `hear` delivers what it reported, and control
messages reach it at once. A query on a connection is a cell of its own kind that the "broker" evaluates.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from typing import Any

from kernels_app import schedule as s
from kernels_app.scheduler import decide, freshness, load, views
from notebooks_app.facts import CellError, CellFacts, CellType, Derived, ErrorKind, Outcome, source_hash

SEED = "00000000-0000-4000-8000-000000000000"


def facts(cell: str, source: str, position: int, version: int = 1, **fields: Any) -> CellFacts:
    """The facts of an arithmetic cell; a source that does not parse is an error on the cell."""
    kind = fields.get("type", CellType.PYTHON)
    definitions, references, errors = (
        _analyse(source) if kind is not CellType.MARKDOWN else (set(), set(), ())
    )
    return CellFacts(
        id=cell,
        position=position,
        version=version,
        source_hash=source_hash(kind.value, source),
        definitions=frozenset(definitions),
        references=frozenset(references),
        errors=errors,
        **fields,
    )


def _analyse(source: str) -> tuple[set[str], set[str], tuple[CellError, ...]]:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return set(), set(), (CellError(ErrorKind.SYNTAX, error.msg, line=error.lineno),)
    definitions: set[str] = set()
    references: set[str] = set()
    for statement in tree.body:
        if ast.unparse(statement).startswith("bind("):
            continue
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        references |= read - definitions
        definitions |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return definitions, references, ()


def evaluate(source: str, namespace: dict[str, Any]) -> tuple[Any, bool, set[str], set[str]]:
    """Run a source in a namespace: what it shows, whether it succeeded, what it bound, what of that
    undeclared.
    """
    bound: set[str] = set()
    undeclared: set[str] = set()
    shown: list[Any] = []
    for line in source.splitlines():
        if hidden := re.fullmatch(r"bind\((\w+)\)", line):
            namespace[hidden[1]] = -1
            undeclared.add(hidden[1])
            continue
        name, _, expression = line.rpartition(" = ")
        try:
            value = eval(expression, {"__builtins__": {}}, namespace)  # noqa: S307 (our own arithmetic)
        except (ArithmeticError, NameError) as error:
            return type(error).__name__, False, bound, undeclared
        if name:
            namespace[name] = value
            bound.add(name)
        shown.append(value)
    return tuple(shown), True, bound, undeclared


@dataclass
class FakeKernel:
    """Runs a plan one thing at a time: start a cell, end it, end the plan. Follows docs/architecture.md,
    section 5.
    """

    sources: dict[tuple[str, int], str]
    namespace: dict[str, Any] = field(default_factory=dict)
    plan: str | None = None
    waiting: list[s.PlanItem] = field(default_factory=list)
    running: s.PlanItem | None = None
    interrupted: bool = False
    gives_up: bool = False  # whether an interrupt ends the plan, so that the rest is left
    bad: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    old: dict[str, Any] = field(default_factory=dict)  # what the running cell's names were before
    reports: list[s.Event] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)  # attempt -> what it showed
    ran: list[str] = field(default_factory=list)

    def work(self) -> bool:
        """Do one thing; False if there is nothing to do."""
        if self.running is not None:
            self._end(self.running)
        elif self.waiting:
            self._start_next()
        elif self.plan is not None:
            self.reports.append(s.PlanEnded(self.plan))
            self.plan = None
        else:
            return False
        return True

    def _start_next(self) -> None:
        item = self.waiting.pop(0)
        if item.needs & self.bad:
            self.bad.add(item.attempt)
            self.reports.append(s.Finished(item.attempt, None))
            return
        assert item.attempt not in self.begun, "an attempt was started twice"
        self.begun.add(item.attempt)
        self.old = {name: self.namespace[name] for name in item.definitions if name in self.namespace}
        for name in item.unload:
            self.namespace.pop(name, None)
        self.running = item
        self.ran.append(item.cell)
        self.reports.append(s.Started(item.attempt, item.version))

    def _end(self, item: s.PlanItem) -> None:
        self.running = None
        if self.interrupted:
            self.interrupted = False
            self.bad.add(item.attempt)
            self.reports.append(s.Finished(item.attempt, Outcome.INTERRUPTED))
            if self.gives_up:
                self.waiting.clear()
            return
        shown, ok, bound, undeclared = evaluate(self.sources[item.cell, item.version], self.namespace)
        self.shown[item.attempt] = shown
        if not ok:
            self.bad.add(item.attempt)
        outcome = Outcome.OK if ok else Outcome.ERROR
        names, hidden = frozenset(bound | undeclared), frozenset(undeclared)
        kept = frozenset(name for name in bound & self.old.keys() if self.old[name] == self.namespace[name])
        self.reports.append(s.Finished(item.attempt, outcome, names, hidden, kept))

    def amend(self, action: s.Amend) -> None:
        if action.plan != self.plan:
            return
        late = self.begun
        self.waiting = [item for item in self.waiting if item.attempt not in action.drop]
        newer = {item.attempt: item for item in action.replace}
        self.waiting = [newer.get(item.attempt, item) for item in self.waiting]
        self.waiting += [item for item in action.append if item.attempt not in late]

    def run(self, action: s.RunPlan) -> None:
        assert self.plan is None and self.running is None, "the kernel has a plan already"
        self.plan, self.waiting = action.plan, list(action.items)

    def interrupt(self, attempt: str) -> None:
        if self.running is not None and self.running.attempt == attempt:
            self.interrupted = True


class FakeNotebook:
    """Cells, the scheduler's state, and a kernel; `actions` keeps all that was ever asked of the runtime."""

    def __init__(self, *sources: str, mode: str = "auto", lag: bool = False) -> None:
        self.sources: dict[tuple[str, int], str] = {}
        self.kernel = FakeKernel(self.sources)
        self.broker: s.PlanItem | None = None
        self.actions: list[s.Action] = []
        self.log: list[tuple[s.Event, ...]] = []
        self.lag = lag
        self.runs = 0
        cells = [self._facts(f"c{n}", source, n * 10) for n, source in enumerate(sources, start=1)]
        self.initial = self.state = load(cells, seed=SEED, mode=s.Mode(mode))

    def _facts(self, cell: str, source: str, position: int, version: int = 1, **fields: Any) -> CellFacts:
        self.sources[cell, version] = source
        return facts(cell, source, position, version, **fields)

    # --- what people do ---

    def run(self, *cells: str, only: bool = False) -> list[s.Action]:
        return self.send(s.RunCells(self.new_run(), cells, by="ana", only=only))

    def run_all(self) -> list[s.Action]:
        return self.send(s.RunAll(self.new_run(), by="ana"))

    def run_stale(self) -> list[s.Action]:
        return self.send(s.RunStale(self.new_run(), by="ana"))

    def new_run(self) -> str:
        self.runs += 1
        return f"run{self.runs}"

    def edit(self, cell: str, source: str) -> list[s.Action]:
        old = self.state.cells[cell]
        fields = {"disabled": old.disabled, "type": old.type, "on_connection": old.on_connection}
        return self.send(
            s.CellsChanged((self._facts(cell, source, old.position, old.version + 1, **fields),))
        )

    def insert(self, cell: str, source: str, position: int, **fields: Any) -> list[s.Action]:
        version = max((known for other, known in self.sources if other == cell), default=0) + 1
        return self.send(s.CellsChanged((self._facts(cell, source, position, version, **fields),)))

    def change(self, cell: str, **fields: Any) -> list[s.Action]:
        return self.send(s.CellsChanged((replace(self.state.cells[cell], **fields),)))

    # --- the machinery ---

    def send(self, *events: s.Event) -> list[s.Action]:
        self.log.append(events)
        self.state, actions = decide(self.state, *events)
        self.actions += actions
        for action in actions:
            self._carry_out(action)
        return actions

    def _carry_out(self, action: s.Action) -> None:
        kernel = self.kernel
        match action:
            case s.StartKernel():
                self.kernel = FakeKernel(
                    self.sources,
                    shown=kernel.shown,
                    ran=kernel.ran,
                    reports=[s.KernelReady()],
                )
            case s.Unload(names):
                for name in names:
                    kernel.namespace.pop(name, None)
            case s.RunPlan():
                kernel.run(action)
            case s.Amend():
                kernel.amend(action)
            case s.RunSql(item):
                assert kernel.plan is None
                kernel.ran.append(item.cell)
                self.broker = item
            case s.Interrupt(attempt):
                kernel.interrupt(attempt)
                if self.broker is not None and self.broker.attempt == attempt:
                    self.broker = None
                    kernel.reports.append(s.Finished(attempt, Outcome.INTERRUPTED))

    def work(self) -> bool:
        """Let the kernel (or the broker) do one thing; unless it lags, hear of it at once."""
        if self.broker is not None:
            item, self.broker = self.broker, None
            shown, ok, bound, undeclared = evaluate(
                self.sources[item.cell, item.version], self.kernel.namespace
            )
            self.kernel.shown[item.attempt] = shown
            outcome = Outcome.OK if ok else Outcome.ERROR
            self.kernel.reports.append(s.Finished(item.attempt, outcome, frozenset(bound | undeclared)))
            did = True
        else:
            did = self.kernel.work()
        if not self.lag:
            did = self.hear() or did
        return did

    def hear(self, count: int | None = None) -> bool:
        reports, self.kernel.reports = self.kernel.reports[:count], self.kernel.reports[count or 10**9 :]
        if reports:
            self.send(*reports)
        return bool(reports)

    def settle(self) -> None:
        """Go on until nothing waits or runs."""
        for _ in range(10_000):
            did = self.work()
            if not (self.hear() or did):
                return
        raise AssertionError("the notebook does not come to rest")

    def die(self) -> None:
        self.kernel = FakeKernel(self.sources, shown=self.kernel.shown, ran=self.kernel.ran)
        self.broker = None
        self.send(s.KernelGone())

    # --- what one sees ---

    def ran(self) -> list[str]:
        """The cells started since this was last asked, in order."""
        started = list(self.kernel.ran)
        self.kernel.ran.clear()
        return started

    def fresh(self, cell: str | None = None) -> Any:
        derived = self.fresh_all()
        if cell is not None:
            return derived[cell]
        return {other: d.freshness.value for other, d in derived.items()}

    def fresh_all(self) -> dict[str, Derived]:
        return freshness(self.state)

    def shown(self, cell: str) -> Any:
        last = self.state.cells[cell].last
        return self.kernel.shown.get(last.id) if last else None

    def outcome(self, cell: str) -> Outcome | None:
        last = self.state.cells[cell].last
        return last.outcome if last else None

    def status(self, cell: str) -> str:
        return views(self.state)[cell].status.value

    def loaded(self, cell: str) -> bool:
        return views(self.state)[cell].loaded

    def queued(self) -> list[str]:
        return [cell for cell, view in views(self.state).items() if view.status.value == "queued"]

    def done(self, kind: type) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]
