"""Callers of the API: one client for each of the cast, and a notebook that they have a part in."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from rest_framework.test import APIClient

from notebooks_app import services, sharing, versions
from notebooks_app.models import ApiToken, Connection, Membership, Notebook, Run

ROLES = ("owner", "editor", "runner", "viewer", "stranger")
type Client = Any


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each operation of a test by schemathesis an id of its own: xdist runs one test of an id, and no other."""
    for item in items:
        if type(item).__name__ == "SchemathesisFunction" and not item.nodeid.endswith("]"):
            item._id = dataclasses.replace(item._id, params=item.name.partition("[")[2].removesuffix("]"))
    ids = {item.nodeid for item in items}
    assert len(ids) == len(items), "Tests with the same id: some of them would not run."


@pytest.fixture
def cast(db: None) -> dict[str, Any]:
    """The people by name: owner, editor, runner, viewer, stranger."""
    return {role: get_user_model().objects.create_user(role) for role in ROLES}


@pytest.fixture
def notebook(cast: dict[str, Any]) -> Notebook:
    made = Notebook.objects.create(owner=cast["owner"], name="Sales")
    for role in ("editor", "runner", "viewer"):
        Membership.objects.create(notebook=made, user=cast[role], role=role)
    return made


@pytest.fixture
def client_of(cast: dict[str, Any]) -> Callable[[str], Client]:
    """`client_of("viewer")`; "nobody" has not signed in."""

    def client(name: str) -> Client:
        made = APIClient(raise_request_exception=True)
        if name != "nobody":
            made.force_login(cast[name])
        return made

    return client


@pytest.fixture
def client(client_of: Callable[[str], Client]) -> Client:
    return client_of("owner")


@pytest.fixture
def at(notebook: Notebook) -> str:
    """Where the notebook is."""
    return f"/api/v1/notebooks/{notebook.pk}/"


@pytest.fixture
def add(notebook: Notebook, cast: dict[str, Any]) -> Callable[..., str]:
    """Put a cell at the end: `add("x = 1")` gives its id."""
    last: list[uuid.UUID] = []

    def cell(source: str = "", **more: Any) -> str:
        services.insert_cell(
            notebook.pk,
            made := uuid.uuid4(),
            after=last[-1] if last else None,
            cell_type=more.pop("cell_type", "python"),
            author=services.Author.of(cast["owner"]),
            operation_id=uuid.uuid4(),
            source=source,
            **more,
        )
        last.append(made)
        return str(made)

    return cell


@pytest.fixture
def known(cast: dict[str, Any], notebook: Notebook, add: Callable[..., str]) -> dict[str, Any]:
    """Ids of things that are there, by the names that addresses give them."""
    cell = add("x = 1")
    other = add("print(x)")
    version = versions.name_version(notebook.pk, "first", author=services.Author.of(cast["owner"]))
    connection = Connection(owner=cast["owner"], name="shop")
    connection.set_dsn("postgresql://reader:secret@db.example.org/shop")
    connection.save()
    now = timezone.now()
    return {
        "notebook_id": str(notebook.pk),
        "cell_id": cell,
        "other_cell": other,
        "version_id": str(version.pk),
        "connection_id": str(connection.pk),
        "run_id": str(Run.objects.create(notebook=notebook, outcome="ok", started_at=now, finished_at=now).pk),
        "link_id": str(sharing.create(notebook, role="viewer")[0].pk),
        "user_id": cast["editor"].pk,
        "token_id": ApiToken.issue(cast["owner"].pk, "other", "read")[0].pk,
    }
