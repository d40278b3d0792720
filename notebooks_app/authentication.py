"""How a program or a browser says who it is to the API: a session, or a token with its scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from rest_framework import authentication, exceptions

from notebooks_app.access import Role
from notebooks_app.models import ApiToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from rest_framework.request import Request

_SCOPE_ROLES = {"read": Role.VIEWER, "run": Role.RUNNER, "edit": Role.OWNER}


def scope_limit(request: Request) -> Role:
    """The most that this request's token may do; a session may do all that its person may."""
    token = request.auth
    return _SCOPE_ROLES[token.scope] if isinstance(token, ApiToken) else Role.OWNER


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session; answers 401 rather than 403 where nobody is signed in."""

    def authenticate_header(self, request: Request) -> str:
        return "Session"


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rill_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = ApiToken.find(text.strip())
        if token is None:
            raise exceptions.AuthenticationFailed("The token is unknown, expired or revoked.")
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
