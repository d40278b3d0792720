"""Changing SECRET_KEY: who is signed in stays so at pages and at sockets, and connections still open."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from channels.auth import get_user
from django.test import Client

from kernels_app import socket_sessions
from notebooks_app import crypto
from notebooks_app.models import Connection

pytestmark = pytest.mark.django_db
OLD, NEW, OTHER = (letter * 5 + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ" for letter in "abc")
DSN = "postgresql://ana:word@db.example/shop"


def session_of(client: Client, settings: Any) -> Any:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    return store(client.cookies[settings.SESSION_COOKIE_NAME].value)


@pytest.fixture
def signed_in(client: Client, owner: Any, settings: Any) -> Client:
    settings.SECRET_KEY, settings.CONNECTION_KEYS = OLD, []
    client.force_login(owner, backend="notebooks_app.accounts.PasswordBackend")
    return client


@pytest.mark.parametrize(("key", "fallback", "stays"), [(NEW, OLD, True), (OLD, NEW, True), (NEW, OTHER, False)])
def test_a_page_knows_a_session_of_an_older_key(
    signed_in: Client, settings: Any, key: str, fallback: str, stays: bool
) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, [fallback]
    assert (signed_in.get("/").status_code == 200) == stays


@pytest.mark.parametrize(("key", "fallback", "stays"), [(NEW, OLD, True), (OLD, NEW, True), (NEW, OTHER, False)])
def test_a_socket_that_comes_before_any_page_knows_it_too(
    signed_in: Client, settings: Any, key: str, fallback: str, stays: bool
) -> None:
    """A page that was open during the release connects again by itself: that must not sign its person out."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, [fallback]
    scope = {"session": session_of(signed_in, settings)}
    socket_sessions.renew(scope["session"])
    assert get_user.func(scope).is_authenticated == stays  # what Channels makes of it
    assert (signed_in.get("/").status_code == 200) == stays


def test_a_session_whose_password_was_changed_is_not_renewed(signed_in: Client, settings: Any, owner: Any) -> None:
    session = session_of(signed_in, settings)
    owner.set_password("another long password")
    owner.save()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    before = dict(session.items())
    socket_sessions.renew(session)
    assert dict(session.items()) == before


def test_connections_that_the_older_key_sealed_open_and_are_sealed_anew(signed_in: Client, settings: Any, owner: Any):
    connection = Connection(owner=owner, name="c")
    connection.set_dsn(DSN)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert connection.dsn() == DSN and crypto.needs_rotation(bytes(connection.secret))
    connection.set_dsn(DSN)
    settings.SECRET_KEY_FALLBACKS = []
    assert connection.dsn() == DSN
