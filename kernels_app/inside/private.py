"""Private `_x` names: which there are, and the renaming of those that functions read after their cell has
ended.

Private names are left alone while the cell runs and swept after it (namespace.py). Only those that a nested
scope (function, lambda, class body, generator) reads as globals get a name of their cell's own, so that
functions called from other cells keep working (research/risks.md, 18). `_` and `__` are private, `__x` is
public.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_PREFIX = re.compile(r"_cell_[0-9a-f]{12}(?=_)")
_MENTION = re.compile(r"(?<![^\W_])(?<!\w)_(?:_?(?!\w)|[^\W_])")
_PRIVATE = re.compile(r"_(?:_?$|[^_])")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def is_private(name: str) -> bool:
    """Whether a name belongs to its cell alone: one leading underscore, `_` and `__`; not `__x`."""
    return _PRIVATE.match(name) is not None


def renamed_prefix(cell: str) -> str:
    """What a cell's renamed private names begin with."""
    digits = re.sub("[^0-9a-f]", "", cell.lower())[:12].ljust(12, "0")
    return f"_cell_{digits}"


def is_renamed(name: str) -> bool:
    return _PREFIX.match(name) is not None


def strip_prefix(text: str) -> str:
    """Text with renamed names as their author wrote them."""
    return _PREFIX.sub("", text) if "_cell_" in text else text


def rename(tree: ast.Module, source: str, cell: str) -> ast.Module:
    """Rename, in place, the private names of the module scope that nested scopes read or write as globals."""
    if not _MENTION.search(source):
        return tree
    finder = _Finder()
    finder.visit(tree)
    names = finder.nested & finder.bound
    if names:
        _Renamer(names, finder.sites, renamed_prefix(cell)).visit(tree)
        ast.fix_missing_locations(tree)
    return tree


@dataclass
class _Scope:
    """One scope on the way down: what it binds itself, and what it declares global."""

    kind: str  # module, function, comprehension, class
    lasting: bool  # its body may run after the cell has ended
    local: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)


class _Finder(ast.NodeVisitor):
    """Finds the nodes whose private name means a global (`sites`), and which of those names nested scopes
    use.
    """

    def __init__(self) -> None:
        self.sites: set[int] = set()
        self.nested: set[str] = set()
        self.bound: set[str] = set()
        self._scopes = [_Scope("module", lasting=False)]

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node, node.id, binds=not isinstance(node.ctx, ast.Load))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._use(node, node.name, binds=True)
        for part in (*node.decorator_list, *_defaults(node.args), *_annotations(node)):
            self.visit(part)
        self._enter(
            _Scope("function", True, *_function_names(node)), [*getattr(node, "type_params", ()), *node.body]
        )

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in _defaults(node.args):
            self.visit(part)
        self._enter(_Scope("function", True, *_function_names(node)), [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._use(node, node.name, binds=True)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        names = _bindings(node.body)
        self._enter(_Scope("class", True, *names), [*getattr(node, "type_params", ()), *node.body])

    def _comprehension(self, node: _Comprehension) -> None:
        first = node.generators[0]
        self.visit(first.iter)
        local = {name for generator in node.generators for name in _targets(generator.target)}
        parts: list[ast.AST] = [first.target, *first.ifs]
        parts += [part for generator in node.generators[1:] for part in ast.iter_child_nodes(generator)]
        parts += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._enter(_Scope("comprehension", isinstance(node, ast.GeneratorExp), local), parts)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # type: ignore[assignment]

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._use(alias, alias.asname or alias.name.partition(".")[0], binds=True)

    visit_ImportFrom = visit_Import  # type: ignore[assignment]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._use(node, node.name, binds=True)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self._use(node, node.name, binds=True)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # type: ignore[assignment]

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._use(node, node.rest, binds=True)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.sites.add(id(node))

    def _enter(self, scope: _Scope, parts: Iterable[ast.AST]) -> None:
        self._scopes.append(scope)
        for part in parts:
            self.visit(part)
        self._scopes.pop()

    def _use(self, node: ast.AST, name: str, *, binds: bool) -> None:
        if not is_private(name):
            return
        lasting = False
        for depth, scope in enumerate(reversed(self._scopes)):
            if scope.kind == "module":
                break
            if name in scope.outer:
                lasting = True
                break
            visible = scope.kind != "class" or depth == 0
            if visible and name in scope.local:
                return
            lasting = lasting or scope.lasting
        self.sites.add(id(node))
        if binds:
            self.bound.add(name)
        if lasting:
            self.nested.add(name)


class _Renamer(ast.NodeTransformer):
    """Renames the sites of `names`. Functions and classes keep their own name and get the new one beside
    it.
    """

    def __init__(self, names: set[str], sites: set[int], prefix: str) -> None:
        self._names, self._sites, self._prefix = names, sites, prefix

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if self._is_site(node, node.id):
            node.id = self._prefix + node.id
        return node

    def visit_FunctionDef(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> ast.AST | list[ast.AST]:
        self.generic_visit(node)
        return self._beside(node, node.name)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST | list[ast.AST]:
        result: list[ast.AST] = [node]
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            if not self._is_site(alias, name):
                continue
            if alias.asname is None and "." in alias.name:
                result += self._beside(alias, name)[1:]
            else:
                alias.asname = self._prefix + name
        for part in result[1:]:
            ast.copy_location(part, node)
        return result

    visit_ImportFrom = visit_Import  # type: ignore[assignment]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name and self._is_site(node, node.name):
            node.name = self._prefix + node.name
        return self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        if node.name and self._is_site(node, node.name):
            node.name = self._prefix + node.name
        return self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # type: ignore[assignment]

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        if node.rest and self._is_site(node, node.rest):
            node.rest = self._prefix + node.rest
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names += [self._prefix + name for name in node.names if name in self._names]
        return node

    def _is_site(self, node: ast.AST, name: str) -> bool:
        return name in self._names and id(node) in self._sites

    def _beside(self, node: ast.AST, name: str) -> list[ast.AST]:
        if not self._is_site(node, name):
            return [node]
        target = ast.Name(self._prefix + name, ast.Store())
        beside = ast.Assign([target], ast.Name(name, ast.Load()))
        return [node, ast.fix_missing_locations(ast.copy_location(beside, node))]


def _defaults(args: ast.arguments) -> list[ast.expr]:
    return [*args.defaults, *(default for default in args.kw_defaults if default is not None)]


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    found = [arg.annotation for arg in every if arg.annotation is not None]
    return [*found, node.returns] if node.returns is not None else found


def _function_names(node: _Function) -> tuple[set[str], set[str]]:
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    local, outer = _bindings(node.body if isinstance(node.body, list) else [node.body])
    return (local | {arg.arg for arg in every}) - outer, outer


def _targets(target: ast.expr) -> set[str]:
    return {
        node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _bindings(body: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """(names a function or class body binds itself, names it declares global). Nested scopes are not
    entered.
    """
    local: set[str] = set()
    outer: set[str] = set()
    todo = list(body)
    while todo:
        node = todo.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                local.add(name)
            case ast.Global(names=names):
                outer.update(names)
            case ast.Nonlocal(names=names):
                local.update(names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                local.add(name)
                todo += node.decorator_list
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                local |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
                continue
            case ast.alias(name=name, asname=asname):
                local.add(asname or name.partition(".")[0])
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                local.add(name)
            case ast.MatchMapping(rest=str(name)):
                local.add(name)
        todo += list(ast.iter_child_nodes(node))
    return local - outer, outer
