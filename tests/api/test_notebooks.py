"""Notebooks over the API: the list, one with its cells, making, renaming, deleting."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notebooks_app.models import Cell, Membership, Notebook

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/api/v1/notebooks/"


def test_the_list_shows_what_the_person_sees_last_changed_first_with_their_role(client_of, cast, notebook):
    Notebook.objects.create(owner=cast["viewer"], name="Later")
    body = client_of("viewer").get(LIST).json()
    assert [(row["name"], row["role"], row["owner"], row["cell_count"]) for row in body["results"]] == [
        ("Later", "owner", "viewer", 0),
        ("Sales", "viewer", "owner", 0),
    ]
    assert body["count"] == 2


def test_the_list_is_searched_by_name_and_read_in_pages(client, cast):
    for number in range(7):
        Notebook.objects.create(owner=cast["owner"], name=f"Report {number}")
    Notebook.objects.create(owner=cast["owner"], name="Other")
    first = client.get(LIST, {"q": "report", "limit": 5}).json()
    second = client.get(first["next"]).json()
    assert (first["count"], len(first["results"]), len(second["results"]), second["next"]) == (7, 5, 2, None)
    assert client.get(LIST, {"q": "no such"}).json()["results"] == []


@pytest.mark.parametrize("cursor", ["", "x", "!", "W10", "WzEsMiwzXQ", "A" * 400, "\u00e4"])
def test_a_cursor_that_is_none_is_refused(client, cursor):
    answer = client.get(LIST, {"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


def test_pages_neither_repeat_nor_hide_a_notebook_while_others_are_made(client, cast):
    for number in range(6):
        Notebook.objects.create(owner=cast["owner"], name=str(number))
    first = client.get(LIST, {"limit": 2}).json()
    Notebook.objects.create(owner=cast["owner"], name="new")
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()
    names = [row["name"] for body in (first, second, third) for row in body["results"]]
    assert (names, third["next"]) == (["5", "4", "3", "2", "1", "0"], None)
    assert [row["name"] for row in client.get(third["previous"]).json()["results"]] == ["3", "2"]


def test_the_list_is_narrowed_to_an_owner_a_role_and_an_imported_id(client_of, cast, notebook):
    mine = Notebook.objects.create(owner=cast["viewer"], name="Mine", external_id="demo-77")
    viewer = client_of("viewer")

    def names(**query):
        return [row["name"] for row in viewer.get(LIST, query).json()["results"]]

    assert names(owner="owner") == names(role="viewer") == ["Sales"]
    assert names(role="owner") == names(search="DEMO-7") == names(owner="viewer") == [mine.name]
    assert names(role="editor") == []
    assert viewer.get(LIST, {"role": "king"}).status_code == 400


@pytest.fixture
def imported(add):
    """A cell whose id was another one where it came from."""
    cell = add("x = 1")
    Cell.objects.filter(pk=cell).update(external_id="cell_1690000000_ab")
    return cell


def test_a_notebook_is_found_by_a_cells_whole_id_of_before_and_after_an_import(client_of, cast, at, add, imported):
    add("other")
    Notebook.objects.create(owner=cast["owner"], name="Other")
    for term in ("cell_1690000000_ab", f" {imported} ", at.split("/")[-2]):
        found = client_of("viewer").get(LIST, {"search": term}).json()
        assert [row["name"] for row in found["results"]] == ["Sales"], term
        page = client_of("owner").get("/", {"q": term})
        assert [row["name"] for row in page.context["notebooks"]] == ["Sales"], term
        assert client_of("stranger").get(LIST, {"search": term}).json()["count"] == 0
    for term in ("cell_1690000000_a", "CELL_1690000000_AB", str(uuid.uuid4())):
        assert client_of("owner").get(LIST, {"search": term}).json()["count"] == 0, term
    client_of("owner").delete(f"{at}cells/{imported}/")
    assert client_of("owner").get(LIST, {"search": "cell_1690000000_ab"}).json()["count"] == 0


def test_the_search_for_an_old_id_reads_the_index_of_old_ids(cast):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # of a few rows it would read all
    for term in ("cell_1690000000_ab", str(uuid.uuid4())):
        assert "cell_external_id" in Notebook.objects.listed_for(cast["owner"]).searched(term).explain()


def test_a_cell_tells_the_id_that_it_had_before_its_import(client, at, add, imported):
    add("other")
    assert [cell["external_id"] for cell in client.get(at).json()["cells"]] == ["cell_1690000000_ab", ""]
    assert client.get(f"{at}cells/{imported}/").json()["external_id"] == "cell_1690000000_ab"


def test_what_the_reader_has_is_not_sent_again_until_it_changes(client, at, add):
    cell = f"{at}cells/{add('x = 1')}/"
    for address in (at, cell):
        tag = client.get(address).headers["ETag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            answer = client.get(address, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
        assert client.get(address, headers={"If-None-Match": "broken"}).status_code == 200
    assert client.patch(cell, {"disabled": True}, format="json", headers={"If-Match": tag}).status_code == 200
    assert client.get(cell, headers={"If-None-Match": tag}).status_code == 200


def test_an_edit_whose_if_match_is_of_an_older_version_is_refused_and_writes_nothing(client, at, add):
    cell = f"{at}cells/{add('x = 1')}/"
    tag = client.get(cell).headers["ETag"]
    client.patch(cell, {"source": "x = 2", "version": 1}, format="json")
    held = {"If-Match": tag}
    for refused in (client.patch(cell, {"disabled": True}, format="json", headers=held),
                    client.delete(cell, headers=held)):  # fmt: skip
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["version"]) == (412, "precondition_failed", 2)
    assert client.patch(at, {"name": "N"}, format="json", headers={"If-Match": '"1"'}).status_code == 412
    assert client.get(cell).json()["source"] == "x = 2"


def test_a_search_with_a_nul_is_refused(client):
    assert client.get(LIST, {"q": "a\x00b"}).status_code == 400


def queries(client, path) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def test_the_list_costs_the_same_for_two_and_for_forty_notebooks(client, cast):
    Notebook.objects.create(owner=cast["owner"], name="a")
    Notebook.objects.create(owner=cast["owner"], name="b")
    few = queries(client, LIST)
    for number in range(38):
        made = Notebook.objects.create(owner=cast["viewer"], name=f"c{number}")
        Membership.objects.create(notebook=made, user=cast["owner"], role="viewer")
        Cell.objects.create(notebook=made, position=1)
    assert queries(client, LIST) == few


def test_one_notebook_costs_the_same_with_two_and_with_forty_cells(client, at, add):
    add("x = 1"), add("y = x")
    queries(client, at)
    few = queries(client, at)
    for number in range(38):
        add(f"z{number} = y")
    queries(client, at)  # analyses
    assert queries(client, at) == few


def test_a_notebook_comes_with_its_cells_their_states_and_its_kernel(client, at, add, notebook):
    add("x = 1")
    add("y = x + z")
    add("## Text", cell_type="markdown")
    body = client.get(at).json()
    assert {key: body[key] for key in ("id", "name", "run_mode", "role", "kernel", "seq", "revision")} == {
        "id": str(notebook.pk), "name": "Sales", "run_mode": "auto", "role": "owner",
        "kernel": {"state": "stopped", "detail": ""}, "seq": 3, "revision": 3,
    }  # fmt: skip
    names = [(cell["number"], cell["definitions"], cell["references"]) for cell in body["cells"]]
    assert names == [(1, ["x"], []), (2, ["y"], ["x", "z"]), (3, [], [])]
    second = body["cells"][1]
    assert (second["status"], second["freshness"], second["outputs"]) == ("idle", "new", [])
    assert (second["state"]["freshness"], second["version"], second["source"]) == ("new", 1, "y = x + z")


def test_outputs_are_left_out_when_asked(client, at, add):
    add("x = 1")
    assert client.get(at, {"outputs": "0"}).json()["cells"][0]["outputs"] is None
    assert client.get(at + "cells/", {"outputs": "0"}).json()["cells"][0]["outputs"] is None
    assert client.get(at, {"outputs": "maybe"}).status_code == 400


def test_states_tell_of_the_sources_as_they_are_now(client, at, add):
    add("x = 1")
    second = add("y = 2")
    client.patch(f"{at}cells/{second}/", {"source": "x = 2", "version": 1}, format="json")
    states = [cell["state"] for cell in client.get(at).json()["cells"]]
    assert [[error["kind"] for error in state["errors"]] for state in states] == [["duplicate"], ["duplicate"]]


def test_a_notebook_is_made_without_cells(client):
    answer = client.post(LIST, {"name": "  Fresh "}, format="json")
    body = answer.json()
    assert (answer.status_code, body["name"], body["role"], len(body["cells"])) == (201, "Fresh", "owner", 0)
    assert client.get(f"{LIST}{body['id']}/").json() == body


def test_a_notebook_is_made_once_under_the_id_that_its_maker_chose(client, client_of, notebook):
    chosen = str(uuid.uuid4())
    assert client.post(LIST, {"name": "a", "id": chosen}, format="json").json()["id"] == chosen
    for other in (client, client_of("stranger")):
        answer = other.post(LIST, {"name": "b", "id": chosen}, format="json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert Notebook.objects.get(pk=chosen).name == "a"


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "   "}, {"name": 5}, {"name": None}, {"name": "x" * 201}, {"name": ["x"]},
     {"name": "a", "id": "b"}, {"name": "a", "owner": 1}, {"name": True}, [], None, "name", 5],
)  # fmt: skip
def test_a_notebook_with_a_bad_body_is_refused(client, body):
    answer = client.post(LIST, body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert not Notebook.objects.exists()


def test_name_and_run_mode_change_together_and_a_retry_changes_nothing(client, at, notebook):
    body = {"name": "New", "run_mode": "lazy", "operation_id": str(uuid.uuid4())}
    for _ in range(2):
        answer = client.patch(at, body, format="json").json()
        assert (answer["name"], answer["run_mode"], answer["revision"]) == ("New", "lazy", 2)


@pytest.mark.parametrize(
    "body",
    [{}, {"run_mode": "fast"}, {"run_mode": 1}, {"name": ""}, {"name": "New", "run_mode": "no"}, {"kind": "demo"},
     {"name": "New", "connection": str(uuid.uuid4())}, {"connection": 5}, {"operation_id": str(uuid.uuid4())}],
)  # fmt: skip
def test_a_bad_change_of_a_notebook_changes_nothing(client, at, notebook, body):
    assert client.patch(at, body, format="json").status_code == 400
    notebook.refresh_from_db()
    assert (notebook.name, notebook.run_mode, notebook.seq) == ("Sales", "auto", 0)


def test_changes_are_read_in_pieces_from_where_one_was(client, at, add):
    cells = [add(str(number)) for number in range(5)]
    client.delete(f"{at}cells/{cells[0]}/")
    first = client.get(at + "changes/", {"since": 1, "limit": 2}).json()
    assert ([event["seq"] for event in first["events"]], first["more"], first["next"]) == ([2, 3], True, 3)
    rest = client.get(at + "changes/", {"since": first["next"]}).json()
    assert [event["seq"] for event in rest["events"]] == [4, 5, 6]
    assert (rest["more"], rest["next"], rest["seq"]) == (False, 6, 6)
    assert rest["events"][-1]["type"] == "cell.deleted"
    assert client.get(at + "changes/", {"since": 99}).json()["events"] == []


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "9" * 25, "²", ""])
def test_a_since_that_is_no_number_is_refused(client, at, since):
    assert client.get(at + "changes/", {"since": since}).status_code == 400


def test_a_structural_change_is_taken_back_and_again(client, at, add):
    a, b = add("a"), add("b")
    operation = str(uuid.uuid4())
    assert client.delete(f"{at}cells/{a}/?operation_id={operation}").status_code == 204
    undone = client.post(at + "undo/", {"operation_id": operation}, format="json")
    assert (undone.status_code, undone.json()["event"]["type"]) == (200, "cells.restored")
    assert [cell["id"] for cell in client.get(at).json()["cells"]] == [a, b]
    client.post(at + "undo/", {"operation_id": undone.json()["operation_id"]}, format="json")
    assert [cell["id"] for cell in client.get(at).json()["cells"]] == [b]


def test_an_undo_of_nothing_is_not_found(client, at):
    assert client.post(at + "undo/", {"operation_id": str(uuid.uuid4())}, format="json").status_code == 404
    assert client.post(at + "undo/", {}, format="json").status_code == 400
