"""Named versions: what they keep, what differs, bringing them back, what it costs. On both databases."""

from __future__ import annotations

import difflib
import random
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from notebooks_app import differences, freshness, graph, reading, restoring, services, versions
from notebooks_app.errors import BadRequest, Conflict, NotFound, TooLarge
from notebooks_app.models import Cell, CellRun, Change, Connection, Notebook, Output, Version, VersionCell
from notebooks_app.services import Accepted, Author
from tests.history.conftest import Replay, Workbench, many_cells, queries

pytestmark = [pytest.mark.database, pytest.mark.django_db]


def name(bench: Workbench, text: str = "Before the sale") -> Version:
    return versions.name_version(bench.pk, text, author=bench.author)


def restore(bench: Workbench, version: Version) -> Accepted:
    return restoring.restore_version(bench.pk, version.pk, **bench.who())


def kept(version: Version) -> list[tuple[Any, ...]]:
    fields = ("cell_id", "type", "source", "result_name", "connection_id", "disabled", "code_hidden")
    return list(VersionCell.objects.filter(version=version).order_by("position").values_list(*fields))


def test_a_version_keeps_every_cell_as_it_is_and_no_deleted_one(bench: Workbench):
    bench.add("# Sales", cell_type="markdown")
    sql = bench.add("SELECT 1", cell_type="sql", result_name="rows")
    bench.update(sql, disabled=True, code_hidden=True)
    gone = bench.add("gone = 1")
    bench.delete(gone)

    version = name(bench)

    assert kept(version) == bench.cells()
    assert [row[2] for row in kept(version)] == ["# Sales", "SELECT 1"]
    bench.notebook.refresh_from_db()
    assert (version.seq, version.revision) == (bench.notebook.seq, bench.notebook.revision) == (5, 5)


def test_naming_takes_as_many_queries_for_a_thousand_cells_as_for_ten(bench: Workbench, owner: Any):
    def cost(count: int) -> int:
        notebook = Notebook.objects.create(owner=owner, name=f"{count}")
        many_cells(notebook, count)
        made = queries(lambda: versions.name_version(notebook.pk, "v", author=bench.author))
        assert VersionCell.objects.filter(version__notebook=notebook).count() == count
        return made

    assert cost(10) == cost(1_000) <= 6


def test_a_version_needs_a_name_and_a_notebook(bench: Workbench):
    for wrong in ("", "  ", "x" * 201):
        with pytest.raises(BadRequest):
            name(bench, wrong)
    with pytest.raises(NotFound):
        versions.name_version(uuid.uuid4(), "v", author=bench.author)
    assert Version.objects.count() == 0


def test_a_notebook_has_a_bounded_number_of_versions(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "VERSIONS_AT_MOST", 2)
    first = name(bench, "1")
    name(bench, "2")
    with pytest.raises(TooLarge):
        name(bench, "3")
    versions.delete_version(bench.pk, first.pk)
    name(bench, "3")
    assert [version.name for version in versions.versions_of(bench.pk)] == ["3", "2"]


def test_a_version_of_another_notebook_is_not_found(bench: Workbench, owner: Any):
    other = Workbench(Notebook.objects.create(owner=owner, name="Other"), bench.author)
    version = name(other)
    for call in (versions.version_of, versions.delete_version):
        with pytest.raises(NotFound):
            call(bench.pk, version.pk)
    with pytest.raises(NotFound):
        restore(bench, version)


# --- Comparing -------------------------------------------------------------------------------------------------------


def test_the_difference_names_what_came_went_moved_and_changed(bench: Workbench):
    a, b, c, d = (bench.add(source) for source in ("a = 1", "b = 1\nsame", "c = 1", "d = 1"))
    version = name(bench)
    bench.edit(b, "b = 2\nsame")
    bench.update(b, disabled=True)
    bench.delete(c)
    bench.move(d, after=None)
    e = bench.add("e = 1")

    found = versions.difference_to_now(version)

    assert [(cell["id"], cell["number"], cell["head"]) for cell in found["added"]] == [(str(e), 4, "e = 1")]
    assert [(cell["id"], cell["number"], cell["head"]) for cell in found["removed"]] == [(str(c), 3, "c = 1")]
    assert [(cell["id"], cell["number"], cell["old_number"]) for cell in found["moved"]] == [(str(d), 1, 4)]
    (changed,) = found["changed"]
    assert changed["id"] == str(b)
    assert changed["fields"] == {"disabled": [False, True]}
    assert changed["diff"].splitlines() == ["@@ -1,2 +1,2 @@", "-b = 1", "+b = 2", " same"]
    assert (changed["lines_added"], changed["lines_removed"]) == (1, 1)
    assert a in bench.order()


def test_nothing_differs_right_after_naming(bench: Workbench):
    bench.add("x = 1")
    assert versions.difference_to_now(name(bench)) == {"added": [], "removed": [], "moved": [], "changed": []}


def test_a_difference_is_bounded(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "DIFFS_AT_MOST", 2)
    cells = [bench.add(f"x{number} = 1") for number in range(4)]
    version = name(bench)
    for cell in cells:
        bench.edit(cell, "y = 2")
    changed = versions.difference_to_now(version)["changed"]
    assert [cell["diff"] is not None for cell in changed] == [True, True, False, False]
    assert [cell["is_cut"] for cell in changed] == [False, False, True, True]


def repeating(own: str, lines: int = 2_000) -> str:
    """Each second line its own, the others of 95 that repeat: difflib finds them one by one, each time among all."""
    return "\n".join(f"{own}{n}" if n % 2 else f"c{n // 2 % 95}" for n in range(lines))


def test_texts_that_are_too_different_are_not_compared():
    found = differences.text_difference(repeating("u"), repeating("v"))
    assert (found.text, found.added, found.removed) == (None, 0, 0)
    assert found.work < 1.05 * differences.WORK_AT_MOST


def test_an_answer_compares_while_the_work_for_it_is_bounded(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    cells = [bench.add(repeating("u", 200)) for _ in range(4)]
    version = name(bench)
    for cell in cells:
        bench.edit(cell, repeating("v", 200))
    each = differences.text_difference(repeating("u", 200), repeating("v", 200)).work
    monkeypatch.setattr(versions, "DIFFS_WORK_AT_MOST", 2 * each)
    changed = versions.difference_to_now(version)["changed"]
    assert [cell["diff"] is not None for cell in changed] == [True, True, False, False]


@pytest.mark.parametrize("seed", range(50))
def test_a_difference_reads_as_that_of_difflib(seed: int):
    chance = random.Random(seed)
    old = [chance.choice("abcdefgh") for _ in range(chance.randrange(60))]
    new = [line for line in old if chance.random() > 0.1] + [chance.choice("xyz")] * chance.randrange(3)
    if old == new:
        new.append("x")
    expected = list(difflib.unified_diff(old or [""], new or [""], lineterm="", n=differences.CONTEXT))[2:]
    text = differences.text_difference("\n".join(old), "\n".join(new)).text or ""
    assert applied(old or [""], text) == (new or [""])
    if new[:1] != old[:1]:
        assert text.split("\n") == expected


def applied(old: list[str], diff: str) -> list[str]:
    """What a unified diff makes of the lines."""
    new, at = [], 0
    for line in diff.split("\n"):
        if line.startswith("@@"):
            start, _, count = line.split(" ")[1][1:].partition(",")
            begin = int(start) - (count != "0")
            new += old[at:begin]
            at = begin
            continue
        if line[0] in " -":
            assert old[at] == line[1:]
            at += 1
        if line[0] in " +":
            new.append(line[1:])
    return new + old[at:]


# --- Bringing back ---------------------------------------------------------------------------------------------------


def test_restoring_brings_sources_types_order_names_and_flags_back(bench: Workbench):
    a = bench.add("# Head", cell_type="markdown")
    b = bench.add("SELECT 1", cell_type="sql", result_name="rows")
    c = bench.add("x = 1")
    bench.update(c, code_hidden=True)
    d = bench.add("y = 1")
    version, before = name(bench), bench.cells()
    bench.update(a, type="python")
    bench.update(b, result_name="other", disabled=True)
    bench.edit(c, "x = 2")
    bench.delete(d)
    bench.move(c, after=None)
    bench.add("new = 1", after=a)

    restore(bench, version)

    assert bench.cells() == before
    assert versions.difference_to_now(version) == {"added": [], "removed": [], "moved": [], "changed": []}


def test_a_restore_is_one_change_that_a_browser_can_apply(bench: Workbench):
    a, b, c = (bench.add(source) for source in ("a = 1", "b = 1", "c = 1"))
    version = name(bench)
    bench.edit(a, "a = 2")
    bench.update(a, disabled=True)
    bench.move(c, after=None)
    bench.delete(b)
    bench.add("d = 1")
    page, seq = Replay(bench.pk), reading.notebook_document(Notebook.objects.get(pk=bench.pk))["seq"]

    accepted = restore(bench, version)

    assert accepted.seq == seq + 1
    (event,) = reading.changes_since(bench.pk, seq, 10) or []
    assert event["type"] == "notebook.restored"
    assert event["restored"] == {"id": str(version.pk), "name": "Before the sale"}
    page.apply(event)
    assert page.agrees_with(bench.pk)
    assert not page.asked


def test_a_restore_of_more_text_than_a_socket_takes_does_not_carry_it(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(restoring, "STEPS_CHARACTERS_AT_MOST", 20)
    a, b = bench.add("a" * 12), bench.add("b" * 12)
    version = name(bench)
    bench.edit(a, "")
    assert restore(bench, version).event["steps"] is not None
    bench.edit(a, "")
    bench.delete(b)
    assert restore(bench, version).event["steps"] is None
    assert bench.sources() == ["a" * 12, "b" * 12]


def test_an_edit_on_the_version_before_a_restore_conflicts(bench: Workbench):
    cell = bench.add("x = 1")
    version = name(bench)
    bench.edit(cell, "x = 2")
    restore(bench, version)
    with pytest.raises(Conflict) as refused:
        services.edit_cell(bench.pk, cell, version=2, source="x = 3", **bench.who())
    assert refused.value.more == {"version": 3, "since": [], "source": "x = 1"}
    assert bench.sources() == ["x = 1"]


def test_restoring_touches_only_what_differs(bench: Workbench):
    cells = [bench.add(f"x{number} = 1") for number in range(6)]
    version = name(bench)
    bench.edit(cells[2], "other")
    rows = {row["id"]: row for row in Cell.objects.filter(notebook=bench.pk).values()}
    accepted = restore(bench, version)
    after = {row["id"]: row for row in Cell.objects.filter(notebook=bench.pk).values()}
    assert [cell for cell in rows if rows[cell] != after[cell]] == [cells[2]]
    assert [step["type"] for step in accepted.event["steps"]] == ["cell.edited"]


def test_a_restored_source_makes_its_old_output_current_again(bench: Workbench):
    cell = bench.add("x = 1")
    services.analyse_pending(bench.pk)
    row = Cell.objects.get(pk=cell)
    row.last_run = CellRun.objects.create(cell=row, cell_version=1, source_hash=row.source_hash, outcome="ok")
    row.save(update_fields=["last_run"])
    version = name(bench)
    bench.edit(cell, "x = 2")
    assert _freshness(bench, cell) == "stale"
    restore(bench, version)
    assert _freshness(bench, cell) == "current"


def _freshness(bench: Workbench, cell: uuid.UUID) -> str:
    services.analyse_pending(bench.pk)
    known = {str(row.pk): row.facts() for row in reading.small_cells(bench.pk)}
    return freshness.derive(known, graph.build(known.values()))[str(cell)].freshness.value


def test_a_deleted_cell_comes_back_with_its_outputs(bench: Workbench):
    cell = bench.add("x = 1")
    Output.objects.create(cell_id=cell, index=0, kind="stream", data={"name": "stdout", "text": "1"})
    version = name(bench)
    bench.delete(cell)
    restore(bench, version)
    assert bench.order() == [cell]
    assert Output.objects.filter(cell_id=cell).count() == 1


def test_a_cell_that_left_the_bin_for_good_is_made_anew_with_its_id(bench: Workbench):
    first, cell = bench.add("first"), bench.add("x = 1")
    version = name(bench)
    bench.delete(cell)
    Cell.objects.filter(pk=cell).delete()
    restore(bench, version)
    assert bench.order() == [first, cell]
    assert bench.sources() == ["first", "x = 1"]
    assert Cell.objects.get(pk=cell).source_hash == Cell.objects.get(pk=cell).current_hash()


def test_what_people_cannot_change_of_a_cell_comes_back_with_one_that_left_the_bin_for_good(bench: Workbench):
    kept = {"metadata": {"rillbook": {"attachments": {"a.png": {"image/png": "AA=="}}}}, "external_id": "old-7"}
    cell, first = bench.add("![](attachment:a.png)", cell_type="markdown"), bench.add("first")
    Cell.objects.filter(pk=cell).update(**kept)
    version = name(bench)
    bench.delete(cell)
    Cell.objects.filter(pk=cell).delete()
    restore(bench, version)
    assert bench.order() == [cell, first]
    assert Cell.objects.values(*kept).get(pk=cell) == kept


def test_restoring_what_is_there_already_changes_nothing(bench: Workbench):
    bench.add("x = 1")
    version = name(bench)
    with pytest.raises(Conflict):
        restore(bench, version)
    assert (Change.objects.count(), Version.objects.count()) == (1, 1)


def test_a_retry_of_a_restore_gets_the_first_answer(bench: Workbench):
    cell = bench.add("x = 1")
    version = name(bench)
    bench.edit(cell, "x = 2")
    who = bench.who()
    first = restoring.restore_version(bench.pk, version.pk, **who)
    bench.edit(cell, "x = 3")
    assert restoring.restore_version(bench.pk, version.pk, **who).seq == first.seq
    assert bench.sources() == ["x = 3"]


def test_what_was_there_before_a_restore_is_named_first(bench: Workbench):
    cell = bench.add("x = 1")
    version = name(bench)
    bench.edit(cell, "x = 2")
    restore(bench, version)
    automatic = Version.objects.exclude(pk=version.pk).get()
    assert automatic.name == "Before restoring “Before the sale”"
    assert [row[2] for row in kept(automatic)] == ["x = 2"]
    assert (automatic.seq, automatic.revision) == (2, 2)


def test_a_state_that_has_a_version_already_is_not_named_again(bench: Workbench):
    cell = bench.add("x = 1")
    first = name(bench, "first")
    bench.edit(cell, "x = 2")
    second = name(bench, "second")
    restore(bench, first)
    restore(bench, second)
    assert Version.objects.count() == 2


def test_a_restore_can_be_undone_and_redone(bench: Workbench):
    a, b = bench.add("a = 1"), bench.add("b = 1")
    version, old = name(bench), bench.cells()
    bench.edit(a, "a = 2")
    bench.delete(b)
    bench.add("c = 1")
    new = bench.cells()
    restored = restore(bench, version)
    assert bench.cells() == old
    undone = bench.undo(restored)
    assert bench.cells() == new
    bench.undo(undone)
    assert bench.cells() == old
    assert Version.objects.count() == 2


def test_undoing_a_restore_after_more_edits_loses_none_of_them(bench: Workbench):
    cell = bench.add("x = 1")
    version = name(bench)
    bench.edit(cell, "x = 2")
    restored = restore(bench, version)
    bench.edit(cell, "x = 3")
    undone = bench.undo(restored)
    assert bench.sources() == ["x = 2"]
    bench.undo(undone)
    assert bench.sources() == ["x = 3"]


def test_a_connection_comes_back_only_to_who_may_use_it(bench: Workbench, owner: Any):
    mine = Connection.objects.create(owner=owner, name="mine", driver="duckdb", secret=b"x")
    cell = bench.add("SELECT 1", cell_type="sql", connection=mine.pk)
    version = name(bench)
    bench.update(cell, connection=None)
    bench.edit(cell, "SELECT 2")
    other = Author.of(get_user_model().objects.create_user("editor"))

    restoring.restore_version(bench.pk, version.pk, author=other, operation_id=uuid.uuid4())
    assert bench.cells()[0][2:5] == ("SELECT 1", "", None)
    restore(bench, version)
    assert bench.cells()[0][4] == mine.pk

    services.delete_connection(mine, author=bench.author)
    bench.edit(cell, "SELECT 3")
    restore(bench, version)
    assert bench.cells()[0][2:5] == ("SELECT 1", "", None)


@pytest.mark.parametrize("seed", range(6))
def test_any_history_of_edits_can_be_taken_back_and_shown_live(bench: Workbench, seed: int):
    chance = random.Random(seed)
    for number in range(12):
        bench.add(f"x{number} = 1")
    version, old = name(bench), bench.cells()
    for number in range(25):
        _random_change(bench, chance, number)
    page, new = Replay(bench.pk), bench.cells()

    restored = restore(bench, version)
    page.apply(restored.event)

    assert bench.cells() == old
    assert page.agrees_with(bench.pk)
    page.apply(bench.undo(restored).event)
    assert bench.cells() == new
    assert page.agrees_with(bench.pk)


def _random_change(bench: Workbench, chance: random.Random, number: int) -> None:
    order = bench.order()
    cell = chance.choice(order)
    others = [None, *(other for other in order if other != cell)]
    match chance.randrange(6):
        case 0:
            bench.add(f"new{number} = 1", after=chance.choice(others))
        case 1 if len(order) > 3:
            bench.delete(cell)
        case 2 | 3:
            bench.move(cell, after=chance.choice(others))
        case 4:
            bench.update(cell, disabled=chance.random() < 0.5, type=chance.choice(["python", "sql", "markdown"]))
        case _:
            bench.edit(cell, f"edited{number} 😀 = 1")


def test_restoring_costs_as_many_queries_for_a_thousand_cells_as_for_ten(bench: Workbench, owner: Any):
    def cost(count: int) -> int:
        notebook = Notebook.objects.create(owner=owner, name=f"{count}")
        cells = many_cells(notebook, count)
        other = Workbench(notebook, bench.author)
        version = name(other)
        other.edit(cells[3], "changed")
        other.delete(cells[5], cells[6])
        other.move(cells[1], after=cells[8])
        other.add("new")
        made = queries(lambda: restore(other, version))
        assert other.order() == cells
        return made

    assert cost(10) == cost(1_000)


def test_a_wholly_shuffled_notebook_comes_back_in_few_statements(bench: Workbench):
    cells = many_cells(bench.notebook, 300)
    version = name(bench)
    chance = random.Random(1)
    places = list(range(1, 301))
    chance.shuffle(places)
    for cell, place in zip(cells, places, strict=True):
        Cell.objects.filter(pk=cell).update(position=-place)
    for cell, place in zip(cells, places, strict=True):
        Cell.objects.filter(pk=cell).update(position=place)
    page = Replay(bench.pk)
    assert queries(lambda: page.apply(restore(bench, version).event)) < 40
    assert bench.order() == cells
    assert page.agrees_with(bench.pk)
