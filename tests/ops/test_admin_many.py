"""The admin on 10,000 notebooks: what its statements read, by the planners' own account."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notebooks_app.models import Cell, KernelSession, Membership, Notebook, Output, OutputFile, Run

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.soak]

NOTEBOOKS, CELLS, PEOPLE = 10_000, 3, 500
LISTS = ("notebooks_app/notebook", "notebooks_app/run", "notebooks_app/kernelsession", "notebooks_app/membership",
         "notebooks_app/connection", "notebooks_app/apitoken", "auth/user")  # fmt: skip
# Never read in whole; one narrow row a notebook or person may be, to sort by or to search in.
WIDE = {"notebooks_app_cell", "notebooks_app_output", "notebooks_app_outputfile", "notebooks_app_run"}


@pytest.fixture
def many(db: None) -> None:
    now = timezone.now()
    people = get_user_model().objects.bulk_create(get_user_model()(username=f"person {n}") for n in range(PEOPLE))
    notebooks = Notebook.objects.bulk_create(
        [Notebook(owner=people[n % PEOPLE], name=f"Notebook {n}") for n in range(NOTEBOOKS)], batch_size=1000
    )
    places = [(notebook, place) for notebook in notebooks for place in range(1, CELLS + 1)]
    cells = Cell.objects.bulk_create(
        [Cell(notebook=notebook, position=place, source="x = 1") for notebook, place in places], batch_size=1000
    )
    Output.objects.bulk_create(
        [Output(cell=cell, index=0, kind="stream", data={"text": "x" * 500}, size_bytes=500) for cell in cells],
        batch_size=1000,
    )
    Run.objects.bulk_create(
        [Run(notebook=notebook, started_at=now - timedelta(seconds=n)) for n, (notebook, _) in enumerate(places)],
        batch_size=1000,
    )
    KernelSession.objects.bulk_create(
        [KernelSession(notebook=notebook, expires=now) for notebook in notebooks], batch_size=1000
    )
    OutputFile.objects.bulk_create(
        [OutputFile(notebook=notebook, sha256="0", mime_type="image/png", size_bytes=9) for notebook in notebooks],
        batch_size=1000,
    )
    pairs = [(notebook, people[(n + 1) % PEOPLE]) for n, notebook in enumerate(notebooks)]
    Membership.objects.bulk_create(
        [Membership(notebook=notebook, user=person, role="viewer") for notebook, person in pairs], batch_size=1000
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@pytest.fixture
def admin(db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin"))
    return client


def statements(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in captured if query["sql"].startswith("SELECT")]


def read_in_whole(sql: str) -> set[str]:
    """The tables that a statement reads from end to end."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
            plan = cursor.fetchone()[0]
            return set(_scans(json.loads(plan) if isinstance(plan, str) else plan))
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    ordered = " ORDER BY " in sql and not any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    found = {found[1] for step in steps if (found := re.match(r"SCAN (\w+)", step))}
    return set() if ordered and "LIMIT" in sql else found  # an index in order, left after a page


def _scans(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for part in plan:
            yield from _scans(part)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        for part in plan.values():
            yield from _scans(part) if isinstance(part, (list, dict)) else ()


def test_no_page_reads_cells_outputs_files_or_runs_from_end_to_end(many, admin):
    notebook = Notebook.objects.order_by("pk")[NOTEBOOKS // 2]
    pages = [f"/admin/{name}/" for name in LISTS]
    pages += [f"/admin/{name}/?p=3" for name in LISTS[:4]]
    pages += ["/admin/notebooks_app/notebook/?q=777", f"/admin/notebooks_app/notebook/?q={notebook.pk}"]
    pages += ["/admin/notebooks_app/run/?q=777", f"/admin/notebooks_app/run/?notebook__id__exact={notebook.pk}"]
    pages += [f"/admin/notebooks_app/notebook/{notebook.pk}/change/", f"/admin/auth/user/{notebook.owner_id}/change/"]
    for page in pages:
        found = statements(admin, page)
        assert len(found) <= 16, page
        for sql in found:
            # A bounded count may begin anywhere: it ends after COUNTED_AT_MOST rows.
            if "COUNT(*)" in sql and "LIMIT" in sql:
                continue
            assert not read_in_whole(sql) & WIDE, (page, sql)


def test_the_bin_and_its_restoring_take_many_at_once(many, admin):
    ids = [str(pk) for pk in Notebook.objects.values_list("pk", flat=True)[:50]]
    for action, left in (("move_to_bin", NOTEBOOKS - 50), ("restore_from_bin", NOTEBOOKS)):
        admin.post("/admin/notebooks_app/notebook/", {"action": action, "_selected_action": ids})
        assert Notebook.objects.alive().count() == left
