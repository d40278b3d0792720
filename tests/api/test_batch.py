"""Batch edits over the API: in order, all or nothing, each on the version it was made on."""

from __future__ import annotations

import uuid

import pytest

from notebooks_app.models import Cell, Change

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def sources(client, at) -> list[str]:
    return [cell["source"] for cell in client.get(at + "cells/").json()["cells"]]


def test_a_batch_changes_cells_in_order_and_answers_what_the_database_holds(client, at, add):
    a, b, new = add("a = 1"), add("b = 2"), str(uuid.uuid4())
    operations = [
        {"op": "insert", "cell": new, "after": None, "source": "n = 0"},
        {"op": "edit", "cell": new, "version": 1, "source": "n = 5"},
        {"op": "update", "cell": a, "version": 1, "fields": {"disabled": True}},
        {"op": "move", "cell": a, "after": new},
        {"op": "delete", "cell": b, "version": 1},
    ]
    answer = client.post(at + "batch/", {"operations": operations}, format="json")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    held = [(cell["id"], cell["version"], cell["source"]) for cell in body["cells"]]
    assert held == [(new, 2, "n = 5"), (a, 2, "a = 1")]
    assert sources(client, at) == ["n = 5", "a = 1"]
    assert [item["seq"] for item in body["operations"]] == [3, 4, 5, 6, 7]
    assert (body["seq"], client.get(at).json()["revision"]) == (7, body["revision"])


@pytest.mark.parametrize("op", ["edit", "update", "delete"])
def test_one_operation_on_an_older_version_refuses_the_whole_batch(client, at, add, notebook, op):
    a, b = add("a = 1"), add("b = 2")
    client.patch(f"{at}cells/{b}/", {"source": "b = 3", "version": 1}, format="json")
    late = {"edit": {"source": "b = 4"}, "update": {"fields": {"disabled": True}}, "delete": {}}[op]
    edit = {"op": "edit", "cell": a, "version": 1, "source": "a = 9"}
    operations = [edit, {"op": op, "cell": b, "version": 1, **late}]
    answer = client.post(at + "batch/", {"operations": operations}, format="json")
    error = answer.json()["error"]
    assert (answer.status_code, error["operation"], error["version"], len(error["since"])) == (409, 1, 2, 1)
    assert sources(client, at) == ["a = 1", "b = 3"]
    assert Change.objects.filter(notebook=notebook).count() == 3


def test_a_retried_batch_gets_its_first_answer_and_writes_nothing(client, at, add, notebook):
    a = add("a = 1")
    body = {
        "operation_id": str(uuid.uuid4()),
        "operations": [{"op": "insert", "source": "x"}, {"op": "delete", "cell": a, "version": 1}],
    }
    first, second = (client.post(at + "batch/", body, format="json").json() for _ in range(2))
    assert first == second
    assert Cell.objects.alive().filter(notebook=notebook).count() == 1


@pytest.mark.parametrize(
    "operations",
    [None, [], {}, [5], [{}], [{"op": "drop"}], [{"op": "edit", "cell": "x", "version": 1, "source": ""}],
     [{"op": "insert", "version": 1}], [{"op": "insert", "source": "a\x00"}], [{"op": "insert", "colour": 1}],
     [{"op": "insert"}] * 501],
)  # fmt: skip
def test_a_bad_batch_is_refused_by_name(client, at, notebook, operations):
    answer = client.post(at + "batch/", {"operations": operations}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert not Change.objects.exists()


def test_a_batch_on_an_older_revision_is_refused_where_if_match_says_so(client, at, add):
    add("a")
    body = {"operations": [{"op": "insert", "source": "x"}]}
    for tag, status in (('"0"', 412), ('W/"1"', 412), ('"7", "1"', 200), ("*", 200), ("1", 400)):
        answer = client.post(at + "batch/", body, format="json", headers={"If-Match": tag})
        assert answer.status_code == status, (tag, answer.content)
