"""Merging old keystrokes: what is merged, and that every replay from what is kept stays right."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from notebooks_app import reading, services, versions
from notebooks_app.compaction import Compacted, compact, notebooks_with_edits
from notebooks_app.errors import Conflict
from notebooks_app.models import Cell, Change, Notebook
from notebooks_app.services import Author
from tests.history.conftest import Replay, Workbench

pytestmark = [pytest.mark.database, pytest.mark.django_db]
OLD = timedelta(days=30)


def type_in(bench: Workbench, cell: uuid.UUID, letters: str) -> None:
    """One edit a letter, at the end."""
    for letter in letters:
        row = Cell.objects.get(pk=cell)
        changes = [*([len(row.source)] if row.source else []), [0, letter]]
        services.edit_cell(bench.pk, cell, version=row.version, changes=changes, **bench.who())


def make_old(notebook: Notebook, step: timedelta = timedelta(seconds=1)) -> None:
    """All changes so far happened a month ago, a step apart."""
    for number, change in enumerate(Change.objects.filter(notebook=notebook).order_by("seq")):
        Change.objects.filter(pk=change.pk).update(created_at=timezone.now() - OLD + number * step)


def run(bench: Workbench, **more: Any) -> Compacted:
    return compact(bench.pk, before=timezone.now() - timedelta(days=7), **more)


def kinds(bench: Workbench) -> list[str]:
    return list(Change.objects.filter(notebook=bench.pk).order_by("seq").values_list("kind", flat=True))


def test_a_run_of_keystrokes_becomes_one_edit(bench: Workbench):
    cell = bench.add("")
    type_in(bench, cell, "x = 12")
    make_old(bench.notebook)
    assert run(bench) == Compacted(runs=1, removed=5)
    event = Change.objects.get(kind="cell.edited").as_event()
    assert (event["base_version"], event["version"], event["changes"]) == (1, 7, [[0, "x = 12"]])
    assert event["seq"] == 7
    assert run(bench) == Compacted()


def test_what_was_merged_is_merged_on(bench: Workbench):
    cell = bench.add("")
    type_in(bench, cell, "ab")
    make_old(bench.notebook)
    run(bench)
    type_in(bench, cell, "cd")
    make_old(bench.notebook)
    assert run(bench).removed == 2
    event = Change.objects.get(kind="cell.edited").event
    assert (event["base_version"], event["version"], event["changes"]) == (1, 5, [[0, "abcd"]])


def test_a_dry_run_writes_nothing(bench: Workbench):
    type_in(bench, bench.add(""), "abc")
    make_old(bench.notebook)
    before = list(Change.objects.order_by("seq").values())
    assert run(bench, dry_run=True) == Compacted(1, 2)
    assert list(Change.objects.order_by("seq").values()) == before


def test_recent_edits_stay(bench: Workbench):
    type_in(bench, bench.add(""), "abc")
    assert run(bench) == Compacted()
    assert notebooks_with_edits(timezone.now() - timedelta(days=7)) == []


def test_a_named_version_parts_a_run(bench: Workbench):
    cell = bench.add("")
    type_in(bench, cell, "ab")
    version = versions.name_version(bench.pk, "v", author=bench.author)
    type_in(bench, cell, "cd")
    make_old(bench.notebook)
    run(bench)
    edits = Change.objects.filter(kind="cell.edited").order_by("seq")
    assert [change.seq for change in edits] == [version.seq, version.seq + 2]
    assert [change.event["changes"] for change in edits] == [[[0, "ab"]], [2, [0, "cd"]]]


def test_other_cells_other_people_other_changes_and_an_hour_part_a_run(bench: Workbench):
    one, other = bench.add(""), bench.add("")
    someone = Author.of(get_user_model().objects.create_user("someone"))
    type_in(bench, one, "a")
    type_in(bench, other, "b")
    type_in(bench, one, "c")
    bench.author, me = someone, bench.author
    type_in(bench, one, "d")
    bench.author = me
    bench.update(one, disabled=True)
    type_in(bench, one, "e")
    make_old(bench.notebook)
    assert run(bench) == Compacted()
    type_in(bench, one, "fgh")
    make_old(bench.notebook, timedelta(minutes=31))
    assert run(bench) == Compacted(runs=2, removed=2)


def test_an_edit_that_can_be_undone_stays(bench: Workbench):
    cell = bench.add("")
    type_in(bench, cell, "ab")
    split = bench.edit(cell, "a", undoable=True)
    type_in(bench, cell, "cd")
    make_old(bench.notebook)
    assert run(bench) == Compacted(runs=2, removed=2)
    assert kinds(bench) == ["cell.inserted", "cell.edited", "cell.edited", "cell.edited"]
    with pytest.raises(Conflict):  # told as what it is: the text was edited since
        bench.undo(split)


def test_a_conflict_never_carries_a_merged_edit_to_who_stands_within_it(bench: Workbench):
    cell = bench.add("")
    type_in(bench, cell, "abcd")
    make_old(bench.notebook)
    run(bench)
    for version in (1, 2, 4):
        with pytest.raises(Conflict) as refused:
            services.edit_cell(bench.pk, cell, version=version, source="z", **bench.who())
        assert refused.value.more == {"version": 5, "since": [], "source": "abcd"}


@pytest.mark.parametrize("seed", range(8))
def test_every_replay_from_what_is_kept_stays_right(bench: Workbench, seed: int):
    chance = random.Random(seed)
    cells = [bench.add("") for _ in range(3)]
    pages: dict[int, Replay] = {}
    for number in range(60):
        pages[_seq(bench)] = Replay(bench.pk)
        kind = chance.randrange(12)
        cell = chance.choice(cells)
        if kind == 0:
            versions.name_version(bench.pk, f"v{number}", author=bench.author)
        elif kind == 1:
            bench.update(cell, disabled=chance.random() < 0.5)
        elif kind == 2:
            bench.undo(bench.delete(cell))
        elif kind == 3:
            bench.move(cell, after=None)
        else:
            for letter in "ab😀"[: chance.randint(1, 3)]:
                bench.edit(cell, _typed(Cell.objects.get(pk=cell).source, letter, chance))
                pages[_seq(bench)] = Replay(bench.pk)
    make_old(bench.notebook)

    assert run(bench).removed > 5

    kept = {0, _seq(bench), *Change.objects.values_list("seq", flat=True)}
    assert set(versions.versions_of(bench.pk).values_list("seq", flat=True)) <= kept
    for seq, page in pages.items():
        for event in reading.changes_since(bench.pk, seq, 10_000) or []:
            page.apply(event)
        assert page.agrees_with(bench.pk), f"from {seq}"
        assert not (page.asked and seq in kept), f"from {seq}, which is kept, nothing needs to be asked for"


def _seq(bench: Workbench) -> int:
    return Notebook.objects.values_list("seq", flat=True).get(pk=bench.pk)


def _typed(text: str, letter: str, chance: random.Random) -> str:
    at = chance.randint(0, len(text))
    return text[:at] + letter + (text[at:] if chance.random() < 0.8 else text[at + 1 :])


def test_the_command_merges_in_all_notebooks_and_says_how_much(bench: Workbench, owner: Any, capsys: Any):
    other = Workbench(Notebook.objects.create(owner=owner, name="Other"), bench.author)
    for each in (bench, other):
        type_in(each, each.add(""), "abc")
        make_old(each.notebook)
    call_command("compact_changes", "--dry-run")
    call_command("compact_changes", "--notebook", str(other.pk))
    call_command("compact_changes")
    assert capsys.readouterr().out.splitlines() == [
        "4 changes would be merged into 2 others.",
        "2 changes merged into 1 others.",
        "2 changes merged into 1 others.",
    ]
    assert kinds(bench) == kinds(other) == ["cell.inserted", "cell.edited"]


@pytest.mark.parametrize("days", ["0", "-1", "-9999999999"])
def test_the_command_leaves_the_last_day_alone(days: str):
    with pytest.raises(CommandError):
        call_command("compact_changes", f"--older-than={days}")
