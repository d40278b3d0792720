"""Refusals as API answers: one shape for all."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from notebooks_app.errors import Forbidden, NotFound, RillbookError, database_away

log = logging.getLogger("rillbook.api")

CODES = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}


def api_exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Every refusal has one shape: {"error": {"code", "message", …}}; so has a failure of ours."""
    if isinstance(error, (Http404, ObjectDoesNotExist)):
        error = NotFound("Not found.")
    elif isinstance(error, PermissionDenied):
        error = Forbidden("You may not do this.")
    elif isinstance(error, (OperationalError, InterfaceError)):
        log.warning("the database did not answer: %s", type(error).__name__)
        error = database_away(error)
    if isinstance(error, RillbookError):
        set_rollback()
        response = Response({"error": error.as_json()}, status=error.status)
        if (wait_s := getattr(error, "retry_after_s", 1 if error.status == 503 else None)) is not None:
            response["Retry-After"] = str(wait_s)
        return response
    known = exception_handler(error, context)
    if known is None or not isinstance(error, APIException):
        return _failure(error, context)
    body: dict[str, Any] = {"code": CODES.get(known.status_code, "bad_request"), "message": _sentence(error)}
    if isinstance(error.detail, dict):
        body["fields"] = known.data
    known.data = {"error": body}
    return known


def _failure(error: Exception, context: dict[str, Any]) -> Response:
    """A fault of ours: logged and signalled as Django does, answered in the shape of all refusals."""
    set_rollback()
    request = getattr(context.get("request"), "_request", None)
    log.error("a request failed: %s", type(error).__name__, exc_info=error)
    got_request_exception.send(sender=api_exception_handler, request=request)
    body = {"code": "internal", "message": "The server failed at this. It was noted; try again later."}
    return Response({"error": body}, status=500)


def _sentence(error: APIException) -> str:
    """What is wrong, each field by its place: `operations[1].version: Must be a whole number.`"""
    detail = error.detail
    if isinstance(detail, dict):
        return " ".join(": ".join(_first(value, str(name))) for name, value in detail.items())
    return _first(detail, "")[1]


def _first(detail: Any, place: str) -> tuple[str, str]:
    """The place of the first thing that is wrong, and what it is."""
    while isinstance(detail, (list, dict)) and detail:
        if isinstance(detail, list):
            index, inner = next(((index, item) for index, item in enumerate(detail) if item), (0, detail[0]))
            place += f"[{index}]" if isinstance(inner, (list, dict)) else ""
        else:
            name, inner = next(iter(detail.items()))
            place += f"[{name}]" if isinstance(name, int) or name.isdigit() else f".{name}"
        detail = inner
    return place, str(detail)
