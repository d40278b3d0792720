"""The dependency graph, drawn one cell a line in page order: `id: definitions < references`."""

from __future__ import annotations

import random
import sys

import pytest

from notebooks_app.facts import CellError, CellFacts, CellType, ErrorKind
from notebooks_app.graph import OTHERS_LISTED, Graph, build, is_same_graph


def cells(drawing: str) -> list[CellFacts]:
    """`A: x y < z` defines x and y and refers to z; a `-` before the id disables the cell."""
    found = []
    for position, line in enumerate(filter(None, map(str.strip, drawing.splitlines()))):
        name, _, names = line.partition(":")
        definitions, _, references = names.partition("<")
        found.append(
            CellFacts(
                id=name.strip("- "),
                position=position * 1000,
                definitions=frozenset(definitions.split()),
                references=frozenset(references.split()),
                disabled=line.startswith("-"),
            )
        )
    return found


def draw(drawing: str) -> Graph:
    return build(cells(drawing))


def kinds(graph: Graph) -> dict[str, list[str]]:
    return {cell: [error.kind.value for error in errors] for cell, errors in graph.errors.items()}


def test_an_edge_goes_from_definer_to_reader_with_the_names() -> None:
    graph = draw("""
        A: x y
        B: z < x y
    """)
    assert graph.upstream("B") == {"A": frozenset({"x", "y"})}
    assert graph.downstream("A") == {"B": frozenset({"x", "y"})}
    assert graph.upstream("A") == {} and graph.downstream("B") == {}


def test_a_reference_nobody_defines_makes_no_edge() -> None:
    graph = draw("A: x < numpy")
    assert graph.upstream("A") == {} and graph.definers("numpy") == ()


def test_the_order_is_topological_wherever_cells_stand() -> None:
    graph = draw("""
        C: c < b
        B: b < a
        A: a
    """)
    assert graph.order == ("A", "B", "C")


def test_ties_are_broken_by_position() -> None:
    graph = draw("""
        D: d < a
        B: b
        A: a
        C: c < a
    """)
    assert graph.order == ("B", "A", "D", "C")


def test_independent_cells_stay_in_page_order() -> None:
    assert draw("B: b\nA: a\nC: c").order == ("B", "A", "C")


def test_position_and_not_the_order_of_the_input_counts() -> None:
    facts = cells("A: a\nB: b\nC: c")
    assert build(reversed(facts)).order == ("A", "B", "C")


def test_a_diamond_reaches_both_ways() -> None:
    graph = draw("""
        A: a
        B: b < a
        C: c < a
        D: d < b c
    """)
    assert graph.ancestors("D") == {"A", "B", "C"}
    assert graph.descendants("A") == {"B", "C", "D"}
    assert graph.order == ("A", "B", "C", "D")


def test_a_name_defined_twice_is_an_error_on_exactly_its_definers() -> None:
    graph = draw("""
        A: x
        B: y < x
        C: x z
    """)
    assert kinds(graph) == {"A": ["duplicate"], "C": ["duplicate"]}
    assert graph.errors["A"][0].names == ("x",) and graph.errors["A"][0].cells == ("C",)
    assert graph.errors["A"][0].message == "`x` is also defined in cell 3. Rename one of them."


def test_readers_of_a_name_defined_twice_depend_on_all_its_definers() -> None:
    graph = draw("""
        A: x
        B: y < x
        C: x
    """)
    assert set(graph.upstream("B")) == {"A", "C"}


def test_each_name_defined_twice_has_its_own_error() -> None:
    graph = draw("A: x y\nB: x y")
    assert sorted(error.names[0] for error in graph.errors["A"]) == ["x", "y"]


def test_a_name_defined_three_times_names_both_others() -> None:
    graph = draw("A: x\nB: x\nC: x")
    assert graph.errors["B"][0].cells == ("A", "C")
    assert "cells 1 and 3" in graph.errors["B"][0].message


def test_a_cycle_is_an_error_on_exactly_its_cells() -> None:
    graph = draw("""
        A: a < b
        B: b < a
        C: c < b
        D: d
        E: e < d
    """)
    assert kinds(graph) == {"A": ["cycle"], "B": ["cycle"]}
    assert graph.errors["A"][0].cells == ("B",)
    message = "These cells need each other: cell 1 needs `b` of cell 2, which needs `a` of cell 1."
    assert graph.errors["A"][0].message == message


def test_cells_of_a_cycle_are_ordered_by_position_among_the_rest() -> None:
    graph = draw("""
        E: e < c
        A: a < b
        D: d
        B: b < a s
        C: c < b
        S: s
    """)
    assert graph.order == ("A", "D", "S", "B", "C", "E")


def test_two_cycles_are_told_apart() -> None:
    graph = draw("""
        A: a < b
        B: b < a
        C: c < d a
        D: d < c
    """)
    assert graph.errors["C"][0].cells == ("D",) and graph.errors["A"][0].cells == ("B",)


def test_a_cycle_of_three_names_the_path() -> None:
    graph = draw("""
        A: a < c
        B: b < a
        C: c < b
    """)
    assert graph.errors["B"][0].names == ("a", "c", "b")
    assert (
        "cell 2 needs `a` of cell 1, which needs `c` of cell 3, which needs `b` of cell 2"
        in graph.errors["B"][0].message
    )


def test_a_cell_that_needs_its_own_name_is_neither_edge_nor_cycle() -> None:
    graph = draw("A: x < x")
    assert graph.errors == {} and graph.upstream("A") == {} and graph.ancestors("A") == frozenset()


def test_a_cell_that_needs_a_name_it_shares_depends_on_the_other_definer() -> None:
    graph = draw("""
        A: x
        B: x < x
    """)
    assert graph.upstream("B") == {"A": frozenset({"x"})}
    assert kinds(graph) == {"A": ["duplicate"], "B": ["duplicate"]}


def test_a_disabled_cell_still_defines_and_disables_its_descendants() -> None:
    graph = draw("""
        - A: a
        B: b < a
        - C: c < b
        D: d < c
        E: e
    """)
    assert graph.disabled_by("B") == ("A",)
    assert graph.disabled_by("D") == ("A", "C")
    assert graph.disabled_by("A") == () and graph.disabled_by("E") == ()


def test_cells_with_errors_of_analysis_stay_in_the_graph() -> None:
    error = CellError(ErrorKind.SYNTAX, "Syntax error")
    graph = build([CellFacts("A", 1, errors=(error,)), CellFacts("B", 2, type=CellType.MARKDOWN)])
    assert graph.order == ("A", "B") and graph.errors == {}


def test_an_empty_notebook_has_an_empty_graph() -> None:
    assert build([]).order == ()


def test_unknown_cells_have_no_neighbours() -> None:
    graph = draw("A: a")
    assert graph.upstream("?") == {} and graph.descendants("?") == frozenset()


def test_errors_of_a_thousand_copies_stay_small() -> None:
    graph = build(
        CellFacts(str(n), n, definitions=frozenset({"x"}), references=frozenset({"x"})) for n in range(1000)
    )
    error = graph.errors["500"][0]
    assert len(error.cells) == OTHERS_LISTED and error.message.count(",") < 10
    assert len(graph.upstream("500")) <= OTHERS_LISTED


def test_a_ring_of_a_thousand_cells_is_told_in_a_short_message() -> None:
    graph = build(
        CellFacts(str(n), n, definitions=frozenset({f"v{n}"}), references=frozenset({f"v{(n + 1) % 1000}"}))
        for n in range(1000)
    )
    assert len(graph.errors) == 1000 and graph.order == tuple(str(n) for n in range(1000))
    assert all(len(errors[0].message) < 400 for errors in graph.errors.values())


def test_an_edit_that_changes_no_names_needs_no_new_graph() -> None:
    before = {cell.id: cell for cell in cells("A: a\nB: b < a")}
    renamed = {cell.id: cell for cell in cells("A: a\nB: c < a")}
    edited = {cell.id: cell for cell in cells("A: a\nB: b < a")}
    assert is_same_graph(before, edited) and not is_same_graph(before, renamed)
    assert not is_same_graph(before, {"A": before["A"]})


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_agree_with_what_a_plain_search_says(seed: int) -> None:
    random_ = random.Random(seed)
    names = [f"v{n}" for n in range(12)]
    facts = [
        CellFacts(
            f"c{n}",
            n,
            definitions=frozenset(random_.sample(names, random_.randint(0, 2))),
            references=frozenset(random_.sample(names, random_.randint(0, 2))),
        )
        for n in range(12)
    ]
    graph = build(facts)
    needs = {
        cell.id: {other.id for other in facts if other.id != cell.id and other.definitions & cell.references}
        for cell in facts
    }
    reach = {cell: set(found) for cell, found in needs.items()}
    for _ in facts:
        for cell in reach:
            reach[cell] |= set().union(*(needs[other] for other in reach[cell]), set())
    in_cycle = {cell for cell in reach if cell in reach[cell]}
    assert {cell for cell, found in kinds(graph).items() if "cycle" in found} == in_cycle
    assert sorted(graph.order) == sorted(needs)
    for cell in needs:
        assert graph.ancestors(cell) == reach[cell] - {cell}
        for other in needs[cell]:
            together = cell in reach[other]
            assert together or graph.ranks[other] < graph.ranks[cell]


def test_ten_times_the_cells_are_built_in_about_ten_times_the_steps() -> None:
    assert _calls_of_a_build(5_000) < 12 * _calls_of_a_build(500)


def _calls_of_a_build(count: int) -> int:
    """How many functions are called to build the graph of so many cells: no clock, so that no load disturbs it."""
    facts = [
        CellFacts(
            str(n),
            n,
            definitions=frozenset({f"v{n}"}),
            references=frozenset({f"v{n - 1}", f"v{n // 2}", "pd", "np"}),
        )
        for n in range(count)
    ]
    facts.append(CellFacts("imports", count, definitions=frozenset({"pd", "np"})))
    calls = 0

    def count_call(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        graph = build(facts)
    finally:
        sys.setprofile(None)
    assert graph.order[0] == "imports" and len(graph.order) == count + 1
    return calls
