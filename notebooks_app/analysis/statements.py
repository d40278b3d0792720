"""Walks the statements of a cell, path by path.

Pure. Accepted: conditions are not evaluated (`if False:` may run), and a `with` is taken not to swallow
exceptions, so what is bound and deleted inside it is gone. A `finally` is walked once, as if entered
from anywhere in its `try`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from notebooks_app.analysis import magics
from notebooks_app.analysis.effort import Effort
from notebooks_app.analysis.expressions import Expressions
from notebooks_app.analysis.names import State
from notebooks_app.analysis.parsing import parse
from notebooks_app.analysis.scopes import Kind, Scope, fill, imported_names, parameters

ANNOTATIONS_ARE_LAZY = sys.version_info >= (3, 14)  # PEP 649
MANGLES_OWN_ONLY = sys.version_info >= (3, 13)  # 3.12 also mangles `__x` in the bases of `class A[T](__x)`
_CLASS_NAMES = ("__module__", "__qualname__")  # what every class body binds first


class Statements(Expressions):
    """`walk` a module; `stars` are the modules it imports `*` from, with their lines, `futures` the names
    of compiler features it binds."""

    _statements: ClassVar[dict[type, Callable[[Any, Any], None]]] = {}

    def __init__(self, effort: Effort, *, has_walrus: bool) -> None:
        super().__init__()
        self._effort = effort
        self.has_walrus = has_walrus
        self.has_future_annotations = False
        self.stars: list[tuple[str, int]] = []
        self.futures: set[str] = set()

    def walk(self, module: ast.Module) -> None:
        self.has_future_annotations = self.has_future_annotations or any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in module.body
        )
        self.body(module.body)

    def body(self, statements: Iterable[ast.stmt]) -> None:
        handlers = self._statements
        for node in statements:
            handler = handlers.get(type(node))
            if handler is not None:
                handler(self, node)

    def magic(self, found: magics.Magic, line: int) -> None:
        """Python that IPython runs out of a string; see magics.py."""
        self.exprs(found.lookups)
        for code in found.code:
            try:
                self._embedded(parse(code, self._effort), in_function=found.in_function)
            except SyntaxError as error:
                error.lineno = line + found.first_line + (error.lineno or 1) - 1
                raise
        for name in found.bound:
            self.bind(name)

    def _embedded(self, module: ast.Module, *, in_function: bool) -> None:
        if not in_function:
            self.walk(module)
            return
        scope = fill(self.scope.inner(Kind.FUNCTION), module.body, has_walrus=True)
        with self.within(scope), self.deferred():
            self.body(module.body)

    # --- simple statements -----------------------------------------------------------------------------

    def _expression(self, node: ast.Expr) -> None:
        self.expr(node.value)

    def _assign(self, node: ast.Assign) -> None:
        self.expr(node.value)
        for target in node.targets:
            self.target(target)

    def _augmented(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.look_up(node.target.id)
            self.expr(node.value)
            self.bind(node.target.id)
        else:
            self.expr(node.target)
            self.expr(node.value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        """A bare `x: T` binds nothing. Annotations of a function's locals are never evaluated (PEP 526)."""
        if node.value is not None:
            self.expr(node.value)
            self.target(node.target)
        elif not isinstance(node.target, ast.Name):
            self.target(node.target)
        if self.scope.kind in (Kind.MODULE, Kind.CLASS):
            self.annotation(node.annotation, lazy=bool(node.simple))

    def annotation(self, node: ast.AST | None, *, lazy: bool = True) -> None:
        if node is None or self.has_future_annotations:
            return
        if ANNOTATIONS_ARE_LAZY and lazy:
            self.lazily([node])
        else:
            self.expr(node)

    def lazily(self, nodes: Iterable[ast.AST | None]) -> None:
        """Types that are evaluated when somebody asks for them, in a scope that still sees a class body
        around.
        """
        with self.within(self.scope.inner(Kind.ANNOTATION)), self.deferred():
            self.exprs(nodes)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.target(target)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            self.stars.append(("." * node.level + (node.module or ""), node.lineno))
        for name in imported_names(node):
            self.bind(name)
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            self.futures.update(imported_names(node))

    def _assert(self, node: ast.Assert) -> None:
        self.expr(node.test)
        if node.msg is not None:
            self.expr(node.msg)

    def _raise(self, node: ast.Raise) -> None:
        self.exprs((node.exc, node.cause))
        self.jump(None)

    def _return(self, node: ast.Return) -> None:
        self.exprs((node.value,))
        self.jump(self.unit.exits)

    def _break(self, node: ast.Break) -> None:
        self.jump(self.unit.jumps[-1][0] if self.unit.jumps else None)

    def _continue(self, node: ast.Continue) -> None:
        self.jump(self.unit.jumps[-1][1] if self.unit.jumps else None)

    # --- paths -----------------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        """A loop over `elif`, for generated ones grow long."""
        ends: list[State] = []
        while True:
            self.expr(node.test)
            start = self.fork()
            self.body(node.body)
            ends.append(self.here())
            self.resume(start)
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
        self.body(node.orelse)
        self.join([*ends, self.here()])

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.expr(node.iter)
        self._loop(node, before=partial(self.target, node.target))

    def _while(self, node: ast.While) -> None:
        test = partial(self.expr, node.test)
        test()
        self._loop(node, after=test)  # once more, for `while rows: del rows`

    def _loop(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        start = self.fork()
        before()
        breaks: list[State] = []
        continues: list[State] = []
        self.unit.jumps.append((breaks, continues))
        self.body(node.body)
        self.unit.jumps.pop()
        self.join([self.here(), *continues])
        after()
        self.join([start, self.here()])
        if not breaks:
            self.body(node.orelse)
            return
        again = self.fork()  # a `break` of a later round has what earlier rounds bound
        self.body(node.orelse)
        self.join([self.here(), again, *breaks])

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.expr(item.context_expr)
            if item.optional_vars is not None:
                self.target(item.optional_vars)
        self.body(node.body)

    def _match(self, node: ast.Match) -> None:
        self.expr(node.subject)
        ends: list[State] = []
        for case in node.cases:
            captured = self.pattern(case.pattern)
            start = self.fork()
            for name in captured:
                self.bind(name)
            if case.guard is not None:
                self.expr(case.guard)
                failed = self.fork()
            else:
                failed = start
            self.body(case.body)
            ends.append(self.here())
            self.resume(failed)
            if case.guard is None and _always_matches(case.pattern):
                self.join(ends)
                return
        self.join([*ends, self.here()])

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        if not node.finalbody:
            self._guarded(node)
            return
        marks = self.marks()
        entry, _ = self.fork()
        with self.capturing() as bound:
            self._guarded(node)
        self.passing(partial(self.body, node.finalbody), entry | bound, self.here(), marks)

    def _guarded(self, node: ast.Try | ast.TryStar) -> None:
        """`try`, `except` and `else`: a handler may start after any statement of the body."""
        start, dead = self.fork()
        with self.capturing() as bound:
            self.body(node.body)
        end = self.here()
        ends: list[State] = []
        self.resume((start | bound, dead))
        for handler in node.handlers:
            if handler.type is not None:
                self.expr(handler.type)
            here = self.fork()
            if handler.name:
                self._named_handler(handler, handler.name)
            else:
                self.body(handler.body)
            ends.append(self.here())
            self.resume(here)
        self.resume(end)
        self.body(node.orelse)
        self.join([self.here(), *ends])

    def _named_handler(self, handler: ast.ExceptHandler, name: str) -> None:
        """`except E as name`: Python removes the name on every way out."""
        marks = self.marks()
        with self.capturing() as captured:
            self.bind(name)
            self.body(handler.body)
            self.unbind(name, marks, captured)

    # --- definitions -----------------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.exprs(node.decorator_list)
        self.exprs(node.args.defaults)
        self.exprs(node.args.kw_defaults)
        if node.type_params:
            with self.within(self._type_parameters(node)):
                self._function_body(node)
        else:
            self._function_body(node)
        self.bind(node.name)

    def _function_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for parameter in parameters(node.args):
            self.annotation(parameter.annotation)
        self.annotation(node.returns)
        with self.within(self.function_scope(node.args, node.body)), self.deferred():
            self.body(node.body)

    def _type_parameters(self, node: Any) -> Scope:
        """The scope of `[T: bound = default]`; bounds and defaults are evaluated when asked for (PEP
        695, 696).
        """
        scope = self.scope.inner(Kind.ANNOTATION)
        if isinstance(node, ast.ClassDef):
            scope.private = node.name
            names = {str(getattr(parameter, "name", "")) for parameter in node.type_params}
            scope.mangled = names if MANGLES_OWN_ONLY else None
        scope.bound.update(scope.mangle(parameter.name) for parameter in node.type_params)
        with self.within(scope):
            for parameter in node.type_params:
                lazy = (getattr(parameter, "bound", None), getattr(parameter, "default_value", None))
                if any(lazy):
                    self.lazily(lazy)
        return scope

    def _class(self, node: ast.ClassDef) -> None:
        self.exprs(node.decorator_list)
        if node.type_params:
            with self.within(self._type_parameters(node)):
                self._class_body(node)
        else:
            self._class_body(node)
        self.bind(node.name)

    def _class_body(self, node: ast.ClassDef) -> None:
        """Runs at once; functions in it do not see its names."""
        self.exprs(node.bases)
        self.exprs(keyword.value for keyword in node.keywords)
        scope = Scope(Kind.CLASS, parent=self.scope, private=node.name)  # mangles with its own name
        fill(scope, node.body, has_walrus=self.has_walrus)
        scope.bound.update(name for name in _CLASS_NAMES if name not in scope.globals)
        with self.within(scope):
            for name in _CLASS_NAMES:
                self.bind(name)
            self.body(node.body)

    def _type_alias(self, node: ast.TypeAlias) -> None:
        if node.type_params:
            with self.within(self._type_parameters(node)):
                self.lazily([node.value])
        else:
            self.lazily([node.value])
        self.target(node.name)


def _always_matches(pattern: ast.AST) -> bool:
    if isinstance(pattern, ast.MatchOr):
        return any(map(_always_matches, pattern.patterns))
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _always_matches(pattern.pattern))


Statements._statements.update(
    {
        ast.Expr: Statements._expression,
        ast.Assign: Statements._assign,
        ast.AugAssign: Statements._augmented,
        ast.AnnAssign: Statements._annotated,
        ast.Delete: Statements._delete,
        ast.Import: Statements._import,
        ast.ImportFrom: Statements._import,
        ast.Assert: Statements._assert,
        ast.Raise: Statements._raise,
        ast.Return: Statements._return,
        ast.Break: Statements._break,
        ast.Continue: Statements._continue,
        ast.If: Statements._if,
        ast.For: Statements._for,
        ast.AsyncFor: Statements._for,
        ast.While: Statements._while,
        ast.With: Statements._with,
        ast.AsyncWith: Statements._with,
        ast.Match: Statements._match,
        ast.Try: Statements._try,
        ast.TryStar: Statements._try,
        ast.FunctionDef: Statements._function,
        ast.AsyncFunctionDef: Statements._function,
        ast.ClassDef: Statements._class,
        ast.TypeAlias: Statements._type_alias,
    }
)
