"""What machines ask: `/health` (the event loop answers), `/ready` (so do database, layer, storage) and `/metrics`.

Answered before anything else looks at a request: a load balancer names the server by its address (ALLOWED_HOSTS does
not hold that), speaks plain HTTP behind the proxy, and must get its answer while all threads are taken.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase
from prometheus_client import CONTENT_TYPE_LATEST

from notebooks_app import metrics
from notebooks_app.health import readiness

# A proxy in front makes every peer look near.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
DISPENSABLE = {"channel_layer"}

type Answer = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


async def ready(request: HttpRequest) -> HttpResponse:
    """200, or 503 naming what does not answer; why is in the log and in `manage.py doctor`.

    Without the channel layer a server still saves every edit and learns of others' within a second: it stays in use,
    `degraded`, for taking all servers away at once would be the only outage.
    """
    parts = await readiness.ask()
    words = {name: "ok" if works else "unavailable" for name, works in parts.items()}
    works = all(is_up for name, is_up in parts.items() if name not in DISPENSABLE)
    status = "unavailable" if not works else "ok" if all(parts.values()) else "degraded"
    return JsonResponse({"status": status, **words}, status=200 if works else 503)


async def show_metrics(request: HttpRequest) -> HttpResponse:
    """With METRICS_TOKEN to who has it; without, to this machine only."""
    if not settings.METRICS_TOKEN:
        if not is_near(request):
            return JsonResponse({"status": "not found"}, status=404)
    elif not has_token(request):
        return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    text = await asyncio.to_thread(metrics.text)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


ANSWERS: dict[str, Answer] = {"/health": health, "/ready": ready, "/metrics": show_metrics}


def is_near(request: HttpRequest) -> bool:
    """Whether the peer is on this machine and no proxy stands between."""
    if any(request.META.get(name) for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN.encode()
    return scheme.lower() == "bearer" and secrets.compare_digest(token.strip().encode(), wanted)


def in_front(application: Any) -> Any:
    """The ASGI application behind the probes. Django's own chain would take a thread for them."""

    async def run(scope: dict[str, Any], receive: Any, send: Any) -> None:
        answer = ANSWERS.get(_path(scope)) if scope["type"] == "http" else None
        if answer is None:
            await application(scope, receive, send)
            return
        response = await _answer(ASGIRequest(scope, BytesIO()), answer)
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        body = b"" if scope["method"] == "HEAD" else response.content
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return run


def probes(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """The same as middleware, the first of all, for servers without `in_front` and for Django's test client."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        answer = ANSWERS.get(request.path_info)
        return async_to_sync(_answer)(request, answer) if answer else get_response(request)

    return middleware


def _path(scope: dict[str, Any]) -> str:
    """The path below the one that Rillbook lives under."""
    return scope["path"].removeprefix(scope.get("root_path", ""))


async def _answer(request: HttpRequest, answer: Answer) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    response = await answer(request)
    response.headers["Cache-Control"] = "no-store"
    return response
