"""An export and `--verify` see a notebook as it was at one moment, whatever is written between their queries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from notebooks_app import exporting, snapshots
from notebooks_app.models import Cell, Notebook, Output
from tests.migration.conftest import cell, document, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

Old = Callable[..., Path]


def elsewhere(write: Callable[[], Any]) -> None:
    """Do it in a connection of its own; what it raises is raised here."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            write()
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def run_again() -> None:
    """What a run writes: another name and source, another output, one cell more."""
    with transaction.atomic():
        made = Notebook.objects.get()
        Notebook.objects.update(name="After")
        Output.objects.filter(cell__notebook=made).delete()
        Cell.objects.create(notebook=made, position=10**9, source="z = 3")


@contextmanager
def written_after(query: str) -> Iterator[list[int]]:
    """`run_again` happens once, just after the first query that holds these words."""
    times: list[int] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found = execute(sql, params, many, context)
        if query in sql and not times:
            times.append(1)
            elsewhere(run_again)
        return found

    with connection.execute_wrapper(watch):
        yield times


@pytest.fixture
def imported(owner: Any, old: Old) -> Path:
    text = {"mime_type": "text/plain", "data": "a", "metadata": {}}
    path = old(document("n", cells=[cell("c1", outputs=[text]), cell("c2", outputs=[text])], db_conn_string=None))
    assert run("import_notebooks", str(path), "--owner", "owner", "--verify").failure == ""
    return path


@pytest.mark.parametrize("table", ["notebooks_app_notebook", "notebooks_app_cell", "notebooks_app_outputfile"])
def test_an_export_during_a_run_is_of_one_moment(imported: Path, table: str):
    made = Notebook.objects.get()
    with written_after(f'FROM "{table}"') as times:
        found = exporting.load(made)
    assert times
    assert (found.name, len(found.cells), [len(one.outputs) for one in found.cells]) == ("Sales", 2, [1, 1])
    after = exporting.load(made)
    assert (after.name, len(after.cells), [len(one.outputs) for one in after.cells]) == ("After", 3, [0, 0, 0])


def test_a_comparison_during_a_run_is_of_one_moment(imported: Path):
    with written_after('FROM "notebooks_app_cell"') as times:
        ran = run("import_notebooks", str(imported), "--owner", "owner", "--verify", "--dry-run")
    assert times
    assert (ran.failure, ran.out.splitlines()[-1]) == ("", "1 unchanged, 1 verified the same, 0 different.")


def test_a_snapshot_leaves_the_connection_as_it_was(imported: Path):
    with snapshots.snapshot():
        assert Notebook.objects.count() == 1
    with transaction.atomic():
        Notebook.objects.update(name="Here")
        with snapshots.snapshot():
            assert Notebook.objects.get().name == "Here"
    begun: list[str] = []
    with connection.execute_wrapper(lambda go, sql, *rest: begun.append(sql) or go(sql, *rest)), transaction.atomic():
        Notebook.objects.update(name="There")
    assert begun[0].startswith("BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "UPDATE")


def test_a_notebook_that_is_gone_is_said(imported: Path):
    made = Notebook.objects.get()
    Notebook.objects.all().delete()
    with pytest.raises(exporting.CannotExport, match="It was deleted just now"):
        exporting.load(made)
