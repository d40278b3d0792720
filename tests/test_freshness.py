"""What freshness follows from a cell's last attempt, its graph and the attempts upstream."""

from __future__ import annotations

import time
from dataclasses import replace

from notebooks_app.facts import (
    Attempt,
    CellError,
    CellFacts,
    CellType,
    Derived,
    ErrorKind,
    Freshness,
    Outcome,
    StaleBecause,
)
from notebooks_app.freshness import CAUSES_SHOWN, UNKNOWN_VALUE, derive
from notebooks_app.graph import build

A = {"a": "1"}
B = {"b": "2"}


def cell(name: str, position: int, defines: str = "", uses: str = "", **fields: object) -> CellFacts:
    facts = CellFacts(
        id=name,
        position=position,
        source_hash=f"{name} v1",
        definitions=frozenset(defines.split()),
        references=frozenset(uses.split()),
    )
    return replace(facts, **fields)  # type: ignore[arg-type]


def ran(facts: CellFacts, outcome: Outcome | None = Outcome.OK, **fields: object) -> CellFacts:
    attempt = Attempt(f"attempt of {facts.id}", facts.source_hash, outcome)
    return replace(facts, last=replace(attempt, **fields))  # type: ignore[arg-type]


def chain(**changes: CellFacts) -> list[CellFacts]:
    """Three cells, each using the name of the one before; all have run in order, but for `changes`."""
    cells = {
        "A": ran(cell("A", 1, "a"), values=A),
        "B": ran(cell("B", 2, "b", "a"), inputs=A, values=B),
        "C": ran(cell("C", 3, "c", "b"), inputs=B, values={"c": "3"}),
    }
    return list((cells | changes).values())


def derived(*cells: CellFacts, live: tuple[str, ...] = ()) -> dict[str, Derived]:
    return derive(cells, build(cells), live=live)


def kinds(*cells: CellFacts) -> list[Freshness]:
    return [one.freshness for one in derived(*cells).values()]


NEW, CURRENT, STALE, FAILED, BLOCKED = Freshness


def test_a_cell_that_never_ran_is_new_and_its_dependents_are_not_blocked() -> None:
    assert kinds(cell("A", 1, "a"), cell("B", 2, "b", "a")) == [NEW, NEW]


def test_cells_that_ran_in_order_are_current() -> None:
    assert set(kinds(*chain())) == {CURRENT}


def test_an_edited_cell_and_all_below_it_are_stale_and_name_the_root() -> None:
    result = derived(*chain(A=replace(chain()[0], source_hash="A v2")))
    assert result["A"] == Derived(STALE, stale_because=StaleBecause("edited"))
    assert result["B"].stale_because == StaleBecause("upstream", "A", "a")
    assert result["C"] == Derived(STALE, stale_because=StaleBecause("upstream", "A", "a"))


def test_an_edited_middle_cell_leaves_what_is_above_current() -> None:
    assert kinds(*chain(B=replace(chain()[1], source_hash="B v2"))) == [CURRENT, STALE, STALE]


def test_a_new_value_upstream_makes_dependents_stale() -> None:
    again = ran(cell("A", 1, "a"), values={"a": "new"})
    result = derived(*chain(A=again))
    assert result["A"].freshness is CURRENT
    assert result["B"].stale_because == StaleBecause("upstream", "A", "a")


def test_a_value_id_kept_by_a_later_attempt_keeps_dependents_current() -> None:
    again = ran(cell("A", 1, "a"), id="another attempt", values=A)
    assert set(kinds(*chain(A=again))) == {CURRENT}


def test_a_reference_that_lost_its_value_is_stale() -> None:
    assert derived(*chain()[1:])["B"].stale_because == StaleBecause("upstream", None, "a")
    unbound = ran(cell("A", 1, "a"), values={})
    assert kinds(*chain(A=unbound)) == [CURRENT, STALE, STALE]


def test_a_reference_that_gained_a_value_is_stale() -> None:
    alone = ran(cell("B", 2, "b", "a sum"), values=B)
    assert kinds(alone) == [CURRENT]
    assert kinds(ran(cell("A", 1, "a"), values=A), alone) == [CURRENT, STALE]


def test_a_name_that_was_conditionally_not_bound_both_times_is_no_change() -> None:
    assert kinds(ran(cell("A", 1, "a")), ran(cell("B", 2, "b", "a"), values=B)) == [CURRENT, CURRENT]


def test_an_input_nobody_can_vouch_for_is_stale() -> None:
    doubtful = ran(cell("B", 2, "b", "a"), inputs={"a": UNKNOWN_VALUE}, values=B)
    assert kinds(doubtful) == [STALE]


def test_a_cell_that_uses_its_own_name_has_no_edge_to_itself() -> None:
    assert kinds(ran(cell("A", 1, "a", "a"), values=A)) == [CURRENT]


def test_a_failed_cell_blocks_everything_below_it_and_is_named_as_the_root() -> None:
    result = derived(*chain(A=ran(cell("A", 1, "a"), Outcome.ERROR)))
    assert result["A"] == Derived(FAILED)
    assert result["B"] == result["C"] == Derived(BLOCKED, blocked_by=(("A", "a"),))


def test_an_interrupted_cell_is_failed_and_says_so() -> None:
    result = derived(ran(cell("A", 1, "a"), Outcome.INTERRUPTED))
    assert result["A"] == Derived(FAILED, stale_because=StaleBecause("interrupted"))
    assert kinds(ran(cell("A", 1, "a"), Outcome.DIED)) == [FAILED]


def test_an_attempt_without_an_end_is_interrupted_unless_it_is_live() -> None:
    cells = chain(A=ran(cell("A", 1, "a"), None))
    assert [one.freshness for one in derived(*cells).values()] == [FAILED, BLOCKED, BLOCKED]
    live = derived(*cells, live=("attempt of A",))
    assert [one.freshness for one in live.values()] == [STALE, STALE, STALE]
    assert live["A"].stale_because is None


def test_an_edited_failed_cell_is_stale_and_blocks_no_longer() -> None:
    failed = replace(ran(cell("A", 1, "a"), Outcome.ERROR), source_hash="A v2")
    assert kinds(*chain(A=failed)) == [STALE, STALE, STALE]


def test_a_failed_cell_whose_upstream_changed_is_stale() -> None:
    failed = ran(cell("B", 2, "b", "a"), Outcome.ERROR, inputs=A)
    assert kinds(*chain(B=failed)) == [CURRENT, FAILED, BLOCKED]
    again = ran(cell("A", 1, "a"), values={"a": "new"})
    assert kinds(*chain(A=again, B=failed)) == [CURRENT, STALE, STALE]


def test_an_error_of_analysis_fails_the_cell_whatever_it_last_did() -> None:
    error = CellError(ErrorKind.SYNTAX, "invalid syntax", line=1)
    result = derived(*chain(B=replace(chain()[1], errors=(error,))))
    assert result["B"] == Derived(FAILED, errors=(error,))
    assert result["C"].blocked_by == (("B", "b"),)
    assert result["A"].freshness is CURRENT


def test_duplicates_fail_both_cells_and_block_who_needs_the_name() -> None:
    result = derived(cell("A", 1, "x"), cell("B", 2, "x"), cell("C", 3, "", "x"), ran(cell("D", 4, "d")))
    assert [one.freshness for one in result.values()] == [FAILED, FAILED, BLOCKED, CURRENT]
    assert [error.kind for error in result["A"].errors] == [ErrorKind.DUPLICATE]
    assert result["C"].blocked_by == (("A", "x"), ("B", "x"))


def test_a_cycle_fails_its_cells_and_blocks_who_needs_them() -> None:
    result = derived(cell("A", 1, "a", "b"), cell("B", 2, "b", "a"), cell("C", 3, "c", "b"), cell("D", 4))
    assert [one.freshness for one in result.values()] == [FAILED, FAILED, BLOCKED, NEW]
    assert {error.kind for error in result["A"].errors} == {ErrorKind.CYCLE}


def test_text_is_always_current() -> None:
    assert kinds(cell("T", 1, type=CellType.MARKDOWN)) == [CURRENT]


def test_a_disabled_cell_keeps_its_freshness_and_disables_all_below_it() -> None:
    result = derived(*chain(A=replace(chain()[0], disabled=True)))
    assert [one.freshness for one in result.values()] == [CURRENT, CURRENT, CURRENT]
    assert [one.disabled_by for one in result.values()] == [(), ("A",), ("A",)]


def test_the_cells_named_as_causes_are_bounded() -> None:
    failed = [ran(cell(f"F{n}", n, f"f{n}"), Outcome.ERROR) for n in range(100)]
    uses = " ".join(f"f{n}" for n in range(100))
    assert len(derived(*failed, cell("Z", 200, "", uses))["Z"].blocked_by) == CAUSES_SHOWN


def test_only_derives_what_is_asked_for_and_what_that_depends_on() -> None:
    cells = {facts.id: facts for facts in chain()}
    result = derive(cells, build(cells.values()), only=["B", "nowhere"])
    assert set(result) == {"A", "B"}


def test_ten_thousand_cells_in_a_chain_take_well_under_a_second() -> None:
    cells = [ran(cell("0", 0, "n0"), values={"n0": "v0"})]
    for n in range(1, 10_000):
        inputs, values = {f"n{n - 1}": f"v{n - 1}"}, {f"n{n}": f"v{n}"}
        cells.append(ran(cell(str(n), n, f"n{n}", f"n{n - 1}"), inputs=inputs, values=values))
    cells.reverse()
    graph = build(cells)
    started = time.process_time()
    result = derive(cells, graph)
    assert time.process_time() - started < 1
    assert all(one.freshness is CURRENT for one in result.values())
