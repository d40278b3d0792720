"""The API of batch edits: shape and status codes. What they do is batches.py's."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import batches, serializers
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView, cell_documents
from notebooks_app.models import Cell, Notebook

type Document = dict[str, Any]

OPERATIONS_AT_MOST = 500
# op: (fields it must have, fields it may have)
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "insert": (set(), {"cell", "after", "type", "source", "result_name", "connection"}),
    "edit": ({"cell", "version"}, {"source", "changes"}),
    "update": ({"cell", "version", "fields"}, set()),
    "move": ({"cell", "after"}, set()),
    "delete": ({"cell", "version"}, set()),
}


class CellFields(serializers.Body):
    type = serializers.Choice(Cell.Type.values, required=False)
    result_name = serializers.Text(required=False)
    connection = serializers.Id(required=False, allow_null=True)
    disabled = serializers.Flag(required=False)
    code_hidden = serializers.Flag(required=False)


class BatchOperation(serializers.Body):
    op = serializers.Choice(list(FIELDS))
    cell = serializers.Id(required=False, help_text="insert: the id it gets (optional)")
    version = serializers.Whole(required=False, min_value=1, max_value=serializers.MAX_VERSION)
    after = serializers.Id(required=False, allow_null=True, help_text="null: first; insert without it: last")
    type = serializers.Choice(Cell.Type.values, required=False)
    source = serializers.Text(required=False)  # type: ignore[assignment]
    changes = serializers.ChangeSet(required=False)
    result_name = serializers.Text(required=False)
    connection = serializers.Id(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "fields": CellFields(required=False, help_text="update: what to set")}

    def validate(self, attrs: Document) -> Document:
        must, may = FIELDS[attrs["op"]]
        given = set(attrs) - {"op"}
        for name in sorted(must - given):
            raise serializers.serializers.ValidationError({name: f"{attrs['op']} needs it."})
        for name in sorted(given - must - may):
            raise serializers.serializers.ValidationError({name: f"{attrs['op']} knows no such field."})
        if attrs["op"] == "edit" and ("source" in attrs) == ("changes" in attrs):
            raise serializers.serializers.ValidationError({"source": "Give either changes or source."})
        if "fields" in attrs and attrs["fields"].get("connection"):
            attrs["fields"]["connection"] = str(attrs["fields"]["connection"])
        return attrs


class BatchIn(serializers.Operation):
    operations = BatchOperation(many=True, allow_empty=False, max_length=OPERATIONS_AT_MOST)  # type: ignore[call-arg]


class BatchDone(drf.Serializer[Any]):
    op = drf.CharField()
    cell = drf.UUIDField()
    seq = drf.IntegerField()
    revision = drf.IntegerField()
    operation_id = drf.UUIDField()


class BatchOut(drf.Serializer[Any]):
    operation_id = drf.UUIDField()
    seq = drf.IntegerField()
    revision = drf.IntegerField()
    operations = BatchDone(many=True)
    cells = serializers.CellOut(many=True, help_text="those that were changed and are there, without outputs (null)")


class Batch(ApiView):
    guarded = frozenset({"POST"})

    @extend_schema(request=BatchIn, responses={200: BatchOut})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.EDITOR, "change cells")
        body = self.body(BatchIn)
        operation_id = self.operation(body)
        operations = [dict(item) for item in body["operations"]]
        with transaction.atomic():
            self.guard(notebook_id, batches.part_of(operation_id, 0), lambda: _revision(notebook_id))
            done = batches.apply(notebook_id, operations, author=self.author(), operation_id=operation_id)
        listed = [
            {
                "op": operation["op"],
                "cell": str(operation.get("cell") or accepted.event["cell"]["id"]),
                "seq": accepted.seq,
                "revision": accepted.revision,
                "operation_id": str(own),
            }
            for operation, (own, accepted) in zip(operations, done, strict=True)
        ]
        cells = {uuid.UUID(item["cell"]) for item in listed}
        last = done[-1][1]
        return Response(
            {
                "operation_id": str(operation_id),
                "seq": last.seq,
                "revision": last.revision,
                "operations": listed,
                "cells": cell_documents(notebook_id, cell_ids=cells, with_outputs=False),
            }
        )


def _revision(notebook_id: uuid.UUID) -> int:
    return Notebook.objects.values_list("revision", flat=True).get(pk=notebook_id)
