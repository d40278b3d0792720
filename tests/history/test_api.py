"""The API of history: versions, recent changes, undo after a reload, the bins. Who may do what."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from notebooks_app.models import ApiToken, Cell, Change, Notebook, Version
from notebooks_app.services import Author
from tests.api.conftest import add, at, cast, client, client_of, notebook  # noqa: F401
from tests.history.conftest import Workbench, queries

pytestmark = [pytest.mark.database, pytest.mark.django_db]
type Clients = Callable[[str], Any]


@pytest.fixture
def bench(notebook: Notebook, cast: dict[str, Any]) -> Workbench:  # noqa: F811
    return Workbench(notebook, Author.of(cast["owner"]))


def named(client: Any, at: str, name: str = "v") -> dict[str, Any]:  # noqa: F811
    answer = client.post(f"{at}versions/", {"name": name}, format="json")
    assert answer.status_code == 201, answer.data
    return answer.data


# --- Who may do what -------------------------------------------------------------------------------------------------

READS = ["versions/", "versions/{version}/", "versions/{version}/diff/", "history/", "history/mine/", "bin/"]
STATUS = {"nobody": 401, "stranger": 404, "viewer": 403, "runner": 403}


def test_a_viewer_reads_all_of_it_and_a_stranger_nothing(client_of: Clients, at: str, bench: Workbench):  # noqa: F811
    bench.add("a")
    version = named(client_of("owner"), at)["id"]
    for path in READS:
        url = at + path.format(version=version)
        assert client_of("viewer").get(url).status_code == 200, path
        assert client_of("stranger").get(url).status_code == 404, path
        assert client_of("nobody").get(url).status_code in (401, 403), path


@pytest.mark.parametrize("person", ["stranger", "viewer", "runner"])
def test_only_an_editor_names_and_brings_back(client_of: Clients, at: str, bench: Workbench, person: str):  # noqa: F811
    cell = bench.add("a")
    version = named(client_of("editor"), at)["id"]
    bench.delete(cell)
    one = client_of(person)
    for path, body in (
        ("versions/", {"name": "mine"}),
        (f"versions/{version}/restore/", {}),
        ("bin/restore/", {"cells": [str(cell)]}),
    ):
        assert one.post(at + path, body, format="json").status_code == STATUS[person], path
    assert bench.order() == []
    assert Version.objects.count() == 1
    assert client_of("editor").post(f"{at}versions/{version}/restore/").status_code == 200
    assert bench.order() == [cell]


@pytest.mark.parametrize("person", ["stranger", "viewer", "runner", "editor"])
def test_only_the_owner_deletes_for_ever(client_of: Clients, at: str, bench: Workbench, person: str):  # noqa: F811
    cell = bench.add("a")
    version = named(client_of("owner"), at)["id"]
    bench.delete(cell)
    expected = 404 if person == "stranger" else 403
    for path in (f"versions/{version}/", "bin/"):
        assert client_of(person).delete(at + path).status_code == expected
    assert client_of("owner").delete(f"{at}bin/").data == {"deleted": 1}
    assert client_of("owner").delete(f"{at}versions/{version}/").status_code == 204
    assert not Cell.objects.exists()
    assert not Version.objects.exists()


def test_a_token_to_read_names_nothing(client: Any, at: str, cast: dict[str, Any], bench: Workbench):  # noqa: F811
    _, text = ApiToken.issue(cast["owner"].pk, "t", "read")
    reader = APIClient(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert reader.get(f"{at}versions/").status_code == 200
    assert reader.post(f"{at}versions/", {"name": "v"}, format="json").status_code == 403
    client.delete(at)
    assert reader.get("/api/v1/bin/").data["count"] == 1
    assert reader.post(f"/api/v1/bin/{bench.pk}/restore/").status_code == 403
    assert reader.delete(f"/api/v1/bin/{bench.pk}/").status_code == 403


# --- Versions --------------------------------------------------------------------------------------------------------


def test_a_version_is_named_read_compared_and_brought_back(client: Any, at: str, bench: Workbench):  # noqa: F811
    cell = bench.add("x = 1")
    made = named(client, at, "  First ")
    assert (made["name"], made["cell_count"], made["revision"], made["author"]) == ("First", 1, 1, "owner")
    bench.edit(cell, "x = 2")

    read = client.get(f"{at}versions/{made['id']}/").data
    assert [(one["id"], one["number"], one["source"]) for one in read["cells"]] == [(str(cell), 1, "x = 1")]
    found = client.get(f"{at}versions/{made['id']}/diff/").data
    assert [one["diff"].splitlines()[1:] for one in found["changed"]] == [["-x = 1", "+x = 2"]]
    operation = str(uuid.uuid4())
    answer = client.post(f"{at}versions/{made['id']}/restore/", {"operation_id": operation}, format="json")
    assert answer.data["event"]["type"] == "notebook.restored"
    assert (answer.data["seq"], answer.data["revision"], answer.data["operation_id"]) == (3, 3, operation)
    assert bench.sources() == ["x = 1"]
    listed = client.get(f"{at}versions/").data
    assert [row["name"] for row in listed["results"]] == ["Before restoring “First”", "First"]

    undone = client.post(f"{at}undo/", {"operation_id": operation}, format="json")
    assert undone.status_code == 200
    assert bench.sources() == ["x = 2"]


def test_restoring_the_same_is_a_conflict_that_says_so(client: Any, at: str, bench: Workbench):  # noqa: F811
    bench.add("x = 1")
    answer = client.post(f"{at}versions/{named(client, at)['id']}/restore/")
    assert answer.status_code == 409
    assert "nothing to bring back" in answer.data["error"]["message"]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 5}, {"name": "x" * 201}, {"name": "a", "seq": 1}, []])
def test_a_version_without_a_proper_name_is_refused(client: Any, at: str, body: Any):  # noqa: F811
    assert client.post(f"{at}versions/", body, format="json").status_code == 400


def test_a_list_of_versions_costs_the_same_however_long_it_is(client: Any, at: str, bench: Workbench):  # noqa: F811
    bench.add("a")
    named(client, at)
    few = queries(lambda: client.get(f"{at}versions/"))
    for number in range(5):
        named(client, at, f"v{number}")
    assert queries(lambda: client.get(f"{at}versions/")) == few


# --- What happened ---------------------------------------------------------------------------------------------------


def test_changes_since_a_revision_are_told(client: Any, at: str, bench: Workbench):  # noqa: F811
    cell = bench.add("a")
    revision = client.get(at).data["revision"]
    bench.edit(cell, "b")
    Notebook.objects.filter(pk=bench.pk).update(seq=9)  # runs take numbers, not revisions
    bench.edit(cell, "c")
    found = client.get(f"{at}changes/?since_revision={revision}").data
    assert [(event["seq"], event["version"]) for event in found["events"]] == [(2, 2), (10, 3)]
    assert client.get(f"{at}changes/?since_revision=99").data["events"] == []
    for wrong in ("since_revision=x", "since_revision=-1", "since=1&since_revision=1"):
        assert client.get(f"{at}changes/?{wrong}").status_code == 400


def test_recent_changes_are_told_in_words(client: Any, at: str, bench: Workbench, cast: dict[str, Any]):  # noqa: F811
    one, two = bench.add("a"), bench.add("b")
    for text in ("aa", "aaa", "aaaa"):
        bench.edit(one, text)
    bench.update(two, disabled=True)
    bench.update(two, type="sql")
    bench.author = Author.of(cast["editor"])
    bench.move(two, after=None)
    gone = bench.add("c")
    bench.undo(bench.delete(gone, one))
    bench.delete(gone)
    client.patch(at, {"name": "Autumn"}, format="json")
    client.patch(at, {"run_mode": "lazy"}, format="json")

    found = client.get(f"{at}history/").data

    assert found["before"] is None
    told = [(group["author"], [(row["words"], row["count"]) for row in group["entries"]]) for group in found["groups"]]
    assert told == [
        ("owner", [("changed the notebook's settings", 1), ("renamed the notebook “Autumn”", 1)]),
        (
            "editor",
            [
                ("deleted a cell", 1),
                ("brought back 2 cells", 1),
                ("deleted 2 cells", 1),
                ("added a cell that is deleted now", 1),
                ("moved cell 1", 1),
            ],
        ),
        (
            "owner",
            [
                ("changed the type of cell 1", 1),
                ("disabled cell 1", 1),
                ("edited cell 2", 3),
                ("added cell 1", 1),
                ("added cell 2", 1),
            ],
        ),
    ]
    assert found["groups"][1]["entries"][4]["cell"] == str(two)


def test_recent_changes_come_in_pages(client: Any, at: str, bench: Workbench):  # noqa: F811
    cell = bench.add("a")
    for number in range(5):
        bench.edit(cell, str(number))
    first = client.get(f"{at}history/?limit=4").data
    assert first["groups"][0]["entries"][0]["count"] == 4
    second = client.get(f"{at}history/?limit=4&before={first['before']}").data
    assert [row["words"] for row in second["groups"][0]["entries"]] == ["edited cell 1", "added cell 1"]
    assert second["before"] is None
    cost = queries(lambda: client.get(f"{at}history/"))
    for number in range(20):
        bench.add(f"x{number}")
    assert queries(lambda: client.get(f"{at}history/")) == cost


def test_what_can_be_undone_is_known_after_a_reload(client_of: Clients, at: str, bench: Workbench):  # noqa: F811
    client, other = client_of("owner"), client_of("editor")  # noqa: F811

    def mine(one: Any = client) -> tuple[list[str], list[str]]:
        found = one.get(f"{at}history/mine/").data
        return found["undo"], found["redo"]

    cell = bench.add("a")
    bench.edit(cell, "b")
    moved, deleted = bench.move(cell, after=None), bench.delete(cell)
    (added, *rest), redo = mine()
    assert (rest, redo) == ([_id(moved), _id(deleted)], [])
    undone = bench.undo(deleted)
    assert mine() == ([added, _id(moved)], [_id(undone)])
    redone = bench.undo(undone)
    assert mine() == ([added, _id(moved), _id(redone)], [])
    again = bench.undo(redone)
    bench.update(cell, disabled=True)
    assert mine()[1] == []
    assert _id(again) not in mine()[0]
    assert mine(other) == ([], [])
    Change.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert mine() == ([], [])


def _id(accepted: Any) -> str:
    return str(accepted.event["operation_id"])


# --- The bins --------------------------------------------------------------------------------------------------------


def test_deleted_cells_are_listed_and_brought_back(client: Any, at: str, bench: Workbench):  # noqa: F811
    cells = [bench.add(source) for source in "abc"]
    bench.delete(cells[0], cells[1])
    found = client.get(f"{at}bin/").data
    assert [(row["id"], row["source"]) for row in found["results"]] == [(str(cells[0]), "a"), (str(cells[1]), "b")]
    answer = client.post(f"{at}bin/restore/", {"cells": [str(cells[1])]}, format="json")
    assert answer.data["event"]["type"] == "cells.restored"
    assert client.post(f"{at}bin/restore/").status_code == 200
    assert bench.order() == cells
    assert client.post(f"{at}bin/restore/").status_code == 404


@pytest.mark.parametrize("body", [{"cells": []}, {"cells": "x"}, {"cells": ["x"]}, {"cells": None}, {"cell": "x"}])
def test_a_malformed_wish_is_refused(client: Any, at: str, body: Any):  # noqa: F811
    assert client.post(f"{at}bin/restore/", body, format="json").status_code == 400


def test_a_notebook_goes_to_the_bin_and_comes_back(client_of: Clients, at: str, bench: Workbench):  # noqa: F811
    client, editor = client_of("owner"), client_of("editor")  # noqa: F811
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    (row,) = client.get("/api/v1/bin/").data["results"]
    assert (row["id"], row["name"], row["cell_count"]) == (str(bench.pk), "Sales", 0)
    for one in (editor, client_of("stranger")):
        assert one.get("/api/v1/bin/").data["count"] == 0
        assert one.post(f"/api/v1/bin/{bench.pk}/restore/").status_code == 404
        assert one.delete(f"/api/v1/bin/{bench.pk}/").status_code == 404
    assert client.post(f"/api/v1/bin/{bench.pk}/restore/").data["name"] == "Sales"
    assert editor.get(at).status_code == 200
    assert client.delete(f"/api/v1/bin/{bench.pk}/").status_code == 404
    client.delete(at)
    assert client.delete(f"/api/v1/bin/{bench.pk}/").status_code == 204
    assert not Notebook.objects.filter(pk=bench.pk).exists()
