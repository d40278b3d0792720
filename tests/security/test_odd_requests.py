"""Every page and every address of the API, asked in odd ways by somebody who may do all: never an error of ours."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from notebooks_app.models import Notebook
from tests.security.test_access_urls import routes

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ODD = (
    "%00", "a%00b", "%ff%fe", "%ED%A0%80", "'%22%3C", "-1", "0", "9" * 30, "1e400", "NaN", "%F0%9D%9F%97", "x" * 3000,
)  # fmt: skip
NAMES = ("q", "page", "from", "next", "p", "o", "e", "all", "format", "search", "cursor", "limit", "since", "outputs")
FORMS = (
    {"name": "a\0b", "file": "\0", "q": "\0", "login": "a\0b", "username": "\0", "password": "a\0b", "action": "\0"},
    {"name": "\ud800", "login": "\ud800", "username": "\ud800", "password": "\ud800", "email": "\ud800@x"},
    {"name": ["a", "b"], "_selected_action": ["1", "\0"], "action": "delete_selected", "index": "9" * 30},
)
COOKIES = (r'"\000aaaaaaaa"', "a" * 5000, "aaaaaaaa", r'"\377\377\377\377\377\377\377\377"', "a" * 31 + "é")
PARTS = re.compile(r"<(?P<kind>\w+):(?P<name>\w+)>|\(\?P<\w+>(?:\[[^]]*\]|[^)[])*\)")


@pytest.fixture
def boss() -> Any:
    return get_user_model().objects.create_superuser("boss", password="a long enough password")


@pytest.fixture
def client(boss: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(boss)
    return client


@pytest.fixture
def notebook(boss: Any) -> Notebook:
    return Notebook.objects.create(owner=boss, name="Odd")


def path_of(route: str, notebook: Notebook, odd: str = "nothing") -> str:
    """An address of the route; what is not an id in it is odd."""

    def part(match: re.Match[str]) -> str:
        if match["name"] == "notebook_id":
            return str(notebook.pk)
        return {"uuid": str(uuid.uuid4()), "int": odd if odd.isdigit() else "1"}.get(match["kind"] or "", odd)

    return "/" + PARTS.sub(part, route).replace("^", "").replace("$", "").replace("\\", "")


@pytest.mark.parametrize("odd", ODD)
def test_odd_addresses(odd: str, client: Client, notebook: Notebook):
    for route in routes():
        path = path_of(route, notebook, odd)
        for asked in (path, f"{path}?{'&'.join(f'{name}={odd}' for name in NAMES)}", f"{path}?{odd}={odd}"):
            answer = client.get(asked)
            assert answer.status_code < 500 or route.endswith("logout/"), (asked[:200], answer.status_code)


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_odd_forms(form: int, client: Client, notebook: Notebook, boss: Any):
    for route in routes():
        if "/logout/" in route or route.startswith("api/") or "delete" in route:
            continue
        fields = {name: value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
                  for name, value in FORMS[form].items()}  # fmt: skip
        answer = client.post(path_of(route, notebook), fields)
        assert answer.status_code < 500, (route, answer.status_code)
        client.force_login(boss)


@pytest.mark.parametrize("cookie", COOKIES)
def test_odd_cookies(cookie: str, client: Client, settings: Any):
    for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, "messages", "rillbook-device", "sessionid"):
        answer = Client(raise_request_exception=False).get("/", headers={"cookie": f"{name}={cookie}"})
        assert answer.status_code in (200, 302), (name, answer.status_code)
