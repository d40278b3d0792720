"""Every request gets an id, is counted, and says in its log records what it is about; so does every socket.

What a record tells is logs.py's, what is counted metrics.py's.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject

from notebooks_app import bodies, logs, metrics, sharing, sign_in_limits

SIGNED_IN = "_rillbook_signed_in"  # on a request: the account that was signed in to (accounts.py)

log = logging.getLogger("rillbook.request")

HEADER = "X-Request-ID"
_ENDLESS = re.compile(r"/[0-9]{19,}(?:/|$)")


@sync_and_async_middleware
def observed(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, right after the probes."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            watch = Watch(request)
            try:
                return watch.end(await get_response(request))
            finally:
                watch.leave()

        return asynchronous  # type: ignore[return-value]

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        watch = Watch(request)
        try:
            return watch.end(get_response(request))
        finally:
            watch.leave()

    return synchronous


def _before(act: Callable[[HttpRequest], None]) -> Any:
    """Middleware that does this with each request before it is answered."""

    def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
        if iscoroutinefunction(get_response):

            async def asynchronous(request: HttpRequest) -> HttpResponseBase:
                act(request)
                return cast(HttpResponseBase, await get_response(request))

            return asynchronous

        def synchronous(request: HttpRequest) -> HttpResponseBase:
            act(request)
            return cast(HttpResponseBase, get_response(request))

        return synchronous

    return sync_and_async_middleware(middleware)


@_before
def guests(request: HttpRequest) -> None:
    """After Django's authentication: who is not signed in may hold share links (sharing.py)."""
    known = request.user
    request.user = cast(Any, SimpleLazyObject(lambda: sharing.person_of(known, request.session)))


@_before
def storable(request: HttpRequest) -> None:
    """In front of the pages: no address of ours holds what databases refuse: NUL, endless numbers.

    The API says so in its own words.
    """
    if request.path_info.startswith(bodies.API_PATH):
        return
    if "\0" in request.path_info or _ENDLESS.search(request.path_info):
        raise Http404("No thing of ours has such a name or number.")
    if "%00" in request.META.get("QUERY_STRING", ""):
        raise BadRequest("The address holds a NUL character.")


# What no page of ours uses, and no output may ask for in our name.
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer",
        "microphone", "midi", "payment", "usb",
    )
)  # fmt: skip


@sync_and_async_middleware
def headers(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, in front of the pages: no cache keeps anything unless its view says so, and no device opens."""

    def write(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if account := getattr(request, SIGNED_IN, None):
            sign_in_limits.remember_device(response, account)
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            return write(request, await get_response(request))

        return asynchronous  # type: ignore[return-value]

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return write(request, get_response(request))

    return synchronous


class Watch:
    """One request, from its first line to its response's."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.id = logs.request_id(request.headers.get(HEADER))
        self._started = time.perf_counter()
        self._token = logs.enter(logs.About(request_id=self.id, request=request))

    def end(self, response: HttpResponseBase) -> HttpResponseBase:
        seconds = time.perf_counter() - self._started
        response.headers[HEADER] = self.id
        route, method = route_of(self.request), str(self.request.method)
        metrics.request_answered(route, method, response.status_code, seconds)
        if route != "static":
            facts = {"route": route, "method": method, "status": response.status_code, "ms": round(seconds * 1000)}
            log.info("%s %s %s in %d ms", method, route, response.status_code, facts["ms"], extra=facts)
        return response

    def leave(self) -> None:
        logs.leave(self._token)


def route_of(request: HttpRequest) -> str:
    """The name of the URL pattern that answered: few and known beforehand, unlike paths."""
    match = request.resolver_match
    if match is not None:
        return match.view_name or "unnamed"
    return "static" if request.path_info.startswith("/static/") else "unmatched"


def with_facts(application: Any) -> Any:
    """An ASGI application of sockets: what is logged in it tells its connection, user and notebook."""

    async def run(scope: dict[str, Any], receive: Any, send: Any) -> None:
        user = scope.get("user")
        notebook = scope.get("url_route", {}).get("kwargs", {}).get("notebook_id")
        given = dict(scope.get("headers", ())).get(HEADER.lower().encode(), b"").decode("latin-1")
        about = logs.About(
            request_id=logs.request_id(given), user_id=getattr(user, "pk", None), notebook_id=str(notebook or "")
        )
        token = logs.enter(about)
        metrics.socket_opened()
        try:
            await application(scope, receive, send)
        finally:
            metrics.socket_closed()
            logs.leave(token)

    return run
