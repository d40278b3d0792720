"""What multi mode refuses to start with, that it starts clean with production settings, and its OpenID provider."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_project.production import refusals, weakness_of

ROOT = Path(__file__).resolve().parents[2]
KEY = "fK3v-9sT1_xQwZ7mLr5bNc2yHd8gPj4eUa6oViXkSt0RBn-qCE"
PRODUCTION = {
    "RILLBOOK_MODE": "multi",
    "SECRET_KEY": KEY,
    "CONNECTION_KEYS": "azJrMmsyazJrMmsyazJrMmsyazJrMmsyazJrMmsyazI=",
    "ALLOWED_HOSTS": "notebooks.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://notebooks.example.com",
    "EMAIL_URL": "smtp://user:password@mail.example.com",
}


def manage(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    own = {"RILLBOOK_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "notebook_project.settings"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=kept | own | PRODUCTION | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_check_of_a_deployment_is_clean_with_production_settings(tmp_path):
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_a_refused_start_says_all_that_is_to_be_set(tmp_path):
    done = manage(tmp_path, "check", SECRET_KEY="changeme", ALLOWED_HOSTS="*", DEBUG="1")
    assert done.returncode != 0
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DEBUG"):
        assert name in done.stderr
    assert "changeme" not in done.stderr


def test_connections_need_keys_of_their_own(tmp_path):
    done = manage(tmp_path, "check", CONNECTION_KEYS="")
    assert done.returncode != 0 and "openssl rand -base64 32" in done.stderr


GOOD = {
    "debug": False,
    "secret_key": KEY,
    "allowed_hosts": ["notebooks.example.com"],
    "origins": {"CSRF_TRUSTED_ORIGINS": ["https://notebooks.example.com"]},
    "https": True,
}


def test_good_settings_are_not_refused():
    assert refusals(**GOOD) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"debug": True}, "unset DEBUG"),
        ({"secret_key": ""}, "SECRET_KEY is shorter"),
        ({"secret_key": "short"}, "token_urlsafe"),
        ({"secret_key": "django-insecure-" + KEY}, "SECRET_KEY is a sample"),
        ({"secret_key": "changeme" * 8}, "SECRET_KEY is a sample"),
        ({"secret_key": "k" * 64}, "repeats itself"),
        ({"allowed_hosts": ["*"]}, "ALLOWED_HOSTS"),
        ({"allowed_hosts": ["a.example.com", "*"]}, "ALLOWED_HOSTS"),
        ({"origins": {"SOCKET_ORIGINS": ["http://notebooks.example.com"]}}, "SOCKET_ORIGINS"),
        ({"origins": {"CSRF_TRUSTED_ORIGINS": ["https://*.example.com"]}}, "CSRF_TRUSTED_ORIGINS"),
    ],
)
def test_each_bad_setting_is_refused_and_says_what_to_set(change, words):
    (refused,) = refusals(**(GOOD | change))
    assert words in refused


def test_keys_that_can_be_made_are_strong():
    import secrets

    assert all(not weakness_of(secrets.token_urlsafe(48)) for _ in range(200))
    assert all(not weakness_of(secrets.token_hex(32)) for _ in range(200))


SHOW = """
from allauth.socialaccount.adapter import get_adapter
from django.conf import settings
from django.urls import reverse
(app,) = get_adapter().list_apps(None)
print(app.provider, app.client_id, app.settings["server_url"], reverse("openid_connect_callback", args=["login"]))
print("https://id.example.com" in settings.SECURE_CSP["form-action"])
"""
PROVIDER = {"OIDC_ISSUER": "https://id.example.com/", "OIDC_CLIENT_ID": "rill", "OIDC_CLIENT_SECRET": "s"}


def test_a_provider_of_the_environment_is_allauths(tmp_path):
    assert manage(tmp_path, "migrate", "-v0").returncode == 0
    done = manage(tmp_path, "shell", "--no-imports", "-c", SHOW, **PROVIDER)
    assert done.stdout.split() == [
        "openid_connect", "rill", "https://id.example.com", "/accounts/oidc/login/login/callback/", "True",
    ], done.stderr  # fmt: skip


@pytest.mark.parametrize("change", [{"OIDC_CLIENT_ID": ""}, {"OIDC_CLIENT_SECRET": ""}, {"OIDC_ISSUER": "http://x.y"}])
def test_half_a_provider_stops_the_start(tmp_path, change):
    done = manage(tmp_path, "check", **(PROVIDER | change))
    assert done.returncode != 0
    assert "OIDC_" in done.stderr
