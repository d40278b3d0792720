"""How a program or a browser says who it is to the API: a session, or a token with its scope."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone
from rest_framework import authentication, exceptions

from notebooks_app.access import Role
from notebooks_app.models import ApiToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from rest_framework.request import Request

USE_NOTED_EVERY = timedelta(minutes=1)
_SCOPE_ROLES = {"read": Role.VIEWER, "run": Role.RUNNER, "edit": Role.OWNER}


def scope_limit(request: Request) -> Role:
    """The most that this request's token may do; a session may do all that its person may."""
    token = request.auth
    return _SCOPE_ROLES[token.scope] if isinstance(token, ApiToken) else Role.OWNER


def caller_of(request: Request) -> str:
    """By what the request's person is known, and how far that goes."""
    token = request.auth
    return f"token {token.pk} {token.scope}" if isinstance(token, ApiToken) else "session"


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session; answers 401 rather than 403 where nobody is signed in."""

    def authenticate_header(self, request: Request) -> str:
        return "Session"


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rill_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        token = token_of(request)
        if token is None:
            return None
        _note_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def token_of(request: Request) -> ApiToken | None:
    """The token that the request came with; None: with none. Raises AuthenticationFailed if that is worth nothing."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = ApiToken.find(text.strip())
    if token is None:
        raise exceptions.AuthenticationFailed("The token is unknown, expired or revoked.")
    return token


def _note_use(token: ApiToken) -> None:
    """When it was last used, to the minute: a write for each request would cost more than many requests do."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - USE_NOTED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


def or_guest(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page for who is signed in, or came by a share link that needs no account (sharing.py). Others: to sign in."""

    @wraps(view)
    def seen(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if getattr(request.user, "share_links", None):
            try:
                return view(request, *args, **kwargs)
            except Http404:
                pass  # not theirs as a guest; perhaps as somebody
        return redirect_to_login(request.get_full_path())

    return seen


def or_token(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page's address that a program may read as well, with its token. For views that only read."""

    @wraps(view)
    def signed_in(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in ("GET", "HEAD") and "Authorization" in request.headers:
            try:
                found = TokenAuthentication().authenticate(cast("Request", request))
            except exceptions.AuthenticationFailed as error:
                body = {"error": {"code": "unauthenticated", "message": str(error.detail)}}
                return JsonResponse(body, status=401, headers={"WWW-Authenticate": "Bearer"})
            if found is not None:
                request.user = found[0]
                try:
                    return view(request, *args, **kwargs)
                except Http404:
                    return JsonResponse({"error": {"code": "not_found", "message": "Not found."}}, status=404)
        return view(request, *args, **kwargs)

    return signed_in
