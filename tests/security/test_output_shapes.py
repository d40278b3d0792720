"""Outputs whose values are not what their types promise: their page opens all the same, and says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.output_html import ORDER, item_html

TABLE = "application/vnd.rillbook.table+json"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
tables = st.fixed_dictionaries(
    {name: values for name in ("columns", "rows", "row_count", "column_count")},
    optional={name: values for name in ("index", "sort", "offset", "handle")},
)


def output(data: dict[str, Any], metadata: Any = None) -> dict[str, Any]:
    return {
        "index": 0,
        "kind": "display_data",
        "data": data,
        "metadata": metadata or {},
        "display_id": None,
        "files": {},
    }


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ORDER), values | tables, values)
def test_no_value_of_any_type_keeps_a_page_from_opening(mime: str, value: Any, metadata: Any):
    html = item_html(output({mime: value}, {mime: metadata}))
    assert html.startswith("<div") and html.endswith("</div>") and "<script" not in html


@pytest.mark.parametrize("value", [None, 5, [], {"columns": 5}, {"columns": [{}], "rows": [[1, 2]], "row_count": 1}])
def test_a_table_that_is_none_is_said(value: Any):
    assert "cannot be drawn" in item_html(output({TABLE: value}))
