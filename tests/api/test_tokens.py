"""Tokens: shown once, listed without their text, made with no more than their maker has; the command; the schema."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from notebooks_app import api_schema
from notebooks_app.models import ApiToken

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/api/v1/tokens/"


def bearer(text: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {text}"})


def test_a_token_is_shown_once_and_works(client):
    made = client.post(LIST, {"name": "cron", "scope": "run", "expires_in_days": 30}, format="json").json()
    text = made.pop("token")
    assert text.startswith("rill_")
    listed = client.get(LIST)
    assert listed.json() == {"tokens": [made]}
    assert text not in listed.content.decode()
    assert bearer(text).get("/api/v1/notebooks/").status_code == 200
    assert client.get(LIST).json()["tokens"][0]["last_used_at"] is not None


def test_a_deleted_token_is_refused_at_once(client, client_of):
    made = client.post(LIST, {"name": "cron"}, format="json").json()
    one = f"{LIST}{made['id']}/"
    assert client_of("stranger").delete(one).status_code == 404
    assert client.delete(one).status_code == 204
    assert client.delete(one).status_code == 404
    assert bearer(made["token"]).get(LIST).status_code == 401
    assert client.delete(f"{LIST}{10**30}/").status_code == 404


@pytest.mark.parametrize(
    ("own", "wanted", "status"),
    [("read", "read", 201), ("read", "run", 403), ("read", "edit", 403), ("run", "run", 201), ("run", "edit", 403),
     ("edit", "edit", 201)],
)  # fmt: skip
def test_a_token_makes_and_deletes_none_with_a_wider_scope(client, cast, own, wanted, status):
    _, text = ApiToken.issue(cast["owner"].pk, "t", own)
    other, _ = ApiToken.issue(cast["owner"].pk, "other", wanted)
    assert bearer(text).post(LIST, {"name": "n", "scope": wanted}, format="json").status_code == status
    assert bearer(text).delete(f"{LIST}{other.pk}/").status_code == (204 if status == 201 else 403)


def test_a_token_makes_none_that_outlives_it(cast):
    ends = timezone.now() + timedelta(days=3)
    _, text = ApiToken.issue(cast["owner"].pk, "t", "edit", ends)
    for days in (None, 90):
        made = bearer(text).post(LIST, {"name": "n", "expires_in_days": days}, format="json").json()
        assert ApiToken.objects.get(pk=made["id"]).expires_at == ends


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": 1}, {"name": "x" * 101}, {"name": "a", "scope": "admin"},
     {"name": "a", "scope": ["read"]}, {"name": "a", "expires_in_days": 0}, {"name": "a", "expires_in_days": "5"},
     {"name": "a", "expires_in_days": True},
     {"name": "a", "expires_in_days": 10**9}, {"name": "a", "user": 1}],
)  # fmt: skip
def test_a_bad_token_is_refused(client, body):
    assert client.post(LIST, body, format="json").status_code == 400
    assert not ApiToken.objects.exists()


def test_the_command_prints_the_token_alone(cast):
    out = io.StringIO()
    call_command("create_token", "owner", "--scope", "edit", "--name", "ci", "--expires-in-days", "7", stdout=out)
    text = out.getvalue().strip()
    token = ApiToken.find(text)
    assert token is not None
    assert (token.user, token.scope, token.name) == (cast["owner"], "edit", "ci")
    assert token.expires_at is not None
    assert out.getvalue() == text + "\n"


@pytest.mark.parametrize("wrong", [["nobody"], ["owner", "--name", " "], ["owner", "--expires-in-days", "0"]])
def test_the_command_says_what_is_wrong(cast, wrong):
    with pytest.raises(CommandError):
        call_command("create_token", *wrong)
    assert not ApiToken.objects.exists()


def test_the_schema_is_valid_and_without_warnings(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_the_schema_describes_every_route(client):
    answer = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    paths = answer.content.decode()
    for route in ("/cells/{cell_id}/move/", "/runs/{run_id}/", "/undo/", "/connections/", "/tokens/"):
        assert route in paths


def test_the_schema_is_made_once_whoever_asks_and_however(monkeypatch):
    made = []
    make = SchemaGenerator.get_schema
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *args, **more: made.append(1) or make(*args, **more))
    api_schema._described.cache_clear()
    nobody = APIClient()
    for ask in ("", "?lang=de", "?version=3", "?format=yaml", "?x=1"):
        answers = [nobody.get(f"/api/v1/schema/{ask}") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
    assert len(made) == 1
    indented = [nobody.get("/api/v1/schema/", headers={"Accept": f"application/json; indent={n}"}) for n in (1, 2, 8)]
    assert len({answer.content for answer in indented}) == 1 and len(made) == 2


def test_who_has_the_schema_is_not_sent_it_again():
    nobody = APIClient()
    tag = nobody.get("/api/v1/schema/")["ETag"]
    again = nobody.get("/api/v1/schema/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    assert nobody.get("/api/v1/schema/", headers={"If-None-Match": '"another"'}).status_code == 200
