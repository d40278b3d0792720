"""Pages of one's own account that are not quite allauth's. Rules of signing in are accounts.py's."""

from __future__ import annotations

from typing import Any

from allauth.account.views import EmailView
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from notebooks_app import members

GIVEN = "Here an operator sets e-mail addresses: ask for the change."


class OwnAddresses(EmailView):
    """Addresses by which others share notebooks: who could claim any where no mail tells would get what is others'."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        is_claim = "action_add" in request.POST or "action_primary" in request.POST
        if is_claim and members.are_addresses_given() and not request.user.is_superuser:
            messages.error(request, GIVEN)
            return redirect("account_email")
        return super().post(request, *args, **kwargs)
