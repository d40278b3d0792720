"""The API of notebooks, cells, changes, connections and tokens: permission, shape, status codes.

Rules are in services.py and notebooks.py. Runs and kernels are in kernels_app/api.py; docs/api.md is for callers.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import etags, import_connections, live, notebooks, reading, serializers, services
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.api_base import ApiView, cell_documents, flag, whole
from notebooks_app.api_history import seq_of_revision
from notebooks_app.authentication import scope_limit
from notebooks_app.errors import BadRequest, Conflict, Forbidden, NotFound
from notebooks_app.models import ApiToken, Cell, Change, Connection, Membership, Notebook
from notebooks_app.services import Accepted

type Document = dict[str, Any]

CHANGES_AT_MOST = 500
CELLS_RUN_AT_MOST = 1_000
SCOPES = {"read": Role.VIEWER, "run": Role.RUNNER, "edit": Role.OWNER}
SAME_OPERATION = uuid.UUID("6f0e5d0c-6b1f-4c6e-9a55-8f0b6b1f0f5e")  # namespace of the second part of one request
OUTPUTS = OpenApiParameter("outputs", OpenApiTypes.BOOL, description="0 leaves outputs out (they are null then)")
SOURCES = OpenApiParameter("sources", OpenApiTypes.BOOL, description="0 leaves sources out (they are null then)")
SINCE = OpenApiParameter("since", OpenApiTypes.INT, description="seq after which changes are wanted")
SINCE_REVISION = OpenApiParameter("since_revision", OpenApiTypes.INT, description="the same by revision; not both")
SEARCH = OpenApiParameter("search", OpenApiTypes.STR, description="part of the name or of the imported id")
QUERY = OpenApiParameter("q", OpenApiTypes.STR, description="the same as search")
OWNER = OpenApiParameter("owner", OpenApiTypes.STR, description="exact username of the owner")
ROLE = OpenApiParameter("role", OpenApiTypes.STR, description="your role: owner, editor, runner or viewer")
CURSOR = OpenApiParameter("cursor", OpenApiTypes.STR, description="from next or previous")
LIMIT = OpenApiParameter("limit", OpenApiTypes.INT)
OPERATION = OpenApiParameter("operation_id", OpenApiTypes.UUID, description="chosen by the caller, for retry and undo")
REFUSED = {400: serializers.ErrorOut, 403: serializers.ErrorOut, 404: serializers.ErrorOut}
REFUSED_EDIT = {**REFUSED, 409: serializers.ErrorOut, 413: serializers.ErrorOut}

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
        request=serializers.NotebookCreate, responses={201: serializers.NotebookWithCells, **REFUSED_EDIT}
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
        found = found.filter(Q(name__icontains=text) | Q(external_id__icontains=text))
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

    @extend_schema(responses={200: serializers.NotebookWithCells, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.VIEWER, "read it")
        document = _whole_notebook(access, **_parts(request))
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
            body["connection"] = _text_id(body["connection"])
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _revision(notebook_id))
            if name is not None:
                services.rename_notebook(notebook_id, name, author=self.author(), operation_id=operation_id)
            if body:
                second = operation_id if name is None else _second(operation_id)
                services.update_notebook(notebook_id, body, author=self.author(), operation_id=second)
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

    @extend_schema(request=serializers.DatabaseIn, responses={200: serializers.NotebookOut, **REFUSED_EDIT})
    def put(self, request: Request, notebook_id: uuid.UUID) -> Response:
        access = self.open(notebook_id, Role.EDITOR, "choose its connection")
        body = self.body(serializers.DatabaseIn)
        operation_id = self.operation(body)
        if body.get("dsn") is not None:
            self.require_scope(Role.EDITOR, "make connections")
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _revision(notebook_id))
            chosen = _text_id(body.get("connection"))
            if body.get("dsn") is not None:
                chosen = str(_connection_of(request.user, access.notebook, body["dsn"]).pk)
            fields = {"connection": chosen}
            services.update_notebook(notebook_id, fields, author=self.author(), operation_id=operation_id)
        return Response(_notebook(self.open(notebook_id, Role.VIEWER, "read it")))


def _connection_of(user: Any, notebook: Notebook, dsn: str) -> Connection:
    """The person's connection with this DSN, made if there is none. Raises BadRequest naming what is wrong in it."""
    for known in Connection.objects.filter(owner=user):
        if import_connections.dsn_of(known) == dsn:
            return known
    made = Connection(owner=user, name=import_connections.free_name(user, notebook.name))
    _save_connection(made, dsn)
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


def _parts(request: Request) -> dict[str, bool]:
    """Which large parts of cells the address asks for."""
    return {
        "with_outputs": flag(request, "outputs", default=True),
        "with_sources": flag(request, "sources", default=True),
    }


# --- Cells -----------------------------------------------------------------------------------------------------------


class CellList(ApiView):
    asks = {"GET": [OUTPUTS, SOURCES]}

    @extend_schema(operation_id="cells_list", responses={200: serializers.CellsOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        return Response({"cells": cell_documents(notebook_id, **_parts(request))})

    @extend_schema(request=serializers.CellCreate, responses={201: serializers.ChangedCellOut, **REFUSED_EDIT})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "add cells")
        body = self.body(serializers.CellCreate)
        operation_id = self.operation(body)
        with transaction.atomic():
            accepted = services.insert_cell(
                notebook_id,
                body.get("id") or uuid.uuid4(),
                after=_after(notebook_id, body),
                cell_type=body["type"],
                author=self.author(),
                operation_id=operation_id,
                source=body["source"],
                result_name=body.get("result_name", ""),
                connection=body.get("connection"),
            )
        cell_id = uuid.UUID(accepted.event["cell"]["id"])
        return Response(_changed_cell(notebook_id, cell_id, accepted, operation_id), status=201)


class CellDetail(ApiView):
    asks = {"GET": [OUTPUTS, SOURCES], "DELETE": [OPERATION]}

    @extend_schema(responses={200: serializers.CellOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        document = _cell(notebook_id, cell_id, **_parts(request))
        return self.tagged(etags.make(document["version"], document), lambda: document)

    @extend_schema(request=serializers.CellPatch, responses={200: serializers.ChangedCellOut, **REFUSED_EDIT})
    def patch(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "change cells")
        body = self.body(serializers.CellPatch)
        operation_id = self.operation(body)
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _version(notebook_id, cell_id))
            accepted = self._apply(notebook_id, cell_id, body, operation_id)
        return Response(_changed_cell(notebook_id, cell_id, accepted, operation_id))

    def _apply(self, notebook_id: uuid.UUID, cell_id: uuid.UUID, body: Document, operation_id: uuid.UUID) -> Accepted:
        """The edit of the source first, then the fields on the version it made: both or neither."""
        version = body.pop("version", None)
        edit = {name: body.pop(name) for name in ("source", "changes") if name in body}
        accepted: Accepted | None = None
        if edit:
            accepted = services.edit_cell(
                notebook_id, cell_id, version=version, author=self.author(), operation_id=operation_id, **edit
            )
            version, operation_id = accepted.version, _second(operation_id)
        if body:
            if "connection" in body:
                body["connection"] = _text_id(body["connection"])
            accepted = services.update_cell(
                notebook_id, cell_id, body, version=version, author=self.author(), operation_id=operation_id
            )
        assert accepted is not None  # the shape demands something to change
        return accepted

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "delete cells")
        operation_id = _query_id(request, "operation_id") or uuid.uuid4()
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _version(notebook_id, cell_id))
            services.delete_cells(notebook_id, [cell_id], author=self.author(), operation_id=operation_id)
        return Response(status=204)


class CellOutputs(ApiView):
    """A cell's outputs alone; large items of them are in `files`, each with the address of its bytes."""

    @extend_schema(responses={200: serializers.OutputsOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        cell = _cell(notebook_id, cell_id, with_sources=False)
        document = {
            "cell": cell["id"],
            "version": cell["version"],
            "status": cell["status"],
            "freshness": cell["freshness"],
            "attempt": cell["state"]["attempt"],
            "outputs": cell["outputs"],
        }
        return self.tagged(etags.make(document["version"], document), lambda: document)


class CellMove(ApiView):
    @extend_schema(request=serializers.CellMoveIn, responses={200: serializers.ChangedCellOut, **REFUSED})
    def post(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "move cells")
        body = self.body(serializers.CellMoveIn)
        operation_id = self.operation(body)
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _version(notebook_id, cell_id))
            accepted = services.move_cells(
                notebook_id,
                [cell_id],
                after=_after(notebook_id, body, moving=cell_id),
                author=self.author(),
                operation_id=operation_id,
            )
        return Response(_changed_cell(notebook_id, cell_id, accepted, operation_id))


def _after(notebook_id: uuid.UUID, body: Document, *, moving: uuid.UUID | None = None) -> uuid.UUID | None:
    """The cell after which the body's place is; the last one where it names none."""
    if "after" in body:
        return body["after"]
    others = Cell.objects.alive().filter(notebook_id=notebook_id).exclude(pk=moving)
    if "before" in body:
        position = others.filter(pk=body["before"]).values_list("position", flat=True).first()
        if position is None:
            raise NotFound("before: there is no such cell in this notebook.")
        return others.filter(position__lt=position).order_by("-position").values_list("pk", flat=True).first()
    if "index" not in body:
        return others.order_by("-position").values_list("pk", flat=True).first()
    index, count = body["index"], others.count()
    if index > count:
        raise BadRequest(f"index: must be from 0 to {count}.")
    return others.in_order().values_list("pk", flat=True)[index - 1] if index else None


def _version(notebook_id: uuid.UUID, cell_id: uuid.UUID) -> int:
    found = Cell.objects.alive().filter(notebook_id=notebook_id, pk=cell_id).values_list("version", flat=True).first()
    if found is None:
        raise NotFound(f"There is no cell {cell_id} in this notebook.")
    return found


def _cell(notebook_id: uuid.UUID, cell_id: uuid.UUID, **parts: bool) -> Document:
    found = cell_documents(notebook_id, cell_ids=[cell_id], **parts)
    if not found:
        raise NotFound(f"There is no cell {cell_id} in this notebook.")
    return found[0]


def _changed_cell(
    notebook_id: uuid.UUID, cell_id: uuid.UUID, accepted: Accepted, operation_id: uuid.UUID
) -> Document:
    return {**_cell(notebook_id, cell_id), **_numbers(accepted, operation_id)}


def _numbers(accepted: Accepted, operation_id: uuid.UUID) -> Document:
    return {"seq": accepted.seq, "revision": accepted.revision, "operation_id": str(operation_id)}


def _second(operation_id: uuid.UUID) -> uuid.UUID:
    """The operation id of the second of two changes that one request makes: the same again on a retry."""
    return uuid.uuid5(SAME_OPERATION, str(operation_id))


def _text_id(value: uuid.UUID | None) -> str | None:
    return str(value) if value is not None else None


def _query_id(request: Request, name: str) -> uuid.UUID | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return uuid.UUID(value)
    except ValueError:
        raise BadRequest(f"{name}: must be a uuid.") from None


# --- Changes ---------------------------------------------------------------------------------------------------------


class ChangeList(ApiView):
    asks = {"GET": [SINCE, SINCE_REVISION, LIMIT]}

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
    @extend_schema(request=serializers.UndoIn, responses={200: serializers.ChangeOut, **REFUSED_EDIT})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "take changes back")
        body = self.body(serializers.UndoIn)
        new = self.operation({"operation_id": body.get("new_operation_id")})
        accepted = services.undo(notebook_id, body["operation_id"], new_operation_id=new, author=self.author())
        return Response({**_numbers(accepted, new), "event": accepted.event})


# --- Connections -----------------------------------------------------------------------------------------------------


class ConnectionList(ApiView):
    @extend_schema(operation_id="connections_list", responses={200: serializers.ConnectionsOut})
    def get(self, request: Request) -> Response:
        usable = Connection.objects.usable_by(request.user).order_by("name", "id")
        return Response({"connections": [_connection(item) for item in usable]})

    @extend_schema(request=serializers.ConnectionIn, responses={201: serializers.ConnectionOut, **REFUSED_EDIT})
    def post(self, request: Request) -> Response:
        self.require_scope(Role.EDITOR, "make connections")
        body = self.body(serializers.ConnectionIn)
        connection = Connection(owner=request.user, name=body["name"])
        _save_connection(connection, body["dsn"])
        return Response(_connection(connection), status=201)


class ConnectionDetail(ApiView):
    @extend_schema(responses={200: serializers.ConnectionOut, **REFUSED})
    def get(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = Connection.objects.usable_by(request.user).filter(pk=connection_id).first()
        if connection is None:
            raise NotFound("There is no such connection.")
        return Response(_connection(connection))

    @extend_schema(request=serializers.ConnectionPatch, responses={200: serializers.ConnectionOut, **REFUSED_EDIT})
    def patch(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = self._own(connection_id, "change connections")
        body = self.body(serializers.ConnectionPatch)
        if not body:
            raise BadRequest("name: nothing to change was given; known are dsn, name.")
        connection.name = body.get("name", connection.name)
        _save_connection(connection, body.get("dsn"))
        return Response(_connection(connection))

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = self._own(connection_id, "delete connections")
        services.delete_connection(connection, author=self.author())
        return Response(status=204)

    def _own(self, connection_id: uuid.UUID, what: str) -> Connection:
        connection = Connection.objects.usable_by(self.request.user).filter(pk=connection_id).first()
        if connection is None:
            raise NotFound("There is no such connection.")
        self.require_scope(Role.EDITOR, what)
        if connection.owner_id != self.request.user.pk:
            raise Forbidden("This connection was made by an operator for everyone; you can only use it.")
        return connection


def _save_connection(connection: Connection, dsn: str | None) -> None:
    """Raises BadRequest naming the wrong part of the DSN (never its password), Conflict for a name that is taken."""
    try:
        if dsn is not None:
            connection.set_dsn(dsn)
    except ValueError as error:
        raise BadRequest(f"dsn: {error}") from None
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError:
        raise Conflict("You have a connection of this name already.") from None


def _connection(connection: Connection) -> Document:
    return {
        "id": str(connection.pk),
        "name": connection.name,
        "driver": connection.driver,
        "address": connection.address(),
        "shared": connection.owner_id is None,
        "created_at": connection.created_at.isoformat(),
        "updated_at": connection.updated_at.isoformat(),
    }


# --- Tokens ----------------------------------------------------------------------------------------------------------


class TokenList(ApiView):
    answers_secret = True

    @extend_schema(operation_id="tokens_list", responses={200: serializers.TokensOut})
    def get(self, request: Request) -> Response:
        tokens = ApiToken.objects.filter(user=request.user).order_by("id")
        return Response({"tokens": [_token(token) for token in tokens]})

    @extend_schema(request=serializers.TokenIn, responses={201: serializers.TokenMade, **REFUSED})
    def post(self, request: Request) -> Response:
        body = self.body(serializers.TokenIn)
        self.require_scope(SCOPES[body["scope"]], "make a token of that scope")
        days = body.get("expires_in_days")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        if isinstance(request.auth, ApiToken) and request.auth.expires_at:
            expires_at = min(expires_at or request.auth.expires_at, request.auth.expires_at)
        token, text = ApiToken.issue(request.user.pk, body["name"], body["scope"], expires_at)
        return Response({**_token(token), "token": text}, status=201)


class TokenDetail(ApiView):
    @extend_schema(request=serializers.TokenPatch, responses={200: serializers.TokenOut, **REFUSED})
    def patch(self, request: Request, token_id: int) -> Response:
        token = self._own(token_id)
        self.require_scope(SCOPES[token.scope], "rename that token")
        token.name = self.body(serializers.TokenPatch)["name"]
        token.save(update_fields=["name"])
        return Response(_token(token))

    def _own(self, token_id: int) -> ApiToken:
        found = ApiToken.objects.filter(user=self.request.user, pk=min(token_id, serializers.MAX_SEQ)).first()
        if found is None:
            raise NotFound("There is no such token.")
        return found

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, token_id: int) -> Response:
        if token_id > serializers.MAX_SEQ:
            raise NotFound("There is no such token.")
        token = ApiToken.objects.filter(user=request.user, pk=token_id).first()
        if token is None:
            raise NotFound("There is no such token.")
        self.require_scope(SCOPES[token.scope], "delete that token")
        token.delete()
        return Response(status=204)


def _token(token: ApiToken) -> Document:
    return {
        "id": token.pk,
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
    }


# --- Everything else -------------------------------------------------------------------------------------------------


class Unknown(ApiView):
    """An address under /api/ that is none: the same shape of refusal as everywhere."""

    @extend_schema(exclude=True)
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def http_method_not_allowed(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise NotFound("There is no such address. Ids are uuids and addresses end with a slash.")
