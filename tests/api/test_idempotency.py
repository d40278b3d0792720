"""Idempotency keys: one answer for a request and its retries, another one for nobody else."""

from __future__ import annotations

import inspect
import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.test import APIClient

from notebook_project.urls import api_patterns
from notebooks_app import idempotency, members
from notebooks_app.api import Unknown
from notebooks_app.api_base import ApiView
from notebooks_app.models import ApiToken, Cell, IdempotentAnswer, Notebook

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/api/v1/notebooks/"


def post(client, path, body, key="k1", **headers):
    return client.post(path, body, format="json", headers={"Idempotency-Key": key, **headers})


def test_a_retry_gets_the_first_answer_and_makes_nothing(client):
    first, second = post(client, LIST, {"name": "a"}), post(client, LIST, {"name": "a"})
    assert (first.status_code, second.status_code) == (201, 201)
    assert (second.json(), second.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert "Idempotency-Replayed" not in first.headers
    assert Notebook.objects.count() == 1


def test_a_key_for_another_request_is_refused(client, client_of, at, notebook):
    post(client, LIST, {"name": "a"})
    for answer in (post(client, LIST, {"name": "b"}), post(client, at + "cells/", {"source": "x"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert post(client_of("editor"), LIST, {"name": "b"}).status_code == 201  # keys are a person's own


def test_a_retry_while_the_first_is_at_work_is_told_to_wait(client):
    post(client, LIST, {"name": "a"})
    IdempotentAnswer.objects.update(status=0, body=None)
    answer = post(client, LIST, {"name": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_progress")
    assert int(answer.headers["Retry-After"]) >= 1
    assert Notebook.objects.count() == 1


@pytest.mark.parametrize("lost", ["its lease is over", "the release before claimed it"])
def test_a_retry_after_the_server_went_away_does_an_edit_once(client, at, notebook, lost):
    first = post(client, at + "cells/", {"source": "x"})
    now = timezone.now()
    before = {"held_until": None, "created_at": now - timedelta(minutes=11)}
    IdempotentAnswer.objects.update(
        status=0, body=None, **({"held_until": now} if lost == "its lease is over" else before)
    )
    assert post(client, at + "cells/", {"source": "y"}).status_code == 422
    second = post(client, at + "cells/", {"source": "x"})
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])
    assert Cell.objects.filter(notebook=notebook).count() == 1


def test_a_claim_at_work_is_prolonged_and_not_taken_over(client, cast):
    digest = "d" * 64
    row = idempotency.claim(cast["owner"].pk, "k1", digest)
    IdempotentAnswer.objects.update(held_until=timezone.now())
    idempotency.renew()
    with pytest.raises(idempotency.AtWork):
        idempotency.claim(cast["owner"].pk, "k1", digest)
    idempotency.keep(row, Response({}))
    IdempotentAnswer.objects.update(status=0, held_until=timezone.now())
    idempotency.renew()  # no longer at work: nothing is prolonged
    assert idempotency.claim(cast["owner"].pk, "k1", digest).pk == row.pk
    idempotency.release(row)


def test_a_key_is_free_again_after_a_day_and_its_row_goes(client):
    post(client, LIST, {"name": "a"})
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert post(client, LIST, {"name": "b"}).status_code == 201
    assert IdempotentAnswer.objects.count() == 1


def test_a_refusal_is_kept_and_a_failure_of_the_server_is_not(client, at, notebook):
    assert post(client, LIST, {"name": ""}).status_code == 400
    assert post(client, LIST, {"name": ""}).headers["Idempotency-Replayed"] == "true"
    assert post(client, at + "runs/", {"all": True}, key="k2").status_code == 503  # no kernels here
    assert not IdempotentAnswer.objects.filter(key="k2").exists()


def test_a_token_that_was_made_is_answered_again_and_not_kept_in_the_clear(client):
    first = post(client, "/api/v1/tokens/", {"name": "ci"}).json()
    assert post(client, "/api/v1/tokens/", {"name": "ci"}).json() == first
    assert first["token"] not in str(IdempotentAnswer.objects.get().body)
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\u00e4"])
def test_a_key_that_is_none_is_refused(client, key):
    assert post(client, LIST, {"name": "a"}, key=key).status_code == 400
    assert not Notebook.objects.exists()


def test_nobody_and_reading_claim_no_key(client):
    assert post(APIClient(), LIST, {"name": "a"}).status_code == 401
    assert client.get(LIST, headers={"Idempotency-Key": str(uuid.uuid4())}).status_code == 200
    assert not IdempotentAnswer.objects.exists()


@pytest.fixture
def by_token(cast):
    """A client of the owner's with a token of a scope."""

    def made(scope: str) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(cast['owner'].pk, scope, scope)[1]}")
        return client

    return made


@pytest.mark.parametrize("other", ["read", "edit", "session"])
def test_another_token_gets_no_answer_that_was_given_to_the_first(client, by_token, other):
    body = {"name": "ci", "scope": "edit"}
    first = post(by_token("edit"), "/api/v1/tokens/", body)
    assert first.status_code == 201
    second = post(client if other == "session" else by_token(other), "/api/v1/tokens/", body)
    assert second.status_code == (403 if other == "read" else 422)
    assert first.json()["token"] not in second.content.decode()


def test_who_was_removed_or_made_a_viewer_gets_no_answer_of_before(client_of, at, notebook, cast):
    editor = client_of("editor")
    assert post(editor, at + "cells/", {"source": "secret = 1"}).status_code == 201
    members.change(notebook.pk, cast["editor"].pk, "viewer")
    assert post(editor, at + "cells/", {"source": "secret = 1"}).status_code == 403
    members.remove(notebook.pk, cast["editor"].pk)
    assert post(editor, at + "cells/", {"source": "secret = 1"}).status_code == 404
    members.add(notebook, cast["editor"], "editor")
    assert post(editor, at + "cells/", {"source": "secret = 1"}).headers["Idempotency-Replayed"] == "true"
    assert Cell.objects.filter(notebook=notebook).count() == 1


def test_what_was_deleted_is_answered_as_the_first_time(client, at):
    headers = {"Idempotency-Key": "gone"}
    answers = [client.delete(at, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_every_change_of_the_api_claims_its_key():
    """By asking for the notebook or the scope, with which the key is taken; a deletion takes it by itself."""
    for view in {view.callback.cls for view in api_patterns if issubclass(view.callback.cls, ApiView)} - {Unknown}:
        for method in {"post", "put", "patch"} & set(vars(view)):
            source = inspect.getsource(getattr(view, method))
            assert re.search(r"self\.(open|require_scope|_own)\(", source), (view, method)
