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
def write(client: Any, at: str, done: Body) -> Callable[..., Any]:
    """Send a write: `write(method, path, body, operation)`."""

    def sent(method: str, path: str, body: Body, operation: str | None = None, **headers: str) -> Any:
        body, address = filled(body, done), at + path.format(**done)
        if method == "delete":
            return client.delete(f"{address}?operation_id={operation}" if operation else address, headers=headers)
        chosen = {NAME_OF_ID.get(path, "operation_id"): operation} if operation else {}
        return getattr(client, method)(address, {**body, **chosen}, format="json", headers=headers)

    return sent


@pytest.fixture
def send(write: Callable[..., Any]) -> Callable[..., Any]:
    """Send one of WRITES: `send("edit", operation)`, or with a key instead."""
    return lambda name, operation=None, **headers: write(*WRITES[name], operation, **headers)


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


# A change, and others that are none of its retries.
OTHERS: dict[str, list[tuple[str, str, Body]]] = {
    "rename": [
        ("put", "name/", {"name": "M"}),
        ("patch", "", {"run_mode": "lazy"}),
        # The changes of a batch have ids of their own, which follow from this one; the last one renames it so, too.
        *(WRITES[name] for name in WRITES if name not in ("rename", "batch", "change the notebook")),
    ],
    "insert under an id": [("post", "cells/", {"id": "00000000-0000-4000-8000-000000000002"})],
    "edit": [
        ("patch", "cells/{other_cell}/", {"source": "y = 2", "version": 1}),
        ("patch", "cells/{cell_id}/", {"disabled": True}),
        WRITES["delete"],
        WRITES["insert at the end"],
        WRITES["undo of deletion"],
    ],
    "update": [("patch", "cells/{cell_id}/", {"disabled": True}), WRITES["edit"]],
    "move after": [("post", "cells/{other_cell}/move/", {"index": 0}), WRITES["delete"]],
    "delete": [("delete", "cells/{other_cell}/", {}), WRITES["move after"]],
    "change the notebook": [("patch", "", {"name": "M"}), ("patch", "", {"run_mode": "lazy"})],
    "batch": [
        ("post", "batch/", {"operations": WRITES["batch"][2]["operations"][:1]}),
        ("post", "batch/", {"operations": [*WRITES["batch"][2]["operations"], {"op": "insert"}]}),
        ("post", "batch/", {"operations": WRITES["batch"][2]["operations"][::-1]}),
    ],
    "restore a deleted cell": [("post", "bin/restore/", {"cells": ["{cell_id}"]}), WRITES["insert at the end"]],
    "undo of insertion": [WRITES["undo of deletion"], WRITES["delete"]],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_change_under_the_id_of_another_one_is_refused_and_writes_nothing(write, name):
    operation = str(uuid.uuid4())
    assert write(*WRITES[name], operation).status_code in (200, 201, 204)
    before = stored()
    for other in OTHERS[name]:
        answer = write(*other, operation)
        assert answer.status_code == 422, (other, answer.content)
        assert answer.json()["error"]["code"] == "operation_id_reused"
        assert stored() == before, other


def test_an_undo_under_the_id_of_another_change_is_refused_and_leaves_that_as_it_was(client, at, done):
    before = Change.objects.get(operation_id=done["insertion"])
    body = {"operation_id": done["insertion"], "new_operation_id": done["insertion"]}
    answer = client.post(at + "undo/", body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "operation_id_reused")
    assert Change.objects.get(pk=before.pk).inverse == before.inverse
