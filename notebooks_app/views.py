"""Pages: fetch what the person may see, choose a template. Writes go through services.py and notebooks.py."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import get_script_prefix, reverse
from django.utils.formats import date_format
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_GET, require_POST

from notebooks_app import (
    export_answers,
    file_answers,
    files,
    headings,
    list_states,
    live,
    notebooks,
    reading,
    rendering,
    services,
)  # fmt: skip
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.authentication import or_guest
from notebooks_app.bodies import check_file
from notebooks_app.embedding import SAVED, refuse_embedded
from notebooks_app.errors import RillbookError
from notebooks_app.facts import CellState
from notebooks_app.formats import FormatError, read_upload
from notebooks_app.models import Membership, Notebook

WINDOW = 20  # cells drawn whole; the others are placeholders filled as they come near
PAGE_SIZE = 50
WELCOME_SALT = "rillbook.welcome"
WELCOME_SECONDS = 30 * 60  # what stands in a log or a shell's scrollback signs nobody in for long
# What a page's data leaves out of a cell: what only templates use or the API tells, and values that a new cell has.
DRAWN = frozenset({"source_html", "markdown_html", "number", "far", "outline", "connection_name", "external_id"})
NEW_CELL: dict[str, Any] = {
    "version": 1,
    "result_name": "",
    "connection": None,
    "disabled": False,
    "code_hidden": False,
    "definitions": [],
    "references": [],
}


def _open(request: HttpRequest, notebook_id: uuid.UUID, role: Role = Role.VIEWER) -> Access:
    """Fetch and authorise in one step; 404 for what the person may not see."""
    try:
        access = open_notebook(request.user, notebook_id)
        access.require(role, "do this")
    except RillbookError as error:
        raise Http404(error.message) from None
    return access


# --- The list ----------------------------------------------------------------------------------------------------


@login_required
@never_cache
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    notebooks.ensure_first_notebooks(request.user)
    query = request.GET.get("q", "").strip()[: settings.NAME_MAX_LENGTH]
    found = Notebook.objects.listed_for(request.user).alive().recent().select_related("owner")
    if query:
        found = found.searched(query)
    found = found.with_cell_count().with_role(request.user)
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    counts = list_states.counts_of(page)
    rows = [_row(item, request.user, counts.get(item.pk, {})) for item in page]
    return render(request, "notebooks/list.html", {"notebooks": rows, "page": page, "q": query})


def _row(notebook: Notebook, user: Any, state_counts: Mapping[str, int]) -> dict[str, Any]:
    is_own = notebook.owner_id == user.pk
    return {
        "id": notebook.id,
        "name": notebook.name,
        "kind": notebook.kind,
        "cell_count": getattr(notebook, "cell_count", 0),
        "updated_at": notebook.updated_at,
        "owner": "You" if is_own else notebook.owner.get_full_name() or notebook.owner.get_username(),
        "state_counts": state_counts,
        "demo_update_available": is_own and notebooks.demo_update_available(notebook),
        "may_rename": is_own or getattr(notebook, "member_role", None) == Membership.Role.EDITOR,
        "may_delete": is_own,
    }


@login_required
@require_POST
def notebook_create(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "").strip() or "Untitled"
    try:
        made = notebooks.create_notebook(request.user, name)
    except RillbookError as error:
        messages.error(request, error.message)
        return redirect("home")
    return redirect("notebook", made.id)


@login_required
@require_POST
def notebook_import(request: HttpRequest) -> HttpResponse:
    files = request.FILES.getlist("file")
    if not files:
        messages.error(request, "Choose a notebook file to import.")
    made = None
    for file in files:
        try:
            check_file(file.size or 0)
            found = read_upload(file.name, file.read(), max_cells=settings.NOTEBOOK_MAX_CELLS)
            made = notebooks.import_notebook(request.user, found)
        except FormatError as error:
            messages.error(request, str(error))
        except RillbookError as error:
            messages.error(request, f"{file.name}: {error.message}")
    if made is not None and len(files) == 1:
        return redirect("notebook", made.id)
    return redirect("home")


# --- One notebook ------------------------------------------------------------------------------------------------


@or_guest
@never_cache
@require_GET
def notebook(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    access = _open(request, notebook_id)
    live.analyse_pending(notebook_id)
    found = access.notebook
    session = reading.session_of(notebook_id)
    small = reading.small_cells(notebook_id)
    states = reading.states_of(small, session)
    first = _first_cell(request, len(small))
    near = [cell.pk for cell in small[first : first + WINDOW]]
    connections = _connections(request.user) if access.role >= Role.EDITOR else []
    names = {item["id"]: item["name"] for item in connections}
    whole = reading.cell_documents(notebook_id, states=states, cell_ids=near, with_outputs=False)
    documents = {document["id"]: document for document in whole}
    outputs = reading.outputs_of(near, running=_running(small, states))
    heads = reading.cell_heads(cell.pk for cell in small if str(cell.pk) not in documents)
    cells = []
    for number, cell in enumerate(small, start=1):
        if document := documents.get(str(cell.pk)):
            document["connection_name"] = names.get(document["connection"], "")
            cells.append(_near_cell(number, document, outputs.get(cell.pk, [])))
        else:
            cells.append(_far_cell(number, cell.as_small_fields(), states[str(cell.pk)], heads.get(cell.pk, "")))
    kernel = reading.kernel_document(session)
    context = {
        "notebook": {
            **reading.notebook_document(found),
            "demo_update_available": notebooks.demo_update_available(found) and access.role == Role.OWNER,
        },
        "cells": cells,
        "people": [],
        "kernel": kernel,
        "window": _window(request, first, len(small)),
        "page_data": _page_data(request, access, cells, states, kernel)
        | {"connections": connections}
        | _about(found, states),
    }
    return render(request, "notebooks/notebook.html", context)


def _running(cells: list[Any], states: dict[str, Any]) -> dict[uuid.UUID, uuid.UUID]:
    return {cell.pk: cell.last_run_id for cell in cells if cell.last_run_id and states[str(cell.pk)].outcome is None}


def _first_cell(request: HttpRequest, count: int) -> int:
    """Index of the first cell that is drawn whole: the page's `from`, 1-based."""
    try:
        first = int(request.GET.get("from", "1")) - 1
    except ValueError:
        first = 0
    return max(0, min(first, max(count - 1, 0)))


def _window(request: HttpRequest, first: int, count: int) -> dict[str, Any] | None:
    """Links between the parts of a long notebook, for readers without JavaScript."""
    if count <= WINDOW:
        return None
    return {
        "first": first + 1,
        "last": min(first + WINDOW, count),
        "count": count,
        "previous": f"?from={max(first - WINDOW, 0) + 1}" if first else None,
        "next": f"?from={first + WINDOW + 1}" if first + WINDOW < count else None,
    }


def _near_cell(number: int, document: dict[str, Any], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell that is drawn whole."""
    cell = {**document, "number": number, "far": False, "outputs": outputs}
    if cell["type"] == "markdown":
        cell["markdown_html"] = rendering.markdown_html(cell["source"])
        cell["outline"] = headings.of(cell["source"])
    cell["source_html"] = rendering.highlight(cell["source"], cell["type"])
    return cell


def _far_cell(number: int, fields: dict[str, Any], state: CellState, head: str) -> dict[str, Any]:
    """A cell that is one element until it comes near: neither its source nor its outputs are sent."""
    cell = {**fields, "number": number, "far": True, "head": head, "state": state.as_json()}
    if cell["type"] == "markdown":
        cell["outline"] = headings.of(head)
    return cell


def _page_data(
    request: HttpRequest,
    access: Access,
    cells: list[dict[str, Any]],
    states: dict[str, CellState],
    kernel: dict[str, Any],
) -> dict[str, Any]:
    user = request.user
    notebook_id = access.notebook.id
    return {
        "notebook": reading.notebook_document(access.notebook),
        "seq": access.notebook.seq,
        "cells": [_compact(cell) | {"state": states[cell["id"]].as_compact_json()} for cell in cells],
        "kernel": kernel,
        "user": {
            "id": user.pk,
            "name": services.Author.of(user).name,
            "role": access.role.name.lower(),
            "can_edit": access.role >= Role.EDITOR,
            "can_run": access.role >= Role.RUNNER,
        },
        "urls": {
            "socket": f"{get_script_prefix()}ws/notebooks/{notebook_id}/",
            "home": reverse("home"),
            "frame": reverse("output_frame"),
            "api": reverse("api_notebook", args=[notebook_id]),
            "export": reverse("notebook_export", args=[notebook_id]),
        },
        "settings": {
            "source_max_bytes": settings.SOURCE_MAX_BYTES,
            "analysis_max_bytes": settings.ANALYSIS_MAX_BYTES,
            "wide": request.COOKIES.get("wide") == "1",
        },
    }


def _about(notebook: Notebook, states: dict[str, CellState]) -> dict[str, Any]:
    """What a reader is told on top: whose it is, and how old the oldest output that is shown is."""
    ended = [state.finished_at for state in states.values() if state.finished_at is not None]
    oldest = min(ended, default=None)
    return {
        "owner": services.Author.of(notebook.owner).name,
        "ran_at": oldest.isoformat() if oldest else None,
        "ran_words": date_format(oldest, "j M Y, H:i e") if oldest else "",
    }


def _compact(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell as the page's script gets it: without what was drawn, and without what is as in a new cell.

    static/js/store.js puts the latter back (NEW_CELL).
    """
    return {
        key: value
        for key, value in cell.items()
        if key not in DRAWN and not (key in NEW_CELL and value == NEW_CELL[key])
    }


def _connections(user: Any) -> list[dict[str, str]]:
    from notebooks_app.models import Connection

    usable = Connection.objects.usable_by(user).order_by("name")
    return [{"id": str(item.id), "name": item.name, "driver": item.driver} for item in usable]


@login_required
@require_POST
def notebook_rename(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    _open(request, notebook_id, Role.EDITOR)
    try:
        services.rename_notebook(
            notebook_id,
            request.POST.get("name", ""),
            author=services.Author.of(request.user),
            operation_id=uuid.uuid4(),
        )
    except RillbookError as error:
        messages.error(request, error.message)
    return redirect(request.POST.get("next") == "notebook" and reverse("notebook", args=[notebook_id]) or "home")


@login_required
@require_POST
def notebook_delete(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    access = _open(request, notebook_id, Role.OWNER)
    notebooks.delete_notebook(access.notebook)
    messages.success(request, f"“{access.notebook.name}” is in the bin now.")
    return redirect("home")


@login_required
@require_POST
def demo_reset(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    access = _open(request, notebook_id, Role.OWNER)
    try:
        made = notebooks.reset_demo(access.notebook)
    except RillbookError as error:
        raise Http404(error.message) from None
    return redirect("notebook", made.id)


@or_guest
@require_GET
@csp_override({"default-src": ["'none'"], "sandbox": True})  # type: ignore[dict-item]
def notebook_export(request: HttpRequest, notebook_id: uuid.UUID) -> HttpResponse:
    """As a file: an .ipynb, or with `?format=html` a page to read."""
    refuse_embedded(request, SAVED)
    access = _open(request, notebook_id)
    return export_answers.answer(request, access.notebook, "html" if request.GET.get("format") == "html" else "ipynb")


# --- Output files and their frame --------------------------------------------------------------------------------


@or_guest
@require_GET
@csp_override({"default-src": ["'none'"], "sandbox": True})  # type: ignore[dict-item]
def output_file(request: HttpRequest, notebook_id: uuid.UUID, file_id: uuid.UUID) -> HttpResponseBase:
    """One large MIME item: a short-lived signed redirect (S3), or a stream. Never shown as a page of ours."""
    _open(request, notebook_id)
    file = files.servable(notebook_id, file_id)
    if file is None:
        raise Http404("There is no such file.")
    return file_answers.answer(request, file)


@require_GET
@xframe_options_sameorigin
def output_frame(request: HttpRequest) -> HttpResponse:
    """The one document in which output's script runs, with a policy and an origin of its own."""
    origin = f"{request.scheme}://{request.get_host()}"
    response = render(request, "frame.html", {"origin": origin})
    response["Content-Security-Policy"] = rendering.frame_csp(origin, settings.STATIC_URL)
    response["Connection-Allowlist"] = rendering.frame_connections(origin, settings.STATIC_URL)
    response["Cache-Control"] = "private, max-age=3600"
    return response


# --- Signing in --------------------------------------------------------------------------------------------------


@never_cache
@require_GET
def welcome(request: HttpRequest, key: str) -> HttpResponse:
    """The one URL that `make run` prints: signs the first user in, in single mode, while the key is fresh."""
    if settings.RILLBOOK_MODE != "single":
        raise Http404("There is no such page.")
    try:
        user_id = signing.loads(key, salt=WELCOME_SALT, max_age=WELCOME_SECONDS)
    except signing.BadSignature:
        messages.error(request, "This link is no longer valid: start the server anew to get another one.")
        return redirect("account_login")
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise Http404("There is no such page.")
    login(request, user)
    return redirect("home")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        body = {"code": "bad_request", "message": "The request was not understood; its Host may be a wrong one."}
        return JsonResponse({"error": body}, status=400)
    return render(request, "400.html", status=400)
