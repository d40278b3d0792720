"""Naming and restoring while others edit: every version is the notebook of one moment, and every page can follow."""

from __future__ import annotations

import random
import uuid

import pytest

from notebooks_app import reading, restoring, versions
from notebooks_app.errors import Conflict, NotFound
from notebooks_app.models import Cell, Notebook, Version, VersionCell
from tests.history.conftest import Replay, Workbench
from tests.test_models import in_threads

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]
STEPS = 12


def test_versions_named_and_restored_while_others_edit_are_of_one_moment(bench: Workbench):
    for number in range(6):
        bench.add(f"x{number} = 1")
    page, start = Replay(bench.pk), Notebook.objects.get(pk=bench.pk).seq
    versions.name_version(bench.pk, "first", author=bench.author)

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(STEPS):
            try:
                (_edit if number < 2 else _name if number == 2 else _restore)(bench, chance, f"{number}.{step}")
            except (Conflict, NotFound):
                continue  # somebody else was first: ordinary

    assert in_threads(4, work) == []

    named = list(Version.objects.filter(notebook=bench.pk))
    assert len(named) > STEPS
    for event in reading.changes_since(bench.pk, start, 10_000) or []:
        page.apply(event)
        for version in named:
            if version.seq == event["seq"]:
                assert [row[:2] for row in page.shown()] == _kept(version)
    assert not page.asked
    assert page.agrees_with(bench.pk)


def _edit(bench: Workbench, chance: random.Random, name: str) -> None:
    cell = chance.choice(list(Cell.objects.alive().filter(notebook=bench.pk).values_list("pk", flat=True)))
    match chance.randrange(4):
        case 0:
            bench.add(f"new = '{name}'", after=cell)
        case 1:
            bench.delete(cell)
        case 2:
            bench.move(cell, after=None)
        case _:
            bench.edit(cell, f"edited = '{name}'")


def _name(bench: Workbench, chance: random.Random, name: str) -> None:
    versions.name_version(bench.pk, name, author=bench.author)


def _restore(bench: Workbench, chance: random.Random, name: str) -> None:
    version = chance.choice(list(Version.objects.filter(notebook=bench.pk)))
    restoring.restore_version(bench.pk, version.pk, author=bench.author, operation_id=uuid.uuid4())


def _kept(version: Version) -> list[tuple[str, str]]:
    cells = VersionCell.objects.filter(version=version).order_by("position")
    return [(str(cell), source) for cell, source in cells.values_list("cell_id", "source")]
