"""Walks expressions, targets and patterns in the order CPython evaluates them.

Pure. Statements are walked in statements.py; what a name means is decided in names.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from notebooks_app.analysis import magics
from notebooks_app.analysis.names import Names
from notebooks_app.analysis.scopes import Kind, Scope, fill, parameters, target_names

type _Handler = Callable[[Any, Any], None]
_SPINE = (ast.Attribute, ast.Call, ast.Subscript)
_fields: dict[type, tuple[str, ...]] = {}


class Expressions(Names):
    """`expr` for what is evaluated, `target` for what is assigned to or deleted, `pattern` for a case."""

    has_walrus = True
    _expressions: ClassVar[dict[type, _Handler]] = {}

    def expr(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Name:
            self.look_up(node.id)  # type: ignore[attr-defined]
        elif kind is not ast.Constant:
            handler = self._expressions.get(kind)
            if handler is not None:
                handler(self, node)
            else:
                self._children(node, kind)

    def exprs(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.expr(node)

    def _children(self, node: ast.AST, kind: type) -> None:
        for name in _fields.get(kind) or _fields_of(node, kind):
            value = getattr(node, name)
            if type(value) is list:
                for item in value:
                    self.expr(item)
            elif isinstance(value, ast.AST):
                self.expr(value)

    def _spine(self, node: Any) -> None:
        """`a.b(c)[d].e`: a loop and not a recursion, for such chains grow long."""
        chain = []
        while isinstance(node, _SPINE):
            chain.append(node)
            node = node.func if isinstance(node, ast.Call) else node.value
        self.expr(node)
        if len(chain) > 2 and isinstance(node, ast.Name) and node.id == "get_ipython":
            self._magic(chain)
        for link in reversed(chain):
            if type(link) is ast.Call:
                self.exprs(link.args)
                self.exprs(keyword.value for keyword in link.keywords)
            elif type(link) is ast.Subscript:
                self.expr(link.slice)

    def _magic(self, chain: list[Any]) -> None:
        call, method = chain[-3], chain[-2]
        if type(call) is ast.Call and type(method) is ast.Attribute:
            found = magics.read(method.attr, [getattr(item, "value", None) for item in call.args])
            if found is not None:
                self.magic(found, call.lineno)

    def magic(self, found: magics.Magic, line: int) -> None:
        raise NotImplementedError  # statements.py

    def _binary(self, node: ast.BinOp) -> None:
        """`a + b + c`: a loop, for generated sums grow long."""
        rights = []
        left: ast.AST = node
        while isinstance(left, ast.BinOp):
            rights.append(left.right)
            left = left.left
        self.expr(left)
        self.exprs(reversed(rights))

    def _conditional(self, node: ast.IfExp) -> None:
        self.expr(node.test)
        start = self.fork()
        self.expr(node.body)
        end = self.here()
        self.resume(start)
        self.expr(node.orelse)
        self.join([end, self.here()])

    def _dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                self.expr(key)
            self.expr(value)

    def _walrus(self, node: ast.NamedExpr) -> None:
        self.expr(node.value)
        self.target(node.target)

    def _lambda(self, node: ast.Lambda) -> None:
        self.exprs(node.args.defaults)
        self.exprs(node.args.kw_defaults)
        with self.within(self.function_scope(node.args, [node.body])), self.deferred():
            self.expr(node.body)

    def _suspend(self, node: ast.Await | ast.Yield | ast.YieldFrom) -> None:
        """Others run while a function waits, and see what it has bound so far."""
        if node.value is not None:
            self.expr(node.value)
        if self.unit.deferred:
            self.unit.exits.append(self.fork())

    def _comprehension(self, node: Any) -> None:
        """Runs at once, in a scope of its own but for its first iterable: there a class body is still
        seen.
        """
        self.expr(node.generators[0].iter)
        with self.within(self._comprehension_scope(node)):
            self._comprehension_body(node)

    def _generator(self, node: ast.GeneratorExp) -> None:
        """Runs later but for its first iterable."""
        self.expr(node.generators[0].iter)
        with self.within(self._comprehension_scope(node)), self.deferred(consumed=True):
            self._comprehension_body(node)

    def _comprehension_scope(self, node: Any) -> Scope:
        scope = self.scope.inner(Kind.COMPREHENSION)
        for generator in node.generators:
            scope.bound.update(map(scope.mangle, target_names(generator.target)))
        return scope

    def _comprehension_body(self, node: Any) -> None:
        for index, generator in enumerate(node.generators):
            if index:
                self.expr(generator.iter)
            self._loop_target(generator.target)
            self.exprs(generator.ifs)
        self.exprs((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,))

    def _loop_target(self, node: ast.AST) -> None:
        """The target of a comprehension: its names are its own, `a[i]` and `a.b` are looked up."""
        if isinstance(node, ast.Tuple | ast.List):
            for item in node.elts:
                self._loop_target(item)
        elif isinstance(node, ast.Starred):
            self._loop_target(node.value)
        elif not isinstance(node, ast.Name):
            self._spine(node)

    def function_scope(self, arguments: ast.arguments, body: list[Any]) -> Scope:
        scope = self.scope.inner(Kind.FUNCTION)
        scope.bound.update(scope.mangle(parameter.arg) for parameter in parameters(arguments))
        return fill(scope, body, has_walrus=self.has_walrus)

    # --- targets and patterns --------------------------------------------------------------------------

    def target(self, node: Any) -> None:
        """An assignment target or an operand of `del`, by the context Python's parser gave it."""
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is ast.Del:
                self.delete(node.id)
            else:
                self.bind(node.id)
        elif kind is ast.Tuple or kind is ast.List:
            for item in node.elts:
                self.target(item)
        elif kind is ast.Starred:
            self.target(node.value)
        else:
            self._spine(node)

    def pattern(self, node: Any) -> list[str]:
        """Look up what the pattern compares with; the names it captures, which are bound when all of it
        matched.
        """
        captured: list[str] = []
        stack = [node]
        while stack:
            item = stack.pop()
            match item:
                case ast.MatchValue():
                    self.expr(item.value)
                case ast.MatchSequence() | ast.MatchOr():
                    stack.extend(reversed(item.patterns))
                case ast.MatchMapping():
                    self.exprs(item.keys)
                    stack.extend(reversed(item.patterns))
                    captured.extend([item.rest] if item.rest else [])
                case ast.MatchClass():
                    self.expr(item.cls)
                    stack.extend(reversed([*item.patterns, *item.kwd_patterns]))
                case ast.MatchAs():
                    stack.extend([item.pattern] if item.pattern else [])
                    captured.extend([item.name] if item.name else [])
                case ast.MatchStar(name=str(name)):
                    captured.append(name)
        return captured


Expressions._expressions.update(
    {
        ast.Attribute: Expressions._spine,
        ast.Call: Expressions._spine,
        ast.Subscript: Expressions._spine,
        ast.BinOp: Expressions._binary,
        ast.IfExp: Expressions._conditional,
        ast.Dict: Expressions._dict,
        ast.NamedExpr: Expressions._walrus,
        ast.Lambda: Expressions._lambda,
        ast.ListComp: Expressions._comprehension,
        ast.SetComp: Expressions._comprehension,
        ast.DictComp: Expressions._comprehension,
        ast.GeneratorExp: Expressions._generator,
        ast.Await: Expressions._suspend,
        ast.Yield: Expressions._suspend,
        ast.YieldFrom: Expressions._suspend,
    }
)


def _fields_of(node: ast.AST, kind: type) -> tuple[str, ...]:
    """The fields of this kind that may hold expressions."""
    skipped = {"ctx", "op", "ops", "kind", "conversion", "str", "type_comment"}
    _fields[kind] = tuple(name for name in node._fields if name not in skipped)
    return _fields[kind]
