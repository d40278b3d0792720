"""The addresses of share links: they let the person in and send them on to the notebook. The rules are sharing.py's."""

from __future__ import annotations

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from notebooks_app import sharing
from notebooks_app.errors import NotFound
from notebooks_app.models import ShareLink


@never_cache
@require_GET
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """The address that a share link is. It is left at once, so that nothing on the notebook's page can tell it."""
    try:
        answer = _enter(request, sharing.find(token))
    except NotFound:
        answer = render(request, "notebooks/no_link.html", status=404)
    answer["Referrer-Policy"] = "no-referrer"
    return answer


@never_cache
@require_GET
def waiting(request: HttpRequest) -> HttpResponse:
    """Where somebody comes back to who had to sign in first; the link's text is in no address of that way."""
    try:
        return _enter(request, sharing.find_waiting(request.session))
    except NotFound:
        return render(request, "notebooks/no_link.html", status=404)


def _enter(request: HttpRequest, link: ShareLink) -> HttpResponse:
    if sharing.enter(link, request.user, request.session):
        return redirect("notebook", link.notebook_id)
    return redirect_to_login(reverse("share_waiting"))
