"""Derives how fresh each cell's output is: new, current, stale, failed or blocked.

Pure: takes the facts of cells and their graph, returns one `Derived` a cell; nothing of it is stored. The
edges and the errors between cells come from graph.py; which cells run is decided in
kernels_app/scheduler.py.

A cell is *current* when its last attempt succeeded, ran the source it has now, and used the values its
references have now, all of them from cells that are current themselves. This is promise 1 of the design:
where it does not hold, the cell says stale, failed or blocked. Value ids and not times are compared, so
that a value kept because it is equal (a later cut-off) keeps everything downstream current.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from notebooks_app.facts import CellError, CellFacts, Derived, Freshness, Outcome, StaleBecause
from notebooks_app.graph import Graph

CAUSES_SHOWN = (
    10  # A cell names at most so many cells that block or disable it; the rest would make this quadratic.
)

UNKNOWN_VALUE = "?"
"""Value id of an input that nobody can vouch for. It equals no value id, so the cell that used it reads
stale.
"""


def derive(
    cells: Mapping[str, CellFacts] | Iterable[CellFacts],
    graph: Graph,
    *,
    only: Iterable[str] | None = None,
    live: Collection[str] = (),
) -> dict[str, Derived]:
    """The freshness of every cell, or with `only` of those cells and what they depend on. Linear in cells
    and edges.

    `live` holds the ids of attempts that are running now. Any other attempt without an outcome was cut off
    by a restart of its server and counts as interrupted.
    """
    facts = cells if isinstance(cells, Mapping) else {cell.id: cell for cell in cells}
    done: dict[str, Derived] = {}
    for start in facts if only is None else only:
        if start not in done and start in facts:
            _derive_upwards(start, facts, graph, live, done)
    return done


def _derive_upwards(
    start: str,
    facts: Mapping[str, CellFacts],
    graph: Graph,
    live: Collection[str],
    done: dict[str, Derived],
) -> None:
    """Derive `start` after everything it depends on, without recursion (a chain may be 10,000 cells long)."""
    stack = [start]
    entered: set[str] = set()
    while stack:
        cell = stack[-1]
        upstream = graph.upstream(cell)
        if cell not in entered:
            entered.add(cell)
            waiting = [
                other for other in upstream if other not in done and other not in entered and other in facts
            ]
            if waiting:
                stack.extend(waiting)
                continue
        stack.pop()
        if cell not in done:
            errors = facts[cell].errors + tuple(graph.errors.get(cell, ()))
            done[cell] = _judge(facts[cell], errors, upstream, facts, live, done)


def _judge(
    cell: CellFacts,
    errors: tuple[CellError, ...],
    upstream: Mapping[str, frozenset[str]],
    facts: Mapping[str, CellFacts],
    live: Collection[str],
    done: Mapping[str, Derived],
) -> Derived:
    if not cell.runs:
        return Derived(Freshness.CURRENT)
    disabled_by = _disabled_by(upstream, facts, done)
    if errors:
        return Derived(Freshness.FAILED, errors=errors, disabled_by=disabled_by)
    blocked_by = _blocked_by(upstream, done)
    if blocked_by:
        return Derived(Freshness.BLOCKED, blocked_by=blocked_by, disabled_by=disabled_by)
    freshness, because = _by_last_attempt(cell, upstream, facts, live, done)
    return Derived(freshness, disabled_by=disabled_by, stale_because=because)


def _by_last_attempt(
    cell: CellFacts,
    upstream: Mapping[str, frozenset[str]],
    facts: Mapping[str, CellFacts],
    live: Collection[str],
    done: Mapping[str, Derived],
) -> tuple[Freshness, StaleBecause | None]:
    last = cell.last
    if last is None:
        return Freshness.NEW, None
    if last.source_hash != cell.source_hash:
        return Freshness.STALE, StaleBecause("edited")
    changed = _changed_input(cell, last.inputs, upstream, facts, done)
    if changed is not None:
        return Freshness.STALE, changed
    if last.outcome is None and last.id in live:
        return Freshness.STALE, None
    if last.outcome is Outcome.OK:
        return Freshness.CURRENT, None
    interrupted = last.outcome in (None, Outcome.INTERRUPTED)
    return Freshness.FAILED, StaleBecause("interrupted") if interrupted else None


def _changed_input(
    cell: CellFacts,
    inputs: Mapping[str, str],
    upstream: Mapping[str, frozenset[str]],
    facts: Mapping[str, CellFacts],
    done: Mapping[str, Derived],
) -> StaleBecause | None:
    """The first input that is not, or may not be, what it was when the cell ran; None if all are."""
    defined: set[str] = set()
    for definer, names in upstream.items():
        defined |= names
        derived, last = done.get(definer), facts[definer].last if definer in facts else None
        values = last.values if last else {}
        is_current = derived is not None and derived.freshness is Freshness.CURRENT
        for name in sorted(names):
            if not is_current or inputs.get(name) != values.get(name):
                return _root_cause(derived, is_current, definer, name)
    lost = sorted(name for name in cell.references if name in inputs and name not in defined)
    return StaleBecause("upstream", None, lost[0]) if lost else None


def _root_cause(derived: Derived | None, is_current: bool, definer: str, name: str) -> StaleBecause:
    """Of a chain of stale cells, name the one where it began: that is what the reader wants to run."""
    because = derived.stale_because if derived else None
    if not is_current and because is not None and because.kind == "upstream" and because.cell is not None:
        return because
    return StaleBecause("upstream", definer, name)


def _blocked_by(
    upstream: Mapping[str, frozenset[str]], done: Mapping[str, Derived]
) -> tuple[tuple[str, str], ...]:
    """The failed cells, with the name each should have bound, that keep a cell from running; roots, not
    middlemen.
    """
    causes: dict[tuple[str, str], None] = {}
    for definer, names in upstream.items():
        derived = done.get(definer)
        if derived is None or len(causes) >= CAUSES_SHOWN:
            continue
        if derived.freshness is Freshness.FAILED:
            causes.update(dict.fromkeys((definer, name) for name in sorted(names)))
        elif derived.freshness is Freshness.BLOCKED:
            causes.update(dict.fromkeys(derived.blocked_by))
    return tuple(causes)[:CAUSES_SHOWN]


def _disabled_by(
    upstream: Mapping[str, frozenset[str]], facts: Mapping[str, CellFacts], done: Mapping[str, Derived]
) -> tuple[str, ...]:
    """The disabled cells it depends on, because of which a cell does not run; it is not among them itself."""
    causes: dict[str, None] = {}
    for definer in upstream:
        if len(causes) < CAUSES_SHOWN and definer in done:
            causes.update({definer: None} if facts[definer].disabled else {})
            causes.update(dict.fromkeys(done[definer].disabled_by))
    return tuple(causes)[:CAUSES_SHOWN]
