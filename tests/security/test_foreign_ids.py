"""Ids of another notebook's things, used in one's own: nothing is found, and nothing happens."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from notebooks_app import files, services, sharing, versions
from notebooks_app.models import Cell, Connection, Membership, Notebook, Run
from notebooks_app.services import Author
from tests.security.test_access_urls import routes

pytestmark = [pytest.mark.django_db]
SECRET = "what only its own people may read"


@pytest.fixture
def people() -> tuple[Any, Any]:
    make = get_user_model().objects.create_user
    return make("mallory", password="x"), make("ana", password="x")


@pytest.fixture
def theirs(people: tuple[Any, Any]) -> dict[str, Any]:
    """Everything with an id that ana's notebook has."""
    ana = people[1]
    notebook = Notebook.objects.create(owner=ana, name=SECRET)
    cell = uuid.uuid4()
    author = Author.of(ana)
    services.insert_cell(
        notebook.pk, cell, after=None, cell_type="python", author=author, operation_id=uuid.uuid4(), source=SECRET
    )
    gone = uuid.uuid4()
    services.insert_cell(
        notebook.pk, gone, after=None, cell_type="python", author=author, operation_id=uuid.uuid4(), source=SECRET
    )
    operation = uuid.uuid4()
    services.delete_cells(notebook.pk, [gone], author=author, operation_id=operation)
    version = versions.name_version(notebook.pk, SECRET, author=author)
    link, _ = sharing.create(notebook, role="viewer", expires_at=timezone.now() + timedelta(days=1), by=ana)
    connection = Connection(owner=ana, name=SECRET)
    connection.set_dsn("postgresql://ana:pw@db.example.com/shop")
    connection.save()
    file = files.keep_bytes(notebook.pk, "image/png", SECRET.encode())
    run = Run.objects.create(notebook=notebook, kind="requested", started_at=timezone.now())
    return {
        "cell_id": cell, "version_id": version.pk, "link_id": link.pk, "run_id": run.pk, "file_id": file.pk,
        "connection": connection.pk, "operation": operation, "gone": gone, "notebook": notebook, "user_id": ana.pk,
    }  # fmt: skip


@pytest.fixture
def client(people: tuple[Any, Any]) -> Client:
    made = Client()
    made.force_login(people[0])
    return made


@pytest.fixture
def mine(people: tuple[Any, Any]) -> Notebook:
    return Notebook.objects.create(owner=people[0], name="mine")


def picture(notebook: Notebook) -> list[Any]:
    """What must not change."""
    notebook.refresh_from_db()
    cells = Cell.objects.filter(notebook=notebook).order_by("pk").values_list("pk", "source", "deleted_at", "version")
    members = list(Membership.objects.filter(notebook=notebook).values_list("user", "role"))
    links = list(notebook.share_links.values_list("pk", "revoked_at"))
    return [notebook.name, notebook.seq, list(cells), members, links]


ADDRESSES = sorted(route for route in routes() if len(re.findall(r"<(?:uuid|int):", route)) > 1)
BODIES = {
    "PATCH": {"source": "x", "version": 1},
    "POST": {"after": None},
    "PUT": {},
}


@pytest.mark.parametrize("route", ADDRESSES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_an_address_of_ones_own_notebook_leads_to_nothing_of_anothers(
    client: Client, mine: Notebook, theirs: dict[str, Any], route: str, method: str
):
    before = picture(theirs["notebook"])
    path = "/" + route.replace("<uuid:notebook_id>", str(mine.pk))
    path = re.sub(r"<(?:uuid|int):(\w+)>", lambda found: str(theirs[found[1]]), path)
    for body in (BODIES.get(method), {"role": "editor"}, {}):
        answer = client.generic(method, path, _json(body), content_type="application/json")
        assert answer.status_code in (400, 404, 405), (answer.status_code, answer.content)
        assert SECRET not in answer.content.decode()
    assert picture(theirs["notebook"]) == before


def edit(cell: Any) -> dict[str, Any]:
    return {"op": "edit", "cell": str(cell), "source": "x", "version": 1}


def insert(after: Any) -> dict[str, Any]:
    return {"op": "insert", "type": "python", "source": "", "after": str(after)}


BY_BODY = [
    ("POST", "cells/", lambda ids: {"type": "python", "source": "", "after": str(ids["cell_id"])}),
    ("POST", "cells/", lambda ids: {"type": "python", "source": "", "id": str(ids["cell_id"])}),
    ("POST", "cells/", lambda ids: {"type": "sql", "source": "", "connection": str(ids["connection"])}),
    ("POST", "undo/", lambda ids: {"operation_id": str(ids["operation"])}),
    ("POST", "bin/restore/", lambda ids: {"cells": [str(ids["gone"])]}),
    ("PATCH", "", lambda ids: {"connection": str(ids["connection"])}),
    ("PUT", "db/", lambda ids: {"connection": str(ids["connection"])}),
    ("POST", "batch/", lambda ids: {"operations": [{"op": "delete", "cell": str(ids["cell_id"])}]}),
    ("POST", "batch/", lambda ids: {"operations": [edit(ids["cell_id"])]}),
    ("POST", "batch/", lambda ids: {"operations": [{"op": "move", "cell": str(ids["cell_id"]), "after": None}]}),
    ("POST", "batch/", lambda ids: {"operations": [insert(ids["cell_id"])]}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), BY_BODY, ids=lambda value: value if isinstance(value, str) else "")
def test_a_body_that_names_a_thing_of_anothers_is_refused(
    client: Client, mine: Notebook, theirs: dict[str, Any], method: str, path: str, body: Any
):
    before, own = picture(theirs["notebook"]), picture(mine)
    address = f"/api/v1/notebooks/{mine.pk}/{path}"
    answer = client.generic(method, address, _json(body(theirs)), content_type="application/json")
    assert answer.status_code in (400, 404, 409), (answer.status_code, answer.content)
    assert SECRET not in answer.content.decode()
    assert (picture(theirs["notebook"]), picture(mine)) == (before, own)


def _json(body: Any) -> str:
    return json.dumps(body) if body is not None else ""
