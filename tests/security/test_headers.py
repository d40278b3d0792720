"""What every answer says to browsers, where forms and sign-ins may lead, and what does not tell accounts apart."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from notebooks_app.models import Notebook

pytestmark = pytest.mark.django_db

RIGHT = "a long enough password"
OUTWARD = [
    "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)",
    "/%2f%2fevil.example/..//evil.example", "http:evil.example", "https:/evil.example", "///evil.example",
    "/\t/evil.example", " //evil.example", "data:text/html,x", "%2f%2fevil.example", "//evil.example%00.testserver",
]  # fmt: skip


@pytest.fixture
def signed_in(owner: Any) -> Client:
    client = Client()
    client.force_login(owner)
    return client


@pytest.fixture
def addresses(owner: Any) -> list[str]:
    made = Notebook.objects.create(owner=owner, name="N")
    return [
        "/", "/bin/", f"/notebooks/{made.pk}/", f"/notebooks/{made.pk}/export/", "/accounts/login/", "/frame/",
        "/accounts/password/change/", "/accounts/2fa/", "/api/v1/notebooks/", f"/api/v1/notebooks/{made.pk}/",
        "/api/v1/nothing/", "/nothing/", "/share/x/",
    ]  # fmt: skip


def test_every_answer_is_kept_by_no_cache_framed_by_nobody_and_tells_no_address(signed_in, addresses):
    for address in addresses:
        answer = signed_in.get(address)
        assert answer.status_code in (200, 302, 404), address
        if address != "/frame/":
            assert "no-store" in answer["Cache-Control"], address
            assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] in ("same-origin", "no-referrer")
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in answer["Permissions-Policy"]


def test_pages_run_only_their_own_scripts(signed_in, addresses):
    seen = set()
    for address in addresses[:3] + ["/accounts/login/"]:
        answer = signed_in.get(address)
        policy = answer["Content-Security-Policy"]
        if answer.status_code == 302:
            continue
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert "form-action 'self'" in policy
        (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
        assert nonce not in seen
        seen.add(nonce)
        scripts = re.findall(r"<script(?![^>]*application/json)[^>]*>", answer.content.decode())
        assert scripts
        assert all(f'nonce="{nonce}"' in script for script in scripts)


@pytest.mark.parametrize("outward", OUTWARD)
def test_no_sign_in_sign_up_or_sign_out_leads_away(owner, outward, signed_in):
    answers = [
        Client().post(f"/accounts/{page}/", {**form, "next": outward}, query_params={"next": outward})
        for page, form in (
            ("login", {"login": "owner", "password": RIGHT}),
            ("signup", {"username": "new", "password1": RIGHT + "!", "password2": RIGHT + "!"}),
        )
    ]
    answers += [signed_in.get("/accounts/login/", {"next": outward})]
    answers += [signed_in.post("/accounts/logout/", {"next": outward})]
    for answer in answers:
        location = answer.get("Location", "/")
        assert re.match(r"/(?![/\\\s])[^\\]*\Z", location), location
        assert "evil" not in location or location.startswith("/accounts/login/?next=")


def test_a_session_from_before_a_sign_in_is_not_the_one_after_it(owner):
    browser = Client()
    browser.get("/accounts/login/")
    planted = browser.session
    planted["planted"] = True
    planted.save()
    before = planted.session_key
    assert browser.post("/accounts/login/", {"login": "owner", "password": RIGHT}).status_code == 302
    assert browser.session.session_key != before
    assert not Session.objects.filter(pk=before).exists()


@pytest.mark.parametrize("path", ["/notebooks/new/", "/accounts/login/", "/accounts/logout/", "/admin/login/"])
def test_an_unsafe_request_of_a_session_needs_the_token(owner, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(path, {"name": "x"}).status_code == 403


def test_a_reset_and_a_sign_up_do_not_tell_whether_there_is_an_account(owner, settings):
    owner.email = "owner@example.com"
    owner.save()
    answers = [Client().post("/accounts/password/reset/", {"email": f"{name}@example.com"}) for name in ("owner", "no")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, "/accounts/password/reset/done/")}


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(owner):
    texts = []
    for login in ("owner", "nobody"):
        page = Client().post("/accounts/login/", {"login": login, "password": "wrong"}).content.decode()
        texts.append(re.sub(r'(value|nonce)="[^"]*"|nonce-\S+', "", page))
    assert texts[0] == texts[1]


def test_a_second_factor_is_at_hand(signed_in):
    assert signed_in.get("/accounts/2fa/").status_code == 200
    began = signed_in.get("/accounts/2fa/totp/activate/")
    assert began.status_code == 302  # a fresh proof of the password first
    assert began["Location"].startswith("/accounts/reauthenticate/")
    assert signed_in.post(began["Location"], {"password": RIGHT}).status_code == 302
    assert "data:image/svg+xml" in signed_in.get("/accounts/2fa/totp/activate/").content.decode()


def test_passwords_are_hashed_slowly_in_the_product():
    from django.conf import global_settings

    assert global_settings.PASSWORD_HASHERS[0].endswith("PBKDF2PasswordHasher")
    import notebook_project.settings as product

    assert not hasattr(product, "PASSWORD_HASHERS")
