"""The values the scheduler works with: its state, the events that change it, and the actions that follow.

Pure and frozen; nothing is decided here. scheduler.py has the rules, runtime.py makes the events and
carries out the actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from notebooks_app.facts import CellFacts, Outcome, Reason, Status
from notebooks_app.graph import Graph

EMPTY: Mapping[Any, Any] = MappingProxyType({})

LENT = "by:"  # begins the value id of a lent name (see Binding)


class Mode(StrEnum):
    AUTO = "auto"
    LAZY = "lazy"


class Kernel(StrEnum):
    """What the scheduler needs to know of the kernel; whether it is busy follows from the plan."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"


class Kind(StrEnum):
    """Who executes an item: the kernel (Python, or SQL over dataframes), or the broker (SQL on a
    connection).
    """

    PYTHON = "python"
    DUCKDB = "duckdb"
    SQL = "sql"


class Why(StrEnum):
    """Why a queued attempt will not run, or a request for a cell was not followed."""

    STOPPED = "stopped"  # the run was stopped, or the cell taken out of the queue
    DISABLED = "disabled"  # the cell, or one it depends on, is disabled
    ERROR = "error"  # the cell cannot run as it stands (syntax, duplicate, cycle)
    BLOCKED = "blocked"  # a cell it depends on failed or cannot run
    MISSING = "missing"  # no such cell (any more)
    TEXT = "text"  # text does not run; nothing is wrong
    KERNEL = "kernel"  # the kernel died, was restarted or stopped


# --- What the state is made of --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """A queued attempt. `runs` are the ids of the runs that asked for it; `only`: without its upstream."""

    attempt: str
    cell: str
    reason: Reason
    runs: tuple[str, ...]
    only: bool = False


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One cell as it goes to the kernel or the broker. The runtime adds the source of exactly this version.

    `needs`: attempts of this plan whose failure makes the kernel skip this one (they may have ended by then).
    `unload`: names the kernel removes just before the cell runs; names it does not hold are no error.
    """

    attempt: str
    cell: str
    version: int
    kind: Kind
    source_hash: str
    reason: Reason
    definitions: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    unload: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Running:
    """The attempt that runs now. `stopping`: it was told to end, or its end no longer counts. `held`: the value ids
    that its cell's own names had in the kernel until it began.
    """

    item: PlanItem
    runs: tuple[str, ...]
    inputs: Mapping[str, str]
    stopping: bool = False
    held: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan the kernel has. `sent` has not started, in order; `known` is all we ever sent, in every
    version.
    """

    id: str
    sent: tuple[PlanItem, ...]
    known: Mapping[str, tuple[PlanItem, ...]]
    progressed: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """Who bound a name in the kernel. Undeclared: analysis had not seen it (`exec`, `globals()[...]`). Lent: bound by
    a caller of a function that declares it `global`, and counted as a value of that function's cell.
    """

    cell: str
    value: str
    source_hash: str
    declared: bool = True

    @property
    def is_lent(self) -> bool:
        return self.value.startswith(LENT)


@dataclass(frozen=True, slots=True)
class State:
    """Everything the scheduler knows of one live notebook. Made by `scheduler.load`, changed by
    `scheduler.decide`.

    `rank`: place of each cell in graph order. `barred`: cells that cannot run, and why. `queue`: by cell
    id. `loaded`: names in the kernel. `ran_here`: the last successful attempt of each cell in this kernel.
    `leftover`: names in the kernel that belong to nobody (a cell failed half-way). `doubt`: names removed
    beside a running plan, which may have used them before. `runs`: the worst outcome of each unfinished run
    so far.
    """

    seed: str
    mode: Mode
    cells: Mapping[str, CellFacts]
    graph: Graph
    rank: Mapping[str, int]
    barred: Mapping[str, Why]
    serial: int = 0
    kernel: Kernel = Kernel.STOPPED
    queue: Mapping[str, Item] = EMPTY
    running: Running | None = None
    plan: Plan | None = None
    loaded: Mapping[str, Binding] = EMPTY
    ran_here: Mapping[str, str] = EMPTY
    leftover: frozenset[str] = frozenset()
    doubt: frozenset[str] = frozenset()
    runs: Mapping[str, Outcome] = EMPTY
    barren_plans: int = 0
    held: bool = False


@dataclass(frozen=True, slots=True)
class CellView:
    """What the scheduler adds to a cell's state (facts.CellState): see `scheduler.view`."""

    status: Status
    loaded: bool
    place: int | None
    attempt: str | None
    reason: Reason | None


# --- Events: what happened ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunCells:
    """Someone wants these cells run. `run` is a new id; `only`: neither what they depend on nor what
    depends on them.
    """

    run: str
    cells: tuple[str, ...]
    by: str = ""
    only: bool = False
    kind: str = "requested"


@dataclass(frozen=True, slots=True)
class RunAll:
    run: str
    by: str = ""
    kind: str = "run_all"  # or "restart", after a restart


@dataclass(frozen=True, slots=True)
class RunStale:
    """Run every cell that is not current: new, stale, failed and blocked ones."""

    run: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class CellsChanged:
    """Cells were edited and analysed, inserted, moved, enabled or disabled: all their facts as they are
    now.
    """

    cells: tuple[CellFacts, ...]


@dataclass(frozen=True, slots=True)
class CellsDeleted:
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The kernel reports that it started an attempt, with the cell version it ran."""

    attempt: str
    version: int


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt ended. `names`: public names it bound; `kept`: those whose value equals the one they had before;
    `undeclared`: those (or more) that analysis missed.
    """

    attempt: str
    outcome: Outcome | None  # None: skipped by the kernel because something it needs failed
    names: frozenset[str] = frozenset()
    undeclared: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PlanEnded:
    """The kernel's reply to a plan arrived, and every `Finished` in it was reported before this."""

    plan: str


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class TakeOut:
    """Take one cell out of the queue; if it runs, interrupt it."""

    cell: str


@dataclass(frozen=True, slots=True)
class Restart:
    pass


@dataclass(frozen=True, slots=True)
class KernelReady:
    pass


@dataclass(frozen=True, slots=True)
class KernelGone:
    """The kernel is no more: it died or could not start (DIED), or was stopped on purpose (INTERRUPTED)."""

    outcome: Outcome = Outcome.DIED


@dataclass(frozen=True, slots=True)
class SetMode:
    mode: Mode


@dataclass(frozen=True, slots=True)
class Hold:
    """Start nothing more, or go on (the database is out of reach, or back). What runs goes on to its end."""

    on: bool


Event = (
    RunCells
    | RunAll
    | RunStale
    | CellsChanged
    | CellsDeleted
    | Started
    | Finished
    | PlanEnded
    | Stop
    | TakeOut
    | Restart
    | KernelReady
    | KernelGone
    | SetMode
    | Hold
)


# --- Actions: what the runtime does, in the order given -------------------------------------------


@dataclass(frozen=True, slots=True)
class StartKernel:
    """Start a kernel; with `restart`, end the one there is first. Answer with KernelReady or KernelGone."""

    restart: bool = False


@dataclass(frozen=True, slots=True)
class Unload:
    """Remove names from the kernel over the control channel, and wait for its answer before the next
    action.
    """

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class RunPlan:
    plan: str
    items: tuple[PlanItem, ...]


@dataclass(frozen=True, slots=True)
class Amend:
    """Change what the kernel has not started. One that started meanwhile is too late: nothing happens to it.

    An attempt in both `drop` and `append` moves to the end; if it has started, neither happens.
    """

    plan: str
    drop: tuple[str, ...] = ()
    replace: tuple[PlanItem, ...] = ()
    append: tuple[PlanItem, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSql:
    """Run a query in the broker and load its result into the kernel; answer with Finished (no Started)."""

    item: PlanItem


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Interrupt this attempt if it still runs: in the kernel, or the broker for a query."""

    attempt: str
    kind: Kind = Kind.PYTHON


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A request was accepted: what it will run, in order. None may be left if all of it was refused or in
    progress.
    """

    run: str
    by: str
    kind: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    run: str
    cell: str
    why: Why
    cells: tuple[str, ...] = ()  # the other cells that are the cause


@dataclass(frozen=True, slots=True)
class RunFinished:
    run: str
    outcome: Outcome  # the worst of its cells


@dataclass(frozen=True, slots=True)
class RecordQueued:
    """Save: these attempts wait. An item already recorded under its attempt id gains runs."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class RecordDropped:
    """Save: these attempts will not run; their cells are what they were before."""

    attempts: tuple[tuple[str, str], ...]  # (attempt, cell)
    why: Why


@dataclass(frozen=True, slots=True)
class RecordJoined:
    """Save: a run is served by an attempt that ran already when it was asked for."""

    attempt: str
    run: str


@dataclass(frozen=True, slots=True)
class RecordRunning:
    attempt: str
    cell: str
    version: int
    source_hash: str
    reason: Reason
    runs: tuple[str, ...]
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordFinished:
    """Save an attempt's end: it becomes the cell's last attempt."""

    attempt: str
    cell: str
    version: int
    source_hash: str
    outcome: Outcome
    inputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    undeclared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RecordValues:
    """Save new value ids of a cell's last attempt: a caller of its functions has bound a name it declares `global`."""

    attempt: str
    cell: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refresh:
    """The state (status, freshness, loaded, place) of these cells may differ now: derive and announce it."""

    cells: frozenset[str]


Action = (
    StartKernel
    | Unload
    | RunPlan
    | Amend
    | RunSql
    | Interrupt
    | RunStarted
    | Refused
    | RunFinished
    | RecordQueued
    | RecordDropped
    | RecordJoined
    | RecordRunning
    | RecordFinished
    | RecordValues
    | Refresh
)
