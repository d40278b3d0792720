"""Promise 1, for any sequence of what people do and however far the kernel is ahead of its reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels_app import schedule as s
from kernels_app.scheduler import decide
from notebooks_app.facts import CellType, Freshness
from notebooks_app.graph import build
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
            declared = cells[cell].definitions & (bound | undeclared)
            namespace |= {name: own[name] for name in declared}
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
        last = state.cells[binding.cell].last
        assert last is not None and state.ran_here[binding.cell] == last.id, name
        assert binding.value == (last.values[name] if binding.declared else last.id), name
        assert name in state.cells[binding.cell].definitions or not binding.declared


CELLS = 6
OWN = "abcdef"
TEMPLATES = {
    "{own} = 3": 3,
    "{own} = {x} + 1": 8,
    "{own} = {x} + {y}": 6,
    "{own} = 5\n{y} + 1": 2,
    "{own} = 7\n{x}2 = {own} + 1": 2,
    "{own} = {x}2": 2,
    "{x} + {y}": 2,
    "{own} = 1\n{own} = {x} / 0": 2,
    "{x} = 9": 2,
    "": 1,
    "bind({x})": 1,
    "{own} = 2\nbind({x})": 1,
    "{own} = (": 1,
}
OPERATIONS = {
    "work": 10,
    "hear": 10,
    "edit": 8,
    "run": 6,
    "run_all": 2,
    "run_stale": 2,
    "settle": 1,
    "stop": 2,
    "delete": 3,
    "insert": 4,
    "move": 2,
    "disable": 1,
    "enable": 2,
    "only": 1,
    "take_out": 2,
    "restart": 1,
    "die": 1,
    "hold": 1,
    "release": 1,
    "auto": 1,
    "lazy": 1,
    "query": 1,
}


def weighted(choices: dict[str, int]) -> st.SearchStrategy[str]:
    return st.sampled_from([choice for choice, weight in choices.items() for _ in range(weight)])


@dataclass(frozen=True)
class Operation:
    """One thing that happens; which of the numbers matter depends on the kind."""

    kind: str
    cell: int
    other: int
    template: str
    count: int

    def source(self) -> str:
        """Mostly it needs what cells before it define; one in six needs anything, so that cycles occur."""
        if self.cell == 0:
            return f"a = {self.count}"
        bound = self.cell if self.count < 6 else CELLS
        x, y = OWN[self.other % bound], OWN[(self.other + self.count) % bound]
        return self.template.format(own=OWN[self.cell], x=x, y=y)


def operations(kinds: dict[str, int] = OPERATIONS) -> st.SearchStrategy[Operation]:
    place = st.integers(0, CELLS - 1)
    return st.builds(Operation, weighted(kinds), place, place, weighted(TEMPLATES), st.integers(1, 6))


class Player:
    """Does operations to a notebook; what makes no sense at the moment is left out."""

    def __init__(self, mode: str, opening: list[Operation], *, gives_up: bool) -> None:
        self.notebook = FakeNotebook(mode=mode, lag=True)
        self.gives_up = gives_up
        for cell, operation in enumerate(opening):
            self.insert(replace(operation, cell=cell))
        self.notebook.run_all()
        self.notebook.settle()

    def play(self, operation: Operation) -> None:
        notebook, cell = self.notebook, f"k{operation.cell}"
        is_here = cell in notebook.state.cells
        match operation.kind:
            case "work":
                notebook.kernel.gives_up = self.gives_up
                for _ in range(operation.count):
                    notebook.work()
            case "hear":
                notebook.hear(operation.count)
            case "run":
                notebook.run(cell, f"k{operation.other}")
            case "only":
                notebook.run(cell, only=True)
            case "run_all" | "run_stale":
                getattr(notebook, operation.kind)()
            case "settle":
                self.settle()
            case "edit" if is_here:
                notebook.edit(cell, operation.source())
            case "insert" if not is_here:
                self.insert(operation)
            case "move" if is_here:
                notebook.change(cell, position=self.free_place(operation.other))
            case "disable" | "enable" if is_here:
                notebook.change(cell, disabled=operation.kind == "disable")
            case "query" if is_here and not notebook.state.cells[cell].on_connection:
                notebook.change(cell, type=CellType.SQL, on_connection=True)
            case "die":
                notebook.die()
            case kind if event := EVENTS.get(kind):
                notebook.send(event(cell))

    def insert(self, operation: Operation) -> None:
        self.notebook.insert(f"k{operation.cell}", operation.source(), self.free_place(operation.other))

    def free_place(self, wanted: int) -> int:
        taken = {facts.position for facts in self.notebook.state.cells.values()}
        return next(place for place in range(wanted * 100, wanted * 100 + 100) if place not in taken)

    def settle(self) -> None:
        self.notebook.send(s.Hold(False))
        self.notebook.settle()
        check_settled(self.notebook)


EVENTS: dict[str, Callable[[str], s.Event]] = {
    "stop": lambda cell: s.Stop(),
    "delete": lambda cell: s.CellsDeleted((cell,)),
    "take_out": s.TakeOut,
    "restart": lambda cell: s.Restart(),
    "hold": lambda cell: s.Hold(True),
    "release": lambda cell: s.Hold(False),
    "auto": lambda cell: s.SetMode(s.Mode.AUTO),
    "lazy": lambda cell: s.SetMode(s.Mode.LAZY),
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=st.sampled_from(["auto", "lazy"]),
    gives_up=st.booleans(),
    opening=st.lists(operations({"insert": 1}), min_size=3, max_size=CELLS),
    played=st.lists(operations(), min_size=10, max_size=50),
)
def test_every_current_cell_shows_what_a_fresh_whole_run_would_show(
    mode: str, gives_up: bool, opening: list[Operation], played: list[Operation]
) -> None:
    player = Player(mode, opening, gives_up=gives_up)
    for operation in played:
        player.play(operation)
        state = player.notebook.state
        assert not state.queue.keys() & state.barred.keys()
        assert state.queue.keys() <= state.cells.keys()
    player.settle()
    check_replay(player.notebook)
    check_whole_run(player.notebook)


def check_whole_run(notebook: FakeNotebook) -> None:
    """Running everything leaves nothing new or stale (but for cells that bind names behind analysis)."""
    notebook.run_all()
    notebook.settle()
    check_settled(notebook)
    cells = notebook.state.cells
    if not any("bind(" in notebook.sources[cell, cells[cell].version] for cell in cells):
        fresh = notebook.fresh_all()
        derived = [fresh[cell] for cell in cells if not (cells[cell].disabled or fresh[cell].disabled_by)]
        assert not {one.freshness for one in derived} & {Freshness.NEW, Freshness.STALE}


def check_replay(notebook: FakeNotebook) -> None:
    state, actions = notebook.initial, []
    for events in notebook.log:
        state, more = decide(state, *events)
        actions += more
    assert replace(state, graph=notebook.state.graph) == notebook.state
    assert actions == notebook.actions


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
