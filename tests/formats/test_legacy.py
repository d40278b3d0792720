"""The predecessor's JSON: every shape that it had, what is refused, and that what is written reads the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.formats import FormatError, ImportedCell, ImportedNotebook, legacy
from notebooks_app.formats.legacy_outputs import TABLE_MIME
from tests.migration.conftest import DSN, PNG, TABLE, cell, document


def read(found: Any, name: str = "old.json") -> ImportedNotebook:
    return legacy.read(name, json.dumps(found).encode())


def test_a_whole_notebook_is_read():
    found = read(document(created_at="2024-01-02T03:04:05Z", updated_at="2024-02-03T04:05:06+00:00"))
    assert (found.name, found.user_id, found.revision, found.dsn) == ("Sales", "user_37U0", 42, DSN)
    assert found.created_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.updated_at == datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert [one.type for one in found.cells] == ["python", "sql", "python"]
    assert (found.cells[0].writes, found.cells[1].reads) == (["x"], ["x"])
    assert "hunter2" not in repr(found)


def test_stdout_items_and_error_become_outputs_in_this_order():
    failed = read(document()).cells[2].outputs
    assert [output["kind"] for output in failed] == ["stream", "error"]
    assert (failed[1]["ename"], failed[1]["evalue"]) == ("NameError", "name 'z' is not defined")
    assert len(failed[1]["traceback"]) == 3
    shown = read(document()).cells[1].outputs
    assert [next(iter(output["data"])) for output in shown] == [
        "image/png", "text/html", TABLE_MIME, "application/vnd.plotly.v1+json", "application/vnd.vegalite.v6+json",
    ]  # fmt: skip
    assert shown[0]["metadata"] == {"width": 1}


def test_a_table_is_kept_as_it_came_beside_one_that_pages_draw():
    [output] = read({"cells": [cell("a", outputs=[{"mime_type": "application/json", "data": TABLE}])]}).cells[0].outputs
    assert output["data"]["application/json"] == TABLE
    drawn = output["data"][TABLE_MIME]
    assert [column["name"] for column in drawn["columns"]] == ["name", "n"]
    assert (drawn["row_count"], drawn["rows"][2]) == (3, ["c", str(2**60)])


def test_the_oldest_files_have_little_more_than_cells():
    found = read({"id": "demo-user_1", "cells": [{"id": "a", "code": "x = 1"}, {"type": "sql", "code": None}]})
    assert (found.id, found.user_id, found.name, found.revision, found.dsn) == ("demo-user_1", "", "Untitled", 0, "")
    assert [(one.id, one.type, one.source, one.outputs) for one in found.cells] == [
        ("a", "python", "x = 1", []),
        (None, "sql", "", []),
    ]


def test_numbers_that_json_does_not_have_are_null_and_said():
    found = legacy.read("a.json", b'{"cells": [{"code": "", "outputs": [{"mime_type": "a/b+json", "data": [NaN]}]}]}')
    assert found.cells[0].outputs[0]["data"] == {"a/b+json": [None]}
    assert found.warnings == ["1 numbers that JSON does not have (NaN) are read as null."]


def test_a_notebook_made_after_it_was_changed_was_made_when_it_was_changed():
    found = read(document(created_at="2025-01-01T00:00:00Z", updated_at="2024-01-01T00:00:00Z"))
    assert found.created_at == found.updated_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert any("later than its updated_at" in warning for warning in found.warnings)
    assert read(document(created_at="yesterday")).created_at is None


def test_nul_in_an_output_is_replaced_and_its_place_said():
    item = {"mime_type": "text/plain", "data": "a\x00b"}
    found = read({"cells": [cell("a", stdout="\x00", outputs=[item])]})
    stream, display = found.cells[0].outputs
    assert (stream["text"], display["data"]) == ("\ufffd", {"text/plain": "a\ufffdb"})
    assert [warning.split(" holds")[0] for warning in found.warnings] == [
        "old.json: cell 1: stdout",
        "old.json: cell 1: outputs[0]",
    ]


DEEP: Any = 1
for _ in range(150):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "old.json: this is JSON but not a notebook."),
        ({"id": "a"}, "old.json: this is JSON but not a notebook: it has no list of cells."),
        ({"cells": [1]}, "old.json: cell 1 is not an object."),
        ({"cells": [{"type": "r"}]}, "old.json: cell 1 has the unknown type 'r'."),
        ({"cells": [{"code": 1}]}, "old.json: cell 1: code is not text."),
        ({"cells": [{"code": "a\n\x00"}]}, "old.json: cell 1, line 2: a source cannot hold the character NUL."),
        ({"cells": [cell("a"), cell("b"), cell("a")]}, "old.json: cells 1 and 3 have the same id, 'a'."),
        ({"cells": [], "revision": -1}, "old.json: revision is not a whole number from 0 to 2^53."),
        ({"cells": [], "revision": "x"}, "old.json: revision is not a whole number from 0 to 2^53."),
        ({"cells": [], "id": ["a"]}, "old.json: id is not text of at most 1,000 characters."),
        ({"cells": [], "id": "a\x00"}, "old.json: id holds the character NUL."),
        ({"cells": [], "db_conn_string": 5}, "old.json: db_conn_string is not text."),
        ({"cells": [cell("a", outputs={})]}, "old.json: cell 1: outputs is not a list."),
        ({"cells": [cell("a", stdout=[])]}, "old.json: cell 1: stdout is not text."),
        ({"cells": [cell("a", outputs=[{"mime_type": "png"}])]}, "cell 1: outputs[0] has the mime_type 'png'"),
        ({"cells": [cell("a", outputs=[{"mime_type": "a/b+json", "data": DEEP}])]}, "it is nested more than 100 deep."),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_refused_with_its_place(found: Any, words: str):
    with pytest.raises(FormatError) as refused:
        read(found)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"id": "a", "cells": [{"id"', "line 1, character 28 is not JSON (Expecting ':' delimiter). The file ends"),
        (b"", "line 1, character 1 is not JSON"),
        (b'{"name": "\xff"}', "byte 10 is not UTF-8."),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"cells": [], "revision": 1e999}', "revision is not a whole number"),
        (
            b'{"cells": [{"code": "", "outputs": [{"mime_type": "a/b+json", "data": {"y": [1, 1e999]}}]}]}',
            "a.json: cell 1: outputs[0].data.y[1]: the number is too large for JSON.",
        ),
        (b'{"cells": [{"code": "", "note": -1e999}]}', "a.json: cell 1: note: the number is too large for JSON."),
    ],
)  # fmt: skip
def test_bytes_that_are_no_notebook_are_refused_with_their_place(data: bytes, words: str):
    with pytest.raises(FormatError) as refused:
        legacy.read("a.json", data)
    assert words in str(refused.value)


def test_more_cells_than_a_notebook_may_have_are_refused_before_any_is_read():
    data = b'{"cells": [' + b",".join([b"0"] * 30) + b"]}"
    with pytest.raises(FormatError, match="a.json: 30 cells are more than the 20"):
        legacy.read("a.json", data, max_cells=20)


# --- Round trips -----------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=30)
names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names.filter(lambda key: key != "rillbook"), json_values, max_size=2)
tables = st.integers(0, 3).flatmap(
    lambda width: st.fixed_dictionaries({
        "type": st.just("table"),
        "columns": st.lists(text, min_size=width, max_size=width),
        "rows": st.lists(st.lists(json_values, min_size=width, max_size=width), max_size=3),
    })
)  # fmt: skip
old_items = st.one_of(
    st.fixed_dictionaries({"mime_type": st.sampled_from(["text/plain", "a/b"]), "data": text, "metadata": objects}),
    st.fixed_dictionaries({"mime_type": st.just("image/png"), "data": st.just(PNG), "metadata": objects}),
    st.fixed_dictionaries({
        "mime_type": st.sampled_from(["application/vnd.plotly.v1+json", "application/json"]),
        "data": json_values | tables,
        "metadata": objects,
    }),
)  # fmt: skip
old_cells = st.fixed_dictionaries({
    "id": st.uuids().map(str) | names,
    "type": st.sampled_from(["python", "sql"]),
    "code": text,
    "stdout": text,
    "outputs": st.lists(old_items, max_size=3),
    "error": st.none() | text.filter(bool),
    "reads": st.lists(names, unique=True, max_size=3).map(sorted),
    "writes": st.lists(names, unique=True, max_size=3).map(sorted),
})  # fmt: skip
old_documents = st.fixed_dictionaries({
    "id": names,
    "user_id": names,
    "name": st.none() | text | text.map(lambda one: one * 20),
    "db_conn_string": st.none() | st.just(DSN),
    "revision": st.integers(0, 2**53 - 1),
    "cells": st.lists(old_cells, max_size=4, unique_by=lambda one: one["id"]),
})  # fmt: skip


def without_status(found: dict[str, Any]) -> dict[str, Any]:
    cells = [{key: value for key, value in one.items() if key != "status"} for one in found["cells"]]
    return {**found, "cells": cells}


@settings(max_examples=150)
@given(old_documents)
def test_every_old_notebook_is_written_as_it_was_read(found: dict[str, Any]):
    assert without_status(legacy.write_document(read(found))) == found


def test_the_whole_example_is_written_as_it_was_read():
    assert without_status(json.loads(legacy.write(read(document())))) == without_status(document())


def test_what_we_do_not_know_is_written_again():
    found = document(ttl=1_900_000_000, cells=[cell("a", color="red")])
    written = legacy.write_document(read(found))
    assert (written["ttl"], written["cells"][0]["color"]) == (1_900_000_000, "red")


streams = st.builds(
    lambda name, words: {"kind": "stream", "name": name, "text": words, "cut": None, "files": {}},
    st.sampled_from(["stdout", "stderr"]),
    text,
)
errors = st.builds(
    lambda name, value, lines: {"kind": "error", "ename": name, "evalue": value, "traceback": lines, "files": {}},
    text, text, st.lists(text, max_size=3),
)  # fmt: skip
bundles = st.dictionaries(st.sampled_from(["text/plain", "text/html", "image/svg+xml"]), text, max_size=3)
displays = st.builds(
    lambda kind, data, more, metadata, display_id: {
        "kind": kind, "data": data | more, "metadata": metadata, "display_id": display_id, "files": {},
    },
    st.sampled_from(["display_data", "execute_result"]),
    bundles,
    st.dictionaries(st.sampled_from(["application/json", "application/vnd.plotly.v1+json", TABLE_MIME]),
                    json_values | tables, max_size=2),
    objects,
    st.none() | names,
)  # fmt: skip
our_cells = st.builds(
    ImportedCell,
    id=names,
    type=st.sampled_from(["python", "sql", "markdown"]),
    source=text,
    result_name=st.sampled_from(["", "top"]),
    metadata=objects,
    outputs=st.lists(streams | errors | displays, max_size=4).map(
        lambda outputs: [{"index": index, **output} for index, output in enumerate(outputs)]
    ),
    execution_count=st.none() | st.integers(0, 1000),
    code_hidden=st.booleans(),
    disabled=st.booleans(),
    reads=st.just(["a"]),
    writes=st.just([]),
)
our_notebooks = st.builds(
    ImportedNotebook,
    name=names,
    id=names,
    user_id=names,
    metadata=objects,
    revision=st.integers(0, 100),
    cells=st.lists(our_cells, max_size=3, unique_by=lambda one: one.id),
)


@settings(max_examples=150)
@given(our_notebooks)
def test_every_notebook_of_ours_comes_back_from_the_old_form(ours: ImportedNotebook):
    found = read(legacy.write_document(ours))
    assert replace(found, warnings=[]) == ours
    assert found.warnings == []


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused_in_words(data: bytes):
    try:
        legacy.read("x.json", data)
    except FormatError as refused:
        assert str(refused).startswith("x.json")


@pytest.mark.parametrize("said", [5, [], {"a": 1}, True])
def test_a_source_name_that_is_no_name_is_not_written(said: Any):
    ours = ImportedNotebook(name="Sales", metadata={"rillbook": {"source_name": said}})
    assert json.loads(legacy.write(ours))["name"] == "Sales"


def shown(mime: str, *data: Any) -> Any:
    """The value that one item of a cell's outputs becomes; without `data` the item has none."""
    item = {"mime_type": mime, "metadata": {}} | ({"data": data[0]} if data else {})
    [output] = read(document(cells=[cell("c", outputs=[item])])).cells[0].outputs
    return output["data"][mime]


def test_an_item_without_data_was_empty():
    assert [shown(mime) for mime in ("text/plain", "text/html", "image/png", "image/svg+xml")] == ["", "", "", ""]
    assert shown("application/json") is None


@pytest.mark.parametrize(
    ("mime", "data", "ours"),
    [
        ("image/svg+xml", "PHN2Zz7DqTwvc3ZnPg==", "<svg>é</svg>"),
        ("image/svg+xml", "PHN2Zz7D\nqTwvc3ZnPg==\n", "<svg>é</svg>"),
        ("image/svg+xml", "data:image/svg+xml;base64,PHN2Zz7DqTwvc3ZnPg==", "<svg>é</svg>"),
        ("image/svg+xml", "data:image/svg+xml;utf8,%3Csvg%3Eé</svg>", "<svg>é</svg>"),
        ("image/svg+xml", "<svg>PHN2Zz4=</svg>", "<svg>PHN2Zz4=</svg>"),
        ("image/svg+xml", "abcd", "abcd"),
        ("image/png", f"data:image/png;base64,{PNG}", PNG),
        ("image/png", f" DATA:image/png;charset=x;BASE64,{PNG}\n", PNG),
        ("text/html", "data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
    ],
)
def test_images_are_read_in_whichever_way_they_were_written(mime: str, data: str, ours: str):
    assert shown(mime, data) == ours
