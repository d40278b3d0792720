"""The dependency graph of one notebook: who defines a name, who needs it, in which order cells run,
what is wrong.

Pure: takes facts about cells, returns a `Graph`. An edge goes from each cell that defines a name to
each other cell that refers to it. Names defined twice and cycles are values on the cells concerned; the
rest of the graph is sound. Which cells run is decided in kernels_app/scheduler.py, freshness in
freshness.py.

A name that a cell both defines and needs is no edge: the cell gets its own old value taken away before
it runs.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import networkx as nx

from notebooks_app.facts import CellError, CellFacts, ErrorKind

type Edges = Mapping[str, Mapping[str, frozenset[str]]]

DEFINERS_FOLLOWED = 20
"""A reader depends on at most so many definers of one name, in page order: all of them are errors anyway, and
thousands of copies of one cell would make edges without end."""
OTHERS_LISTED = 20  # An error lists at most so many other cells,
OTHERS_NAMED = 5  # and its message names at most so many.
OWN_PATHS = 50  # In cycles of more cells than this, all members are told the same path.

_NOTHING: Mapping[str, frozenset[str]] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Graph:
    """Made by `build`; nothing in it changes. Cells are ids; orders are page order where the graph
    leaves it open.
    """

    order: tuple[str, ...]
    errors: Mapping[str, tuple[CellError, ...]]
    numbers: Mapping[str, int]  # 1-based place on the page
    _definers: Mapping[str, tuple[str, ...]]
    _upstream: Edges
    _downstream: Edges
    _disabled: frozenset[str]

    def definers(self, name: str) -> tuple[str, ...]:
        """The cells that define the name, in page order."""
        return self._definers.get(name, ())

    def upstream(self, cell: str) -> Mapping[str, frozenset[str]]:
        """The cells it needs directly, in page order, each with the names."""
        return self._upstream.get(cell, _NOTHING)

    def downstream(self, cell: str) -> Mapping[str, frozenset[str]]:
        """The cells that need it directly, in page order, each with the names."""
        return self._downstream.get(cell, _NOTHING)

    def ancestors(self, cell: str) -> frozenset[str]:
        """All cells it needs, directly or not; never itself."""
        return _reach(cell, self._upstream)

    def descendants(self, cell: str) -> frozenset[str]:
        """All cells that need it, directly or not; never itself."""
        return _reach(cell, self._downstream)

    def disabled_by(self, cell: str) -> tuple[str, ...]:
        """Its disabled ancestors, in page order."""
        return tuple(sorted(self.ancestors(cell) & self._disabled, key=self.numbers.__getitem__))

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The place of each cell in `order`, from 0."""
        return {cell: rank for rank, cell in enumerate(self.order)}


def build(cells: Iterable[CellFacts]) -> Graph:
    """The graph of these cells. Linear in cells and edges but for the ordering of ties."""
    page = sorted(cells, key=lambda cell: (cell.position, cell.id))
    numbers = {cell.id: number for number, cell in enumerate(page, 1)}
    definers = _definers(page)
    upstream = _upstream(page, definers)
    downstream = _reversed(page, upstream)
    order, cycles = _order(page, upstream, downstream)
    errors: dict[str, list[CellError]] = {}
    for name, owners in definers.items():
        if len(owners) > 1:
            for owner in owners:
                errors.setdefault(owner, []).append(_duplicate(name, owner, owners, numbers))
    for members in cycles:
        for cell, error in _cycle_errors(members, upstream, numbers):
            errors.setdefault(cell, []).append(error)
    return Graph(
        order=order,
        errors={cell: tuple(found) for cell, found in errors.items()},
        numbers=numbers,
        _definers=definers,
        _upstream=upstream,
        _downstream=downstream,
        _disabled=frozenset(cell.id for cell in page if cell.disabled),
    )


def is_same_graph(before: Mapping[str, CellFacts], after: Mapping[str, CellFacts]) -> bool:
    """Whether both make the same graph, so that an edit inside cells needs no new one."""
    return before.keys() == after.keys() and all(
        old is new or _shape(old) == _shape(new)
        for old, new in ((before[cell], facts) for cell, facts in after.items())
    )


def _shape(cell: CellFacts) -> tuple[object, ...]:
    return cell.position, cell.definitions, cell.references, cell.disabled


# --- edges ---------------------------------------------------------------------------------------------


def _definers(page: list[CellFacts]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for cell in page:
        for name in sorted(cell.definitions):
            found.setdefault(name, []).append(cell.id)
    return {name: tuple(owners) for name, owners in found.items()}


def _upstream(page: list[CellFacts], definers: Mapping[str, tuple[str, ...]]) -> Edges:
    place = {cell.id: index for index, cell in enumerate(page)}
    edges: dict[str, Mapping[str, frozenset[str]]] = {}
    for cell in page:
        names: dict[str, set[str]] = {}
        for name in cell.references:
            for owner in definers.get(name, ())[:DEFINERS_FOLLOWED]:
                if owner != cell.id:
                    names.setdefault(owner, set()).add(name)
        if names:
            edges[cell.id] = {
                owner: frozenset(names[owner]) for owner in sorted(names, key=place.__getitem__)
            }
    return edges


def _reversed(page: list[CellFacts], upstream: Edges) -> Edges:
    edges: dict[str, dict[str, frozenset[str]]] = {}
    for cell in page:
        for owner, names in upstream.get(cell.id, _NOTHING).items():
            edges.setdefault(owner, {})[cell.id] = names
    return edges


def _reach(start: str, edges: Edges) -> frozenset[str]:
    found: set[str] = set()
    stack = [start]
    while stack:
        for other in edges.get(stack.pop(), _NOTHING):
            if other not in found:
                found.add(other)
                stack.append(other)
    found.discard(start)
    return frozenset(found)


# --- order and cycles ----------------------------------------------------------------------------------


def _order(
    page: list[CellFacts], upstream: Edges, downstream: Edges
) -> tuple[tuple[str, ...], list[list[str]]]:
    """(all cells, each after what it needs, else in page order; the cycles, each in page order).

    Edges inside a cycle do not count for the order: its cells stand where their places on the page put them.
    """
    place = {cell.id: index for index, cell in enumerate(page)}
    waiting = {cell.id: len(upstream.get(cell.id, _NOTHING)) for cell in page}
    order = _kahn(page, place, dict(waiting), downstream, {})
    if len(order) == len(page):
        return tuple(order), []
    left = waiting.keys() - set(order)
    graph = nx.DiGraph(
        (owner, cell) for cell in left for owner in upstream.get(cell, _NOTHING) if owner in left
    )
    cycles = sorted(
        (
            sorted(members, key=place.__getitem__)
            for members in nx.strongly_connected_components(graph)
            if len(members) > 1
        ),
        key=lambda members: place[members[0]],
    )
    component = {cell: index for index, members in enumerate(cycles) for cell in members}
    for cell in component:
        waiting[cell] -= sum(component.get(owner) == component[cell] for owner in upstream[cell])
    return tuple(_kahn(page, place, waiting, downstream, component)), cycles


def _kahn(
    page: list[CellFacts],
    place: Mapping[str, int],
    waiting: dict[str, int],
    downstream: Edges,
    component: Mapping[str, int],
) -> list[str]:
    """Kahn's algorithm with a heap of places; edges inside one component are not there. Leaves cycles out."""
    ready = [place[cell] for cell, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        cell = page[heapq.heappop(ready)].id
        order.append(cell)
        for other in downstream.get(cell, _NOTHING):
            if cell in component and component.get(other) == component[cell]:
                continue
            waiting[other] -= 1
            if waiting[other] == 0:
                heapq.heappush(ready, place[other])
    return order


# --- errors --------------------------------------------------------------------------------------------


def _duplicate(name: str, cell: str, owners: tuple[str, ...], numbers: Mapping[str, int]) -> CellError:
    near = owners[: OTHERS_LISTED + 1]
    others = tuple(other for other in near if other != cell)[:OTHERS_LISTED]
    where = _numbered(others, numbers, total=len(owners) - 1)
    message = f"`{name}` is also defined in {where}. Rename one of them."
    return CellError(ErrorKind.DUPLICATE, message, names=(name,), cells=others)


def _cycle_errors(
    members: list[str], upstream: Edges, numbers: Mapping[str, int]
) -> Iterator[tuple[str, CellError]]:
    shared = None if len(members) <= OWN_PATHS else _shortest_cycle(members[0], set(members), upstream)
    inside = set(members)
    for cell in members:
        path = shared or _shortest_cycle(cell, inside, upstream)
        yield cell, _cycle(cell, path, members, upstream, numbers)


def _shortest_cycle(start: str, members: Collection[str], upstream: Edges) -> list[str]:
    """Cells from `start` upwards, each needing the next, the last needing `start`."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        cell = queue.popleft()
        for other in upstream.get(cell, _NOTHING):
            if other == start:
                return _path_to(cell, start, came_from)
            if other in members and other not in came_from:
                came_from[other] = cell
                queue.append(other)
    raise AssertionError("a cell of a cycle leads back to itself")


def _path_to(cell: str, start: str, came_from: Mapping[str, str]) -> list[str]:
    path = [cell]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _cycle(
    cell: str, path: list[str], members: list[str], upstream: Edges, numbers: Mapping[str, int]
) -> CellError:
    """ "cell 1 needs `b` of cell 2, which needs `a` of cell 1"."""
    steps = list(zip(path, [*path[1:], path[0]], strict=True))
    names = tuple(min(upstream[reader][owner]) for reader, owner in steps)
    words = [
        f"needs `{name}` of cell {numbers[owner]}" for name, (_, owner) in zip(names, steps, strict=True)
    ]
    if len(words) > OTHERS_NAMED:
        words[OTHERS_NAMED - 1 : -1] = [f"… ({len(words) - OTHERS_NAMED} more) …"]
    message = f"These cells need each other: cell {numbers[path[0]]} {', which '.join(words)}."
    others = tuple(other for other in members[: OTHERS_LISTED + 1] if other != cell)[:OTHERS_LISTED]
    return CellError(
        ErrorKind.CYCLE, message, names=tuple(dict.fromkeys(names[:OTHERS_LISTED])), cells=others
    )


def _numbered(cells: tuple[str, ...], numbers: Mapping[str, int], *, total: int) -> str:
    """cell 3 · cells 3 and 5 · cells 3, 5, 6, 8, 9 and 4 more."""
    shown = [str(numbers[cell]) for cell in cells[:OTHERS_NAMED]]
    if total > len(shown):
        shown.append(f"{total - len(shown)} more")
    words = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"cell {words}" if total == 1 else f"cells {words}"
