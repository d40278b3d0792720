"""Promise 1, for any sequence of what people do and however far the kernel is ahead of its reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from notebooks_app.graph import build

from kernels_app import schedule as s
from kernels_app.scheduler import decide
from notebooks_app.facts import CellType, Freshness
from tests.fake_notebook import FakeNotebook, evaluate

NAMES = st.sampled_from("abcde")
EXPRESSIONS = st.one_of(
    st.integers(0, 9).map(str),
    st.builds("{} + {}".format, NAMES, st.integers(1, 9)),
    st.builds("{} + {}".format, NAMES, NAMES),
    st.builds("{} / 0".format, NAMES),
)
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, EXPRESSIONS),
    st.builds("{} = {}".format, NAMES, EXPRESSIONS),
    st.builds(" = {}".format, EXPRESSIONS).map(lambda line: line.removeprefix(" = ")),
)
SOURCES = st.lists(LINES, max_size=2).map("\n".join)
HIDDEN_SOURCES = st.one_of(SOURCES, SOURCES, SOURCES, NAMES.map("bind({})".format), st.just("a = ("))


def whole_run(notebook: FakeNotebook) -> dict[str, Any]:
    """What each cell would show if the whole notebook ran afresh in graph order, disabled cells too."""
    cells = notebook.state.cells
    graph = build(cells.values())
    namespace: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    failed: set[str] = {cell for cell in cells if graph.errors.get(cell) or cells[cell].errors}
    for cell in graph.order:
        if not cells[cell].runs or cell in failed or failed & set(graph.upstream(cell)):
            failed.add(cell)
            continue
        own = dict(namespace)
        shown[cell], ok, bound, undeclared = evaluate(notebook.sources[cell, cells[cell].version], own)
        if ok:
            namespace |= {name: own[name] for name in bound - undeclared}
        else:
            failed.add(cell)
    return {cell: output for cell, output in shown.items() if cell not in failed}


def check_settled(notebook: FakeNotebook) -> None:
    state = notebook.state
    assert not state.queue and state.running is None and state.plan is None and not state.runs
    expected = whole_run(notebook)
    for cell, derived in ((cell, notebook.fresh(cell)) for cell in state.cells if state.cells[cell].runs):
        if derived.freshness is Freshness.CURRENT:
            assert notebook.shown(cell) == expected.get(cell), cell
    assert notebook.kernel.namespace.keys() == state.loaded.keys()
    for name, binding in state.loaded.items():
        assert state.ran_here[binding.cell] == binding.value, name
        assert name in state.cells[binding.cell].definitions or not binding.declared


class AnySequence(RuleBasedStateMachine):
    """People edit, run and stop while a kernel works that is ahead of what has been heard of it."""

    cells = Bundle("cells")

    @initialize(
        target=cells,
        sources=st.lists(SOURCES, min_size=1, max_size=5),
        mode=st.sampled_from(["auto", "lazy"]),
        gives_up=st.booleans(),
    )
    def open(self, sources: list[str], mode: str, gives_up: bool) -> Any:
        self.notebook = FakeNotebook(*sources, mode=mode, lag=True)
        self.gives_up = gives_up
        self.places = len(sources) * 10
        return multiple(*self.notebook.state.cells)

    def here(self, cell: str) -> bool:
        return cell in self.notebook.state.cells

    @rule(cell=cells, source=HIDDEN_SOURCES)
    def edit(self, cell: str, source: str) -> None:
        if self.here(cell):
            self.notebook.edit(cell, source)

    @rule(target=cells, source=HIDDEN_SOURCES, before=cells, query=st.booleans())
    def insert(self, source: str, before: str, query: bool) -> str:
        self.places += 10
        cell, fields = f"n{self.places}", {}
        if query:
            fields = {"type": CellType.SQL, "on_connection": True}
        self.notebook.insert(cell, source, self.free_place(before), **fields)
        return cell

    def free_place(self, before: str) -> int:
        taken = {facts.position for facts in self.notebook.state.cells.values()}
        wanted = self.notebook.state.cells[before].position if self.here(before) else 1
        return next(place for place in range(wanted - 1, -10_000, -1) if place not in taken)

    @rule(cell=cells)
    def delete(self, cell: str) -> None:
        self.notebook.send(s.CellsDeleted((cell,)))

    @rule(cell=cells, before=cells)
    def move(self, cell: str, before: str) -> None:
        if self.here(cell):
            self.notebook.change(cell, position=self.free_place(before))

    @rule(cell=cells, disabled=st.booleans())
    def disable(self, cell: str, disabled: bool) -> None:
        if self.here(cell):
            self.notebook.change(cell, disabled=disabled)

    @rule(cells=st.lists(cells, min_size=1, max_size=3), only=st.booleans())
    def run(self, cells: list[str], only: bool) -> None:
        self.notebook.run(*cells, only=only)

    @rule()
    def run_all(self) -> None:
        self.notebook.run_all()

    @rule()
    def run_stale(self) -> None:
        self.notebook.run_stale()

    @rule()
    def stop(self) -> None:
        self.notebook.send(s.Stop())

    @rule(cell=cells)
    def take_out(self, cell: str) -> None:
        self.notebook.send(s.TakeOut(cell))

    @rule()
    def restart(self) -> None:
        self.notebook.send(s.Restart())

    @rule()
    def die(self) -> None:
        self.notebook.die()

    @rule(mode=st.sampled_from(list(s.Mode)))
    def set_mode(self, mode: s.Mode) -> None:
        self.notebook.send(s.SetMode(mode))

    @rule(on=st.booleans())
    def hold(self, on: bool) -> None:
        self.notebook.send(s.Hold(on))

    @rule(steps=st.integers(1, 8))
    def work(self, steps: int) -> None:
        self.notebook.kernel.gives_up = self.gives_up
        for _ in range(steps):
            self.notebook.work()

    @rule(count=st.integers(1, 5))
    def hear(self, count: int) -> None:
        self.notebook.hear(count)

    @rule()
    def come_to_rest(self) -> None:
        self.settle()

    def settle(self) -> None:
        self.notebook.send(s.Hold(False))
        self.notebook.settle()
        check_settled(self.notebook)

    @rule()
    def a_whole_run_leaves_nothing_stale(self) -> None:
        self.settle()
        self.notebook.run_all()
        self.notebook.settle()
        check_settled(self.notebook)
        cells = self.notebook.state.cells
        if not any("bind(" in self.notebook.sources[cell, cells[cell].version] for cell in cells):
            derived = [d for d in self.notebook.fresh_all().values() if not d.disabled_by]
            assert not {d.freshness for d in derived} & {Freshness.NEW, Freshness.STALE}

    @invariant()
    def every_queued_cell_can_run(self) -> None:
        if hasattr(self, "notebook"):
            state = self.notebook.state
            assert not state.queue.keys() & state.barred.keys()
            assert state.queue.keys() <= state.cells.keys()

    def teardown(self) -> None:
        if hasattr(self, "notebook"):
            self.settle()
            check_replay(self.notebook)


def check_replay(notebook: FakeNotebook) -> None:
    state, actions = notebook.initial, []
    for events in notebook.log:
        state, more = decide(state, *events)
        actions += more
    assert replace(state, graph=notebook.state.graph) == notebook.state
    assert actions == notebook.actions


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("mode", ["auto", "lazy"])
@settings(max_examples=150, deadline=None)
@given(
    sources=st.lists(SOURCES, min_size=1, max_size=7),
    edits=st.lists(st.tuples(st.integers(1, 7), SOURCES), max_size=3),
    asked=st.lists(st.integers(1, 7), min_size=1, max_size=2),
)
def test_within_one_request_each_cell_runs_at_most_once_in_graph_order(
    mode: str, sources: list[str], edits: list[tuple[int, str]], asked: list[int]
) -> None:
    notebook = FakeNotebook(*sources, mode=mode)
    notebook.run_all()
    notebook.settle()
    for place, source in edits:
        if place <= len(sources):
            notebook.edit(f"c{place}", source)
    notebook.ran()
    notebook.run(*[f"c{place}" for place in asked if place <= len(sources)])
    notebook.settle()
    ran = notebook.ran()
    rank = notebook.state.rank
    assert ran == sorted(set(ran), key=rank.__getitem__)
    check_settled(notebook)


@settings(max_examples=150, deadline=None)
@given(sources=st.lists(SOURCES, min_size=1, max_size=7), asked=st.integers(1, 7))
def test_an_automatic_run_makes_nothing_stale(sources: list[str], asked: int) -> None:
    notebook = FakeNotebook(*sources)
    notebook.run_all()
    notebook.settle()
    before = notebook.fresh()
    notebook.send(s.Restart())
    notebook.run(f"c{asked}")
    notebook.settle()
    assert notebook.fresh() == before
