"""What Python cells define and refer to, case by case. Each expectation is what CPython does."""

from __future__ import annotations

import sys

import pytest

from notebooks_app.analysis import analyse
from notebooks_app.facts import ErrorKind

# source, definitions, references (builtins left out)
BINDING = [
    ("", "", ""),
    ("# only a comment", "", ""),
    ("x = 1", "x", ""),
    ("x = y", "x", "y"),
    ("x = y = z", "x y", "z"),
    ("x, (y, *z) = w", "x y z", "w"),
    ("[x, y] = w", "x y", "w"),
    ("x = x + 1", "x", "x"),
    ("x = 1\nx = x + 1", "x", ""),
    ("x += 1", "x", "x"),
    ("x += y", "x", "x y"),
    ("x = 0\nx += y", "x", "y"),
    ("x.a = 1", "", "x"),
    ("x[i] = 1", "", "x i"),
    ("x[i] += j", "", "x i j"),
    ("x.a.b[c].d = e", "", "x c e"),
    ("print(len(x))", "", "x"),
    ("import a", "a", ""),
    ("import a.b.c", "a", ""),
    ("import a.b as c", "c", ""),
    ("import a, b.c, d as e", "a b e", ""),
    ("from a import b, c as d", "b d", ""),
    ("from . import a", "a", ""),
    ("from a import _b, c", "c", ""),
    ("from __future__ import annotations", "annotations", ""),
    ("for x in y: pass", "x", "y"),
    ("for x, y in z:\n    w = x\nelse:\n    v = w", "x y w v", "z"),
    ("for a[i] in y: pass", "", "a i y"),
    ("while x: y = 1", "y", "x"),
    ("while rows:\n    del rows", "", "rows"),
    ("with x as y: z = y", "y z", "x"),
    ("with a as (b, c), d as e.f: pass", "b c", "a d e"),
    ("async with a as b: pass", "b", "a"),
    ("async for a in b: pass", "a", "b"),
    ("x = await y", "x", "y"),
    ("x = [i async for i in y]", "x", "y"),
    ("def f(): pass", "f", ""),
    ("async def f(): await g()", "f", "g"),
    ("class A: pass", "A", ""),
    ("(x := y)", "x", "y"),
    ("if (n := len(a)) > 3: b = n", "n b", "a"),
    ("print([(last := i) for i in y], last)", "last", "y"),
    ("any((hit := i) for i in y)\nprint(hit)", "hit", "y"),
    ("{(k := i): (v := j) for i, j in y}", "k v", "y"),
    ("f = lambda: (x := 1)", "f", ""),
    ("def f(a=(x := y)): return a", "f x", "y"),
    ("@(d := deco)\ndef f(): pass", "f d", "deco"),
    ("class A((B := Base)): pass", "A B", "Base"),
    ("type X = int", "X", ""),
    ("type X = Y", "X", "Y"),
    ("global x\nx = 1", "x", ""),
    ("global x", "", ""),
    ("global x\nx += 1", "x", "x"),
]

DELETING = [
    ("x = 1\ndel x", "", ""),
    ("del x", "", "x"),
    ("del x.a, y[i]", "", "x y i"),
    ("x = 1\ndel x\nx = 2", "x", ""),
    ("x = 1\ndel x\nprint(x)", "", "x"),
    ("x = 1\nif c: del x", "x", "c"),
    ("for i in y:\n    t = i\n    del t", "i", "y"),
    ("for i in y:\n    t = i\n    if t: continue\n    del t", "i t", "y"),
    ("if c:\n    t = 1\n    del t\nelse:\n    t = 2\n    del t", "", "c"),
    ("try:\n    t = 1\nfinally:\n    del t", "", ""),
    ("try:\n    t = f()\n    del t\nexcept E: pass", "t", "f E"),
    ("with a:\n    t = 1\n    del t", "", "a"),
    ("try: pass\nexcept E as e: print(e)", "", "E"),
    ("e = 1\ntry: pass\nexcept E as e: pass", "e", "E"),
    ("try: x = 1\nexcept (A, B) as e: y = e", "x y", "A B"),
    ("try: pass\nexcept* E as e: log(e)", "", "E log"),
    ("try: pass\nexcept E as e:\n    f = lambda: e", "f", "E"),
    ("try: pass\nexcept E as e: pass\nprint(e)", "", "E e"),
]

PATHS = [
    ("if c: x = 1\nprint(x)", "x", "c"),
    ("if c: x = 1\nelse: print(x)", "x", "c x"),
    ("if a: x = 1\nelif b: x = 2\nelse: x = 3", "x", "a b"),
    ("try: import a\nexcept ImportError: a = None", "a", ""),
    ("for i in y:\n    print(x)\n    x = i", "i x", "y x"),
    ("x = 1 if c else y", "x", "c y"),
    ("try: x = 1\nexcept E: print(x)", "x", "E"),
    ("try: x = 1\nfinally: print(x)", "x", ""),
    ("for i in y:\n    if i: break\n    x = 1\nelse: z = x", "i x z", "y"),
    ("raise E\nx = 1", "x", "E"),
    ("assert a, b", "", "a b"),
    ("match v:\n    case 1: x = 1\n    case _: x = 2", "x", "v"),
    (
        "match v:\n    case [a, *b]: pass\n    case {'k': c, **d}: pass\n    case P(e, k=f): pass\n"
        "    case g: pass",
        "a b c d e f g",
        "v P",
    ),
    ("match v:\n    case C.D: pass\n    case (1 | 2) as n if n > m: pass", "n", "v C m"),
    ("match v:\n    case [x, _]: pass\n    case {K.a: 1}: pass", "x", "v K"),
    ("match v:\n    case (str() as s) | (bytes() as s): pass", "s", "v"),
]

FUNCTIONS = [
    ("def f(): return x", "f", "x"),
    ("def f(): return x\nx = 1", "f x", ""),
    ("def f(x): return x", "f", ""),
    ("def f(a, /, b, *c, d, **e): return a, b, c, d, e", "f", ""),
    ("def f(): return f()", "f", ""),
    ("def f(a=b): return a", "f", "b"),
    ("def f(a=b): return a\nb = 1", "f b", "b"),
    ("def f(*, a=b): pass", "f", "b"),
    ("@d(x)\ndef f(): pass", "f", "d x"),
    ("@f\ndef f(): pass", "f", "f"),
    ("def f(a: T, *b: U, c: V = 1) -> W: pass", "f", "T U V W"),
    ("from __future__ import annotations\ndef f(a: T) -> W: pass\nx: U = 1", "f x annotations", ""),
    ("def f():\n    x = 1\n    return x", "f", ""),
    ("def f():\n    print(x)\n    x = 1", "f", ""),
    ("def f():\n    x: T = 1", "f", ""),
    ("def f():\n    x: T\n    return x", "f", ""),
    ("def f():\n    a.b: T = c", "f", "a c"),
    ("def f():\n    (x): T\n    return x", "f", "x"),
    ("while c:\n    try: pass\n    except E as e:\n        if e: break", "", "c E"),
    ("def f():\n    global x\n    x = 1", "f x", ""),
    ("def f():\n    global x\n    x += 1", "f x", "x"),
    ("x = 0\ndef f():\n    global x\n    x += 1", "f x", ""),
    ("def f():\n    global x\n    x = 1\nf()\nprint(x)", "f x", ""),
    ("def f():\n    global x\n    del x", "f", "x"),
    ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n    return g", "f", ""),
    ("def f():\n    x = 1\n    def g():\n        global x\n        return x\n    return g", "f", "x"),
    (
        "def f():\n    x = 1\n    def g():\n        global x\n        def h(): return x\n"
        "        return h\n    return g",
        "f",
        "x",
    ),
    ("def f():\n    import a.b\n    from c import d\n    return a, d", "f", ""),
    ("def f():\n    for i in y: pass\n    return i", "f", "y"),
    ("def f():\n    with a as b: return b", "f", "a"),
    ("def f():\n    if (n := g()): return n", "f", "g"),
    ("def f():\n    return [n := i for i in y], n", "f", "y"),
    ("def f(xs): return [x for x in xs if x > k]", "f", "k"),
    ("f = lambda a, b=c: a + b + d", "f", "c d"),
    ("f = lambda: g\ng = 1", "f g", ""),
    ("def f():\n    return g()\ndef g():\n    return h", "f g", "h"),
    ("def f(): yield x", "f", "x"),
    ("sum(i * k for i in y)\nk = 2", "k", "y"),
    ("def f():\n    try: pass\n    except E as e: return e", "f", "E"),
    ("def f():\n    match v:\n        case [a, b]: return a, b", "f", "v"),
    ("def f():\n    del x\n    x = 1", "f", ""),
    ("def f():\n    type X = Y\n    return X", "f", "Y"),
]

COMPREHENSIONS = [
    ("[i for i in y]", "", "y"),
    ("[x for x in x]", "", "x"),
    ("[i + j for i in a for j in b if i < c]", "", "a b c"),
    ("[j for i in a for j in i]", "", "a"),
    ("i = 1\n[i for i in y]", "i", "y"),
    ("[k for i in y]\nk = 1", "k", "y k"),
    ("{a: b for a, b in c}", "", "c"),
    ("{a for a in b}", "", "b"),
    ("[[j for j in i] for i in y]", "", "y"),
    ("[lambda: i for i in y]", "", "y"),
    ("[0 for a[i] in y]", "", "a i y"),
    ("[a for a[[a for a in b]] in c]", "", "a b c"),
    ("f'{x!r:>{w}} {y=}'", "", "x w y"),
]

CLASSES = [
    ("class A(B, metaclass=M): pass", "A", "B M"),
    ("class A:\n    x = 1\n    y = x", "A", ""),
    ("class A:\n    x = 1\n    def f(self): return x", "A", "x"),
    ("class A:\n    x = 1\n    y = [x for i in z]", "A", "x z"),
    ("class A:\n    x = 1\n    y = [i for i in x]", "A", ""),
    ("class A:\n    x = 1\n    y = lambda: x", "A", "x"),
    ("class A: x = A", "A", "A"),
    ("class A:\n    def f(self): return A", "A", ""),
    ("class A:\n    x = x", "A", "x"),
    ("class A:\n    x: T = d", "A", "T d"),
    ("class A:\n    print(x)\nx = 1", "A x", "x"),
    ("class A:\n    global x\n    x = 1", "A x", ""),
    ("class A:\n    def f(self): return __class__, super()", "A", ""),
    ("class A:\n    print(__qualname__, __module__)", "A", ""),
    ("class A:\n    def f(self): return __x", "A", ""),
    ("class A:\n    def f(self): return __x__", "A", "__x__"),
    ("def f(): return __x", "f", "__x"),
    ("class _:\n    def f(self): return __x", "", "__x"),
    ("class A:\n    @p\n    def f(self, a=q): pass", "A", "p q"),
    ("class A:\n    class B:\n        x = y", "A", "y"),
    ("def f():\n    x = 1\n    class A:\n        y = x\n    return A", "f", ""),
    ("def f():\n    x = 1\n    class A:\n        x = x\n    return A", "f", "x"),
    ("def f():\n    x = 1\n    class A:\n        nonlocal x\n        x = 2\n    return A", "f", ""),
]

TYPES = [
    ("x: T", "", "T"),
    ("x: T = y", "x", "T y"),
    ("(x): T", "", "T"),
    ("a.b: T = y", "", "a T y"),
    ("x: 'T' = 1", "x", ""),
    ("def f[T](a: T) -> T: pass", "f", ""),
    ("def f[T: B](a: T) -> U: pass", "f", "B U"),
    ("def f[T: (A, B), *Ts, **P](): return T, Ts, P", "f", "A B"),
    ("class A[T](B[T]):\n    x: T", "A", "B"),
    ("type X[T] = dict[T, Y]", "X", "Y"),
    ("type X = list[X]", "X", ""),
    ("type X = Y\nY = int", "X Y", ""),
    ("class A:\n    Y = int\n    type X = Y", "A", ""),
    *([("class A:\n    Y = int\n    type X = (lambda: Y)", "A", "Y")] if sys.version_info >= (3, 13) else []),
    ("class A:\n    Y = int\n    def f[T: Y](self, a: Y) -> T: pass", "A", ""),
    *(
        [
            ("def f[T = D](a: T): pass", "f", "D"),
            ("class A[T: B = D]: pass", "A", "B D"),
            ("type X[T = D] = list[T]", "X", "D"),
        ]
        if sys.version_info >= (3, 13)  # PEP 696
        else []
    ),
]

PRIVATE = [
    ("_x = 1", "", ""),
    ("_ = __ = y", "", "y"),
    ("__x = 1", "__x", ""),
    ("print(_x, _, __, __x)", "", "__x"),
    ("__version__ = 1", "__version__", ""),
    ("for _, v in y: pass", "v", "y"),
    ("def _f(): return x", "", "x"),
    ("sum = 1\nprint(sum)", "sum", ""),
    ("print(__name__, display, get_ipython)", "", ""),
    ("élan = ﬁ = y", "élan fi", "y"),
]

IPYTHON = [
    ("%matplotlib inline\nx = y", "x", "y"),
    ("!ls", "", ""),
    ("x = !ls", "x", ""),
    ("x = !ls {folder} $name $$HOME {{no}}", "x", "folder name"),
    ("!awk '{print $1}' f", "", ""),
    ("x = %magic y", "x", ""),
    ("x = %env HOME", "x", ""),
    ("?help", "", ""),
    ("df?", "", "df"),
    ("df.head??", "", "df"),
    ("%time x = f(y)", "x", "f y"),
    ("%timeit -n 10 -r3 x = f(y)", "", "f y"),
    ("%prun -l 5 x = f(y)", "x", "f y"),
    ("%cd {folder}", "", "folder"),
    ("%%time\nx = y", "x", "y"),
    ("%%timeit\nx = y", "", "y"),
    ("%%timeit x = y\nz = x + w", "", "y w"),
    ("%%timeit -n 3 x = y\nz = x", "", "y"),
    ("%%capture out\nx = y", "x out", "y"),
    ("%%capture --no-stderr out\nx = y", "x out", "y"),
    ("%%capture\nx = y", "x", "y"),
    ("%%prun -s cumulative\nx = f(y)", "x", "f y"),
    ("%%capture out\n%%time\nx = y", "x out", "y"),
    ("%%bash\necho $x {y}", "", ""),
    ("%%writefile a.py\nx = y", "", ""),
    ("%%html\n<b>x</b>", "", ""),
    ("\n\n%%time\nx = y", "x", "y"),
    (">>> x = y\n>>> z = x", "x z", "y"),
    ("    x = y\n    z = x", "x z", "y"),
    ("if c:\n    !ls\n    x = 1", "x", "c"),
    ("s = '''\n%time x = y\n!ls\n'''", "s", ""),
    ("x = 5 %y", "x", "y"),
]

CASES = [*BINDING, *DELETING, *PATHS, *FUNCTIONS, *COMPREHENSIONS, *CLASSES, *TYPES, *PRIVATE, *IPYTHON]


@pytest.mark.parametrize(
    ("source", "definitions", "references"), CASES, ids=[repr(case[0])[:60] for case in CASES]
)
def test_a_cell_defines_and_refers_to(source: str, definitions: str, references: str) -> None:
    found = analyse("python", source)
    assert found.errors == ()
    assert (found.definitions, found.references) == (set(definitions.split()), set(references.split()))


BROKEN = [
    ("x = (1,", 1, "'(' was never closed"),
    ("x = 1\ny = = 2", 2, "invalid syntax at `=`"),
    ("x = 1 2", 1, "invalid syntax at `2`"),
    ("return 1", 1, "'return' outside function"),
    ("x = 1\nbreak", 2, "'break' outside loop"),
    ("yield 1", 1, "'yield' outside function"),
    ("def f():\nx = 1", 2, "expected an indented block"),
    ("x = 1\nglobal x", 2, "assigned to before global declaration"),
    ("nonlocal x", 1, "nonlocal declaration not allowed at module level"),
    ("def f(a, a): pass", 1, "duplicate argument 'a'"),
    ("'abc", 1, "unterminated string literal"),
    ("x\u00a0= 1", 1, "invalid non-printable character U+00A0"),
    ("%%time\nx = 1\ny = (", 3, "'(' was never closed"),
    ("\n\n%%capture out\n%%time\n1 +", 5, "invalid syntax"),
    ("\n\n%time y = (", 3, "'(' was never closed"),
    ("%matplotlib inline\nx = 1\ny = )", 3, "unmatched ')'"),
    ("def f():\n    from a import *", 2, "import * only allowed at module level"),
    ("x = \0", None, "null bytes"),
    ("x = '\ud800'", None, "surrogates not allowed"),
    ("x = " + "(" * 300 + ")" * 300, 1, "too many nested parentheses"),
]


@pytest.mark.parametrize(("source", "line", "words"), BROKEN, ids=[repr(case[0])[:60] for case in BROKEN])
def test_a_cell_that_does_not_parse_says_where_and_what(source: str, line: int | None, words: str) -> None:
    found = analyse("python", source)
    assert found.definitions == found.references == frozenset()
    (error,) = found.errors
    assert error.kind is ErrorKind.SYNTAX and error.line == line and words in error.message


def test_a_star_import_is_an_error_of_its_own() -> None:
    found = analyse("python", "x = 1\nfrom numpy import *")
    assert [(error.kind, error.line, error.names) for error in found.errors] == [
        (ErrorKind.STAR_IMPORT, 2, ("numpy",))
    ]
    assert found.definitions == {"x"}


@pytest.mark.parametrize(
    "source",
    ["-" * 50_000 + "1", "x" + ".a()" * 20_000, "x = " + "1 + " * 20_000 + "1", "[" * 150 + "]" * 150],
)
def test_extreme_shapes_give_an_error_or_names_and_never_raise(source: str) -> None:
    found = analyse("python", source)
    assert all(error.kind in (ErrorKind.TOO_LARGE, ErrorKind.SYNTAX) for error in found.errors)


def test_long_chains_are_analysed() -> None:
    assert analyse("python", "x = " + " + ".join(["a"] * 1500)).references == {"a"}
    source = "if a: x = 1\n" + "".join(f"elif b == {n}: x = {n}\n" for n in range(400))
    assert analyse("python", source).definitions == {"x"}


def test_a_source_over_the_limit_names_size_and_limit() -> None:
    found = analyse("python", "x = 1\n" * 100_000)
    (error,) = found.errors
    assert error.kind is ErrorKind.TOO_LARGE and "585.9 KiB" in error.message and "512 KiB" in error.message
    assert found.definitions == frozenset()
    assert analyse("python", "x = 1\n", max_bytes=6).errors == ()
    assert "7 bytes" in analyse("python", "x = 10\n", max_bytes=6).errors[0].message
    assert analyse("python", "x = 'é'", max_bytes=7).errors  # bytes count, not characters


def test_builtins_are_reported_apart() -> None:
    found = analyse("python", "print(sum(x))")
    assert found.builtins == {"print", "sum"} and found.references == {"x"}


def test_text_has_no_names() -> None:
    assert analyse("markdown", "x = {y}").references == frozenset()
