"""Metadata that nbformat's schema knows, with values it refuses: exported files stay valid, the rest survives."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.formats import ImportedCell, ImportedNotebook, ipynb

GOOD: dict[str, Any] = {
    "kernelspec": {"name": "ir", "display_name": "R", "language": "R"},
    "language_info": {"name": "R", "codemirror_mode": {"name": "r"}, "mimetype": "text/x-r"},
    "title": "Sales", "authors": [{"name": "Ana"}],
}  # fmt: skip
GOOD_CELL: dict[str, Any] = {
    "name": "first", "tags": ["a", "b c"], "collapsed": True, "scrolled": "auto",
    "execution": {"shell.execute_reply": "2026-01-01T00:00:00Z"},
}  # fmt: skip


def written(metadata: dict[str, Any], *cells: ImportedCell) -> dict[str, Any]:
    document = json.loads(ipynb.write(ImportedNotebook(name="n", cells=list(cells), metadata=metadata)))
    nbformat.validate(document)
    return document


def test_what_is_as_the_schema_says_is_written_as_it_was():
    document = written(GOOD, ImportedCell(type="python", source="", metadata=GOOD_CELL))
    assert {key: document["metadata"][key] for key in GOOD} == GOOD
    assert document["cells"][0]["metadata"] == GOOD_CELL


@pytest.mark.parametrize("wrong", [None, "", 7, [], {}, {"name": None}, {"name": "x", "mimetype": 1}])
def test_a_kernelspec_that_is_none_becomes_the_usual_one(wrong: Any):
    metadata = written({"kernelspec": wrong, "language_info": wrong, "other": wrong})["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"] == {"name": "python"}
    assert metadata["other"] == wrong


def test_what_the_schema_forbids_to_write_is_left_out():
    assert "orig_nbformat" not in written({"orig_nbformat": 3})["metadata"]


def test_attachments_that_are_no_mime_bundles_are_left_out():
    kept = {"a.png": {"image/png": "AAAA"}, "b": {"application/json": {"x": 1}}}
    ours = {"attachments": kept | {"c": 7, "d": {"text/plain": 7}}}
    [cell] = written({}, ImportedCell(type="markdown", source="", metadata={"rillbook": ours}))["cells"]
    assert cell["attachments"] == kept


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "a,b", "\n", "auto", "x\ny"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "display_name", "x"]), inner),
    max_leaves=5,
)
cell_keys = st.sampled_from(["name", "tags", "collapsed", "scrolled", "execution", "format", "jupyter", "x"])
notebook_keys = st.sampled_from(["kernelspec", "language_info", "orig_nbformat", "title", "authors", "rillbook", "x"])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(notebook_keys, values),
    st.dictionaries(cell_keys, values),
    st.sampled_from(["python", "sql", "markdown"]),
    st.booleans(),
)
def test_whatever_the_metadata_the_file_is_valid(
    notebook: dict[str, Any], cell: dict[str, Any], kind: str, is_raw: bool
):
    metadata = cell | ({"rillbook": {"cell_type": "raw", "attachments": cell}} if is_raw else {})
    document = written(notebook, ImportedCell(type=kind, source="x", metadata=metadata))
    assert document["metadata"].get("x") == notebook.get("x")
    assert document["cells"][0]["metadata"].get("x") == cell.get("x")
