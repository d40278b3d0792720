"""Pages of the bin: a person's deleted notebooks, and the page of a notebook that lies there. Plain forms, no script.

The rules are binning.py's; deleted cells are shown in the notebook's own history panel.
"""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from notebooks_app import binning, views
from notebooks_app.authentication import or_guest
from notebooks_app.errors import RillbookError


@login_required
@never_cache
@require_GET
def bin_list(request: HttpRequest) -> HttpResponse:
    found = binning.deleted_notebooks(request.user)
    page = Paginator(found, views.PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "notebooks/bin.html", {"notebooks": page.object_list, "page": page})


@or_guest
@never_cache
@require_GET
def notebook(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponseBase:
    """The notebook's page; where it is in the bin, a page that says so to those who could see it."""
    try:
        return views.notebook(request, notebook_id)
    except Http404:
        deleted = binning.find_deleted(request.user, notebook_id)
        if deleted is None:
            raise
    context = {"notebook": deleted, "is_owner": deleted.owner_id == request.user.pk}
    return render(request, "notebooks/in_bin.html", context, status=410)


@login_required
@require_POST
def restore(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    try:
        restored = binning.restore_notebook(request.user, notebook_id)
    except RillbookError as error:
        raise Http404(error.message) from None
    if request.POST.get("next") == "bin":
        messages.success(request, f"“{restored.name}” is back.")
        return redirect("bin")
    return redirect("notebook", restored.pk)


@login_required
@require_POST
def delete_for_ever(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    found = binning.find_deleted(request.user, notebook_id)
    try:
        binning.delete_for_ever(request.user, notebook_id)
    except RillbookError as error:
        raise Http404(error.message) from None
    if found is not None:
        messages.success(request, f"“{found.name}” was deleted for ever.")
    return redirect("bin")
