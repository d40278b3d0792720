"""Who opens a socket while the secret key is changed: sessions that one of SECRET_KEY_FALLBACKS signed are good.

Django renews such a session at the next request; Channels ends it instead, so that every page that is open during a
release would be signed out. Here it is renewed before Channels looks.
"""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddleware
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare

from notebooks_app import db


def with_person(application: Any) -> Any:
    """The socket's application with `scope["user"]` and `scope["session"]`."""
    return CookieMiddleware(SessionMiddleware(Renewed(AuthMiddleware(application))))


class Renewed:
    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if settings.SECRET_KEY_FALLBACKS:
            await db.read(lambda: renew(scope["session"]))
        return await self.application(scope, receive, send)


def renew(session: Any) -> None:
    """Give a session that an older key signed the hash of the present one; any other stays as it is."""
    said = session.get(HASH_SESSION_KEY)
    if not said or not str(session.get(SESSION_KEY, "")).isdigit():
        return
    user = get_user_model().objects.filter(pk=session[SESSION_KEY]).first()
    if user is None or constant_time_compare(said, user.get_session_auth_hash()):
        return
    if any(constant_time_compare(said, older) for older in user.get_session_auth_fallback_hash()):
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
