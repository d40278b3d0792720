"""Idempotency keys: one answer for a request and its retries, another one for nobody else."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

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


def test_a_retry_after_the_server_went_away_does_an_edit_once(client, at, notebook):
    first = post(client, at + "cells/", {"source": "x"})
    IdempotentAnswer.objects.update(status=0, body=None, created_at=timezone.now() - timedelta(minutes=11))
    second = post(client, at + "cells/", {"source": "x"})
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])
    assert Cell.objects.filter(notebook=notebook).count() == 1


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
