"""The API of history: versions, recent changes, what can be undone, and the bins of cells and notebooks.

Rules are in versions.py, restoring.py, history.py and binning.py; docs/api.md and docs/history.md are for callers.
"""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import binning, events, history, restoring, serializers, versions
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView, whole
from notebooks_app.api_parameters import CURSOR, LIMIT, REFUSED, REFUSED_CHANGE, whole_parameter
from notebooks_app.models import Change
from notebooks_app.services import Accepted

type Document = dict[str, Any]

CELLS_AT_MOST = 20_000  # named in one request
BEFORE = whole_parameter("before", "seq before which changes are wanted", least=0, most=serializers.MAX_SEQ)
CHANGES = whole_parameter("limit", "of changes", least=1, most=history.CHANGES_AT_MOST)

# --- Shapes ----------------------------------------------------------------------------------------------------------


class VersionCreate(serializers.Body):
    name = serializers.Name(length=versions.NAME_MAX_LENGTH)


class RestoreIn(serializers.Operation):
    """Empty, or with an operation_id of the caller's."""


class BinRestoreIn(serializers.Operation):
    cells = drf.ListField(
        child=serializers.Id(), required=False, allow_empty=False, max_length=CELLS_AT_MOST, help_text="absent: all"
    )


class VersionOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    name = drf.CharField()
    seq = drf.IntegerField()
    revision = drf.IntegerField()
    author = drf.CharField(allow_null=True)
    created_at = drf.DateTimeField()
    cell_count = drf.IntegerField()


class VersionPage(drf.Serializer[Any]):
    count = drf.IntegerField()
    next = drf.URLField(allow_null=True)
    previous = drf.URLField(allow_null=True)
    results = VersionOut(many=True)


class VersionCellOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    number = drf.IntegerField(help_text="place in the version, from 1")
    type = drf.CharField()
    source = drf.CharField()  # type: ignore[assignment]
    result_name = drf.CharField()
    connection = drf.UUIDField(allow_null=True)
    disabled = drf.BooleanField()
    code_hidden = drf.BooleanField()


class VersionWithCells(VersionOut):
    cells = VersionCellOut(many=True)


class DifferenceOut(VersionOut):
    added = drf.ListField(child=drf.DictField(), help_text="cells made since: id, number, type, head")
    removed = drf.ListField(child=drf.DictField(), help_text="cells deleted since, with their number in the version")
    moved = drf.ListField(child=drf.DictField(), help_text="also with old_number")
    changed = drf.ListField(
        child=drf.DictField(),
        help_text="also with fields {name: [old, new]}, diff (unified; null: too large), lines_added, lines_removed, "
        "is_cut",
    )


class HistoryOut(drf.Serializer[Any]):
    groups = drf.ListField(
        child=drf.DictField(), help_text="author, hour (UTC), entries: words, kind, cell, seq, at, count"
    )
    before = drf.IntegerField(allow_null=True, help_text="give this as before to go on")


class UndoableOut(drf.Serializer[Any]):
    undo = drf.ListField(child=drf.UUIDField(), help_text="operations, latest last")
    redo = drf.ListField(child=drf.UUIDField())


class BinnedCellOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    type = drf.CharField()
    source = drf.CharField(help_text="its beginning")  # type: ignore[assignment]
    is_cut = drf.BooleanField()
    deleted_at = drf.DateTimeField()


class BinnedCellPage(drf.Serializer[Any]):
    count = drf.IntegerField()
    next = drf.URLField(allow_null=True)
    previous = drf.URLField(allow_null=True)
    results = BinnedCellOut(many=True)


class BinnedNotebookOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    name = drf.CharField()
    cell_count = drf.IntegerField()
    updated_at = drf.DateTimeField()
    deleted_at = drf.DateTimeField()


class BinnedNotebookPage(drf.Serializer[Any]):
    count = drf.IntegerField()
    next = drf.URLField(allow_null=True)
    previous = drf.URLField(allow_null=True)
    results = BinnedNotebookOut(many=True)


class RestoredOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    name = drf.CharField()
    kind = drf.CharField()


class EmptiedOut(drf.Serializer[Any]):
    deleted = drf.IntegerField()


# --- Versions --------------------------------------------------------------------------------------------------------


class VersionList(ApiView):
    asks = {"GET": [CURSOR, LIMIT]}

    @extend_schema(operation_id="versions_list", responses={200: VersionPage, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read its versions")
        links, rows = self.page(versions.versions_of(notebook_id), by="created_at")
        return Response({**links, "results": [versions.version_document(row) for row in rows]})

    @extend_schema(request=VersionCreate, responses={201: VersionOut, **REFUSED_CHANGE})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "name versions")
        body = self.body(VersionCreate)
        made = versions.name_version(notebook_id, body["name"], author=self.author())
        document = versions.version_document(versions.version_of(notebook_id, made.pk))
        events.tell_on_commit(notebook_id, [{"type": "version.named", "version": document}])
        return Response(document, status=201)


class VersionDetail(ApiView):
    @extend_schema(responses={200: VersionWithCells, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, version_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read its versions")
        version = versions.version_of(notebook_id, version_id)
        return Response({**versions.version_document(version), "cells": versions.version_cells(version)})

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID, version_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.OWNER, "delete versions")
        versions.delete_version(notebook_id, version_id)
        return Response(status=204)


class VersionDifference(ApiView):
    @extend_schema(responses={200: DifferenceOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, version_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read its versions")
        version = versions.version_of(notebook_id, version_id)
        return Response({**versions.version_document(version), **versions.difference_to_now(version)})


class VersionRestore(ApiView):
    @extend_schema(request=RestoreIn, responses={200: serializers.ChangeOut, **REFUSED_CHANGE})
    def post(self, request: Request, notebook_id: uuid.UUID, version_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "bring versions back")
        operation_id = self.operation(self.body(RestoreIn))
        accepted = restoring.restore_version(
            notebook_id, version_id, author=self.author(), operation_id=operation_id
        )
        return Response(_change(accepted, operation_id))


def _change(accepted: Accepted, operation_id: uuid.UUID) -> Document:
    numbers = {"seq": accepted.seq, "revision": accepted.revision, "operation_id": str(operation_id)}
    return {**numbers, "event": accepted.event}


# --- What happened ---------------------------------------------------------------------------------------------------


class History(ApiView):
    asks = {"GET": [BEFORE, CHANGES]}

    @extend_schema(responses={200: HistoryOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read its history")
        before = whole(request, "before", default=serializers.MAX_SEQ, most=serializers.MAX_SEQ)
        limit = whole(request, "limit", default=history.CHANGES_AT_MOST, least=1, most=history.CHANGES_AT_MOST)
        return Response(history.recent_changes(notebook_id, before=before, limit=limit))


class Undoable(ApiView):
    @extend_schema(responses={200: UndoableOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read its history")
        stacks = history.undoable(notebook_id, int(request.user.pk or 0))
        return Response({"undo": stacks.undo, "redo": stacks.redo})


def seq_of_revision(notebook_id: uuid.UUID, revision: int) -> int:
    """The number after which the changes since a revision come: that of the last change up to it."""
    known = Change.objects.filter(notebook_id=notebook_id, revision__lte=revision)
    return known.order_by("-seq").values_list("seq", flat=True).first() or 0


# --- The bins --------------------------------------------------------------------------------------------------------


class CellBin(ApiView):
    asks = {"GET": [CURSOR, LIMIT]}

    @extend_schema(operation_id="bin_cells_list", responses={200: BinnedCellPage, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "look into its bin")
        links, rows = self.page(binning.deleted_cells(notebook_id), by="deleted_at")
        rows.sort(key=lambda row: (row.deleted_at, row.position), reverse=True)  # those deleted together as they stood
        return Response({**links, "results": [binning.cell_document(row) for row in rows]})

    @extend_schema(operation_id="bin_cells_empty", responses={200: EmptiedOut, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID) -> Response:
        """Delete the cells in the bin for ever, with their outputs."""
        self.open(notebook_id, Role.OWNER, "empty its bin")
        return Response({"deleted": binning.empty_cells(notebook_id)})


class CellBinRestore(ApiView):
    @extend_schema(request=BinRestoreIn, responses={200: serializers.ChangeOut, **REFUSED_CHANGE})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "bring cells back")
        body = self.body(BinRestoreIn)
        operation_id = self.operation(body)
        accepted = binning.restore_cells(
            notebook_id, body.get("cells"), author=self.author(), operation_id=operation_id
        )
        return Response(_change(accepted, operation_id))


class NotebookBin(ApiView):
    asks = {"GET": [CURSOR, LIMIT]}

    @extend_schema(operation_id="bin_list", responses={200: BinnedNotebookPage})
    def get(self, request: Request) -> Response:
        links, rows = self.page(binning.deleted_notebooks(request.user), by="deleted_at")
        return Response({**links, "results": [binning.notebook_document(row) for row in rows]})


class NotebookBinDetail(ApiView):
    @extend_schema(operation_id="bin_delete", responses={204: None, **REFUSED})
    def delete(self, request: Request, notebook_id: uuid.UUID) -> Response:
        """Delete a notebook of the bin for ever."""
        self.require_scope(Role.OWNER, "delete notebooks for ever")
        binning.delete_for_ever(request.user, notebook_id)
        return Response(status=204)


class NotebookBinRestore(ApiView):
    bodiless = ApiView.bodiless | {"POST"}

    @extend_schema(request=None, responses={200: RestoredOut, **REFUSED})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.require_scope(Role.OWNER, "bring notebooks back")
        restored = binning.restore_notebook(request.user, notebook_id)
        return Response({"id": str(restored.pk), "name": restored.name, "kind": restored.kind})
