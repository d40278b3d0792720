"""What SQL cells refer to: parameters and tables, case by case."""

from __future__ import annotations

import time

import pytest

from notebooks_app.analysis import analyse
from notebooks_app.facts import ErrorKind

# source, parameters, tables
CASES = [
    ("", "", ""),
    ("-- {x} FROM t", "", ""),
    ("SELECT 1", "", ""),
    ("SELECT * FROM t", "", "t"),
    ("select * from Orders o join Items as i using (id)", "", "Orders Items"),
    ('SELECT * FROM "Orders"', "", "Orders"),
    ('SELECT * FROM "two words"', "", "two_words"),
    ("SELECT * FROM orders, Orders", "", "orders Orders"),
    ("SELECT * FROM main.t, a.b.c", "", ""),
    ("FROM t SELECT a", "", "t"),
    ("FROM t", "", "t"),
    ("TABLE t", "", "t"),
    ("SELECT * FROM t WHERE a > {n} AND b = { m }", "n m", "t"),
    ("SELECT {x}, {x}::int, CAST({y} AS int)", "x y", ""),
    ("SELECT a::{t} FROM u", "", "u"),
    ("SELECT '{x}', 'it''s {x}', E'\\'{x}' FROM t", "", "t"),
    ("SELECT $$ {x} $$, $a$ '{x} $a$ FROM t", "", "t"),
    ('SELECT "{x}", `{x}` FROM t', "", "t"),
    ("SELECT /* {x} /* {y} */ {z} */ 1 -- {w}\n FROM t", "", "t"),
    ("SELECT '{1,2}'::int[], '{\"a\": 1}'::json, ARRAY[1,2] FROM t", "", "t"),
    ("SELECT {'a': 1, 'b': {x}} FROM t", "x", "t"),
    ("SELECT {a: 1, b: 2} FROM t", "", "t"),
    ("SELECT MAP {'k': {v}} FROM t", "v", "t"),
    ("SELECT {{x}} FROM t", "", "t"),
    ("SELECT * FROM t WHERE a IN {ids} OR b = ANY({more})", "ids more", "t"),
    ("SELECT * FROM t LIMIT {n} OFFSET {m}", "n m", "t"),
    ("SELECT * FROM {t} JOIN b USING (k)", "t", "b"),
    ("SELECT * FROM daily_{day} JOIN b ON true", "day", "b"),
    ("SELECT * FROM t ORDER BY a {direction}", "direction", "t"),
    ("SELECT * FROM {t}, c ORDER BY a {direction} LIMIT {n}", "t direction n", "c"),
    ("SELECT * FROM t WHERE x {operator} 3", "operator", "t"),
    ("SELECT INTERVAL {n} DAY FROM t", "n", "t"),
    ("SELECT {True}, {None} FROM t", "", "t"),
    ("SELECT {_p} FROM t", "_p", "t"),
    ("WITH c AS (SELECT * FROM t) SELECT * FROM c", "", "t"),
    ("WITH c AS (SELECT * FROM t) SELECT * FROM C", "", "t"),
    ("WITH orders AS (SELECT * FROM orders) SELECT * FROM orders", "", "orders"),
    ("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b", "", "b"),
    ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r, x", "", "x"),
    ("SELECT * FROM (WITH c AS (SELECT 1) SELECT * FROM c) q JOIN c ON true", "", "c"),
    ("WITH c AS (SELECT 1) SELECT * FROM (SELECT * FROM c) q, t", "", "t"),
    ("WITH c AS (SELECT 1) INSERT INTO t SELECT * FROM c", "", "t"),
    ("SELECT * FROM a UNION SELECT * FROM b EXCEPT (SELECT * FROM c)", "", "a b c"),
    ("SELECT (SELECT max(x) FROM a) FROM b WHERE EXISTS (FROM c) AND y IN (SELECT y FROM d)", "", "a b c d"),
    ("SELECT * FROM t, t.items", "", "t"),
    ("SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.a = t.a) q", "", "t u"),
    ("SELECT * FROM read_csv('x.csv') r, range(3), t", "", "t"),
    ("SELECT * FROM 'data.csv', 'a/*.parquet', \"b.parquet\", t", "", "t"),
    ("SELECT * FROM 's3://bucket/x' JOIN t ON true", "", "t"),
    ("SELECT * FROM t, unnest(t.a) u(v)", "", "t"),
    ("INSERT INTO t SELECT * FROM u", "", "t u"),
    ("UPDATE t SET a = {x} FROM u WHERE t.i = u.i", "x", "t u"),
    ("DELETE FROM t WHERE a = {x}", "x", "t"),
    ("CREATE TABLE x AS SELECT * FROM y", "", "y"),
    ("CREATE OR REPLACE TEMP VIEW v AS SELECT * FROM w; SELECT * FROM v, z", "", "w z"),
    ("CREATE TABLE x (a int REFERENCES y(b))", "", "y"),
    ("SELECT * INTO n FROM t", "", "t"),
    ("DROP TABLE t", "", "t"),
    ("USE s; SELECT * FROM t", "", "t"),
    ("SELECT * FROM a; SELECT * FROM b;", "", "a b"),
    ("PIVOT cities ON year USING sum(pop)", "", "cities"),
    ("UNPIVOT t ON a, b INTO NAME n VALUE v", "", "t"),
    ("DESCRIBE t", "", "t"),
    ("SUMMARIZE SELECT * FROM t", "", "t"),
    ("EXPLAIN SELECT * FROM t WHERE a = {x}", "x", "t"),
    ("EXPLAIN ANALYZE SELECT * FROM t", "", "t"),
    ("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM t", "", "t"),
    ("COPY t TO 'x.csv'", "", "t"),
    ("SHOW TABLES", "", ""),
    ("SELECT * FROM t FOR UPDATE OF t", "", "t"),
    ("SELECT * FROM t WHERE data ->> 'a' = {x} AND data @> '{\"b\": {y}}'", "x", "t"),
    ("SELECT a FROM t GROUP BY ALL QUALIFY row_number() OVER (PARTITION BY b) = 1", "", "t"),
    # no dialect reads these: names after FROM and JOIN
    ("SELECT * FROM t JOIN u ON WHERE", "", "t u"),
    ("SELECT a b c FROM t, u WHERE EXTRACT(year FROM ts) = {y}", "y", "t u"),
    ('WITH c AS (SELECT 1) SELECT a b c FROM c, s.t, f(x), "Q"', "", "Q"),
    ("SELECT a b c FROM x_{y} JOIN t", "y", "t"),
]


@pytest.mark.parametrize(
    ("source", "parameters", "tables"), CASES, ids=[case[0][:60] or "empty" for case in CASES]
)
def test_a_query_refers_to(source: str, parameters: str, tables: str) -> None:
    found = analyse("sql", source)
    assert found.errors == ()
    spelled = {name.replace(" ", "_") for name in found.tables}
    assert (found.parameters, spelled) == (set(parameters.split()), set(tables.split()))


def test_references_are_public_parameters_and_tables() -> None:
    found = analyse("sql", "SELECT * FROM t, _u WHERE a = {x} AND b = {_y}", result_name="result")
    assert found.references == {"t", "x"} and found.definitions == {"result"}


def test_on_a_connection_tables_live_in_the_database() -> None:
    found = analyse("sql", "SELECT * FROM t WHERE a = {x}", on_connection=True)
    assert found.references == {"x"} and found.tables == {"t"}


def test_a_private_result_is_no_definition() -> None:
    assert analyse("sql", "SELECT 1", result_name="_r").definitions == frozenset()
    assert analyse("sql", "SELECT 1").definitions == frozenset()


@pytest.mark.parametrize("expression", ["a.b", "n + 1", "df['x']", "f(x)", "x, y"])
def test_an_expression_in_braces_is_refused_with_its_line(expression: str) -> None:
    found = analyse("sql", f"SELECT *\nFROM t WHERE a = {{{expression}}}")
    (error,) = found.errors
    assert error.kind is ErrorKind.REFUSED and error.line == 2 and f"`{{{expression}}}`" in error.message
    assert found.parameters == frozenset() and found.tables == {"t"}


BROKEN = [
    ("SELECT * FROM (SELECT 1", 1, "'(' is never closed"),
    ("SELECT 1\nFROM t)", 2, "unmatched ')'"),
    ("SELECT 'abc\nFROM t", 1, "this text is never closed"),
    ("SELECT 1\n/* FROM t", 2, "this comment is never closed"),
    ("SELEC * FROM t", 1, "no statement starts with `SELEC`"),
    ("hello world", 1, "no statement starts with `hello`"),
]


@pytest.mark.parametrize(("source", "line", "words"), BROKEN, ids=[case[0] for case in BROKEN])
def test_what_no_database_would_take_is_a_syntax_error(source: str, line: int, words: str) -> None:
    (error,) = analyse("sql", source).errors
    assert error.kind is ErrorKind.SYNTAX and error.line == line and words in error.message


@pytest.mark.parametrize(
    "source", ["SELECT a b c FROM t", "LISTEN x", "SELECT * FROM t WHERE", "VACUUM (FULL) t"]
)
def test_what_some_database_may_take_is_left_to_it(source: str) -> None:
    assert analyse("sql", source).errors == ()


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000,
        "SELECT " + "(" * 2000 + "1" + ")" * 2000,
        "{" * 3000,
        "$$" * 2001,
        "/*" * 3000,
        "\0 \ud800 '",
    ],
)
def test_extreme_text_never_raises_and_ends_soon(source: str) -> None:
    started = time.perf_counter()
    analyse("sql", source)
    assert time.perf_counter() - started < 10
