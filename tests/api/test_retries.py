"""Every change, sent again under one operation id: the first answer, and nothing is written.

By the id that the caller chose, and by one that follows from its Idempotency-Key where the server went away before it
kept the answer. Whole answers kept by their key are test_idempotency.py's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from notebooks_app import binning, restoring, services, versions
from notebooks_app.models import Cell, Change, Connection, IdempotentAnswer, Notebook, Version

pytestmark = [pytest.mark.django_db, pytest.mark.database]

type Body = dict[str, Any]

DSN = "postgresql://reader:secret@db.example.org/other"
# By name: method, address, body. In braces: ids of `known`, and of the operations of `done`.
WRITES: dict[str, tuple[str, str, Body]] = {
    "insert at the end": ("post", "cells/", {"source": "n"}),
    "insert under an id": ("post", "cells/", {"source": "n", "id": "00000000-0000-4000-8000-000000000001"}),
    "insert after": ("post", "cells/", {"after": "{cell_id}"}),
    "insert before": ("post", "cells/", {"before": "{other_cell}"}),
    "insert at a place": ("post", "cells/", {"index": 2}),
    "insert on a connection": ("post", "cells/", {"type": "sql", "connection": "{connection_id}"}),
    "edit": ("patch", "cells/{cell_id}/", {"source": "x = 2", "version": 1}),
    "edit by changes": ("patch", "cells/{cell_id}/", {"changes": [5, [0, "0"]], "version": 1}),
    "edit with fields": ("patch", "cells/{cell_id}/", {"source": "x = 2", "version": 1, "disabled": True}),
    "update": ("patch", "cells/{cell_id}/", {"code_hidden": True, "version": 1}),
    "move after": ("post", "cells/{cell_id}/move/", {"after": "{other_cell}"}),
    "move before": ("post", "cells/{other_cell}/move/", {"before": "{cell_id}"}),
    "move to a place": ("post", "cells/{cell_id}/move/", {"index": 1}),
    "delete": ("delete", "cells/{cell_id}/", {}),
    "batch": (
        "post",
        "batch/",
        {
            "operations": [
                {"op": "insert", "source": "n"},
                {"op": "edit", "cell": "{cell_id}", "version": 1, "source": "x = 2"},
                {"op": "move", "cell": "{cell_id}", "after": "{other_cell}"},
                {"op": "delete", "cell": "{other_cell}", "version": 1},
            ]
        },
    ),
    "rename": ("put", "name/", {"name": "N"}),
    "change the notebook": ("patch", "", {"name": "N", "run_mode": "lazy", "connection": "{connection_id}"}),
    "choose a connection": ("put", "db/", {"connection": "{connection_id}"}),
    "make a connection": ("put", "db/", {"dsn": DSN}),
    "restore a version": ("post", "versions/{version_id}/restore/", {}),
    "restore a deleted cell": ("post", "bin/restore/", {"cells": ["{deleted_cell}"]}),
    "restore all deleted cells": ("post", "bin/restore/", {}),
    **{
        f"undo of {what}": ("post", "undo/", {"operation_id": f"{{{what}}}"})
        for what in ("insertion", "deletion", "movement", "update", "split", "restoring", "undoing")
    },
}
NAME_OF_ID = {"undo/": "new_operation_id"}


@pytest.fixture
def done(known: Body, notebook: Notebook, cast: dict[str, Any], add: Callable[..., str]) -> Body:
    """`known`, and what was done to other cells before, by the names of the operations."""
    cells = [uuid.UUID(add(f"c{number} = 1")) for number in range(5)]
    names = ("insertion", "deletion", "movement", "update", "split", "restoring", "undoing")
    ids = {name: uuid.uuid4() for name in names}

    pk, author = notebook.pk, services.Author.of(cast["owner"])

    def who(name: str = "") -> Body:
        return {"author": author, "operation_id": ids[name] if name else uuid.uuid4()}

    services.insert_cell(pk, uuid.uuid4(), after=cells[3], cell_type="python", **who("insertion"))
    services.delete_cells(pk, [cells[0]], **who("deletion"))
    services.move_cells(pk, [cells[1]], after=None, **who("movement"))
    services.update_cell(pk, cells[2], {"disabled": True}, **who("update"))
    services.edit_cell(pk, cells[3], version=1, source="c3", undoable=True, **who("split"))
    deleted = services.delete_cells(pk, [cells[4]], **who()).event["operation_id"]
    services.undo(pk, uuid.UUID(deleted), new_operation_id=ids["undoing"], author=author)
    now = versions.name_version(pk, "now", author=author)
    last = uuid.UUID(add("last"))
    restoring.restore_version(pk, now.pk, **who("restoring"))
    assert not Cell.objects.alive().filter(pk=last).exists()
    return {**known, "deleted_cell": str(last), **{name: str(found) for name, found in ids.items()}}


def filled(value: Any, ids: Body) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return value.format(**ids) if isinstance(value, str) else value


@pytest.fixture
def send(client: Any, at: str, done: Body) -> Callable[..., Any]:
    """Send a write: `send("edit", operation)`, or with a key instead."""

    def write(name: str, operation: str | None = None, **headers: str) -> Any:
        method, path, body = WRITES[name]
        body, address = filled(body, done), at + path.format(**done)
        if method == "delete":
            return client.delete(f"{address}?operation_id={operation}" if operation else address, headers=headers)
        chosen = {NAME_OF_ID.get(path, "operation_id"): operation} if operation else {}
        return getattr(client, method)(address, {**body, **chosen}, format="json", headers=headers)

    return write


def stored() -> tuple[Any, ...]:
    """What a retry must not change."""
    numbers = Notebook.objects.order_by("pk").values_list("seq", "revision", "updated_at")
    cells = Cell.objects.order_by("pk").values_list("pk", "version", "position", "deleted_at")
    return list(numbers), list(cells), Change.objects.count(), Connection.objects.count(), Version.objects.count()


def said(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.json() if answer.content else None


@pytest.mark.parametrize("name", WRITES)
def test_a_change_sent_again_gets_its_first_answer_and_writes_nothing(send, name):
    operation = str(uuid.uuid4())
    first = send(name, operation)
    assert first.status_code in (200, 201, 204), first.content
    before = stored()
    second = send(name, operation)
    assert said(second) == said(first)
    assert stored() == before


@pytest.mark.parametrize("name", WRITES)
def test_a_change_whose_server_went_away_before_it_kept_the_answer_is_done_once(send, name):
    first = send(name, **{"Idempotency-Key": "k"})
    IdempotentAnswer.objects.all().delete()
    before = stored()
    second = send(name, **{"Idempotency-Key": "k"})
    assert said(second) == said(first)
    assert "Idempotency-Replayed" not in second.headers
    assert stored() == before


MEANWHILE: dict[str, list[str]] = {  # what others deleted before the write was sent again
    "cells/{other_cell}/": [
        "insert after", "insert before", "insert at a place", "edit", "move after", "move before", "move to a place",
        "batch", "restore a version",
    ],
    "cells/{cell_id}/": [
        "insert after", "move after", "move before", "delete", "edit", "edit with fields", "update", "batch",
    ],
    "cells/00000000-0000-4000-8000-000000000001/": ["insert under an id"],
    "versions/{version_id}/": ["restore a version", "undo of restoring"],
}  # fmt: skip


@pytest.mark.parametrize(("gone", "name"), [(gone, name) for gone, names in MEANWHILE.items() for name in names])
def test_a_change_sent_again_after_what_it_named_is_gone_gets_the_number_of_the_first(
    client, at, done, send, gone, name
):
    operation = str(uuid.uuid4())
    first = send(name, operation)
    client.delete(at + gone.format(**done))
    before = stored()
    second = send(name, operation)
    assert second.status_code == first.status_code, second.content
    if first.content:
        assert [second.json()[key] for key in ("seq", "revision", "operation_id")] == [
            first.json()[key] for key in ("seq", "revision", "operation_id")
        ]
    assert stored() == before


def test_a_cell_that_was_deleted_since_it_was_inserted_is_answered_without_a_place(client, at, notebook, send):
    operation = str(uuid.uuid4())
    first = send("insert under an id", operation).json()
    client.delete(f"{at}cells/{first['id']}/")
    expected = (201, first | {"number": None})
    assert said(send("insert under an id", operation)) == expected
    binning.empty_cells(notebook.pk)
    as_inserted = (201, first | {"number": None, "references": []})  # before it was analysed
    assert said(send("insert under an id", operation)) == as_inserted
    assert client.get(f"{at}cells/{first['id']}/").status_code == 404


def test_a_change_sent_again_after_its_connection_is_gone_makes_none(client, send, done):
    for name in ("choose a connection", "make a connection"):
        operation = str(uuid.uuid4())
        chosen = send(name, operation).json()["connection"]
        client.delete(f"/api/v1/connections/{chosen}/")
        before = stored()
        assert send(name, operation).status_code == 200
        assert stored() == before


def test_a_slider_that_is_turned_again_under_one_id_is_turned_once(notebook, cast, add):
    cell, operation = uuid.UUID(add('rate = 0.2  # @param {type:"slider", min:0, max:1, step:0.1}')), uuid.uuid4()
    turn = {"version": 1, "author": services.Author.of(cast["owner"]), "operation_id": operation}
    first, second = (services.turn_slider(notebook.pk, cell, "rate", "0.3", **turn) for _ in range(2))
    assert first == second
    assert Cell.objects.get(pk=cell).version == 2


def test_an_undo_under_the_id_of_another_change_is_that_change_and_leaves_it_as_it_was(client, at, done):
    before = Change.objects.get(operation_id=done["insertion"])
    body = {"operation_id": done["insertion"], "new_operation_id": done["insertion"]}
    answer = client.post(at + "undo/", body, format="json")
    assert (answer.status_code, answer.json()["seq"]) == (200, before.seq)
    assert Change.objects.get(pk=before.pk).inverse == before.inverse
