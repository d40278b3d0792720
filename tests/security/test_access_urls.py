"""Every address of the resolver by everybody. A new address that is not in the table fails: deny by default."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLResolver, get_resolver

from notebooks_app.models import Membership, Notebook

pytestmark = [pytest.mark.django_db]

ROLES = ("viewer", "runner", "editor", "owner")
PEOPLE = ("anonymous", "stranger", *ROLES, "staff")
NOTEBOOK, API = "notebooks/<uuid:notebook_id>/", "api/v1/notebooks/<uuid:notebook_id>/"
# Address: method, least role. Others are not found, to strangers and staff as to those whose role is not enough (pages)
# or forbidden (API, to members).
OF_NOTEBOOK = {
    NOTEBOOK: ("get", "viewer"),
    f"{NOTEBOOK}rename/": ("post", "editor"),
    f"{NOTEBOOK}delete/": ("post", "owner"),
    f"{NOTEBOOK}export/": ("get", "viewer"),
    f"{NOTEBOOK}reset/": ("post", "owner"),
    "outputs/<uuid:notebook_id>/<uuid:file_id>/": ("get", "viewer"),
    API: ("get", "viewer"),
    f"{API}cells/": ("get", "viewer"),
    f"{API}cells/<uuid:cell_id>/": ("get", "viewer"),
    f"{API}cells/<uuid:cell_id>/move/": ("post", "editor"),
    f"{API}cells/<uuid:cell_id>/outputs/": ("get", "viewer"),
    f"{API}name/": ("put", "editor"),
    f"{API}db/": ("put", "editor"),
    f"{API}batch/": ("post", "editor"),
    f"{API}changes/": ("get", "viewer"),
    f"{API}undo/": ("post", "editor"),
    f"{API}runs/": ("post", "runner"),
    f"{API}runs/<uuid:run_id>/": ("get", "viewer"),
    f"{API}runs/<uuid:run_id>/cancel/": ("post", "runner"),
    f"{API}stop/": ("post", "runner"),
    f"{API}interrupt/": ("post", "runner"),
    f"{API}restart/": ("post", "runner"),
    f"{API}kernel/": ("get", "viewer"),
    f"{API}members/": ("get", "owner"),
    f"{API}members/<int:user_id>/": ("patch", "owner"),
    f"{API}links/": ("get", "owner"),
    f"{API}links/<uuid:link_id>/": ("delete", "owner"),
    f"{API}versions/": ("get", "viewer"),
    f"{API}versions/<uuid:version_id>/": ("get", "viewer"),
    f"{API}versions/<uuid:version_id>/diff/": ("get", "viewer"),
    f"{API}versions/<uuid:version_id>/restore/": ("post", "editor"),
    f"{API}history/": ("get", "viewer"),
    f"{API}history/mine/": ("get", "viewer"),
    f"{API}bin/": ("get", "viewer"),
    f"{API}bin/restore/": ("post", "editor"),
}
# The other methods of those addresses: (address, method): least role.
OF_NOTEBOOK_TOO = {
    (API, "patch"): "editor",
    (API, "delete"): "owner",
    (f"{API}cells/", "post"): "editor",
    (f"{API}cells/<uuid:cell_id>/", "patch"): "editor",
    (f"{API}cells/<uuid:cell_id>/", "delete"): "editor",
    (f"{API}runs/", "get"): "viewer",
    (f"{API}members/", "post"): "owner",
    (f"{API}members/<int:user_id>/", "delete"): "owner",
    (f"{API}links/", "post"): "owner",
    (f"{API}versions/", "post"): "editor",
    (f"{API}versions/<uuid:version_id>/", "delete"): "owner",
    (f"{API}bin/", "delete"): "owner",
}
METHODS = ("get", "post", "put", "patch", "delete")
# For whoever is signed in: what they see there is their own. Things by id that are not theirs are not found.
OF_A_PERSON = {
    "": "get", "notebooks/new/": "post", "notebooks/import/": "post", "bin/": "get", "accounts/password/change/": "get",
    "accounts/password/set/": "get", "accounts/email/": "get", "accounts/reauthenticate/": "get",
    "accounts/2fa/": "get",
    "accounts/2fa/totp/activate/": "get", "accounts/2fa/totp/deactivate/": "get", "accounts/2fa/recovery-codes/": "get",
    "accounts/2fa/recovery-codes/generate/": "get", "accounts/2fa/recovery-codes/download/": "get",
    "accounts/2fa/reauthenticate/": "get", "accounts/3rdparty/": "get", "api/v1/notebooks/": "get",
    "api/v1/bin/": "get", "api/v1/connections/": "get", "api/v1/tokens/": "get",
}  # fmt: skip
FOR_TWO_STEPS = {"accounts/2fa/reauthenticate/"}  # refused to who has no second factor
NOT_THEIRS = {
    "bin/<uuid:notebook_id>/restore/": "post", "bin/<uuid:notebook_id>/delete/": "post",
    "api/v1/bin/<uuid:notebook_id>/": "delete", "api/v1/bin/<uuid:notebook_id>/restore/": "post",
    "api/v1/connections/<uuid:connection_id>/": "get", "api/v1/tokens/<int:token_id>/": "delete",
    "api/v1/<path:rest>": "get", "api/v1/": "get",
}  # fmt: skip
# For everybody: they hold nothing of anybody's.
OPEN = {
    "api/v1/schema/",
    "frame/", "share/", "share/<str:token>/", "welcome/<str:key>/", "accounts/login/", "accounts/logout/",
    "accounts/inactive/", "accounts/signup/", "accounts/confirm-email/", "accounts/password/reset/",
    "accounts/login/code/confirm/", r"accounts/^confirm-email/(?P<key>[-:\w]+)/$", "accounts/password/reset/key/done/",
    r"accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$", "accounts/password/reset/done/",
    "accounts/2fa/authenticate/", "accounts/3rdparty/login/cancelled/", "accounts/3rdparty/login/error/",
    "accounts/3rdparty/signup/", "accounts/social/login/cancelled/", "accounts/social/login/error/",
    "accounts/social/signup/", "accounts/social/connections/", r"accounts/oidc/^(?P<provider_id>[^/]+)/login/",
    r"accounts/oidc/^(?P<provider_id>[^/]+)/login/callback/",
}  # fmt: skip
STAFF = "admin/"
OPEN_TO_STAFF = {"admin/login/", "admin/logout/"}  # and to others: the form, and its end


def routes(patterns: Any = None, before: str = "") -> Iterator[str]:
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, route)
        else:
            yield route


@pytest.fixture
def people() -> dict[str, Client]:
    made = {name: Client() for name in PEOPLE}
    for name, client in made.items():
        if name != "anonymous":
            is_staff = name == "staff"
            user = get_user_model().objects.create_user(name, password="x", is_staff=is_staff, is_superuser=is_staff)
            client.force_login(user)
    return made


@pytest.fixture
def notebook(people: dict[str, Client]) -> Notebook:
    users = {user.username: user for user in get_user_model().objects.all()}
    made = Notebook.objects.create(owner=users["owner"], name="A name that only its people know")
    for role in ROLES[:-1]:
        Membership.objects.create(notebook=made, user=users[role], role=role)
    return made


def address(route: str, notebook: Notebook | None = None) -> str:
    """An address of the route; ids in it but the notebook's are nobody's."""
    text = route.replace("<uuid:notebook_id>", str(notebook.pk if notebook else uuid.uuid4()))
    text = re.sub(r"<uuid:\w+>", lambda _: str(uuid.uuid4()), text)
    text = re.sub(r"<int:\w+>", "999999", text)
    text = re.sub(r"<(str|path):\w+>", "nothing", text)
    text = re.sub(r"\(\?P<provider_id>[^)]*\)", "login", text)
    return "/" + re.sub(r"\(\?P<\w+>(?:\[[^]]*\]|[^)[])*\)", "x1", text).replace("^", "").replace("$", "")


def ask(client: Client, method: str, path: str) -> Any:
    return getattr(client, method)(
        path, **({} if method == "get" else {"data": "{}", "content_type": "application/json"})
    )


def is_sent_to_sign_in(answer: Any) -> bool:
    to_sign_in = ("/accounts/login/?next=", "/accounts/login/", "/admin/login/?next=")
    return answer.status_code == 401 or (answer.status_code == 302 and answer["Location"].startswith(to_sign_in))


def test_every_address_is_in_the_table():
    known = set(OF_NOTEBOOK) | set(OF_A_PERSON) | set(NOT_THEIRS) | OPEN
    assert {route for route in routes() if not route.startswith(STAFF)} == known


def views(patterns: Any = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """Each address of the API, and the class that answers."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from views(entry.url_patterns, route)
        elif hasattr(entry.callback, "cls"):
            yield route, entry.callback.cls


def test_every_method_of_a_notebooks_address_is_in_the_table():
    known = {(route, method) for route, (method, _) in OF_NOTEBOOK.items()} | set(OF_NOTEBOOK_TOO)
    found = {(route, method) for route, view in views() for method in METHODS if hasattr(view, method)}
    assert {each for each in found if each[0].startswith(API)} == {each for each in known if each[0].startswith(API)}


EACH = [(route, *each) for route, each in OF_NOTEBOOK.items()]
EACH += [(route, method, least) for (route, method), least in OF_NOTEBOOK_TOO.items()]


@pytest.mark.parametrize(("route", "method", "least"), EACH)
def test_a_notebooks_address_by_everybody(route, method, least, people, notebook):
    for name, client in people.items():
        answer = ask(client, method, address(route, notebook))
        elsewhere = ask(client, method, address(route))
        if name == "anonymous":
            assert is_sent_to_sign_in(answer), (name, answer)
            assert is_sent_to_sign_in(elsewhere)
            continue
        assert elsewhere.status_code == 404
        told = answer.content.decode() if not answer.streaming else ""
        if name in ("stranger", "staff"):
            assert answer.status_code == 404, (name, answer)
            assert notebook.name not in told
        elif ROLES.index(name) < ROLES.index(least):
            assert answer.status_code == (403 if route.startswith("api/") else 404), (name, answer)
        else:
            assert answer.status_code not in (401, 403), (name, answer)
            assert "There is no such notebook" not in told


@pytest.mark.parametrize("route", OF_A_PERSON)
def test_a_persons_address_by_everybody(route, people, notebook):
    method = OF_A_PERSON[route]
    for name, client in people.items():
        answer = ask(client, method, address(route))
        if name == "anonymous":
            assert is_sent_to_sign_in(answer), answer
            continue
        assert not is_sent_to_sign_in(answer)
        assert answer.status_code < 500
        assert answer.status_code not in (401, 403) or route in FOR_TWO_STEPS
        if name in ("stranger", "staff"):
            assert notebook.name not in answer.content.decode()


@pytest.mark.parametrize("route", NOT_THEIRS)
def test_what_is_not_ones_own_is_not_found(route, people, notebook):
    for name, client in people.items():
        answer = ask(client, NOT_THEIRS[route], address(route, notebook if name in ("stranger", "staff") else None))
        assert is_sent_to_sign_in(answer) if name == "anonymous" else answer.status_code == 404, (name, answer)


@pytest.mark.parametrize("route", sorted(OPEN))
def test_what_is_open_tells_nobody_anything(route, people, notebook):
    for client in people.values():
        answer = client.get(address(route))
        assert answer.status_code < 500
        assert notebook.name not in answer.content.decode()


def test_the_admin_is_for_staff(people, notebook):
    for route in routes():
        if not route.startswith(STAFF) or route in OPEN_TO_STAFF:
            continue
        path = re.sub(r"<path:object_id>", "1", route).replace("^", "").replace("$", "")
        path = re.sub(r"\(\?P<url>[^)]*\)", "nothing", re.sub(r"<\w+:\w+>", "1", path))
        path = "/" + re.sub(r"\(\?P<app_label>[^)]*\)", "auth", path)
        for name in ("anonymous", "stranger", "owner"):
            assert is_sent_to_sign_in(people[name].get(path)), (name, path)
        assert not is_sent_to_sign_in(people["staff"].get(path)), path
