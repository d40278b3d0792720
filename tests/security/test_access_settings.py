"""What multi mode refuses to start with, that it starts clean with production settings, and its OpenID provider."""

from __future__ import annotations

import base64
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.utils import get_random_secret_key

from notebook_project.production import refusals, weakness_of, weakness_of_connection_key

ROOT = Path(__file__).resolve().parents[2]
KEY = "fK3v-9sT1_xQwZ7mLr5bNc2yHd8gPj4eUa6oViXkSt0RBn-qCE"
PRODUCTION = {
    "RILLBOOK_MODE": "multi",
    "SECRET_KEY": KEY,
    "CONNECTION_KEYS": "q8Xm0bT3vYc1ZtRkWJ5uPnE7hLs2dFgAoMzQ9iKxV4c=",
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
        ({"secret_key": "ab" * 60}, "repeats itself"),
        ({"secret_key": "0123456789abcdef" * 4}, "repeats itself"),
        ({"secret_key": KEY[:24] * 2}, "repeats itself"),
        ({"secret_key": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"}, "follow each other"),
        ({"secret_key": KEY + "zyxwvuts"}, "follow each other"),
        ({"secret_key": f'"{KEY}"'}, "quotes"),
        ({"secret_key": f"'{KEY}'"}, "quotes"),
        ({"secret_key": "rillbook-insecure-" + KEY}, "is a sample"),
        ({"secret_key": f"{KEY}-Change-Me"}, "is a sample"),
        ({"secret_key": "please_replace_this_" + KEY}, "is a sample"),
        ({"secret_key": "my-super-secret-key-for-this-server-1"}, "is a sample"),
        ({"secret_key": "this is a secret of ours that is long enough"}, "is a sample"),
        ({"secret_key": "your_key_goes_here_with_many_characters_x"}, "is a sample"),
        ({"secret_key": "DO-NOT-USE-in-the-world-7h2k9d0s3l"}, "is a sample"),
        ({"secret_key": "RillbookProductionKey2026-7h2k9d0s3l"}, "is a sample"),
        ({"secret_key": "thedefaultkeyofthisinstallation2026"}, "is a sample"),
        ({"secret_key": "<fifty random characters of your choice>"}, "is a sample"),
        ({"fallbacks": ["rillbook-placeholder-" + KEY]}, "FALLBACKS holds a key that is a sample"),
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
    assert all(not weakness_of(get_random_secret_key()) for _ in range(200))
    for _ in range(200):
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        assert not weakness_of(key) and not weakness_of_connection_key(key)
        password = "aZ9" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(29))
        assert not weakness_of_connection_key(base64.b64encode(password.encode()).decode())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (b"k" * 32, "text"),
        (b"connection key of a test's serve", "text"),
        (b"ThisIsMySuperSecretKey1357924680", "text"),
        (bytes(32), "repeats itself"),
        (b"\x00\xff" * 16, "repeats itself"),
        (bytes(range(32)), "follow each other"),
    ],
)
def test_a_connection_key_that_can_be_guessed_is_refused(key, words):
    assert words in weakness_of_connection_key(base64.b64encode(key).decode())


def test_only_the_connection_key_that_encrypts_must_be_strong_so_that_a_weak_one_can_be_left(tmp_path):
    weak = base64.b64encode(b"k" * 32).decode()
    done = manage(tmp_path, "check", CONNECTION_KEYS=weak)
    assert done.returncode != 0 and "CONNECTION_KEYS: the first key is text" in done.stderr and weak not in done.stderr
    assert manage(tmp_path, "check", CONNECTION_KEYS=f"{PRODUCTION['CONNECTION_KEYS']},{weak}").returncode == 0


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
