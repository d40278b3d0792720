"""Signing in at an OpenID Connect provider: whose account it opens, and what is believed of what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from notebook_project import oidc
from tests.security.openid import CLIENT_ID, CLIENT_SECRET, Provider, openid_provider

pytestmark = [pytest.mark.django_db]
LOGIN, CALLBACK = "/accounts/oidc/login/login/", "/accounts/oidc/login/login/callback/"
ANA = {"sub": "42", "preferred_username": "ana", "email": "ana@example.com", "email_verified": True}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with openid_provider() as made:
        yield made


@pytest.fixture
def provider(running: Provider, settings: Any) -> Provider:
    chosen = oidc.Provider(running.url, CLIENT_ID, CLIENT_SECRET, "Test", True, (running.url,))
    settings.OIDC, settings.SOCIALACCOUNT_PROVIDERS = chosen, {"openid_connect": oidc.provider(chosen)}
    running.claims, running.lies = dict(ANA), {}
    cache.clear()
    return running


def come_back(client: Client, provider: Provider, **changed: str) -> Any:
    """Go to the provider and back, with what is `changed` of what one comes back with."""
    code, asked = provider.authorize(client.post(LOGIN)["Location"])
    return client.get(CALLBACK, {"code": code, "state": asked["state"]} | changed)


def who(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    return get_user_model().objects.get(pk=key).username if key else None


def test_a_person_is_known_by_their_subject_whatever_else_changes(provider: Provider):
    first, second = Client(), Client()
    assert come_back(first, provider)["Location"] == "/"
    provider.claims |= {"preferred_username": "other", "email": "other@example.com"}
    come_back(second, provider)
    assert (who(first), who(second)) == ("ana", "ana")
    provider.claims |= {"sub": "43", "preferred_username": "ana"}
    third = Client()
    come_back(third, provider)
    assert who(third) not in (None, "ana")


@pytest.mark.parametrize("changed", [{"state": "forged"}, {"state": ""}, {"code": "forged"}, {"code": ""}])
def test_what_nobody_asked_for_signs_nobody_in(provider: Provider, changed: dict[str, str]):
    client = Client()
    come_back(client, provider, **changed)
    assert who(client) is None


def test_an_answer_is_good_in_its_own_browser_and_once(provider: Provider):
    """Else an attacker would sign a victim in to the attacker's account, or take the victim's code."""
    mine, theirs = Client(), Client()
    code, asked = provider.authorize(mine.post(LOGIN)["Location"])
    answer = {"code": code, "state": asked["state"]}
    theirs.get(CALLBACK, answer)
    theirs.post(LOGIN)
    theirs.get(CALLBACK, answer)
    assert who(theirs) is None
    mine.get(CALLBACK, answer)
    again = Client()
    again.cookies = mine.cookies.copy()
    mine.post("/accounts/logout/")
    again.get(CALLBACK, answer)
    assert who(again) is None


@pytest.mark.parametrize(
    "lies",
    [{"aud": "another client"}, {"aud": None}, {"iss": "https://evil.example"}, {"exp": 1}, {"exp": "soon"}],
    ids=str,
)
def test_a_token_that_is_not_for_us_or_is_over_signs_nobody_in(provider: Provider, lies: dict[str, Any]):
    provider.lies = lies
    client = Client()
    come_back(client, provider)
    assert who(client) is None and not get_user_model().objects.exists()


@pytest.mark.parametrize("verified", [True, False, "true", "false", 1, None])
def test_no_account_is_opened_by_its_address(provider: Provider, verified: Any):
    """An account that has the address, verified or not, is another one's: who signs in gets an own one, or none."""
    for name, own in (("victim", True), ("claims", False)):
        user = get_user_model().objects.create_user(name, email=f"{name}@example.com", password="x")
        EmailAddress.objects.create(user=user, email=f"{name}@example.com", verified=own, primary=True)
        told = {"email": f"{name}@example.com", "email_verified": verified}
        provider.claims = {"sub": name, "preferred_username": name} | told
        client = Client()
        come_back(client, provider)
        assert who(client) not in ("victim", "claims")


@pytest.mark.parametrize(
    ("verified", "is_believed"), [(True, True), (False, False), ("false", False), ("0", False), (None, False)]
)
def test_an_address_is_verified_if_the_provider_says_true(provider: Provider, verified: Any, is_believed: bool):
    provider.claims["email_verified"] = verified
    come_back(Client(), provider)
    assert EmailAddress.objects.filter(email="ana@example.com", verified=True).exists() == is_believed


def test_an_account_that_is_switched_off_stays_off(provider: Provider):
    come_back(Client(), provider)
    get_user_model().objects.update(is_active=False)
    client = Client()
    come_back(client, provider)
    assert who(client) is None


def test_a_provider_makes_accounts_only_where_the_operator_lets_it(provider: Provider, settings: Any):
    settings.OIDC = oidc.Provider(provider.url, CLIENT_ID, CLIENT_SECRET, "Test", False, ())
    client = Client()
    come_back(client, provider)
    client.post("/accounts/3rdparty/signup/", {"username": "ana", "email": ""})
    assert who(client) is None and not get_user_model().objects.exists()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_one_comes_back_to_a_page_here(provider: Provider, target: str):
    client = Client()
    code, asked = provider.authorize(client.post(LOGIN, {"next": target})["Location"])
    assert client.get(CALLBACK, {"code": code, "state": asked["state"]})["Location"] == "/"


def test_a_visit_alone_sends_nobody_to_the_provider(provider: Provider):
    """A picture with that address on another site would sign its readers in."""
    assert Client().get(LOGIN).status_code == 200


def test_a_new_session_begins_when_somebody_signs_in(provider: Provider):
    client = Client()
    code, asked = provider.authorize(client.post(LOGIN)["Location"])
    before = client.session.session_key
    client.get(CALLBACK, {"code": code, "state": asked["state"]})
    assert client.session.session_key not in (None, before)
