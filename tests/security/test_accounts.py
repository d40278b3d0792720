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

from notebooks_app import accounts, members, views_account
from notebooks_app.errors import NotFound

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


def test_the_admin_gives_no_username_that_reads_as_an_address(admin_client: Client):
    people = get_user_model().objects
    old = people.create_user("old@example.com")
    new = {"username": "boss@example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    answer = admin_client.post("/admin/auth/user/add/", new)
    assert answer.status_code == 200 and "A username has no @ in it." in answer.content.decode()
    assert admin_client.post("/admin/auth/user/add/", new | {"username": "boss"}).status_code == 302
    times = {"last_login_0": "", "last_login_1": "", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    for person, username, status in ((people.get(username="boss"), "boss@example.com", 200), (old, old.username, 302)):
        form = {"username": username, "first_name": "Ana", "is_active": "on", **times}
        assert admin_client.post(f"/admin/auth/user/{person.pk}/change/", form).status_code == status
    assert set(people.values_list("username", flat=True)) == {"admin", "boss", "old@example.com"}


def test_an_address_is_whose_mail_it_is_whatever_usernames_say():
    boss, other = (get_user_model().objects.create_user(name, password=name * 3) for name in ("boss", "boss@corp.org"))
    assert members.find_person("boss@corp.org") == accounts.person_of_name("boss@corp.org") == other
    EmailAddress.objects.create(user=boss, email="boss@corp.org", verified=True)
    assert members.find_person("Boss@corp.org") == accounts.person_of_name("Boss@corp.org") == boss
    assert members.find_person("boss") == accounts.person_of_name("boss") == boss


@pytest.mark.parametrize("mode", ["open", "given", "verified"])
def test_where_operators_make_the_accounts_nobody_claims_an_address(settings, admin_client, mode):
    settings.SIGNUP_OPEN = mode == "open"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory" if mode == "verified" else "none"
    mal = get_user_model().objects.create_user("mal", email="mal@corp.org")
    EmailAddress.objects.create(user=mal, email="ceo@corp.org")
    client = Client()
    client.force_login(mal)
    words = []
    for action, address in (("add", "boss@corp.org"), ("primary", "ceo@corp.org")):
        answer = client.post("/accounts/email/", {f"action_{action}": "", "email": address}, follow=True)
        words.append(views_account.GIVEN in answer.content.decode())
    mal.refresh_from_db()
    is_added = EmailAddress.objects.filter(user=mal, email="boss@corp.org").exists()
    assert (words, is_added) == (([True, True], False) if mode == "given" else ([False, False], True))
    assert mal.email == ("mal@corp.org" if mode == "given" else mal.email)
    if mode == "given":
        with pytest.raises(NotFound):
            members.find_person("boss@corp.org")
        assert client.post("/accounts/email/", {"action_remove": "", "email": "ceo@corp.org"}).status_code == 302
        assert not EmailAddress.objects.filter(email="ceo@corp.org").exists()
        admin_client.post("/accounts/email/", {"action_add": "", "email": "admin@corp.org"})
        assert EmailAddress.objects.filter(email="admin@corp.org").exists()


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
