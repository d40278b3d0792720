"""Two change sets put together do what one after the other does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebooks_app import changeset
from notebooks_app.changeset import BadChangeSet, ChangeSet

TEXTS = st.text(alphabet="ab\n😀é", max_size=12)


@st.composite
def edits(draw: Any, text: str) -> ChangeSet:
    """A change set on `text`, section by section, never inside a character."""
    sections: ChangeSet = []
    at = 0
    while at < len(text):
        end = draw(st.integers(at + 1, len(text)))
        units = changeset.utf16_length(text[at:end])
        inserted = draw(TEXTS)
        replaced: list[int | str] = [units, *inserted.split("\n")] if inserted else [units]
        sections.append(draw(st.sampled_from([units, replaced])))
        if draw(st.booleans()):
            sections.append([0, *draw(TEXTS.filter(bool)).split("\n")])
        at = end
    return sections or [[0, *draw(TEXTS.filter(bool)).split("\n")]]


@given(st.data(), TEXTS)
def test_both_together_do_what_one_after_the_other_does(data: Any, text: str):
    whole, now = None, text
    for _ in range(data.draw(st.integers(2, 5))):
        step = data.draw(edits(now))
        now = changeset.apply(step, now)
        whole = step if whole is None else changeset.compose(whole, step)
    assert changeset.apply(whole, text) == now


def test_typing_letter_by_letter_becomes_one_insertion():
    whole: ChangeSet = [2, [0, "a"], 3]
    for number, letter in enumerate("bcd", start=1):
        whole = changeset.compose(whole, [2 + number, [0, letter], 3])
    assert whole == [2, [0, "abcd"], 3]


def test_what_is_typed_and_deleted_again_leaves_nothing():
    assert changeset.compose([1, [0, "x", "y"], 1], [1, [3], 1]) == [2]


@pytest.mark.parametrize("second", [[4], [2], [[4]], [3, [1]], [[2]], ["x"]])
def test_a_second_one_for_another_length_is_refused(second: Any):
    with pytest.raises(BadChangeSet):
        changeset.compose([[0, "abc"]], second)


def test_half_a_character_is_refused():
    with pytest.raises(BadChangeSet):
        changeset.compose([[0, "😀"]], [1, [1]])
