"""Connections over the API: never the secret, nowhere."""

from __future__ import annotations

import json
import logging
import uuid

import pytest
from rest_framework.test import APIClient

from notebooks_app.models import ApiToken, Cell, Connection

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/api/v1/connections/"
SECRET = "s3cret-w0rd"
DSN = f"postgresql://reader:{SECRET}@db.example.com:5432/shop"


@pytest.fixture
def made(client) -> dict:
    answer = client.post(LIST, {"name": "shop", "dsn": DSN}, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_connection_is_answered_with_its_address_and_without_its_password(client, made):
    assert (made["name"], made["driver"], made["shared"]) == ("shop", "postgresql", False)
    assert made["address"] == "postgresql://reader:…@db.example.com:5432/shop"
    listed = client.get(LIST)
    assert listed.json() == {"connections": [made]}
    assert client.get(f"{LIST}{made['id']}/").json() == made
    assert SECRET not in listed.content.decode()
    assert Connection.objects.get(pk=made["id"]).dsn() == DSN


def test_a_connection_is_renamed_and_gets_another_dsn(client, made):
    one = f"{LIST}{made['id']}/"
    assert client.patch(one, {"name": "store"}, format="json").json()["name"] == "store"
    assert Connection.objects.get(pk=made["id"]).dsn() == DSN
    other = client.patch(one, {"dsn": "postgresql://a:b@other/db"}, format="json").json()
    assert (other["name"], other["address"]) == ("store", "postgresql://a:…@other/db")


def test_a_stranger_finds_no_connection_of_others(client_of, made):
    stranger = client_of("stranger")
    one = f"{LIST}{made['id']}/"
    assert stranger.get(LIST).json() == {"connections": []}
    for answer in (stranger.get(one), stranger.patch(one, {"name": "x"}, format="json"), stranger.delete(one)):
        assert answer.status_code == 404
    assert client_of("nobody").get(LIST).status_code == 401


def test_an_operator_is_told_where_the_operators_connections_lead(client_of, cast):
    shared = Connection(owner=None, name="warehouse")
    shared.set_dsn(DSN)
    shared.save()
    type(cast["stranger"]).objects.filter(username="stranger").update(is_staff=True)
    found = client_of("stranger").get(f"{LIST}{shared.pk}/").json()
    assert found["address"] == "postgresql://reader:…@db.example.com:5432/shop"


def test_a_connection_of_the_operator_is_used_by_all_and_changed_by_none(client_of):
    shared = Connection(owner=None, name="warehouse")
    shared.set_dsn(DSN)
    shared.save()
    client, one = client_of("stranger"), f"{LIST}{shared.pk}/"
    assert client.get(one).json()["shared"] is True
    assert client.get(one).json()["address"] == client.get(LIST).json()["connections"][0]["address"] == "postgresql://…"
    assert "db.example.com" not in client.get(one).content.decode()
    assert client.patch(one, {"name": "x"}, format="json").status_code == 403
    assert client.delete(one).status_code == 403


@pytest.mark.parametrize(
    ("dsn", "word"),
    [("sqlite:////etc/passwd", "driver"), (f"mysql://u:{SECRET}@h/d", "driver"),
     (f"postgresql://u:{SECRET}@/d", "host"), (f"postgresql://u:{SECRET}@h", "database"),
     (f"postgresql://u:{SECRET}@h/d?passfile=/etc/x", "options"), ("", "dsn"),
     (f"postgresql://u:{SECRET}\x00@h/d", "dsn"), (5, "dsn"), (None, "dsn"),
     ("x" * 5000, "dsn"), ("postgresql://\ud800", "dsn")],
)  # fmt: skip
def test_a_bad_dsn_is_refused_by_its_part_and_never_repeated(client, dsn, word, caplog):
    caplog.set_level(logging.DEBUG)
    answer = client.post(LIST, json.dumps({"name": "x", "dsn": dsn}), content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert word in answer.json()["error"]["message"]
    assert SECRET not in answer.content.decode() + caplog.text
    assert not Connection.objects.exists()


def test_a_name_is_used_once(client, made):
    again = client.post(LIST, {"name": "shop", "dsn": DSN}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert SECRET not in again.content.decode()


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 5}, {"driver": "sqlite"}, {"owner": 1}, {"secret": "x"}])
def test_a_bad_change_of_a_connection_is_refused(client, made, body):
    assert client.patch(f"{LIST}{made['id']}/", body, format="json").status_code == 400


def test_deleting_a_connection_edits_the_cells_that_used_it(client, made, at, add):
    cell = add("select 1", cell_type="sql", connection=uuid.UUID(made["id"]))
    assert client.get(f"{at}cells/{cell}/").json()["connection"] == made["id"]
    assert client.delete(f"{LIST}{made['id']}/").status_code == 204
    after = client.get(f"{at}cells/{cell}/").json()
    assert (after["connection"], after["version"]) == (None, 2)
    row = Cell.objects.get(pk=cell)
    assert row.source_hash == row.current_hash()


def test_a_notebook_and_a_cell_take_ones_own_connection_but_not_another_persons(client, client_of, made, at, add):
    cell = add("select 1", cell_type="sql")
    assert client.patch(at, {"connection": made["id"]}, format="json").json()["connection"] == made["id"]
    assert client.patch(at, {"connection": None}, format="json").json()["connection"] is None
    refused = client_of("editor").patch(f"{at}cells/{cell}/", {"connection": made["id"]}, format="json")
    assert (refused.status_code, "no such connection" in refused.json()["error"]["message"]) == (400, True)


def test_a_token_that_only_reads_changes_no_connection(cast, made):
    _, text = ApiToken.issue(cast["owner"].pk, "t", "run")
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    assert client.get(LIST).status_code == 200
    assert client.post(LIST, {"name": "b", "dsn": DSN}, format="json").status_code == 403
    assert client.patch(f"{LIST}{made['id']}/", {"name": "b"}, format="json").status_code == 403
    assert client.delete(f"{LIST}{made['id']}/").status_code == 403
