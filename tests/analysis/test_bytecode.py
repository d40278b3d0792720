"""The analysis of generated programs against what CPython compiles them to."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.analysis.bytecode import disagreement

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="the oracle reads opcodes of 3.12 and 3.13"
)

NAMES = ["a", "b", "c", "d", "_p"]
if sys.version_info >= (3, 13):
    NAMES.append("__m")  # 3.12 mangles names outside of generic classes too
names = st.sampled_from(NAMES)


class Writer:
    """Draws a program statement by statement, with what the place allows."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.fuel = draw(st.integers(1, 14))

    def pick(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def name(self) -> str:
        return self.draw(names)

    def expression(self, depth: int, *, walrus: bool) -> str:
        forms = ["{n}", "{n}", "{n}.x", "{n}[{e}]", "f({e}, k={e})", "({e} + {e})", "(lambda {n}={e}: {e})",
                 "[{i} for {n} in {j}]", "{{{i}: {i} for {n} in {j} if {i}}}", "sum({i} for {n} in {j})",
                 "[{i} for {n} in {j} for {n} in {i}]", "({e} if {e} else {e})", "({e} and {e})", "f'{{{e}}}'",  # noqa: E501
                 "[{i} for {n}[{i}] in {j}]", "{{**{e}}}"]  # fmt: skip
        if walrus:
            forms.append("({n} := {e})")
        form = self.draw(st.sampled_from(forms)) if depth < 3 else "{n}"
        while "{" in form.replace("{{", ""):
            for key, value in (
                ("{n}", self.name),
                ("{e}", lambda: self.expression(depth + 1, walrus=walrus)),
                ("{i}", lambda: self.expression(depth + 1, walrus=walrus and not self.in_class)),
                ("{j}", lambda: self.expression(depth + 1, walrus=False)),
            ):
                while key in form:
                    form = form.replace(key, value().replace("{", "\x01").replace("}", "\x02"), 1)
            break
        return form.replace("{{", "{").replace("}}", "}").replace("\x01", "{").replace("\x02", "}")

    in_class = False

    def e(self) -> str:
        return self.expression(0, walrus=True)

    def block(self, indent: int, **place: bool) -> None:
        for _ in range(self.draw(st.integers(1, 3))):
            self.statement(indent, **place)

    def put(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def statement(self, indent: int, *, loop=False, function=False, in_with=False) -> None:
        self.fuel -= 1
        place = {"loop": loop, "function": function, "in_with": in_with}
        simple = [
            "assign",
            "assign",
            "use",
            "use",
            "augment",
            "unpack",
            "import",
            "annotate",
            "alias",
            "item",
        ]
        if not in_with:
            simple += ["delete", "delete"]
        if loop or function:
            simple.append("jump")
        nested = ["if", "for", "while", "with", "try", "finally", "match", "def", "class", "generic", "lazy"]
        kind = self.pick(*(simple + nested if indent < 4 and self.fuel > 0 else simple))
        getattr(self, f"_{kind}")(indent, place)

    def _assign(self, indent, place):
        self.put(indent, f"{self.name()} = {self.e()}")

    def _use(self, indent, place):
        self.put(indent, f"f({self.e()})")

    def _augment(self, indent, place):
        self.put(indent, f"{self.name()} += {self.e()}")

    def _unpack(self, indent, place):
        self.put(indent, f"{self.name()}, *{self.name()} = {self.e()}, {self.e()}")

    def _item(self, indent, place):
        self.put(indent, f"{self.name()}[{self.e()}] = {self.name()}.y = {self.e()}")

    def _import(self, indent, place):
        self.put(indent, self.pick("import {0}.x", "import m.{1} as {0}", "from m import {1} as {0}, {1}")
                 .format(self.name(), self.name()))  # fmt: skip

    def _annotate(self, indent, place):
        target = self.pick("{0}: {1}", "{0}: {1} = {2}", "({0}): {1}", "{0}.z: {1}", "{0}[{2}]: {1} = {2}")
        self.put(
            indent,
            target.format(self.name(), self.expression(1, walrus=False), self.expression(1, walrus=False)),
        )

    def _alias(self, indent, place):
        self.put(indent, f"type {self.name()} = {self.expression(1, walrus=False)}")

    def _delete(self, indent, place):
        self.put(indent, f"del {self.name()}")

    def _jump(self, indent, place):
        options = (["break", "continue"] if place["loop"] else []) + (["return"] if place["function"] else [])
        self.put(indent, f"if {self.e()}:")
        self.put(indent + 1, self.pick(*options))

    def _if(self, indent, place):
        self.put(indent, f"if {self.e()}:")
        self.block(indent + 1, **place)
        if self.draw(st.booleans()):
            self.put(indent, f"elif {self.e()}:")
            self.block(indent + 1, **place)
        if self.draw(st.booleans()):
            self.put(indent, "else:")
            self.block(indent + 1, **place)

    def _for(self, indent, place):
        self.put(
            indent,
            f"for {self.pick('{0}', '{0}, {1}', '{0}[{1}]').format(self.name(), self.name())} in {self.e()}:",
        )
        self.block(indent + 1, **place | {"loop": True})
        if self.draw(st.booleans()):
            self.put(indent, "else:")
            self.block(indent + 1, **place)

    def _while(self, indent, place):
        self.put(indent, f"while {self.e()}:")
        self.block(indent + 1, **place | {"loop": True})

    def _with(self, indent, place):
        self.put(indent, f"with {self.e()} as {self.name()}:")
        self.block(indent + 1, **place | {"in_with": True})

    def _try(self, indent, place):
        self.put(indent, "try:")
        self.block(indent + 1, **place)
        for _ in range(self.draw(st.integers(1, 2))):
            name = "" if place["in_with"] else f" as {self.name()}"
            self.put(indent, f"except {self.expression(1, walrus=False)}{name}:")
            self.block(indent + 1, **place)
        if self.draw(st.booleans()):
            self.put(indent, "else:")
            self.block(indent + 1, **place)

    def _finally(self, indent, place):
        self.put(indent, "try:")
        self.block(indent + 1, **place | {"in_with": True})  # no deletions: see statements.py
        self.put(indent, "finally:")
        self.block(indent + 1, **place | {"loop": False, "function": False})

    def _match(self, indent, place):
        self.put(indent, f"match {self.e()}:")
        patterns = [
            "[{0}, *{1}]",
            "{{'k': {0}, **{1}}}",
            "C({0}, k={1})",
            "v.{0}",
            "(1 | 2) as {0}",
            "[1, {0}] | [{0}, 2]",
        ]
        for _ in range(self.draw(st.integers(1, 2))):
            guard = self.draw(st.sampled_from(["", f" if {self.e()}"]))
            one, other = self.name(), self.name()
            assume(one != other)
            self.put(indent + 1, f"case {self.pick(*patterns).format(one, other)}{guard}:")
            self.block(indent + 2, **place)
        if self.draw(st.booleans()):
            self.put(indent + 1, f"case {self.name()}:")
            self.block(indent + 2, **place)

    def _def(self, indent, place, parameters=""):
        decorated = self.draw(st.booleans())
        if decorated:
            self.put(indent, f"@{self.e()}")
        prefix = self.pick("", "", "async ")
        signature = f"{self.name()}: {self.expression(2, walrus=False)} = {self.e()}, *, k={self.e()}"
        signature = self.pick("", "q", signature)
        self.put(
            indent,
            f"{prefix}def {self.name()}{parameters}({signature}) -> {self.expression(2, walrus=False)}:",
        )
        if self.draw(st.booleans()):
            word = self.pick("global", "global", "nonlocal") if place["function"] else "global"
            self.put(indent + 1, f"{word} {self.name()}")
        outside, self.in_class = self.in_class, False
        self.block(indent + 1, function=True)
        if self.draw(st.booleans()):
            self.put(indent + 1, f"yield {self.e()}")
        self.in_class = outside

    def _class(self, indent, place, parameters=""):
        base = self.e()
        self.put(indent, f"class {self.name()}{parameters}({base}, k={self.expression(2, walrus=False)}):")
        outside, self.in_class = self.in_class, True
        if self.draw(st.booleans()):
            self.put(indent + 1, f"global {self.name()}")
        self.block(indent + 1)
        self.in_class = outside

    def _generic(self, indent, place):
        parameter, bound = self.name(), self.expression(2, walrus=False)
        default = (
            f" = {self.expression(2, walrus=False)}"
            if sys.version_info >= (3, 13) and self.draw(st.booleans())
            else ""
        )
        getattr(self, self.pick("_def", "_class"))(
            indent, place, parameters=f"[{parameter}: {bound}{default}, *Ts]"
        )

    def _lazy(self, indent, place):
        self.put(
            indent, f"type {self.name()}[{self.name()}: {self.name()}] = {self.expression(1, walrus=False)}"
        )


@st.composite
def programs(draw) -> str:
    writer = Writer(draw)
    if draw(st.integers(0, 5)) == 0:
        writer.put(0, "from __future__ import annotations")
    for _ in range(draw(st.integers(1, 6))):
        writer.statement(0)
    return "\n".join(writer.lines) + "\n"


@settings(
    max_examples=600,
    derandomize=True,  # the same programs in every run; to look for new ones, off and more of them
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(programs())
def test_names_are_those_that_cpython_binds_and_looks_up(source: str) -> None:
    found = disagreement(source)
    assume(found is not None)
    assert not found, f"{found}\n{source}"
