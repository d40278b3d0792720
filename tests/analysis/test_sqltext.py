"""Parameters become placeholders; everything else of the text stays what it was."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from notebooks_app.analysis.sqltext import Parameter, bind, split_parameters

SOURCE = "SELECT '50% :a {a}', {a}::int, {b}, {a} -- {b} %s"


def test_pieces_are_text_and_parameters_with_their_lines() -> None:
    assert split_parameters("a {x}\n{ y }") == [
        "a ",
        Parameter("x", "{x}", 1),
        "\n",
        Parameter("y", "{ y }", 2),
    ]


@pytest.mark.parametrize(
    ("style", "text", "names"),
    [
        ("numeric_dollar", "SELECT '50% :a {a}', $1::int, $2, $1 -- {b} %s", ["a", "b"]),
        ("pyformat_psycopg", "SELECT '50%% :a {a}', %s::int, %s, %s -- {b} %%s", ["a", "b", "a"]),
        ("named", "SELECT '50% :a {a}', :a::int, :b, :a -- {b} %s", ["a", "b"]),
        ("named_sqlalchemy", "SELECT '50% \\:a {a}', :a::int, :b, :a -- {b} %s", ["a", "b"]),
        ("qmark", "SELECT '50% :a {a}', ?::int, ?, ? -- {b} %s", ["a", "b", "a"]),
    ],
)
def test_each_style_has_its_placeholders(style, text, names) -> None:
    assert bind(SOURCE, style) == (text, names)


def test_a_placeholder_never_grows_into_the_word_beside_it() -> None:
    assert bind("LIMIT{n}0{m}", "numeric_dollar") == ("LIMIT $1 0 $2", ["n", "m"])
    assert bind("x{a}{b}", "named") == ("x :a :b", ["a", "b"])


def test_names_are_looked_up_as_python_spells_them() -> None:
    assert bind("{ﬁ}", "qmark") == ("?", ["fi"])


@given(
    st.lists(
        st.sampled_from(
            [
                "{a}",
                "{b}",
                "'",
                '"',
                "$$",
                "--",
                "/*",
                "*/",
                "\n",
                "{",
                "}",
                "{{",
                "::",
                " x ",
                "%",
                "E'",
                "\\",
            ]
        )
    )
)
def test_the_pieces_joined_are_the_source(parts: list[str]) -> None:
    source = "".join(parts)
    pieces = split_parameters(source)
    assert "".join(piece if isinstance(piece, str) else piece.text for piece in pieces) == source


def test_duckdb_runs_bound_text() -> None:
    text, names = bind("SELECT {a} + {b} + {a} AS x, {'k': {b}} AS s, '{a}' AS t", "numeric_dollar")
    values = {"a": 1, "b": 10}
    rows = duckdb.connect().execute(text, [values[name] for name in names]).fetchall()
    assert rows == [(12, {"k": 10}, "{a}")]


def test_sqlite_runs_bound_text() -> None:
    values = {"a": 1, "b": "x"}
    text, names = bind("SELECT {a}, {b}, {a}, '{a}', ':b'", "qmark")
    assert sqlite3.connect(":memory:").execute(text, [values[name] for name in names]).fetchone() == (
        1,
        "x",
        1,
        "{a}",
        ":b",
    )
    text, _ = bind("SELECT {a}, {b}, {a}, ':b'", "named")
    assert sqlite3.connect(":memory:").execute(text, values).fetchone() == (1, "x", 1, ":b")


def test_sqlalchemy_runs_bound_text() -> None:
    text, names = bind("SELECT {a}, ' :b', '12:30', '%', {a}", "named_sqlalchemy")
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        row = connection.execute(sqlalchemy.text(text), {name: 7 for name in names}).one()
    assert tuple(row) == (7, " :b", "12:30", "%", 7)


def test_psycopg_reads_bound_text_with_its_own_parser() -> None:
    from psycopg._queries import _query2pg

    text, names = bind("SELECT {a}, 'a%' LIKE {b}, 5 % 3", "pyformat_psycopg")
    query, formats, order, _ = _query2pg(text.encode(), "utf-8")
    assert bytes(query) == b"SELECT $1, 'a%' LIKE $2, 5 % 3" and len(formats) == len(names) == 2
