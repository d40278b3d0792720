"""Cost follows the change: each operation takes the same statements in a notebook of 10 cells and in one of 2,000.

Bytes are measured by `python -m benchmarks.storage`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks import scenes
from benchmarks.scenes import Scene
from kernels_app.feed import NotebookFeed

pytestmark = [pytest.mark.django_db, pytest.mark.database]

# A savepoint and its release are two of them, but only in tests: here everything is in one transaction.
MOST = {
    "edit": 9,
    "insert": 11,
    "move": 13,
    "delete": 12,
    "save a run": 24,
    "read a cell": 4,
    "open: states": 2,
    "open: everything": 6,
}


def statements(operation: Any, scene: Scene, *, warm: bool = True) -> list[str]:
    """What an operation sends, values left out; its second time, when nothing is made for the first time."""
    if warm:
        operation(scene, 0)
    with CaptureQueriesContext(connection) as captured:
        operation(scene, 1)
    return [_shape(query["sql"]) for query in captured]


def _shape(sql: str) -> str:
    """The verb and the table."""
    verb = sql.split(maxsplit=1)[0]
    table = re.search(r'(?:FROM|UPDATE|INTO) "(\w+)"', sql)
    return f"{verb} {table[1]}" if table else verb


def test_an_operation_sends_the_same_statements_whatever_the_notebooks_size(small, large):
    for name, operation in (scenes.WRITES | scenes.READS).items():
        few = statements(operation, small)
        many = statements(operation, large)
        assert many == few, name
        assert len(few) <= MOST[name], (name, few)


def test_opening_the_page_takes_a_fixed_number_of_queries(small, large, page_of):
    few = statements(lambda scene, _: page_of(scene), small)
    many = statements(lambda scene, _: page_of(scene), large)
    assert len(many) <= len(few) + 1  # the names of headings in cells far away
    assert len(few) <= 20


def test_a_sockets_snapshot_takes_a_fixed_number_of_queries(small, large):
    def snapshot(scene: Scene, _: int) -> None:
        NotebookFeed(scene.notebook_id)._read_since(None)

    assert len(statements(snapshot, large)) == len(statements(snapshot, small)) <= 12


def test_a_catch_up_reads_what_changed_and_not_the_rest(small, large):
    def catch_up(scene: Scene, _: int) -> None:
        feed = NotebookFeed(scene.notebook_id)
        seq = feed._read_seq()
        scenes.edit(scene)
        assert len(feed._read_since(seq)["events"]) == 1

    assert len(statements(catch_up, large)) == len(statements(catch_up, small)) <= 20


def test_no_statement_of_a_write_reads_sources_or_outputs_of_other_cells(large):
    with CaptureQueriesContext(connection) as captured:
        for operation in scenes.WRITES.values():
            operation(large, 1)
    assert len(captured) > 20
    for query in captured:
        sql = query["sql"]
        reads_text = '"notebooks_app_cell"."source"' in sql or '"notebooks_app_output"."data"' in sql
        if sql.startswith("SELECT") and reads_text:
            assert re.search(r'"id" = |"id" IN \(|"cell_id" IN \(|LIMIT 1', sql), sql


def test_inserts_at_one_place_renumber_a_window_and_not_the_notebook(large):
    """Positions are halved until no room is left: also the insert that has to make room touches a window only."""
    before = rows_by_position(large)
    for _ in range(60):
        scenes.insert(large)
    after = rows_by_position(large)
    moved = [cell for cell, position in before.items() if after[cell] != position]
    assert 0 < len(moved) <= 200


def rows_by_position(scene: Scene) -> dict[Any, int]:
    from notebooks_app.models import Cell

    return dict(Cell.objects.filter(notebook_id=scene.notebook_id).values_list("pk", "position"))
