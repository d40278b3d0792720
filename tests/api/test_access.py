"""Who may call what: every route by everybody, by tokens of each scope, and without a token of the form."""

from __future__ import annotations

import re
import uuid

import pytest
from django.contrib.auth import get_user_model
from django.urls import get_resolver
from rest_framework.test import APIClient

from notebooks_app.models import ApiToken, Membership, Notebook, ShareLink
from tests.api.conftest import ROLES

pytestmark = pytest.mark.django_db

RANK = {"stranger": 0, "viewer": 1, "runner": 2, "editor": 3, "owner": 4}
# method, address under the notebook, body, the least role. Kernels do not run here: 503 says that access was granted.
ROUTES = [
    ("get", "", None, "viewer"),
    ("patch", "", {"name": "New"}, "editor"),
    ("delete", "", None, "owner"),
    ("get", "cells/", None, "viewer"),
    ("post", "cells/", {"source": "y"}, "editor"),
    ("get", "cells/{cell}/", None, "viewer"),
    ("patch", "cells/{cell}/", {"disabled": True}, "editor"),
    ("delete", "cells/{cell}/", None, "editor"),
    ("post", "cells/{cell}/move/", {"index": 0}, "editor"),
    ("post", "batch/", {"operations": [{"op": "insert"}]}, "editor"),
    ("put", "name/", {"name": "Other"}, "editor"),
    ("put", "db/", {"connection": None}, "editor"),
    ("get", "cells/{cell}/outputs/", None, "viewer"),
    ("post", "runs/{run}/cancel/", {}, "runner"),
    ("get", "changes/", None, "viewer"),
    ("post", "undo/", {"operation_id": "{operation}"}, "editor"),
    ("get", "members/", None, "owner"),
    ("post", "members/", {"user": "stranger", "role": "viewer"}, "owner"),
    ("patch", "members/{user}/", {"role": "editor"}, "owner"),
    ("delete", "members/{user}/", None, "owner"),
    ("get", "links/", None, "owner"),
    ("post", "links/", {"role": "viewer"}, "owner"),
    ("delete", "links/{link}/", None, "owner"),
    ("get", "versions/", None, "viewer"),
    ("post", "versions/", {"name": "v"}, "editor"),
    ("get", "versions/{version}/", None, "viewer"),
    ("delete", "versions/{version}/", None, "owner"),
    ("get", "versions/{version}/diff/", None, "viewer"),
    ("post", "versions/{version}/restore/", {}, "editor"),
    ("get", "history/", None, "viewer"),
    ("get", "history/mine/", None, "viewer"),
    ("get", "bin/", None, "viewer"),
    ("delete", "bin/", None, "owner"),
    ("post", "bin/restore/", {}, "editor"),
    ("get", "runs/", None, "viewer"),
    ("get", "runs/{run}/", None, "viewer"),
    ("post", "runs/", {"all": True}, "runner"),
    ("post", "stop/", {}, "runner"),
    ("post", "interrupt/", {}, "runner"),
    ("post", "restart/", {}, "runner"),
    ("get", "kernel/", None, "viewer"),
]
IDS = [f"{method} {path or 'notebook'}" for method, path, _, _ in ROUTES]


@pytest.fixture
def call(at, add, notebook, cast):
    """Send one route of the table with a client; the answer's status."""
    cell = add("x = 1")
    fields = {"cell": cell, "run": uuid.uuid4(), "operation": uuid.uuid4(), "version": uuid.uuid4()}
    fields["link"] = _link(notebook)
    fields["user"] = Membership.objects.create(notebook=notebook, user=_member(), role="viewer").user_id

    def send(client, method, path, body):
        if body is not None:
            body = {key: value.format(**fields) if isinstance(value, str) else value for key, value in body.items()}
        return getattr(client, method)(at + path.format(**fields), body, format="json")

    return send


def _link(notebook):
    return ShareLink.objects.create(notebook=notebook, role="viewer", digest="x").pk


def _member():
    return get_user_model().objects.create_user("member")


def granted(path: str, status: int) -> bool:
    """Whether one was let in: that a thing is not there or that no kernel runs here is said after that."""
    if path in ("undo/", "runs/{run}/", "runs/{run}/cancel/", "bin/restore/") or "{version}" in path:
        return status == 404
    if path in ("runs/", "stop/", "interrupt/", "restart/"):
        return status in (200, 503)
    return 200 <= status < 300


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "body", "least"), ROUTES, ids=IDS)
def test_each_role_may_do_what_it_is_for_and_no_more(call, client_of, role, method, path, body, least):
    answer = call(client_of(role), method, path, body)
    if role == "stranger":
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "There is no such notebook.")
    elif RANK[role] < RANK[least]:
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    else:
        assert granted(path, answer.status_code), answer.content


@pytest.mark.parametrize(("method", "path", "body", "least"), ROUTES, ids=IDS)
def test_nobody_is_let_in_without_saying_who_they_are(call, client_of, method, path, body, least):
    answer = call(client_of("nobody"), method, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


SCOPES = {"read": "viewer", "run": "runner", "edit": "owner"}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path", "body", "least"), ROUTES, ids=IDS)
def test_a_token_of_the_owner_may_do_what_its_scope_says(call, cast, scope, method, path, body, least):
    _, text = ApiToken.issue(cast["owner"].pk, "t", scope)
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    answer = call(client, method, path, body)
    if RANK[SCOPES[scope]] < RANK[least]:
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    else:
        assert granted(path, answer.status_code), answer.content


def test_a_token_of_a_viewer_gives_no_more_than_the_viewer_has(call, cast):
    _, text = ApiToken.issue(cast["viewer"].pk, "t", "edit")
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    assert call(client, "get", "", None).status_code == 200
    assert call(client, "patch", "", {"name": "Mine"}).status_code == 403


def test_every_route_under_a_notebook_is_in_the_table():
    resolver = get_resolver()
    under = {
        str(pattern.pattern).split("<uuid:notebook_id>/", 1)[1]
        for entry in resolver.url_patterns
        if str(entry.pattern) == "api/v1/"
        for pattern in entry.url_patterns
        if str(pattern.pattern).startswith("notebooks/<uuid:notebook_id>/")
    }
    known = {re.sub(r"{(\w+)}", r"<uuid:\1_id>", path).replace("uuid:user", "int:user") for _, path, _, _ in ROUTES}
    assert under == known


@pytest.mark.parametrize("authorization", ["Bearer rill_wrong", "Bearer ", "Bearer", "bearer \u00e4", "Bearer a b c"])
def test_a_token_that_is_none_is_refused_even_with_a_session(client, at, authorization):
    answer = client.get(at, headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_a_session_needs_the_csrf_token_to_write_and_a_bearer_token_does_not(cast, notebook, at):
    session = APIClient(enforce_csrf_checks=True)
    session.force_login(cast["owner"])
    assert session.get(at).status_code == 200
    refused = session.patch(at, {"name": "New"}, format="json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    _, text = ApiToken.issue(cast["owner"].pk, "t", "edit")
    token = APIClient(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {text}"})
    assert token.patch(at, {"name": "New"}, format="json").status_code == 200


def test_a_notebook_in_the_bin_is_found_by_nobody(client, at, notebook):
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert client.get("/api/v1/notebooks/").json()["results"] == []
    assert Notebook.objects.filter(pk=notebook.pk).exists()


def test_a_cell_of_another_notebook_is_not_found_through_ones_own(client_of, cast, add, at):
    cell = add("secret")
    mine = Notebook.objects.create(owner=cast["stranger"], name="Mine")
    base = f"/api/v1/notebooks/{mine.pk}/cells/"
    stranger = client_of("stranger")
    assert stranger.get(f"{base}{cell}/").status_code == 404
    assert stranger.patch(f"{base}{cell}/", {"disabled": True}, format="json").status_code == 404
    assert stranger.delete(f"{base}{cell}/").status_code == 404
    assert stranger.post(base, {"source": "x", "after": cell}, format="json").status_code == 404
    assert stranger.post(base, {"source": "x", "before": cell}, format="json").status_code == 404
