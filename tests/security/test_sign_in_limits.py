"""How often a password may be tried: also in parallel, behind forged headers, by both names of an account."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from notebooks_app import sign_in_limits
from notebooks_app.models import AttemptCount

RIGHT = "a long enough password"
TOO_MANY = "Too many attempts"
TOO_MANY_CODES = "Too many failed login attempts"


def tries(client: Client, login: str, password: str = "wrong", **headers: Any) -> Any:
    return client.post("/accounts/login/", {"login": login, "password": password}, **headers)


def is_refused(answer: Any) -> bool:
    return TOO_MANY in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.database
class TestOneAfterTheOther:
    def test_ten_wrong_passwords_and_not_even_the_right_one_is_looked_at(self, owner):
        refused = [is_refused(tries(Client(), "owner")) for _ in range(13)]
        assert refused == [False] * 10 + [True] * 3
        assert is_refused(tries(Client(), "owner", RIGHT))

    def test_an_account_has_one_count_whatever_name_it_is_called_by(self, owner):
        owner.email = "owner@example.com"
        owner.save()
        names = ["owner", "owner@example.com", "OWNER@example.com", "Owner@Example.com"]
        refused = [is_refused(tries(Client(), names[n % 4])) for n in range(12)]
        assert sum(refused) == 2

    def test_a_second_account_that_claims_the_address_brings_no_more_attempts(self, owner, editor):
        for user in (owner, editor):
            user.email = "owner@example.com"
            user.save()
        refused = []
        for n in range(13):
            refused.append(is_refused(tries(Client(), "owner@example.com")))
            if n % 5 == 4:
                assert tries(Client(), "editor", RIGHT).status_code == 302
        assert refused == [False] * 10 + [True] * 3

    def test_a_stranger_does_not_lock_out_the_owners_browser(self, owner):
        browser = Client()
        assert tries(browser, "owner", RIGHT).status_code == 302
        browser.post("/accounts/logout/")
        for _ in range(12):
            tries(Client(), "owner")
        assert tries(browser, "owner", RIGHT).status_code == 302

    def test_a_device_of_one_account_gives_no_more_attempts_at_another(self, owner, editor):
        mine = Client()
        tries(mine, "editor", RIGHT)
        mine.post("/accounts/logout/")
        refused = [is_refused(tries(mine, "owner")) for _ in range(12)]
        assert sum(refused) == 2
        refused = [is_refused(tries(mine, "editor")) for _ in range(12)]
        assert sum(refused) == 2

    def test_a_right_password_takes_back_what_was_wrong_before(self, owner):
        for _ in range(3):
            for _ in range(8):
                tries(Client(), "owner")
            assert tries(Client(), "owner", RIGHT).status_code == 302

    def test_names_of_nobody_are_counted_and_answered_like_others(self, owner):
        nobody, somebody = (
            [tries(Client(), name).content.decode().count("errorlist") for _ in range(12)] for name in ("x", "owner")
        )
        assert nobody == somebody

    def test_an_address_has_a_count_over_all_accounts(self, settings, db):
        settings.SIGN_IN_ADDRESS_ATTEMPTS = 20
        refused = [is_refused(tries(Client(), f"name{n}")) for n in range(25)]
        assert refused == [False] * 20 + [True] * 5
        assert not is_refused(tries(Client(), "name99", REMOTE_ADDR="192.0.2.7"))

    def test_forged_headers_make_no_new_address(self, settings, db):
        settings.SIGN_IN_ADDRESS_ATTEMPTS = 5
        answers = [tries(Client(), f"n{n}", HTTP_X_FORWARDED_FOR=f"198.51.100.{n}") for n in range(8)]
        assert sum(map(is_refused, answers)) == 3

    def test_the_admin_has_no_form_of_its_own(self, admin_user):
        answer = Client().post("/admin/login/?next=/admin/", {"username": "admin", "password": "password"})
        assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=%2Fadmin%2F")
        assert not answer.cookies

    def test_a_new_password_is_counted_by_the_old_ones_attempts(self, owner):
        client = Client()
        client.force_login(owner)
        for _ in range(12):
            client.post("/accounts/reauthenticate/", {"password": "wrong"})
        answer = client.post("/accounts/reauthenticate/", {"password": RIGHT})
        assert answer.status_code != 302

    def test_the_present_password_is_counted_where_one_chooses_another(self, owner, settings):
        settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "change_password": "100/m/user"}
        client = Client()
        client.force_login(owner)
        new = {"password1": "quite another password", "password2": "quite another password"}
        path = "/accounts/password/change/"
        answers = [client.post(path, {"oldpassword": "wrong", **new}) for _ in range(12)]
        assert [is_refused(answer) for answer in answers] == [False] * 10 + [True] * 2
        assert "type your current password" in answers[0].content.decode()
        assert client.post(path, {"oldpassword": RIGHT, **new}).status_code == 200
        assert is_refused(tries(Client(), "owner", RIGHT))
        AttemptCount.objects.all().delete()
        assert client.post(path, {"oldpassword": RIGHT, **new}).status_code == 302
        assert client.get("/").status_code == 200
        assert tries(Client(), "owner", new["password1"]).status_code == 302

    def test_the_admin_looks_at_no_password_of_its_own(self, admin_client):
        for ask in (admin_client.get, admin_client.post):
            answer = ask("/admin/password_change/", {"old_password": "password"})
            assert (answer.status_code, answer["Location"]) == (302, "/accounts/password/change/")

    def test_whoever_resets_the_password_signs_in_and_strangers_still_wait(self, owner, mailoutbox):
        EmailAddress.objects.create(user=owner, email="owner@example.com", verified=True, primary=True)
        browser = Client()
        assert sum(is_refused(tries(browser, "owner")) for _ in range(11)) == 1
        browser.post("/accounts/password/reset/", {"email": "owner@example.com"})
        path = re.search(r"/accounts/password/reset/key/\S+", mailoutbox[0].body).group()
        form = browser.get(path, follow=True).redirect_chain[-1][0]
        new = "quite another password"
        assert browser.post(form, {"password1": new, "password2": new}).status_code == 302
        assert is_refused(tries(Client(), "owner", new))
        refused = [is_refused(tries(browser, "owner")) for _ in range(9)]
        assert not any(refused) and tries(browser, "owner", new).status_code == 302

    def test_guessing_from_many_addresses_does_not_fill_the_table(self, db):
        guesses = sign_in_limits.REMOVED_AT_ONCE + 5
        for round_ in range(3):
            AttemptCount.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
            for n in range(guesses):
                tries(Client(), f"name{round_}.{n}", REMOTE_ADDR=f"10.{round_}.0.{n}")
            assert AttemptCount.objects.count() == 2 * guesses

    def test_an_attempt_removes_a_few_expired_rows_and_keeps_all_others(self, owner):
        tries(Client(), "owner")
        expired = timezone.now() - timedelta(seconds=1)
        rows = [AttemptCount(key=f"{n:064}", expires_at=expired) for n in range(sign_in_limits.REMOVED_AT_ONCE + 5)]
        AttemptCount.objects.bulk_create(rows)
        for left in (5, 0, 0):
            tries(Client(), "owner")
            assert AttemptCount.objects.filter(expires_at=expired).count() == left
            assert AttemptCount.objects.exclude(expires_at=expired).count() == 2
        refused = [is_refused(tries(Client(), "owner")) for _ in range(8)]
        assert sum(refused) == 2

    def test_a_row_that_is_removed_under_an_attempt_is_made_again(self, db, monkeypatch):
        limit, made = sign_in_limits.Limit("account 1", 10, 900), AttemptCount.objects.bulk_create

        def removed_after(rows: Any, **more: Any) -> Any:
            monkeypatch.undo()
            made(rows, **more)
            AttemptCount.objects.all().delete()

        monkeypatch.setattr(AttemptCount.objects, "bulk_create", removed_after)
        sign_in_limits.take(limit)
        assert len(AttemptCount.objects.get().times) == 1

    def test_no_name_and_no_address_is_kept_in_the_clear(self, owner):
        tries(Client(), "owner")
        assert all(len(row.key) == 64 and "owner" not in row.key for row in AttemptCount.objects.all())


@pytest.mark.django_db
@pytest.mark.database
class TestSecondFactor:
    def test_no_other_counts_wipe_those_of_wrong_codes(self, owner):
        totp.TOTP.activate(owner, totp.generate_totp_secret())
        client = Client()
        assert tries(client, "owner", RIGHT)["Location"].startswith("/accounts/2fa/authenticate/")
        codes = [client.post("/accounts/2fa/authenticate/", {"code": "000000"}).content.decode() for _ in range(12)]
        assert [TOO_MANY_CODES in answer for answer in codes] == [False] * 10 + [True] * 2
        for n in range(400):  # as mails for lost passwords, and sign-ups, from many addresses
            cache.set(f"zz{n}", [1.0], 900)
        assert TOO_MANY_CODES in client.post("/accounts/2fa/authenticate/", {"code": "000000"}).content.decode()

    def test_what_expired_leaves_the_table(self, db):
        for n in range(400):
            cache.set(f"old{n}", 1, -5)
        cache.set("new", 1, 900)
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM rillbook_cache")
            assert cursor.fetchone()[0] <= 301  # from which number on a write looks for them


@pytest.mark.parametrize(
    ("remote", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_an_address_is_what_one_customer_has(remote, key):
    assert sign_in_limits.address_of(RequestFactory().get("/", REMOTE_ADDR=remote)) == key


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_many_at_once_get_no_more_attempts_than_one_after_the_other():
    limit = sign_in_limits.Limit("account 1", 10, 900)
    start, taken = threading.Barrier(8), []

    def attempt() -> None:
        start.wait()
        for _ in range(4):
            try:
                sign_in_limits.take(limit)
                taken.append(1)
            except sign_in_limits.TooManyAttempts:
                pass
        connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 10
