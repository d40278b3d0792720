"""A GET changes nothing: any page may make a reader's browser send one, by a picture."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

from notebooks_app import sharing
from notebooks_app.models import AttemptCount, Notebook
from notebooks_app.models.limit import CacheEntry
from tests.security.test_access_urls import STAFF, address, notebook, people, routes  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.django_db]

# What a GET may write: the rows of these models.
MAY = {
    "share/<str:token>/": {"session", "sharelink"},  # which link was opened, and how often: asks before it joins
    "accounts/2fa/totp/activate/": {"session"},  # the secret that is offered
}


def rows() -> dict[str, list[Any]]:
    """All that is stored, but for counts against guessing and messages that a page is to show once."""
    models = set(apps.get_models(include_auto_created=True)) - {CacheEntry, AttemptCount, Session}
    found = {model._meta.model_name: sorted(map(repr, model._base_manager.values_list())) for model in models}
    sessions = [session.get_decoded().items() for session in Session.objects.all()]
    found["session"] = sorted(repr(sorted(each for each in items if each[0] != "_messages")) for items in sessions)
    return found


def path_of(route: str, made: Notebook, token: str) -> str:
    if route.startswith(STAFF):
        text = re.sub(r"<path:object_id>", str(made.pk), route).replace("^", "").replace("$", "")
        text = re.sub(r"\(\?P<url>[^)]*\)", "nothing", re.sub(r"<\w+:\w+>", "1", text))
        return "/" + re.sub(r"\(\?P<app_label>[^)]*\)", "auth", text)
    return address(route.replace("<str:token>", token), made)


@pytest.mark.parametrize("who", ["owner", "staff"])
def test_no_address_writes_for_who_only_looks(who: str, people: dict[str, Client], notebook: Notebook):  # noqa: F811
    client, wrote = people[who], {}
    theirs = Notebook.objects.create(owner=get_user_model().objects.get(username="stranger"), name="Theirs")
    _, token = sharing.create(theirs, role="editor")
    client.get("/")  # the demo and a blank notebook, made once for a new person
    before = rows()
    for route in routes():
        if route.startswith(STAFF) != (who == "staff"):
            continue
        path = path_of(route, notebook, token)
        client.get(path)
        client.head(path)
        after = rows()
        changed = {name for name in after if after[name] != before[name]}
        if not changed <= MAY.get(route, set()):
            wrote[route] = changed
        before = after
    assert wrote == {}
