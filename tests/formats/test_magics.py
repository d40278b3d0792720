"""SQL magics: what of their line is the query; lines of megabytes are looked at once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from notebooks_app.formats import magics


class Counted:
    """A pattern that counts the characters that it could look at."""

    def __init__(self, pattern: re.Pattern[str], seen: list[int]) -> None:
        self.pattern, self.seen = pattern, seen

    def match(self, text: str, at: int = 0) -> Any:
        self.seen.append(len(text) - at)
        return self.pattern.match(text, at)


@pytest.mark.parametrize("part", ["-a b ", "a://b ", "-x ", "@a "])
def test_the_steps_of_a_long_line_of_options_are_bounded(part: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    connection = Counted(magics._CONNECTION, seen)
    monkeypatch.setattr(magics, "_OPTION", Counted(magics._OPTION, seen))
    monkeypatch.setattr(magics, "_CONNECTION", connection)
    counts = []
    for size in (1_000, 4_000):
        seen.clear()
        assert magics.read_sql(f"%%sql {part * size}")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 2 * magics.PARTS_AT_MOST


def test_options_connections_and_a_name_come_before_the_query():
    found = magics.read_sql("%%sql --save q -n  5 postgresql://a:b@c/d top << SELECT 1\nFROM t")
    assert found == magics.SqlCell("SELECT 1\nFROM t", "top", ("--save", "-n", "a connection"))
    assert magics.read_sql("%%sql -o top SELECT 1") == magics.SqlCell("SELECT 1", "top")
