"""Accounts: what making one or a lost password tells of others, and which names and addresses it may claim."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.core import mail
from django.test import Client

pytestmark = [pytest.mark.django_db]
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def _open(settings: Any) -> None:
    settings.SIGNUP_OPEN = True


def sign_up(username: str, email: str = "") -> Any:
    fields = {"username": username, "email": email, "password1": PASSWORD, "password2": PASSWORD}
    return Client().post("/accounts/signup/", fields)


def test_no_username_reads_as_an_address():
    assert sign_up("boss@example.com").status_code == 200
    assert not get_user_model().objects.filter(username__contains="@").exists()
    assert sign_up("boss").status_code == 302


def test_an_address_that_is_taken_is_answered_like_one_that_is_free():
    sign_up("first", "known@example.com")
    taken, free = sign_up("second", "known@example.com"), sign_up("third", "free@example.com")
    assert (taken.status_code, taken["Location"]) == (free.status_code, free["Location"])


def test_an_address_signs_in_the_account_that_verified_it_whoever_else_claims_it():
    for name in ("claims", "verified", "late"):
        sign_up(name, "one@example.com")
    users = {user.username: user for user in get_user_model().objects.all()}
    users["verified"].set_password("another long password")
    users["verified"].save()
    EmailAddress.objects.filter(user=users["verified"]).update(verified=True)
    fields = {"login": "one@example.com", "password": PASSWORD}
    assert Client().post("/accounts/login/", fields).status_code == 200
    assert Client().post("/accounts/login/", fields | {"password": "another long password"}).status_code == 302


@pytest.mark.parametrize("who", ["known", "known@example.com", "nobody", "nobody@example.com", "gone", "passwordless"])
def test_a_wrong_password_costs_one_hash_whoever_is_named(who: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("known", "gone", "passwordless"):
        sign_up(name, f"{name}@example.com")
    users = get_user_model().objects
    users.filter(username="gone").update(is_active=False)
    users.filter(username="passwordless").update(password=make_password(None))
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda self, *given: hashed.append("") or encode(self, *given))
    answer = Client().post("/accounts/login/", {"login": who, "password": "not the right password"})
    assert (answer.status_code, len(hashed)) == (200, 1)


def test_a_lost_password_is_answered_alike_for_all_and_sends_few_mails():
    for number in range(6):
        sign_up(f"person{number}", "many@example.com")
    answers = [Client().post("/accounts/password/reset/", {"email": f"{who}@example.com"}) for who in ("many", "none")]
    assert len({(answer.status_code, answer["Location"]) for answer in answers}) == 1
    assert sum("many@example.com" in message.to for message in mail.outbox) <= 3


def test_a_second_factor_is_asked_for_on_every_way_to_the_admin(admin_user):
    admin_user.set_password(PASSWORD)
    admin_user.save()
    totp.TOTP.activate(admin_user, totp.generate_totp_secret())
    client = Client()
    fields = {"username": "admin", "login": "admin", "password": PASSWORD}
    for way in ("/admin/login/?next=/admin/", "/accounts/login/?next=/admin/"):
        client.post(way, fields)
        assert client.get("/admin/").status_code == 302, way
    answer = client.post("/accounts/login/?next=/admin/", fields)
    assert answer["Location"].startswith("/accounts/2fa/authenticate/")
