"""Each index of the models serves the query that its comment names: the planner says so, on both databases."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Model, QuerySet
from django.utils import timezone

from notebooks_app.models import (
    Cell,
    CellRun,
    Change,
    IdempotentAnswer,
    Membership,
    Notebook,
    Output,
    OutputFile,
    Run,
    StreamChunk,
    Version,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PEOPLE, NOTEBOOKS, CELLS = 4, 2_000, 3_000
BUSY = 60  # notebooks and cells that have a history

# SQLite knows that a condition holds only where the query spells it out as the index does; Django binds its values.
POSTGRESQL_ALONE = {"cell_external_id", "notebook_external_id", "output_display_id", "run_open"}


class Data:
    """Rows enough that reading a whole table is the dearer way."""

    def __init__(self) -> None:
        now = timezone.now()
        people = [get_user_model()(username=f"p{n}") for n in range(PEOPLE)]
        self.people = make(people)
        self.notebooks = make(
            Notebook(owner=self.people[n % PEOPLE], name=f"n{n}", external_id=f"ext-{n}") for n in range(NOTEBOOKS)
        )
        self.reader = get_user_model().objects.create_user("reader")
        Notebook.objects.create(owner=self.reader, name="own")
        make(Membership(notebook=notebook, user=self.people[0], role="viewer") for notebook in self.notebooks[1::2])
        make(Membership(notebook=notebook, user=self.reader, role="viewer") for notebook in self.notebooks[:3])
        self.cells = make(
            Cell(notebook=self.notebooks[n % BUSY], position=n + 1, run_seq=n, external_id=f"c-{n}")
            for n in range(CELLS)
        )
        self.runs = make(
            Run(
                notebook=self.notebooks[n % BUSY],
                started_at=now - timedelta(seconds=n),
                outcome="ok" if n % 500 else "",
            )
            for n in range(CELLS)
        )
        self.attempts = make(
            CellRun(
                cell=self.cells[n % BUSY], cell_version=1, source_hash="", started_at=now - timedelta(seconds=n)
            )
            for n in range(CELLS)
        )
        make(
            Change(
                notebook=self.notebooks[n % BUSY], seq=n, revision=n, cell_id=self.cells[n % BUSY].pk,
                kind="cell.edited", operation_id=uuid.uuid4(), event={"version": n},
            )
            for n in range(CELLS)
        )  # fmt: skip
        self.outputs = make(
            Output(cell=cell, index=0, kind="display_data", data={"text/plain": "x"}, display_id=f"d{n}")
            for n, cell in enumerate(self.cells)
        )
        make(
            StreamChunk(cell=self.cells[n % BUSY], attempt=self.attempts[n % BUSY].pk, ops=[]) for n in range(CELLS)
        )
        make(
            OutputFile(notebook=self.notebooks[n % BUSY], sha256=f"{n:064x}", mime_type="image/png", size_bytes=1)
            for n in range(CELLS)
        )
        make(Version(notebook=self.notebooks[n % BUSY], name=f"v{n}", seq=n, revision=n) for n in range(CELLS))
        answers = make(
            IdempotentAnswer(user=self.people[n % PEOPLE], key=str(n), request_digest="") for n in range(CELLS)
        )
        old = IdempotentAnswer.objects.filter(pk__in=[answer.pk for answer in answers[:20]])
        old.update(created_at=now - timedelta(days=30))
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def make[M: Model](rows: Iterable[M]) -> list[M]:
    made = list(rows)
    return list(type(made[0])._default_manager.bulk_create(made, batch_size=500))


def queries(data: Data) -> dict[str, QuerySet[Any]]:
    """The query that each index is there for, by the index's name."""
    notebook, cell = data.notebooks[BUSY - 1], data.cells[BUSY - 1]
    now = timezone.now()
    return {
        "notebook_owner_recent": Notebook.objects.filter(owner=data.people[3]).order_by("-updated_at")[:20],
        "notebook_external_id": Notebook.objects.filter(external_id="ext-59"),
        "cell_runs_since": Cell.objects.filter(notebook=notebook, run_seq__gt=CELLS - 100),
        "cell_external_id": Cell.objects.filter(external_id="c-7"),
        "change_of_cell": Change.objects.filter(
            notebook=notebook, cell_id=cell.pk, kind__in=["cell.edited", "cell.updated"]
        ).order_by("-seq")[:3],
        "output_display_id": Output.objects.filter(display_id="d7"),
        "chunk_of_attempt": StreamChunk.objects.filter(
            cell__in=[cell.pk], attempt__in=[data.attempts[BUSY - 1].pk]
        ).order_by("id"),
        "output_file_key": OutputFile.objects.filter(notebook=notebook, sha256=f"{BUSY - 1:064x}"),
        "run_recent": Run.objects.filter(notebook=notebook).order_by("-started_at")[:5],
        "run_newest": Run.objects.order_by("-started_at", "-pk")[:50],
        "run_open": Run.objects.filter(outcome="", started_at__lt=now - timedelta(minutes=10)),
        "cell_run_recent": CellRun.objects.filter(cell=cell).order_by("-started_at")[:5],
        "version_recent": Version.objects.filter(notebook=notebook).order_by("-created_at")[:5],
        "idempotent_answer_age": IdempotentAnswer.objects.filter(created_at__lt=now - timedelta(days=1)),
    }


def used(query: QuerySet[Any]) -> set[str]:
    """The indexes that the planner takes for a query."""
    if connection.vendor == "postgresql":
        return set(re.findall(r'"Index Name": "(\w+)"', json.dumps(json.loads(query.explain(format="json")))))
    return set(re.findall(r"INDEX (\w+)", query.explain()))


def names(wanted: Callable[[Any], bool] = lambda index: True) -> set[str]:
    models = apps.get_app_config("notebooks_app").get_models()
    return {index.name for model in models for index in model._meta.indexes if wanted(index)}


def test_each_index_serves_the_query_it_is_there_for():
    asked = queries(Data())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Rows that other tests rolled back are still in small indexes: the plan must not hang on how many.
            cursor.execute("SET LOCAL enable_seqscan = off")
    found = {name: used(query) for name, query in asked.items()}
    # An index that comes with no query here serves nobody.
    assert names() <= found.keys()
    excused = POSTGRESQL_ALONE if connection.vendor == "sqlite" else set()
    unused = {name for name, plan in found.items() if name not in plan} - excused
    assert {name: asked[name].explain() for name in unused} == {}


def test_a_persons_list_reads_their_notebooks_and_not_everybodys():
    data = Data()
    found = Notebook.objects.listed_for(data.reader).alive().recent().with_cell_count()
    assert {notebook.name for notebook in found} == {"own", "n0", "n1", "n2"}
    assert set(found) == set(Notebook.objects.visible_to(data.reader).alive())
    plan = found.all()[:50].explain()
    assert "Seq Scan on notebooks_app_notebook" not in plan
    assert not re.search(r"SCAN notebooks_app_notebook", plan), plan


def test_what_sqlite_is_excused_of_are_partial_indexes_only():
    assert names(lambda index: index.condition is not None) >= POSTGRESQL_ALONE
