"""Items of DynamoDB into the old document: both designs, dual writing, and what disagrees."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from notebooks_app.formats import FormatError, dynamodb

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = {"user_id": "user_1", "notebook_id": "n1", "name": "N"}


def document(item: dict[str, Any], rows: list[Any] | None = None) -> tuple[dict[str, Any], list[str]]:
    warnings: list[str] = []
    return dynamodb.document("table/n1", {**HEAD, **item}, rows, warnings, now=NOW), warnings


def row(position: int, cell_id: str) -> dict[str, Any]:
    return {"notebook_id": "n1", "position": Decimal(position), "cell_id": cell_id, "type": "python", "code": cell_id}


def test_a_single_item_is_the_document_under_another_id():
    found, warnings = document({"cells": [{"id": "a", "code": "x"}], "revision": Decimal(3)})
    assert found == {"user_id": "user_1", "name": "N", "revision": 3, "id": "n1", "cells": [{"id": "a", "code": "x"}]}
    assert warnings == []


def test_rows_are_the_cells_in_order_of_position_whatever_the_gaps():
    found, warnings = document({"cell_count": Decimal(3)}, [row(10, "c"), row(0, "a"), row(2, "b")])
    assert [one["id"] for one in found["cells"]] == ["a", "b", "c"]
    assert warnings == []


def test_rows_win_over_the_cells_of_an_item_that_has_both():
    found, _ = document({"cells": [{"id": "old"}], "cell_count": Decimal(1)}, [row(0, "new")])
    assert [one["id"] for one in found["cells"]] == ["new"]


def test_a_count_that_disagrees_with_the_rows_is_said():
    _, warnings = document({"cell_count": Decimal(5)}, [row(0, "a")])
    assert warnings == ["It says 5 cells; the table of cells has 1, which are taken."]


def test_the_old_cells_are_not_lost_where_the_rows_have_not_come():
    found, warnings = document({"cells": [{"id": "old"}], "cell_count": Decimal(1)}, [])
    assert [one["id"] for one in found["cells"]] == ["old"]
    assert warnings == ["It says 1 cells and the table of cells has none: the 1 of its old form are taken."]
    assert document({"cells": [{"id": "old"}], "cell_count": Decimal(0)}, [])[0]["cells"] == []


@pytest.mark.parametrize("item", [{"cell_count": Decimal(1)}, {"cell_count": Decimal(1), "cells": []}, {}])
def test_without_its_table_of_cells_an_item_is_refused(item: dict[str, Any]):
    with pytest.raises(FormatError, match="table/n1: its cells are in a table of their own, which was not named"):
        document(item)


def test_a_ttl_that_passed_is_said():
    found, warnings = document({"cells": [], "ttl": Decimal(1_000_000_000)})
    assert found["ttl"] == 1_000_000_000
    assert warnings == ["Its ttl passed on 2001-09-09: DynamoDB would have deleted it at some time since."]


def test_values_become_json():
    assert dynamodb.plain({
        "a": Decimal(1), "b": Decimal("1.5"), "c": {"y", "x"}, "d": [Binary(b"\x00")], "e": None, "f": True,
        "g": Decimal("1E+20"),
    }) == {"a": 1, "b": 1.5, "c": ["x", "y"], "d": ["AA=="], "e": None, "f": True, "g": 10**20}  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
)


@given(json_values)
def test_every_value_comes_back_from_the_wire(value: Any):
    assert dynamodb.plain(TypeDeserializer().deserialize(TypeSerializer().serialize(value))) == value


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-100, max_value=1e100))
def test_every_number_comes_back_as_it_was_written(number: float):
    assert float(dynamodb.plain(Decimal(str(number)))) == number
