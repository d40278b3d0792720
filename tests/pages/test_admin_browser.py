"""Every page of the admin in a real browser: lists, searches, filters, forms and histories open without a complaint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin

from tests.servers import LiveServer

FILL = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from kernels_app.models import KernelLimits
from notebooks_app import sharing
from notebooks_app.models import ApiToken, Connection, KernelSession, Membership, Notebook, Run
me = get_user_model().objects.get(username="me")
friend = get_user_model().objects.create_user("friend", email="friend@example.com")
notebook = Notebook.objects.filter(owner=me).first()
Group.objects.create(name="operators")
EmailAddress.objects.create(user=friend, email=friend.email)
Authenticator.objects.create(user=friend, type="totp", data={"secret": "the-secret-of-a-phone"})
SocialAccount.objects.create(user=friend, provider="login", uid="7")
KernelLimits.objects.create(user=friend, memory_mib=512)
ApiToken.issue(me.pk, "mine", "read")
connection = Connection(name="warehouse")
connection.set_dsn("postgresql://me:the-word@db.example.com/warehouse")
connection.save()
KernelSession.objects.get_or_create(notebook=notebook, defaults={"expires": timezone.now()})
Membership.objects.create(notebook=notebook, user=friend, role="editor")
Run.objects.create(notebook=notebook, started_at=timezone.now(), started_by=me)
sharing.create(notebook, by=me, role="viewer", name="to all", allows_guests=True, expires_at=None)
"""
SECRETS = ("the-secret-of-a-phone", "the-word")


@pytest.fixture(scope="module")
def filled(live_server: LiveServer) -> LiveServer:
    """A row for each list."""
    live_server.manage("shell", "--no-imports", "-c", FILL)
    return live_server


@pytest.fixture
def complaints(browser_page: Any) -> Iterator[list[str]]:
    """What the browser finds wrong: refusals of the content policy, failed requests, warnings. None at the end."""
    found: list[str] = []
    browser_page.on("console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None)
    browser_page.on("response", lambda got: found.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    yield found
    assert found == []


def lists() -> list[str]:
    return sorted(f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry)


def addresses_of(page: Any, selector: str) -> list[str]:
    return page.locator(selector).evaluate_all("links => links.map(link => link.href)")


def open_page(page: Any, address: str) -> None:
    """As a person, who waits until everything of it is there. It holds no secret."""
    answer = page.goto(address, wait_until="load")
    assert answer.status == 200, address
    text = page.content()
    assert not [word for word in SECRETS if word in text], address


@pytest.mark.parametrize("address", lists())
def test_a_list_and_all_that_is_reached_from_it(
    filled: LiveServer, browser_page: Any, complaints: list[str], address: str
) -> None:
    page = browser_page
    open_page(page, f"{filled.url}{address}")
    filters = [link for link in addresses_of(page, "#changelist-filter li:not(.selected) a")]
    has_search = page.locator("#searchbar").count() == 1
    adding = addresses_of(page, ".object-tools a")
    rows = addresses_of(page, "#result_list tbody a[href*='/change/']")
    assert rows, "no row to open"
    own = next(row for row in rows if address in row)
    if has_search:
        page.locator("#searchbar").fill("friend")
        page.locator("#changelist-search [type=submit]").click()
    for link in [*filters[:3], *adding, own]:
        open_page(page, link)
    for link in addresses_of(page, ".historylink"):
        open_page(page, link)
    assert page.locator("#site-name").inner_text() == "Rillbook administration"


def test_the_overview_and_what_people_store(filled: LiveServer, browser_page: Any, complaints: list[str]) -> None:
    for address in ("/admin/", "/admin/notebooks_app/notebook/storage/", "/admin/password_change/"):
        open_page(browser_page, f"{filled.url}{address}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lists_fit_a_telephone(filled: LiveServer, browser_page: Any, complaints: list[str], scheme: str) -> None:
    browser_page.emulate_media(color_scheme=scheme)
    browser_page.set_viewport_size({"width": 390, "height": 800})
    for address in lists():
        open_page(browser_page, f"{filled.url}{address}")
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not browser_page.evaluate(too_wide), address
