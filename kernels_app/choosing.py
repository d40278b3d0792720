"""Chooses which cells a request makes run, beside those it names.

Pure. Before a requested cell: every cell it depends on that is not current, or whose names are not in the
kernel, or that depends on one which will run. After it, in auto mode: everything downstream of it, and
downstream of what had to run before it whatever has run at some time (so that nothing shown turns stale for
good); a cell that never ran is not started by a request for its sibling. What a carried cell needs runs
too, but a failed cell is tried again only for a cell somebody asked for: its carried dependents stay
blocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kernels_app.draft import Draft, downwards, upwards
from kernels_app.schedule import Mode
from notebooks_app.facts import Derived, Freshness, Reason
from notebooks_app.freshness import derive


def choose(
    draft: Draft, targets: Iterable[str], *, kind: str, by: str, only: bool = False
) -> dict[str, Reason]:
    """The cells to queue, with the reason of each. `targets` must be able to run (none of them barred).

    With `only`, neither what they depend on nor what depends on them is added.
    """
    choice = _Choice(draft, frozenset(targets), kind, by)
    choice.add_targets(with_upstream=not only)
    if draft.mode is Mode.AUTO and not only:
        choice.add_downstream()
    return choice.reasons()


@dataclass
class _Choice:
    draft: Draft
    targets: frozenset[str]
    kind: str
    by: str
    picked: dict[str, str] = field(default_factory=dict)  # cell -> kind of reason
    fresh: dict[str, Derived] = field(default_factory=dict)

    def add_targets(self, *, with_upstream: bool) -> None:
        region = upwards(self.draft.graph, self.targets) if with_upstream else set(self.targets)
        self.derive(region - self.targets)
        for cell in self.draft.in_order(region):
            if cell in self.targets:
                if not self.is_under_way(cell):
                    self.picked[cell] = self.kind
            elif not self.is_usable(cell) and cell not in self.draft.queue:
                self.picked[cell] = "needed"

    def add_downstream(self) -> None:
        """Repeated until nothing is added: what carried cells need may carry further cells."""
        handled: set[str] = set()
        while carried := self.carried() - handled:
            handled |= carried
            needed = upwards(self.draft.graph, carried) - carried - self.targets - self.picked.keys()
            self.derive(needed)
            self.pick_carried(carried, needed)

    def carried(self) -> set[str]:
        draft = self.draft
        wanted = downwards(draft.graph, self.targets)
        for cell in downwards(draft.graph, self.picked):
            if draft.cells[cell].last is not None:
                wanted.add(cell)
        return wanted - self.targets - self.picked.keys() - draft.barred.keys()

    def pick_carried(self, carried: set[str], needed: set[str]) -> None:
        draft, dead, extra = self.draft, set[str](), list[str]()
        for cell in draft.in_order(carried | needed):
            if cell in draft.queue:
                continue
            if any(other in dead for other in draft.graph.upstream(cell)):
                dead.add(cell)
            elif cell in carried:
                if not self.is_under_way(cell):
                    self.picked[cell] = "changed"
            elif not self.is_usable(cell):
                if self.has_failed(cell) and not self.is_awaiting(cell):
                    dead.add(cell)
                else:
                    self.picked[cell] = "needed"
                    extra.append(cell)
        for cell in reversed(extra):  # needed only by cells that turned out dead
            if not any(
                other in self.picked or other in draft.queue for other in draft.graph.downstream(cell)
            ):
                del self.picked[cell]

    def derive(self, cells: Iterable[str]) -> None:
        missing = [cell for cell in cells if cell not in self.fresh]
        if missing:
            draft = self.draft
            self.fresh |= derive(draft.cells, draft.graph, only=missing, live=draft.live())

    def is_awaiting(self, cell: str) -> bool:
        """Whether something it depends on will run, so that it must run after that."""
        upstream = self.draft.graph.upstream(cell)
        return any(other in self.picked or other in self.draft.queue for other in upstream)

    def is_under_way(self, cell: str) -> bool:
        """Whether asking for the cell adds nothing: it waits already, or runs as it stands."""
        if cell in self.draft.queue:
            return True
        return self.draft.will_be_current(cell) and not self.is_awaiting(cell)

    def is_usable(self, cell: str) -> bool:
        if self.is_awaiting(cell):
            return False
        if self.draft.will_be_current(cell):
            return True
        return self.fresh[cell].freshness is Freshness.CURRENT and self.draft.is_loaded(cell)

    def has_failed(self, cell: str) -> bool:
        return self.fresh[cell].freshness in (Freshness.FAILED, Freshness.BLOCKED)

    def reasons(self) -> dict[str, Reason]:
        graph = self.draft.graph
        return {
            cell: self._stale_reason(cell)
            if kind == "run_stale"
            else self._reason(kind, graph.downstream(cell) if kind == "needed" else graph.upstream(cell))
            for cell, kind in self.picked.items()
        }

    def _reason(self, kind: str, neighbours: Mapping[str, frozenset[str]]) -> Reason:
        """Say for which cell it is needed, or which cell's name changed it."""
        if kind in ("needed", "changed"):
            for other, names in neighbours.items():
                if other in self.picked or other in self.draft.queue or self.draft.is_running(other):
                    return Reason(kind, other, min(names, default=None), self.by)
        return Reason(kind, by=self.by)

    def _stale_reason(self, cell: str) -> Reason:
        """What made a stale cell stale, where that is a name of another cell."""
        self.derive((cell,))
        because = self.fresh[cell].stale_because
        if because is not None and because.kind == "upstream" and because.cell is not None:
            return Reason("changed", because.cell, because.name, self.by)
        return Reason("run_stale", by=self.by)
