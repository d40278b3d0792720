"""Follows which global names a source binds, looks up and deletes, in the order it does so.

Pure. `Names` holds the state; expressions.py and statements.py walk the syntax tree and call it.

- *Live*: the names that may be bound at this point on some path. A lookup of a name that is not live is
  a need.
- Code runs at once (module level, class bodies, list comprehensions) or is *deferred* (bodies of
  functions, lambdas, generator expressions, lazily evaluated types). A deferred need is no reference if
  other code of the cell supplies the name: binds it without needing it first.
- The loop body is walked once, so a name that is looked up before it is bound further down is a need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from notebooks_app.analysis.scopes import Kind, Scope

type Key = str | tuple[Scope, str]  # a global name, or a name of a class body
type State = tuple[set[Key], bool]  # what may be bound, and whether this point is out of reach
type Marks = list[tuple[list[State], int]]

_IMPLICIT_IN_METHODS = ("__class__", "__classdict__")


@dataclass(slots=True)
class Unit:
    """Code that runs as one: the module, or the body of one function."""

    deferred: bool = False
    live: set[Key] = field(default_factory=set)
    dead: bool = False
    needs: set[str] = field(default_factory=set)
    exits: list[State] = field(default_factory=list)
    jumps: list[tuple[list[State], list[State]]] = field(
        default_factory=list
    )  # (breaks, continues) of each loop
    captures: list[set[Key]] = field(default_factory=list)  # all that was bound inside each open `try`


class Names:
    """State of one analysis. `result` gives what the whole source defines and refers to."""

    def __init__(self) -> None:
        self.scope = Scope(Kind.MODULE)
        self.unit = self.module = Unit()
        self._deferred_needs: set[str] = set()
        self._deferred_bound: set[str] = set()
        self._supplied: set[str] = set()

    def result(self) -> tuple[set[str], set[str]]:
        """(definitions, references), private names and builtins included."""
        bound = {key for key in self.module.live if isinstance(key, str)}
        return bound | self._deferred_bound, self.module.needs | (self._deferred_needs - self._supplied)

    # --- names -----------------------------------------------------------------------------------------

    def look_up(self, name: str) -> None:
        scope = self.scope
        if scope.parent is not None:
            name = scope.mangle(name)
            if not self._is_global(name):
                return
        if name not in self.unit.live:
            self.unit.needs.add(name)

    def bind(self, name: str) -> None:
        key = self._owner(name)
        if key is None:
            return
        unit = self.unit
        unit.live.add(key)
        if unit.captures:
            unit.captures[-1].add(key)
        if isinstance(key, str) and not (unit.deferred and key in unit.needs):
            self._supplied.add(key)

    def delete(self, name: str) -> None:
        key = self._owner(name)
        if key is None:
            return
        if isinstance(key, str) and key not in self.unit.live:
            self.unit.needs.add(key)
        self.unit.live.discard(key)

    def unbind(self, name: str, marks: Marks, captured: set[Key]) -> None:
        """Python itself removes the name: here, on the jumps since `marks`, and when an exception passes."""
        key = self._owner(name)
        if key is not None:
            self.unit.live.discard(key)
            captured.discard(key)
            for jumps, start in marks:
                for live, _ in jumps[start:]:
                    live.discard(key)

    def _owner(self, name: str) -> Key | None:
        """What a store to `name` sets here; None for a name of a function, which is nobody else's
        business.
        """
        scope = self.scope
        while scope.kind is Kind.COMPREHENSION and scope.parent is not None:  # `:=` binds outside
            scope = scope.parent
        if scope.parent is None:
            return name
        name = scope.mangle(name)
        if name in scope.globals:
            return name
        if scope.kind is Kind.CLASS and name not in scope.nonlocals:
            return (scope, name)
        return None

    def _is_global(self, name: str) -> bool:
        """Whether a lookup of the (mangled) name may reach the module's namespace."""
        scope: Scope | None = self.scope
        sees_class = True
        while scope is not None and scope.parent is not None:
            if scope.kind is Kind.CLASS:
                if not sees_class:
                    if name in _IMPLICIT_IN_METHODS:
                        return False
                elif name in scope.globals:
                    return True
                elif name in scope.bound:  # looked up in the class, then in the module
                    return not self._is_bound_in_class(scope, name)
            elif name in scope.globals:
                return True
            elif name in scope.bound:
                return False
            sees_class = sees_class and scope.kind is Kind.ANNOTATION
            scope = scope.parent
        return True

    def _is_bound_in_class(self, scope: Scope, name: str) -> bool:
        lazy = self.scope is not scope and self.unit.deferred  # evaluated when the class is complete
        return lazy or (scope, name) in self.unit.live

    # --- scopes and units ------------------------------------------------------------------------------

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        outer, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = outer

    @contextmanager
    def deferred(self, *, consumed: bool = False) -> Iterator[None]:
        """Code that runs later. What it binds may be bound from here on; `consumed`: only until it is
        deleted (a generator expression is used up where it stands).
        """
        outer, self.unit = self.unit, Unit(deferred=True)
        try:
            yield
        finally:
            inner, self.unit = self.unit, outer
            self._deferred_needs |= inner.needs
            self._merge(inner, consumed=consumed)

    def _merge(self, inner: Unit, *, consumed: bool) -> None:
        states = [*inner.exits, (inner.live, inner.dead)]
        reachable = [live for live, dead in states if not dead] or [live for live, _ in states]
        bound = {key for live in reachable for key in live if isinstance(key, str)}
        if bound:
            self.unit.live |= bound
            if self.unit.captures:
                self.unit.captures[-1] |= bound
            if not consumed:
                self._deferred_bound |= bound

    # --- paths -----------------------------------------------------------------------------------------

    def fork(self) -> State:
        """The state here, for another path to start from."""
        return set(self.unit.live), self.unit.dead

    def resume(self, state: State) -> None:
        self.unit.live, self.unit.dead = set(state[0]), state[1]

    def here(self) -> State:
        """The state at the end of a path. It must be left by `resume` or `join`."""
        return self.unit.live, self.unit.dead

    def join(self, states: list[State]) -> None:
        """Go on where these paths meet. Paths that ended (`break`, `raise`) do not count, unless all did."""
        reachable = [state for state in states if not state[1]]
        self.unit.live = set().union(*(live for live, _ in reachable or states))
        self.unit.dead = not reachable

    def jump(self, to: list[State] | None) -> None:
        """Leave this path for the end or the head of a loop, or the end of a function."""
        if to is not None and not self.unit.dead:
            to.append(self.fork())
        self.unit.dead = True

    def marks(self) -> Marks:
        """How many jumps there are now out of each loop and function around."""
        lists = [self.unit.exits, *(jumps for loop in self.unit.jumps for jumps in loop)]
        return [(jumps, len(jumps)) for jumps in lists]

    @contextmanager
    def capturing(self) -> Iterator[set[Key]]:
        """Every key bound inside, whether deleted again or not: any statement of a `try` may raise."""
        captured: set[Key] = set()
        self.unit.captures.append(captured)
        try:
            yield captured
        finally:
            self.unit.captures.pop()
            if self.unit.captures:
                self.unit.captures[-1] |= captured

    def passing(self, run: Callable[[], None], entry: set[Key], normal: State, marks: Marks) -> None:
        """Run a `finally`: it is entered from everywhere (`entry`), and what it deletes is deleted on
        every way out.

        `normal` is the state of the way that goes on; `marks` were taken at
        the `try`.
        """
        self.unit.live, self.unit.dead = set(entry), False
        with self.capturing() as bound:
            run()
        after, ended = self.here()
        for jumps, start in marks:
            jumps[start:] = [(_through(live, bound, after), dead or ended) for live, dead in jumps[start:]]
        self.unit.live, self.unit.dead = _through(normal[0], bound, after), normal[1] or ended


def _through(live: set[Key], bound: set[Key], after: set[Key]) -> set[Key]:
    return {key for key in after if key in live or key in bound}
