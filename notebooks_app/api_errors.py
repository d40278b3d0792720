"""Refusals as API answers: one shape for all."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

from notebooks_app.errors import Forbidden, NotFound, RillbookError


def api_exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every refusal has one shape: {"error": {"code", "message", …}}."""
    if isinstance(error, RillbookError):
        return Response({"error": error.as_json()}, status=error.status)
    if isinstance(error, Http404):
        return Response({"error": NotFound("Not found.").as_json()}, status=404)
    if isinstance(error, PermissionDenied):
        return Response({"error": Forbidden("You may not do this.").as_json()}, status=403)
    response = exception_handler(error, context)
    if response is not None and isinstance(error, APIException):
        codes = {401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "not_allowed", 413: "too_large"}
        body: dict[str, Any] = {"code": codes.get(response.status_code, "bad_request"), "message": _sentence(error)}
        if isinstance(error.detail, dict):
            body["fields"] = response.data
        response.data = {"error": body}
    return response


def _sentence(error: APIException) -> str:
    detail = error.detail
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_first(value)}" for name, value in detail.items())
    return _first(detail)


def _first(detail: Any) -> str:
    while isinstance(detail, (list, dict)) and detail:
        detail = detail[0] if isinstance(detail, list) else next(iter(detail.values()))
    return str(detail)
