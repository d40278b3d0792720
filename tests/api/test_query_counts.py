"""What the API costs does not follow the size of what it does not touch: the same statements for few and for many."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notebooks_app import services, sharing, versions
from notebooks_app.models import ApiToken, Cell, Connection, Membership, Notebook, Output, Run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FEW, MANY = 3, 40
STREAM = {"name": "stdout", "text": "x", "cut": None}


def statements(send: Callable[[], Any]) -> list[str]:
    """The verb and the table of each, in order; of the second time, when nothing is analysed or made first."""
    send()
    with CaptureQueriesContext(connection) as captured:
        answer = send()
    assert answer.status_code < 300, answer.content
    return [_shape(query["sql"]) for query in captured]


def _shape(sql: str) -> str:
    table = re.search(r'(?:FROM|UPDATE|INTO) "(\w+)"', sql)
    return f"{sql.split(maxsplit=1)[0]} {table[1] if table else ''}"


@pytest.fixture
def grow(cast: dict[str, Any], notebook: Notebook, add: Callable[..., str]) -> Callable[[int], None]:
    """Give the notebook, and its owner, this many more of everything that is listed."""

    def more(count: int) -> None:
        owner = services.Author.of(cast["owner"])
        binned = [uuid.UUID(add("gone")) for _ in range(count)]
        for _ in range(count):
            cell = add(f"v{uuid.uuid4().hex} = 1")
            Output.objects.create(cell_id=cell, index=0, kind="stream", data=STREAM)
            Run.objects.create(notebook=notebook, outcome="ok", started_at=timezone.now(), started_by=cast["editor"])
            person = get_user_model().objects.create_user(uuid.uuid4().hex)
            Membership.objects.create(notebook=notebook, user=person, role="viewer")
            sharing.create(notebook, role="viewer")
            ApiToken.issue(cast["owner"].pk, "t", "read")
            found = Connection(owner=cast["owner"], name=uuid.uuid4().hex)
            found.set_dsn("postgresql://u:p@db.example.org/d")
            found.save()
            shared = Notebook.objects.create(owner=person, name="shared")
            Membership.objects.create(notebook=shared, user=cast["owner"], role="viewer")
            Notebook.objects.create(owner=cast["owner"], name="binned", deleted_at=timezone.now())
        services.delete_cells(notebook.pk, binned, author=owner, operation_id=uuid.uuid4())
        for number in range(min(count, 10)):
            versions.name_version(notebook.pk, f"v{number}", author=owner)

    return more


READS = [
    "notebooks/", "notebooks/?search=s", "notebooks/?search={cell}",
    "notebooks/{id}/", "notebooks/{id}/?outputs=0&sources=0",
    "notebooks/{id}/cells/", "notebooks/{id}/cells/{cell}/", "notebooks/{id}/cells/{cell}/outputs/",
    "notebooks/{id}/changes/",
    "notebooks/{id}/runs/", "notebooks/{id}/runs/{run}/", "notebooks/{id}/members/", "notebooks/{id}/links/",
    "notebooks/{id}/versions/", "notebooks/{id}/versions/{version}/", "notebooks/{id}/versions/{version}/diff/",
    "notebooks/{id}/history/", "notebooks/{id}/history/mine/", "notebooks/{id}/bin/", "notebooks/{id}/kernel/",
    "bin/", "connections/", "tokens/",
]  # fmt: skip


@pytest.fixture
def ids(known: dict[str, Any]) -> dict[str, Any]:
    names = {"id": "notebook_id", "cell": "cell_id", "run": "run_id", "version": "version_id"}
    return {short: known[name] for short, name in names.items()}


def test_reading_takes_the_same_statements_for_few_and_for_many(client, ids, grow):
    grow(FEW)
    few = {path: statements(lambda: client.get("/api/v1/" + path.format(**ids))) for path in READS}  # noqa: B023
    grow(MANY)
    for path in READS:
        many = statements(lambda: client.get("/api/v1/" + path.format(**ids)))  # noqa: B023
        assert many == few[path], path
        assert len(many) <= 14, (path, many)


def test_changing_one_cell_takes_the_same_statements_in_a_small_and_in_a_large_notebook(client, ids, grow):
    at = f"/api/v1/notebooks/{ids['id']}/"

    def edit() -> Any:
        version = Cell.objects.get(pk=ids["cell"]).version
        return client.patch(f"{at}cells/{ids['cell']}/", {"source": "x = 2", "version": version}, format="json")

    def batch() -> Any:
        new = str(uuid.uuid4())
        operations = [
            {"op": "insert", "cell": new, "after": ids["cell"], "source": "a = 1"},
            {"op": "edit", "cell": new, "version": 1, "source": "a = 2"},
            {"op": "update", "cell": new, "version": 2, "fields": {"disabled": True}},
            {"op": "move", "cell": new, "after": None},
            {"op": "delete", "cell": new, "version": 3},
        ]
        return client.post(f"{at}batch/", {"operations": operations}, format="json")

    def insert() -> Any:
        return client.post(f"{at}cells/", {"after": ids["cell"]}, format="json")

    def move() -> Any:
        return client.post(f"{at}cells/{ids['cell']}/move/", {"index": 1}, format="json")

    def rename() -> Any:
        return client.put(f"{at}name/", {"name": "N"}, format="json")

    writes = {"edit": edit, "batch": batch, "insert": insert, "move": move, "rename": rename}
    grow(FEW)
    few = {name: statements(write) for name, write in writes.items()}
    grow(MANY)
    for name, write in writes.items():
        many = statements(write)
        assert many == few[name], name
    assert len(few["edit"]) <= 24
    assert len(few["batch"]) <= 70
