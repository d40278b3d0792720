"""Addresses that no page embeds: a picture or a frame is asked for with the cookies of whoever looks at it."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

OPENED = ("document",)
SAVED = ("document", "empty")  # a link of a page that saves what it leads to


def refuse_embedded(request: HttpRequest, allowed: tuple[str, ...]) -> None:
    """Raises PermissionDenied for what a browser asks for otherwise, of which browsers say what it is for."""
    if request.headers.get("Sec-Fetch-Dest", "document") not in allowed:
        raise PermissionDenied
