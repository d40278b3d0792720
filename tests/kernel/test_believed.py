"""Which attempts a kernel may speak of: enough, and not more than that."""

from __future__ import annotations

import pytest

from kernels_app import believed
from kernels_app.believed import Believed


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(believed, "SUPERSEDED", 10)
    monkeypatch.setattr(believed, "MOST", 50)


def test_the_last_of_each_cell_is_believed_however_often_another_runs():
    known = Believed()
    for number in range(20):
        known.add(f"once {number}", f"cell {number}")
    for number in range(1_000):
        known.add(f"again {number}", "cell 7")
    assert all((f"once {number}" in known) == (number != 7) for number in range(20))
    assert [number for number in range(1_000) if f"again {number}" in known] == list(range(989, 1_000))
    assert len(known) == 30


def test_an_attempt_that_is_named_again_counts_once():
    known = Believed()
    for _ in range(100):
        known.add("a", "cell")
    assert len(known) == 1


def test_with_more_cells_than_are_kept_the_oldest_goes():
    known = Believed()
    for number in range(200):
        known.add(str(number), f"cell {number}")
    assert len(known) == 50 and "199" in known and "149" not in known
    known.add("new", "cell 199")
    assert len(known) == 50 and "new" in known
