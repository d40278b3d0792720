"""The predecessor's routes for name and database, and reading parts of a notebook."""

from __future__ import annotations

import uuid

import pytest

from notebooks_app.models import Cell, Connection, Notebook, Output

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DSN = "postgresql://reader:s3cret@db.example.org/shop"


def test_the_name_is_put_and_a_retry_changes_nothing(client, at, notebook):
    body = {"name": "  Sales 2026 ", "operation_id": str(uuid.uuid4())}
    first = client.put(f"{at}name/", body, format="json").json()
    again = client.put(f"{at}name/", body, format="json").json()
    assert (first["name"], first["revision"], again["revision"]) == ("Sales 2026", 1, 1)


@pytest.mark.parametrize(
    ("body", "word"),
    [({}, "name"), ({"name": ""}, "name"), ({"name": "a\x00b"}, "NUL"), ({"name": "a" * 1000}, "characters")],
)
def test_a_wrong_name_is_refused_and_nothing_is_written(client, at, notebook, body, word):
    answer = client.put(f"{at}name/", body, format="json")
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert Notebook.objects.get(pk=notebook.pk).revision == 0


def test_the_database_is_put_by_dsn_by_connection_and_taken_away(client, at, notebook, cast):
    made = client.put(f"{at}db/", {"dsn": DSN}, format="json")
    assert made.status_code == 200
    connection = Connection.objects.get(owner=cast["owner"])
    assert made.json()["connection"] == str(connection.pk)
    assert connection.dsn() == DSN
    assert "s3cret" not in made.content.decode()
    assert client.put(f"{at}db/", {"connection": None}, format="json").json()["connection"] is None
    back = client.put(f"{at}db/", {"connection": str(connection.pk)}, format="json")
    assert back.json()["connection"] == str(connection.pk)


def test_the_same_dsn_again_makes_no_second_connection(client, at, notebook, cast):
    for _ in range(2):
        assert client.put(f"{at}db/", {"dsn": DSN}, format="json").status_code == 200
    client.put(f"{at}db/", {"dsn": DSN + "2"}, format="json")
    names = Connection.objects.filter(owner=cast["owner"]).values_list("name", flat=True)
    assert sorted(names) == ["database of Sales", "database of Sales 2"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "connection"),
        ({"connection": None, "dsn": DSN}, "one of"),
        ({"dsn": "mysql://user:s3cret@host/db"}, "driver"),
        ({"dsn": "sqlite:////etc/passwd"}, "driver"),
        ({"dsn": 7}, "text"),
        ({"connection": "x"}, "uuid"),
        ({"connection": str(uuid.uuid4())}, "connection"),
    ],
)
def test_a_wrong_database_is_refused_and_no_connection_is_left(client, at, notebook, body, word):
    answer = client.put(f"{at}db/", body, format="json")
    assert answer.status_code in (400, 404)
    assert word in answer.json()["error"]["message"]
    assert "s3cret" not in answer.content.decode()
    assert not Connection.objects.exists()
    assert Notebook.objects.get(pk=notebook.pk).revision == 0


def test_a_dsn_that_is_refused_is_so_also_where_an_import_kept_it(client, at, cast):
    kept = Connection(owner=cast["owner"], name="imported")
    kept.keep_dsn("mysql://user:s3cret@host/db")
    kept.save()
    answer = client.put(f"{at}db/", {"dsn": "mysql://user:s3cret@host/db"}, format="json")
    assert answer.status_code == 400 and "driver" in answer.json()["error"]["message"]
    assert list(Connection.objects.all()) == [kept]


def test_sources_and_outputs_are_left_out_when_they_are_not_wanted(client, at, add):
    cell = add("x = 1")
    Output.objects.create(cell_id=cell, index=0, kind="stream", data={"name": "stdout", "text": "hi\n", "cut": None})
    for path in ("", "cells/"):
        whole, bare = client.get(at + path).json(), client.get(at + path + "?sources=false&outputs=false").json()
        assert (whole["cells"][0]["source"], len(whole["cells"][0]["outputs"])) == ("x = 1", 1)
        assert (bare["cells"][0]["source"], bare["cells"][0]["outputs"]) == (None, None)
        assert bare["cells"][0]["version"] == 1
    assert client.get(f"{at}cells/{cell}/?sources=0").json()["source"] is None


def test_the_outputs_of_a_cell_are_read_alone_with_a_tag(client, at, add):
    cell = add("x = 1")
    Output.objects.create(cell_id=cell, index=0, kind="stream", data={"name": "stdout", "text": "hi\n", "cut": None})
    answer = client.get(f"{at}cells/{cell}/outputs/")
    body = answer.json()
    assert (body["cell"], body["version"], [item["text"] for item in body["outputs"]]) == (cell, 1, ["hi\n"])
    assert client.get(f"{at}cells/{cell}/outputs/", headers={"If-None-Match": answer["ETag"]}).status_code == 304
    assert client.get(f"{at}cells/{uuid.uuid4()}/outputs/").status_code == 404


def test_if_match_guards_a_deletion_and_a_move(client, at, add, notebook):
    cell = add("a")
    add("b")
    wrong = {"If-Match": '"99"'}
    move = client.post(f"{at}cells/{cell}/move/", {"index": 1}, format="json", headers=wrong)
    delete = client.delete(at, headers=wrong)
    assert (move.status_code, delete.status_code) == (412, 412)
    assert Notebook.objects.get(pk=notebook.pk).deleted_at is None
    tag = client.get(f"{at}cells/{cell}/")["ETag"]
    moved = client.post(f"{at}cells/{cell}/move/", {"index": 1}, format="json", headers={"If-Match": tag})
    assert (moved.status_code, moved.json()["number"]) == (200, 2)
    assert client.delete(at, headers={"If-Match": client.get(at)["ETag"]}).status_code == 204


def test_changes_name_a_bounded_number_of_cells_that_ran_and_lose_none(client, at, add, notebook, monkeypatch):
    monkeypatch.setattr("notebooks_app.api.CELLS_RUN_AT_MOST", 2)
    cells = [add(source) for source in "abcdef"]
    start = Notebook.objects.get(pk=notebook.pk).seq
    for number, cell in enumerate(cells):  # the first three were saved together
        Cell.objects.filter(pk=cell).update(run_seq=start + max(1, number - 1))
    Notebook.objects.filter(pk=notebook.pk).update(seq=start + 4)
    seen, since, rounds, more = [], start, 0, True
    while more:
        body = client.get(f"{at}changes/?since={since}").json()
        seen += body["cells_run"]
        since, more, rounds = body["next"], body["more"], rounds + 1
    assert (sorted(seen), since) == (sorted(cells), start + 4)
    assert rounds > 1


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("?output=0", "outputs"),
        ("?outputs=yes", "outputs"),
        ("?outputs=0&outputs=1", "2 times"),
        ("changes/?limit=0", "limit"),
        ("changes/?since=-1", "since"),
        ("changes/?since=1e3", "since"),
        ("versions/?page=2", "cursor"),
        ("runs/?limit=x", "limit"),
        ("bin/?limit=0", "limit"),
        ("kernel/?x", "none here"),
        ("cells/?%00=1", "known"),
    ],
)
def test_an_address_that_asks_for_what_is_not_known_is_refused_by_name(client, at, path, word):
    answer = client.get(at + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert word in answer.json()["error"]["message"]


def test_a_nul_in_the_search_is_refused(client):
    answer = client.get("/api/v1/notebooks/?search=a%00b")
    assert (answer.status_code, "NUL" in answer.json()["error"]["message"]) == (400, True)


def test_lists_are_read_in_pages_that_neither_repeat_nor_hide(client, at, add):
    cells = [add(str(number)) for number in range(5)]
    for number in range(5):
        client.post(f"{at}versions/", {"name": f"v{number}"}, format="json")
        client.delete(f"{at}cells/{cells[number]}/")
    for path, key in (("versions/", "name"), ("bin/", "source")):
        seen, address = [], f"{at}{path}?limit=2"
        while address:
            body = client.get(address).json()
            seen += [row[key] for row in body["results"]]
            address = body["next"]
            assert body["count"] == 5
        assert seen == [f"{'v' if key == 'name' else ''}{number}" for number in range(4, -1, -1)]
