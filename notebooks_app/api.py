"""The API of notebooks and of what happened to them: permission, shape, status codes.

Rules are in services.py and notebooks.py. Cells are in api_cells.py, what is a person's own in api_own.py, runs and
kernels in kernels_app/api.py; docs/api.md is for callers.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import api_own, etags, import_connections, live, notebooks, reading, serializers, services
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.api_base import ApiView, cell_documents, numbers, parts, second, text_id, whole
from notebooks_app.api_history import seq_of_revision
from notebooks_app.api_parameters import CURSOR, LIMIT, OUTPUTS, REFUSED, REFUSED_CHANGE, SOURCES, whole_parameter
from notebooks_app.authentication import scope_limit
from notebooks_app.errors import BadRequest, Conflict, NotFound
from notebooks_app.models import Change, Connection, Membership, Notebook

type Document = dict[str, Any]

CHANGES_AT_MOST = 500
CELLS_RUN_AT_MOST = 1_000
SINCE = whole_parameter("since", "seq after which changes are wanted", least=0, most=serializers.MAX_SEQ)
SINCE_REVISION = whole_parameter("since_revision", "the same by revision; not both", least=0, most=serializers.MAX_SEQ)
CHANGES = whole_parameter("limit", "of changes", least=1, most=CHANGES_AT_MOST)
SEARCH = OpenApiParameter(
    "search", OpenApiTypes.STR, description="part of the name or of the imported id; a whole id, its own or a cell's"
)
QUERY = OpenApiParameter("q", OpenApiTypes.STR, description="the same as search")
OWNER = OpenApiParameter("owner", OpenApiTypes.STR, description="exact username of the owner")
ROLE = OpenApiParameter("role", OpenApiTypes.STR, enum=("owner", *Membership.Role.values), description="your role")

# --- Notebooks -------------------------------------------------------------------------------------------------------


class NotebookList(ApiView):
    asks = {"GET": [SEARCH, QUERY, OWNER, ROLE, CURSOR, LIMIT]}

    @extend_schema(
        operation_id="notebooks_list",
        responses={200: serializers.NotebookPage, **REFUSED},
    )
    def get(self, request: Request) -> Response:
        found = _searched(Notebook.objects.listed_for(request.user).alive(), request)
        shown = found.with_role(request.user).select_related("owner").with_cell_count()
        links, rows = self.page(shown, by="updated_at")
        return Response({**links, "count": found.count(), "results": [self._row(row) for row in rows]})

    def _row(self, notebook: Any) -> Document:
        role = min(Role[(notebook.member_role or "owner").upper()], scope_limit(self.request))
        return {
            **_notebook(Access(notebook, role)),
            "owner": notebook.owner.get_full_name() or notebook.owner.get_username(),
            "cell_count": notebook.cell_count,
        }

    @extend_schema(
        request=serializers.NotebookCreate, responses={201: serializers.NotebookWithCells, **REFUSED_CHANGE}
    )
    def post(self, request: Request) -> Response:
        self.require_scope(Role.EDITOR, "make notebooks")
        body = self.body(serializers.NotebookCreate)
        try:
            with transaction.atomic():
                made = notebooks.create_notebook(
                    request.user, body["name"], notebook_id=body.get("id"), with_cell=False
                )
        except IntegrityError:
            raise Conflict("A notebook with this id exists already.") from None
        access = open_notebook(request.user, made.pk, limit=scope_limit(request))
        return Response(_whole_notebook(access), status=201)


def _searched(found: Any, request: Request) -> Any:
    """The notebooks that the address asks for. Raises BadRequest naming what is wrong."""
    asked = request.query_params
    text = asked.get("search", asked.get("q", ""))[: settings.NAME_MAX_LENGTH].strip()
    if text:
        found = found.searched(text)
    if "owner" in asked:
        found = found.filter(owner__username=asked["owner"])
    role = asked.get("role")
    if role == "owner":
        return found.filter(owner_id=request.user.pk)
    if role in Membership.Role.values:
        mine = Membership.objects.live().filter(user_id=request.user.pk, role=role)
        return found.exclude(owner_id=request.user.pk).filter(pk__in=mine.values("notebook_id"))
    if role is not None:
        raise BadRequest(f"role: must be one of owner, {', '.join(Membership.Role.values)}.")
    return found


class NotebookDetail(ApiView):
    asks = {"GET": [OUTPUTS, SOURCES]}
    guarded = frozenset({"PATCH", "DELETE"})
    is_tagged = True

    @extend_schema(responses={200: serializers.NotebookWithCells, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.VIEWER, "read it")
        document = _whole_notebook(access, **parts(request))
        return self.tagged(etags.make(document["revision"], document), lambda: document)

    @extend_schema(request=serializers.NotebookPatch, responses={200: serializers.NotebookOut, **REFUSED})
    def patch(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "change it")
        body = self.body(serializers.NotebookPatch)
        operation_id = self.operation(body)
        name = body.pop("name", None)
        if name is None and not body:
            raise BadRequest("name: nothing to change was given; known are connection, name, run_mode.")
        if "connection" in body:
            body["connection"] = text_id(body["connection"])
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _revision(notebook_id))
            if name is not None:
                services.rename_notebook(notebook_id, name, author=self.author(), operation_id=operation_id)
            if body:
                own = operation_id if name is None else second(operation_id)
                services.update_notebook(notebook_id, body, author=self.author(), operation_id=own)
        return Response(_notebook(self.open(notebook_id, Role.VIEWER, "read it")))

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.OWNER, "delete it")
        with transaction.atomic():
            self.guard(notebook_id, None, lambda: _revision(notebook_id))
            notebooks.put_in_bin(access.notebook)
        notebooks.end_kernel(access.notebook)
        return Response(status=204)


class NotebookName(ApiView):
    """The name alone, as the predecessor had it."""

    guarded = frozenset({"PUT"})

    @extend_schema(request=serializers.NameIn, responses={200: serializers.NotebookOut, **REFUSED})
    def put(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "rename it")
        body = self.body(serializers.NameIn)
        operation_id = self.operation(body)
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _revision(notebook_id))
            services.rename_notebook(notebook_id, body["name"], author=self.author(), operation_id=operation_id)
        return Response(_notebook(self.open(notebook_id, Role.VIEWER, "read it")))


class NotebookDatabase(ApiView):
    """The notebook's connection: one that is there, one made of a DSN, or none."""

    guarded = frozenset({"PUT"})

    @extend_schema(request=serializers.DatabaseIn, responses={200: serializers.NotebookOut, **REFUSED_CHANGE})
    def put(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.EDITOR, "choose its connection")
        body = self.body(serializers.DatabaseIn)
        operation_id = self.operation(body)
        if body.get("dsn") is not None:
            self.require_scope(Role.EDITOR, "make connections")
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _revision(notebook_id))
            asked = services.Asked.of("notebook.updated", ["connection"])
            if services.first_answer(notebook_id, operation_id, asked) is None:  # a retry makes no connection
                chosen = text_id(body.get("connection"))
                if body.get("dsn") is not None:
                    chosen = str(_connection_of(request.user, access.notebook, body["dsn"]).pk)
                fields = {"connection": chosen}
                services.update_notebook(notebook_id, fields, author=self.author(), operation_id=operation_id)
        return Response(_notebook(self.open(notebook_id, Role.VIEWER, "read it")))


def _connection_of(user: Any, notebook: Notebook, dsn: str) -> Connection:
    """The person's connection with this DSN, made if there is none. Raises BadRequest naming what is wrong in it."""
    known = import_connections.with_dsn(user, dsn)
    if known is not None and not known.refusal():
        return known
    made = Connection(owner=user, name=import_connections.free_name(user, notebook.name))
    api_own.save_connection(made, dsn)
    return made


def _revision(notebook_id: uuid.UUID) -> int:
    return Notebook.objects.values_list("revision", flat=True).get(pk=notebook_id)


def _notebook(access: Access) -> Document:
    return {**reading.notebook_document(access.notebook), "role": access.role.name.lower()}


def _whole_notebook(access: Access, **parts: bool) -> Document:
    notebook_id = access.notebook.pk
    return {
        **_notebook(access),
        "cells": cell_documents(notebook_id, **parts),
        "kernel": live.kernel(notebook_id),
    }


# --- Changes ---------------------------------------------------------------------------------------------------------


class ChangeList(ApiView):
    asks = {"GET": [SINCE, SINCE_REVISION, CHANGES]}

    @extend_schema(responses={200: serializers.ChangesOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.VIEWER, "read it")
        since = _since(request, notebook_id)
        limit = whole(request, "limit", default=CHANGES_AT_MOST, least=1, most=CHANGES_AT_MOST)
        log = Change.objects.filter(notebook_id=notebook_id, seq__gt=since).order_by("seq")[: limit + 1]
        changes = list(log)
        upto = changes[limit - 1].seq if len(changes) > limit else max(since, access.notebook.seq)
        ran, upto = reading.cells_run_between(notebook_id, since, upto, CELLS_RUN_AT_MOST)
        return Response(
            {
                "seq": access.notebook.seq,
                "next": upto,
                "more": upto < access.notebook.seq,
                "events": [change.as_event() for change in changes if change.seq <= upto],
                "cells_run": [str(cell) for cell in ran],
            }
        )


def _since(request: Request, notebook_id: uuid.UUID) -> int:
    since = whole(request, "since", default=0, most=serializers.MAX_SEQ)
    if "since_revision" not in request.query_params:
        return since
    if "since" in request.query_params:
        raise BadRequest("since_revision: give either since or since_revision.")
    revision = whole(request, "since_revision", default=0, most=serializers.MAX_SEQ)
    return seq_of_revision(notebook_id, revision)


class Undo(ApiView):
    @extend_schema(request=serializers.UndoIn, responses={200: serializers.ChangeOut, **REFUSED_CHANGE})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "take changes back")
        body = self.body(serializers.UndoIn)
        new = self.operation({"operation_id": body.get("new_operation_id")})
        accepted = services.undo(notebook_id, body["operation_id"], new_operation_id=new, author=self.author())
        return Response({**numbers(accepted, new), "event": accepted.event})


# --- Everything else -------------------------------------------------------------------------------------------------


class Unknown(ApiView):
    """An address under /api/ that is none: the same shape of refusal as everywhere."""

    @extend_schema(exclude=True)
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def http_method_not_allowed(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise NotFound("There is no such address. Ids are uuids and addresses end with a slash.")
