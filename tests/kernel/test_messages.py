"""Tests of kernels_app/messages.py: pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels_app.inside.namespace import TOLD_UNDECLARED
from kernels_app.messages import asked_names, clean_entries, clean_entry, clean_finished, clean_ids

GOOD: list[dict[str, Any]] = [
    {"t": "started", "attempt": "a", "cell": "c", "version": 3},
    {"t": "stream", "attempt": None, "name": "stdout", "text": "x"},
    {
        "t": "display",
        "attempt": "a",
        "data": {"text/plain": "x"},
        "metadata": {},
        "display_id": None,
        "result": True,
        "spool": {"image/png": {"file": "f1", "size_bytes": 9}},
    },
    {"t": "update", "attempt": "a", "display_id": "d", "data": {}, "metadata": {}, "spool": {}},
    {"t": "clear", "attempt": "a", "wait": True},
    {"t": "error", "attempt": "a", "ename": "E", "evalue": "v", "traceback": ["line"]},
    {
        "t": "finished",
        "attempt": "a",
        "outcome": "ok",
        "names": ["x"],
        "kept": [],
        "undeclared": [],
        "duration_ms": 1.5,
    },
    {"t": "notice", "attempt": "a", "text": "said once"},
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("entry", GOOD, ids=lambda entry: entry["t"])
def test_a_well_formed_entry_passes_unchanged(entry: dict[str, Any]):
    assert clean_entry(entry) == entry


@pytest.mark.parametrize("entry", GOOD, ids=lambda entry: entry["t"])
def test_fields_that_the_protocol_does_not_know_are_gone(entry: dict[str, Any]):
    forged = entry | {"files": {"image/png": {"url": "https://elsewhere"}}, "index": 4}
    assert clean_entry(forged) == entry


@given(st.sampled_from(GOOD), st.data())
def test_a_field_of_any_other_shape_never_raises(entry: dict[str, Any], data: st.DataObject):
    field = data.draw(st.sampled_from(sorted(entry)))
    clean_entry(entry | {field: data.draw(values)})


@given(values)
def test_anything_at_all_never_raises(value: Any):
    clean_entries(value)
    clean_finished(value)
    clean_ids(value)


def test_what_is_left_out_is_counted():
    entries, dropped = clean_entries([GOOD[0], {"t": "unknown"}, 7, GOOD[1]])
    assert entries == [GOOD[0], GOOD[1]] and dropped == 2


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), -1, True, "1"])
def test_a_duration_that_is_no_time_is_refused(duration: Any):
    assert clean_entry(GOOD[6] | {"duration_ms": duration}) is None


def test_more_undeclared_names_than_a_kernel_tells_are_refused():
    told = [f"n{number}" for number in range(TOLD_UNDECLARED + 1)]
    assert clean_entry(GOOD[6] | {"undeclared": told[1:]}) is not None
    assert clean_entry(GOOD[6] | {"undeclared": told}) is None


def test_of_the_names_that_a_cell_bound_only_those_it_was_asked_for_are_kept():
    entry = GOOD[6] | {"names": ["x", "forged", "y", "y"], "kept": ["forged", "x"], "undeclared": ["h"]}
    assert asked_names(entry, frozenset({"x", "y", "z"})) == entry | {"names": ["x", "y"], "kept": ["x"]}


def test_ids_that_are_none_are_left_out():
    assert clean_ids(["a", 1, "", "x" * 65, None, "b"]) == ["a", "b"]
