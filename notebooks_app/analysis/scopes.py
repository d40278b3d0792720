"""Scopes of a Python source, and which names each binds.

Pure. A scope knows the names that are its own by the rules of the language reference, section 4.2 (CPython's
Python/symtable.c). Who looks a name up, and when, is names.py's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    MODULE = auto()
    FUNCTION = auto()
    CLASS = auto()
    COMPREHENSION = auto()
    ANNOTATION = auto()  # type parameters and lazily evaluated types (PEP 695)


@dataclass(slots=True, eq=False)
class Scope:
    """One scope. `bound` are the names bound in it (of a class: anywhere in its body), `private` the
    class name that `__x` is mangled with.
    """

    kind: Kind
    parent: Scope | None = None
    bound: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    private: str = ""
    mangled: set[str] | None = None  # if set, only these names are mangled here (type parameters of a class)

    def inner(self, kind: Kind) -> Scope:
        """A scope inside this one that mangles as this one does."""
        return Scope(kind, parent=self, private=self.private, mangled=self.mangled)

    def mangle(self, name: str) -> str:
        """`__x` inside a class is `_Class__x` (language reference, 6.2.1)."""
        if not name.startswith("__") or name.endswith("__") or "." in name or not self.private:
            return name
        if self.mangled is not None and name not in self.mangled:
            return name
        stripped = self.private.lstrip("_")
        return f"_{stripped}{name}" if stripped else name


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

# Where bindings can be when no `:=` is in the source: targets, patterns, statements, no other expressions.
_BINDING_FIELDS: dict[type, tuple[str, ...]] = {
    ast.Assign: ("targets",),
    ast.AugAssign: ("target",),
    ast.AnnAssign: ("target",),
    ast.Delete: ("targets",),
    ast.TypeAlias: ("name",),
    ast.For: ("target", "body", "orelse"),
    ast.AsyncFor: ("target", "body", "orelse"),
    ast.While: ("body", "orelse"),
    ast.If: ("body", "orelse"),
    ast.With: ("items", "body"),
    ast.AsyncWith: ("items", "body"),
    ast.withitem: ("optional_vars",),
    ast.Try: ("body", "handlers", "orelse", "finalbody"),
    ast.TryStar: ("body", "handlers", "orelse", "finalbody"),
    ast.ExceptHandler: ("body",),
    ast.Match: ("cases",),
    ast.match_case: ("pattern", "body"),
    ast.MatchSequence: ("patterns",),
    ast.MatchMapping: ("patterns",),
    ast.MatchClass: ("patterns", "kwd_patterns"),
    ast.MatchOr: ("patterns",),
    ast.MatchAs: ("pattern",),
    ast.Tuple: ("elts",),
    ast.List: ("elts",),
    ast.Starred: ("value",),
}


def fill(scope: Scope, body: Iterable[ast.AST], *, has_walrus: bool) -> Scope:
    """Collect what `body` binds or declares in `scope` itself, not in the scopes nested in it."""
    children = _all_children if has_walrus else _binding_children
    stack = list(body)
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is not ast.Load:  # type: ignore[attr-defined]
                scope.bound.add(scope.mangle(node.id))  # type: ignore[attr-defined]
            continue
        if isinstance(node, ast.AnnAssign) and not node.simple and node.value is None:
            continue  # `(x): T` declares nothing; `x: T` makes a local name
        for name in _names_of(node):
            scope.bound.add(scope.mangle(name))
        if kind is ast.Global:
            scope.globals.update(map(scope.mangle, node.names))  # type: ignore[attr-defined]
        elif kind is ast.Nonlocal:
            scope.nonlocals.update(map(scope.mangle, node.names))  # type: ignore[attr-defined]
        else:
            stack.extend(children(node))
    scope.bound -= scope.globals | scope.nonlocals
    return scope


def parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    """Every parameter of a function, `*args` and `**kwargs` too, in the order their annotations are
    evaluated.
    """
    yield from arguments.posonlyargs
    yield from arguments.args
    if arguments.vararg:
        yield arguments.vararg
    yield from arguments.kwonlyargs
    if arguments.kwarg:
        yield arguments.kwarg


def target_names(target: ast.AST) -> Iterator[str]:
    """The plain names a loop's target binds; `a[i]` and `a.b` bind none."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from target_names(item)
    elif isinstance(target, ast.Starred):
        yield from target_names(target.value)


def imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The names an import statement binds; none for `*`."""
    for alias in node.names:
        if alias.name != "*":
            dotted = isinstance(node, ast.Import) and alias.asname is None
            yield alias.name.partition(".")[0] if dotted else alias.asname or alias.name


def _names_of(node: ast.AST) -> Iterator[str]:
    """Names that a node binds by a plain string instead of a Name node."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from imported_names(node)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name


def _binding_children(node: ast.AST) -> Iterator[ast.AST]:
    for name in _BINDING_FIELDS.get(type(node), ()):
        value = getattr(node, name)
        if type(value) is list:
            yield from value
        elif value is not None:
            yield value


def _all_children(node: ast.AST) -> Iterator[ast.AST]:
    """Children in the same scope, expressions too: a `:=` may be in any of them."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from node.decorator_list
        yield from _evaluated_at_definition(node.args)
        if not node.type_params:
            yield from (parameter.annotation for parameter in parameters(node.args) if parameter.annotation)
            if node.returns:
                yield node.returns
    elif isinstance(node, ast.Lambda):
        yield from _evaluated_at_definition(node.args)
    elif isinstance(node, ast.ClassDef):
        yield from node.decorator_list
        if not node.type_params:
            yield from node.bases
            yield from node.keywords
    elif isinstance(node, COMPREHENSIONS):
        yield from (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for generator in node.generators:
            yield generator.iter
            yield from generator.ifs
    elif isinstance(node, ast.TypeAlias):
        yield node.name
    else:
        yield from ast.iter_child_nodes(node)


def _evaluated_at_definition(arguments: ast.arguments) -> Iterator[ast.expr]:
    yield from arguments.defaults
    yield from (default for default in arguments.kw_defaults if default is not None)
