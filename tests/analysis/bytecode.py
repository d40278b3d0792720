"""What CPython's compiler made of a source: which global names its code binds, deletes and looks up,
path by path.

The oracle of test_bytecode.py, independent of the walk it checks: a data flow over the instructions of
each code object (CPython 3.12 and 3.13), along jumps and the exception table.
"""

from __future__ import annotations

import dis
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType

from notebooks_app.analysis import analyse
from notebooks_app.analysis.python import MODULE_NAMES, is_public

IMMEDIATE = ("<listcomp>", "<setcomp>", "<dictcomp>")
NEVER_FALLS_THROUGH = [
    "RETURN_VALUE",
    "RETURN_CONST",
    "RAISE_VARARGS",
    "RERAISE",
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
]

MOVES = ("LOAD_CONST", "POP_EXCEPT", "POP_TOP", "NOP", "COPY", "SWAP", "PUSH_EXC_INFO")

State = tuple[
    frozenset, frozenset
]  # (may be bound, is bound on every path); keys: name, or (class body, name)


@dataclass
class Found:
    """`surely`: looked up where no path has bound it. `maybe`: where some path has not."""

    surely: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    deferred_surely: set[str] = field(default_factory=set)
    deferred_maybe: set[str] = field(default_factory=set)
    bound_at_once: set[str] = field(default_factory=set)
    bound_later: set[str] = field(default_factory=set)
    kept_later: set[str] = field(default_factory=set)
    definitions: set[str] = field(default_factory=set)
    returns: bool = True

    def lower(self) -> set[str]:
        """References that any sound analysis has."""
        return self.surely | (self.deferred_surely - self.bound_at_once - self.bound_later)

    def upper(self) -> set[str]:
        """References beyond which there is no reason for any."""
        return self.maybe | (self.deferred_maybe - self.bound_at_once)


def disagreement(source: str) -> str | None:
    """What analysis and compiler disagree on; empty if nothing, None if the source never ends normally."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(source, "<generated>", "exec", dont_inherit=True)
        except SyntaxError as error:
            return "" if analyse("python", source).errors else f"CPython refuses it: {error}"
    oracle = examine(code)
    if not oracle.returns:
        return None
    analysis = analyse("python", source)
    if analysis.errors:
        return f"errors: {analysis.errors}"
    definitions, lower, upper = _shown(oracle.definitions), _shown(oracle.lower()), _shown(oracle.upper())
    if analysis.definitions != definitions:
        return f"defines {sorted(analysis.definitions)}, but binds {sorted(definitions)}"
    references = analysis.references | analysis.builtins
    if not lower <= references <= upper:
        return f"missing {sorted(lower - references)}, surplus {sorted(references - upper)}"
    return ""


def _shown(found: set[str]) -> set[str]:
    """Public names, without those that Python itself handles: every class body reads `__name__`."""
    return {name for name in found if is_public(name)} - MODULE_NAMES - {"__name__"}


def examine(code: CodeType) -> Found:
    found = Found()
    end = _flow(code, (frozenset(), frozenset()), found, deferred=False)
    found.returns = end is not None
    live = end[0] if end else frozenset()
    found.definitions = {key for key in live if isinstance(key, str)} | found.kept_later
    return found


def _flow(
    code: CodeType, entry: State, found: Found, *, deferred: bool, class_body: bool = False
) -> State | None:
    """Run the data flow of one code object to its fixed point; the state where it returns, None if it
    never does.
    """
    instructions = list(dis.get_instructions(code))
    index = {instruction.offset: n for n, instruction in enumerate(instructions)}
    bodies = dict(_class_calls(instructions))
    handlers = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    states: dict[int, State] = {0: entry}
    work = [0]
    end: State | None = None

    def step(n: int, into: Found) -> State:
        after = _step(code, instructions[n], states[n], into, deferred, class_body)
        if n in bodies:
            after = _flow(bodies[n], after, into, deferred=deferred, class_body=True) or after
        return after

    while work:
        n = work.pop()
        instruction = instructions[n]
        after = step(n, Found())
        targets: list[tuple[int, State]] = []
        for handler in handlers:
            if handler.start <= instruction.offset < handler.end and not _cannot_raise(instructions, n):
                targets += [(index[handler.target], states[n]), (index[handler.target], after)]
        if instruction.opname.startswith("RETURN_") and instruction.opname != "RETURN_GENERATOR":
            end = _join(end, after)
        if instruction.opname in ("YIELD_VALUE", "SEND") and deferred:
            end = _join(end, after)
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            targets.append((index[instruction.argval], after))
        if instruction.opname not in NEVER_FALLS_THROUGH:
            targets.append((n + 1, after))
        for target, state in targets:
            joined = _join(states.get(target), state)
            if joined != states.get(target):
                states[target] = joined
                work.append(target)
    places: dict[object, State] = {}
    for (
        n,
        state,
    ) in states.items():  # the compiler copies short blocks and `finally`: one place of the source is one
        place = (instructions[n].opname, instructions[n].argval, instructions[n].positions)
        places[place] = _join(places.get(place), state)
    for n in states:
        states[n] = places[instructions[n].opname, instructions[n].argval, instructions[n].positions]
        step(n, found)
    return end


def _cannot_raise(instructions: list[dis.Instruction], n: int) -> bool:
    """Instructions that only move values, the store of `as e`, and `e = None; del e` at its handler's end."""
    names = [instruction.opname for instruction in instructions[max(n - 2, 0) : n + 2]]
    if n < 2 or names[2] in MOVES or names[2].startswith("JUMP"):
        return True
    clears = [
        instructions[m].opname == "LOAD_CONST" and instructions[m].argval is None for m in (n - 1, n - 2)
    ]
    if names[2].startswith("STORE_"):
        return names[0] == "CHECK_EXC_MATCH" or (clears[0] and names[-1].startswith("DELETE_"))
    return names[2].startswith("DELETE_") and clears[1]


def _is_class(code: CodeType) -> bool:
    return not code.co_flags & inspect.CO_OPTIMIZED  # its namespace is a dict


def _class_calls(instructions: list[dis.Instruction]) -> Iterator[tuple[int, CodeType]]:
    """(index of the call that builds a class, the class's body): the call that stands where
    LOAD_BUILD_CLASS does.
    """
    for n, builder in enumerate(instructions):
        if builder.opname == "LOAD_BUILD_CLASS":
            rest = range(n, len(instructions))
            body = next(m for m in rest if _is_class_constant(instructions[m]))
            calls = (
                m
                for m in rest
                if instructions[m].opname in ("CALL", "CALL_KW", "CALL_FUNCTION_EX")
                and instructions[m].positions == builder.positions
            )
            yield next(calls), instructions[body].argval


def _is_class_constant(instruction: dis.Instruction) -> bool:
    return isinstance(instruction.argval, CodeType) and _is_class(instruction.argval)


def _join(one: State | None, other: State) -> State:
    return other if one is None else (one[0] | other[0], one[1] & other[1])


def _step(
    code: CodeType, instruction: dis.Instruction, state: State, found: Found, deferred: bool, class_body: bool
) -> State:
    name, op = instruction.argval, instruction.opname
    may, must = state
    in_class = class_body and op.endswith("_NAME")
    key = (code, name) if in_class else name
    if op in ("LOAD_NAME", "LOAD_GLOBAL"):
        if not in_class or key not in may:
            _look_up(name, state, found, deferred)
        elif key not in must:
            (found.deferred_maybe if deferred else found.maybe).add(name)
    elif op == "LOAD_FROM_DICT_OR_GLOBALS":
        (found.deferred_maybe if deferred else found.maybe).add(name)
    elif op in ("STORE_NAME", "STORE_GLOBAL"):
        if isinstance(key, str):
            (found.bound_later if deferred else found.bound_at_once).add(key)
        return may | {key}, must | {key}
    elif op in ("DELETE_NAME", "DELETE_GLOBAL"):
        if not in_class:
            _look_up(name, state, found, deferred)
        return may - {key}, must - {key}
    elif op == "LOAD_CONST" and isinstance(name, CodeType):
        return _nested(name, state, found, deferred)
    return state


def _look_up(name: str, state: State, found: Found, deferred: bool) -> None:
    if name not in state[0]:
        (found.deferred_surely if deferred else found.surely).add(name)
    if name not in state[1]:
        (found.deferred_maybe if deferred else found.maybe).add(name)


def _nested(code: CodeType, state: State, found: Found, deferred: bool) -> State:
    if _is_class(code):
        return state  # runs when the class is built, after its bases were evaluated
    if code.co_name in IMMEDIATE or code.co_name.startswith("<generic parameters of"):
        return _flow(code, state, found, deferred=deferred) or state
    end = _flow(code, (frozenset(), frozenset()), found, deferred=True)
    bound = frozenset(key for key in (end[0] if end else ()) if isinstance(key, str))
    if code.co_name != "<genexpr>":
        found.kept_later |= bound
    return state[0] | bound, state[1]
