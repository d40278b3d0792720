"""The API of cells and their outputs: permission, shape, status codes. Rules are in services.py."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import etags, facts, serializers, services
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView, cell_documents, numbers, parts, second, text_id
from notebooks_app.api_parameters import OPERATION, OUTPUTS, REFUSED, REFUSED_CHANGE, SOURCES
from notebooks_app.errors import BadRequest, NotFound
from notebooks_app.models import Cell
from notebooks_app.services import Accepted

type Document = dict[str, Any]

class CellList(ApiView):
    asks = {"GET": [OUTPUTS, SOURCES]}

    @extend_schema(operation_id="cells_list", responses={200: serializers.CellsOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        return Response({"cells": cell_documents(notebook_id, **parts(request))})

    @extend_schema(request=serializers.CellCreate, responses={201: serializers.ChangedCellOut, **REFUSED_CHANGE})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "add cells")
        body = self.body(serializers.CellCreate)
        operation_id = self.operation(body)
        asked = services.Asked.of("cell.inserted", [body["id"]] if body.get("id") else None)
        with transaction.atomic():
            accepted = services.first_answer(notebook_id, operation_id, asked) or services.insert_cell(
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
    guarded = frozenset({"PATCH", "DELETE"})
    is_tagged = True

    @extend_schema(responses={200: serializers.CellOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        document = _cell(notebook_id, cell_id, **parts(request))
        return self.tagged(etags.make(document["version"], document), lambda: document)

    @extend_schema(request=serializers.CellPatch, responses={200: serializers.ChangedCellOut, **REFUSED_CHANGE})
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
            version, operation_id = accepted.version, second(operation_id)
        if body:
            if "connection" in body:
                body["connection"] = text_id(body["connection"])
            accepted = services.update_cell(
                notebook_id, cell_id, body, version=version, author=self.author(), operation_id=operation_id
            )
        assert accepted is not None  # the shape demands something to change
        return accepted

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "delete cells")
        operation_id = self.operation({"operation_id": _query_id(request, "operation_id")})
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _version(notebook_id, cell_id))
            services.delete_cells(notebook_id, [cell_id], author=self.author(), operation_id=operation_id)
        return Response(status=204)


class CellOutputs(ApiView):
    """A cell's outputs alone; large items of them are in `files`, each with the address of its bytes."""

    is_tagged = True

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
    guarded = frozenset({"POST"})

    @extend_schema(request=serializers.CellMoveIn, responses={200: serializers.ChangedCellOut, **REFUSED})
    def post(self, request: Request, notebook_id: uuid.UUID, cell_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "move cells")
        body = self.body(serializers.CellMoveIn)
        operation_id = self.operation(body)
        asked = services.Asked.of("cell.moved", [cell_id])
        with transaction.atomic():
            self.guard(notebook_id, operation_id, lambda: _version(notebook_id, cell_id))
            accepted = services.first_answer(notebook_id, operation_id, asked) or services.move_cells(
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
    """The cell as it is now; one deleted since as it is in the bin, or, gone from there, as it was inserted."""
    found = cell_documents(notebook_id, cell_ids=[cell_id], from_bin=True)
    return {**(found[0] if found else _as_inserted(cell_id, accepted)), **numbers(accepted, operation_id)}


def _as_inserted(cell_id: uuid.UUID, accepted: Accepted) -> Document:
    if accepted.event["type"] != "cell.inserted":
        raise NotFound(f"There is no cell {cell_id} in this notebook.")
    state = facts.NEVER_RUN.as_json()
    shown = {"number": None, "status": state["status"], "freshness": state["freshness"], "outputs": []}
    return {**accepted.event["cell"], "state": state, **shown}


def _query_id(request: Request, name: str) -> uuid.UUID | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return uuid.UUID(value)
    except ValueError:
        raise BadRequest(f"{name}: must be a uuid.") from None
