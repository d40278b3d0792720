"""The addresses of share links: they let the person in and send them on to the notebook. The rules are sharing.py's.

A link is an address that anybody may put in a picture: what it gives is taken by a person who opened it and, where it
makes them a member, said so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from notebooks_app import sharing
from notebooks_app.embedding import OPENED, refuse_embedded
from notebooks_app.errors import NotFound
from notebooks_app.models import ShareLink


def opened(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For what a person opens, and no page embeds."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        refuse_embedded(request, OPENED)
        try:
            return view(request, *args, **kwargs)
        except NotFound:
            return render(request, "notebooks/no_link.html", status=404)

    return guarded


@never_cache
@require_GET
@opened
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """The address that a share link is. It is left at once, so that nothing on the next page can tell it."""
    answer = _arrive(request, sharing.find(token))
    answer["Referrer-Policy"] = "no-referrer"
    return answer


@never_cache
@require_http_methods(["GET", "POST"])
@opened
def waiting(request: HttpRequest) -> HttpResponse:
    """Where who is signed in says yes to a link that they opened; its text is in no address of that way."""
    link = sharing.find_waiting(request.session)
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("share_waiting"))
    is_yes = request.method == "POST" and request.POST.get("link") == str(link.pk)
    if is_yes or not sharing.gives(link, request.user):
        return _enter(request, link)
    return render(request, "notebooks/join.html", {"link": link})


def _arrive(request: HttpRequest, link: ShareLink) -> HttpResponse:
    if request.user.is_authenticated and not sharing.gives(link, request.user):
        return _enter(request, link)
    if not request.user.is_authenticated and link.allows_guests:
        sharing.enter_as_guest(link, request.session)
        return redirect("notebook", link.notebook_id)
    sharing.wait(link, request.session)
    waits_at = reverse("share_waiting")
    return redirect(waits_at) if request.user.is_authenticated else redirect_to_login(waits_at)


def _enter(request: HttpRequest, link: ShareLink) -> HttpResponse:
    sharing.enter(link, request.user, request.session)
    return redirect("notebook", link.notebook_id)
