"""Shapes of the API, in and out. Rules are in services.py; what is answered is made in reading.py.

What comes in is taken strictly: a field that is not known is refused by name, a boolean is no number, nothing is
converted. Messages never repeat what was sent: it may hold text that cannot be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from notebooks_app.models import ApiToken, Cell, Notebook
from notebooks_app.text import clean_name, shown

MAX_RUN_CELLS = 20_000
MAX_TIMEOUT_S = 300
MAX_TOKEN_DAYS = 3_650
CONNECTION_NAME_MAX_LENGTH = 100
TOKEN_NAME_MAX_LENGTH = 100
MAX_SEQ = (1 << 63) - 1
MAX_VERSION = (1 << 31) - 1

# --- Fields ----------------------------------------------------------------------------------------------------------


class Text(serializers.CharField):
    """Text as it is; what it may hold is the service's rule."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_blank", True)
        super().__init__(trim_whitespace=False, **kwargs)
        self.validators = []

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be text.")
        return data


class Name(Text):
    """One trimmed line without control characters, not empty."""

    def __init__(self, *, length: int, **kwargs: Any) -> None:
        self.length = length
        super().__init__(allow_blank=False, max_length=length, **kwargs)
        self.validators = []

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return serializers.Field.run_validation(self, data)

    def to_internal_value(self, data: Any) -> str:
        return clean_name(super().to_internal_value(data), max_length=self.length)


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("Must be a whole number.")
        return data


class Seconds(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, (int, float)) or isinstance(data, bool):
            raise serializers.ValidationError("Must be a number of seconds.")
        if not 0 <= data <= MAX_TIMEOUT_S:
            raise serializers.ValidationError(f"Must be from 0 to {MAX_TIMEOUT_S}.")
        return float(data)


class Id(serializers.UUIDField):
    default_error_messages = {"invalid": "Must be a uuid."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a uuid.")
        return super().to_internal_value(data)


class When(serializers.DateTimeField):
    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise serializers.ValidationError("Must be a time, such as 2026-12-31T18:00:00Z.")
        try:
            return super().to_internal_value(value)
        except serializers.ValidationError:
            raise serializers.ValidationError("Must be a time, such as 2026-12-31T18:00:00Z.") from None


class Choice(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"Must be one of {', '.join(self.choices)}.")
        return data


@extend_schema_field(OpenApiTypes.ANY)
class ChangeSet(serializers.JSONField):
    """CodeMirror's own JSON of a change set; changeset.py says what is wrong with one."""


class Body(serializers.Serializer[Any]):
    """An object whose fields are all known."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(sorted(self.fields))
                raise serializers.ValidationError({shown(unknown[0]): f"There is no such field; known are {known}."})
        return super().to_internal_value(data)


# --- In --------------------------------------------------------------------------------------------------------------


class Operation(Body):
    """`operation_id`: chosen by the caller, so that a retry gets the first answer and writes nothing."""

    operation_id = Id(required=False)


class NotebookCreate(Body):
    name = Name(length=settings.NAME_MAX_LENGTH)
    id = Id(required=False)


class NotebookPatch(Operation):
    name = Name(length=settings.NAME_MAX_LENGTH, required=False)
    run_mode = Choice(Notebook.RunMode.values, required=False)
    connection = Id(required=False, allow_null=True)


class NameIn(Operation):
    name = Name(length=settings.NAME_MAX_LENGTH)


class DatabaseIn(Operation):
    """One of them; `"connection": null` is none."""

    connection = Id(required=False, allow_null=True, help_text="id of a connection")
    dsn = Text(write_only=True, required=False, allow_blank=False, help_text="becomes a connection of yours")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"connection", "dsn"} & set(attrs)) != 1:
            raise serializers.ValidationError({"connection": "Give one of connection and dsn."})
        return attrs


class Place(Operation):
    """At most one of them."""

    after = Id(required=False, allow_null=True, help_text="id of the cell before it; null: first")
    before = Id(required=False, help_text="id of the cell after it")
    index = Whole(required=False, min_value=0, help_text="place counted from 0")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"after", "before", "index"} & set(attrs)) > 1:
            raise serializers.ValidationError({"after": "Give one of after, before and index."})
        return attrs


class CellCreate(Place):
    id = Id(required=False)
    type = Choice(Cell.Type.values, default=Cell.Type.PYTHON.value)
    source = Text(default="")
    result_name = Text(required=False)
    connection = Id(required=False, allow_null=True)


class CellPatch(Operation):
    version = Whole(required=False, min_value=1, max_value=MAX_VERSION)
    expected_version = Whole(required=False, min_value=1, max_value=MAX_VERSION, help_text="the same as version")
    source = Text(required=False)
    changes = ChangeSet(required=False)
    type = Choice(Cell.Type.values, required=False)
    result_name = Text(required=False)
    connection = Id(required=False, allow_null=True)
    disabled = Flag(required=False)
    code_hidden = Flag(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "expected_version" in attrs:
            version = attrs.pop("expected_version")
            if attrs.setdefault("version", version) != version:
                raise serializers.ValidationError({"expected_version": "Is not the same as version."})
        if "source" in attrs and "changes" in attrs:
            raise serializers.ValidationError({"changes": "Give either changes or source."})
        if ("source" in attrs or "changes" in attrs) and "version" not in attrs:
            raise serializers.ValidationError({"version": "An edit of the source names the version it was made on."})
        if not set(attrs) - {"version", "operation_id"}:
            raise serializers.ValidationError({"source": "Nothing to change was given."})
        return attrs


class CellMoveIn(Place):
    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not {"after", "before", "index"} & set(attrs):
            raise serializers.ValidationError({"after": "Give one of after, before and index."})
        return super().validate(attrs)


class UndoIn(Body):
    operation_id = Id(help_text="of the change to take back")
    new_operation_id = Id(required=False)


class Waiting(Body):
    wait = Flag(default=False)
    timeout_s = Seconds(default=60.0)


class RunCreate(Waiting):
    cells = serializers.ListField(child=Id(), required=False, allow_empty=False, max_length=MAX_RUN_CELLS)
    all = Flag(default=False)
    stale = Flag(default=False)
    only = Flag(default=False, help_text="run these cells and nothing up- or downstream")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum((bool(attrs.get("cells")), attrs["all"], attrs["stale"])) != 1:
            raise serializers.ValidationError({"cells": "Give one of cells, all and stale."})
        if attrs["only"] and not attrs.get("cells"):
            raise serializers.ValidationError({"only": "Goes with cells."})
        return attrs


class RestartIn(Waiting):
    run_all = Flag(default=False)


class ConnectionIn(Body):
    name = Name(length=CONNECTION_NAME_MAX_LENGTH)
    dsn = Text(write_only=True, allow_blank=False)


class ConnectionPatch(Body):
    name = Name(length=CONNECTION_NAME_MAX_LENGTH, required=False)
    dsn = Text(write_only=True, allow_blank=False, required=False)


class TokenIn(Body):
    name = Name(length=TOKEN_NAME_MAX_LENGTH)
    scope = Choice(ApiToken.Scope.values, default=ApiToken.Scope.READ.value)
    expires_in_days = Whole(required=False, allow_null=True, min_value=1, max_value=MAX_TOKEN_DAYS)


class TokenPatch(Body):
    name = Name(length=TOKEN_NAME_MAX_LENGTH)


# --- Out (for the schema; documents are made in reading.py) ----------------------------------------------------------


class ErrorBody(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(required=False)  # type: ignore[assignment]
    version = serializers.IntegerField(required=False)
    since = serializers.ListField(child=serializers.DictField(), required=False)


class ErrorOut(serializers.Serializer[Any]):
    error = ErrorBody()


class QuestionOut(serializers.Serializer[Any]):
    cell = serializers.UUIDField()
    attempt = serializers.UUIDField()
    prompt = serializers.CharField()
    password = serializers.BooleanField()


class KernelOut(serializers.Serializer[Any]):
    state = serializers.ChoiceField(["stopped", "starting", "idle", "running", "paused", "dead"])
    detail = serializers.CharField()
    cell = serializers.UUIDField(required=False, allow_null=True)
    memory_bytes = serializers.IntegerField(required=False)
    limit_bytes = serializers.IntegerField(required=False)
    epoch = serializers.IntegerField(required=False)
    asks = QuestionOut(required=False)


STATUSES = ["idle", "queued", "running"]
FRESHNESS = ["new", "current", "stale", "failed", "blocked"]
OUTCOMES = ["ok", "error", "interrupted", "died"]


class StateOut(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES)
    freshness = serializers.ChoiceField(FRESHNESS)
    loaded = serializers.BooleanField(help_text="whether its names are in the kernel now")
    place = serializers.IntegerField(allow_null=True, help_text="in the queue, from 1")
    errors = serializers.ListField(child=serializers.DictField(), help_text="why it cannot run as it stands")  # type: ignore[assignment]
    blocked_by = serializers.ListField(child=serializers.DictField(), help_text="cell and name it waits for")
    disabled_by = serializers.ListField(child=serializers.UUIDField())
    stale_because = serializers.DictField(allow_null=True, help_text="kind, cell, name")
    attempt = serializers.UUIDField(allow_null=True, help_text="the last execution")
    outcome = serializers.ChoiceField(OUTCOMES, allow_null=True, help_text="died: its kernel did, meanwhile")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    execution_count = serializers.IntegerField(allow_null=True)
    reason = serializers.DictField(allow_null=True, help_text="why it ran: kind, cell, name, by")
    warnings = serializers.ListField(child=serializers.CharField())
    note = serializers.CharField(help_text="what a query says of itself")


class FileOut(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="path on this server; the same token opens it")
    size_bytes = serializers.IntegerField()


class OutputOut(serializers.Serializer[Any]):
    """An item: of a stream, of display data, or an error, by `kind`."""

    index = serializers.IntegerField()
    kind = serializers.ChoiceField(["stream", "display_data", "execute_result", "error"])
    files = serializers.DictField(child=FileOut(), help_text="large items by MIME type")
    name = serializers.ChoiceField(["stdout", "stderr"], required=False)
    text = serializers.CharField(required=False)
    cut = serializers.DictField(required=False, allow_null=True, help_text="omitted_bytes, omitted_lines, tail")
    data = serializers.DictField(required=False, help_text="values by MIME type")  # type: ignore[assignment]
    metadata = serializers.DictField(required=False)
    display_id = serializers.CharField(required=False, allow_null=True)
    ename = serializers.CharField(required=False)
    evalue = serializers.CharField(required=False)
    traceback = serializers.ListField(child=serializers.CharField(), required=False)
    truncated = serializers.BooleanField(required=False, help_text="in the answer of a run: a preview")


class RunCellOut(serializers.Serializer[Any]):
    """A cell in the answer of a run: without its source."""

    id = serializers.UUIDField()
    number = serializers.IntegerField(help_text="place on the page, from 1")
    external_id = serializers.CharField(help_text="where it was imported from, if that was no uuid; else empty")
    type = serializers.ChoiceField(Cell.Type.values)
    version = serializers.IntegerField()
    result_name = serializers.CharField()
    connection = serializers.UUIDField(allow_null=True)
    disabled = serializers.BooleanField()
    code_hidden = serializers.BooleanField()
    definitions = serializers.ListField(child=serializers.CharField())
    references = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(STATUSES)
    freshness = serializers.ChoiceField(FRESHNESS)
    state = StateOut()
    outputs = OutputOut(many=True, allow_null=True)


class CellOut(RunCellOut):
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]


class ChangedCellOut(CellOut):
    number = serializers.IntegerField(allow_null=True, help_text="place on the page, from 1; null: deleted since")
    seq = serializers.IntegerField()
    revision = serializers.IntegerField()
    operation_id = serializers.UUIDField()


class OutputsOut(serializers.Serializer[Any]):
    cell = serializers.UUIDField()
    version = serializers.IntegerField()
    status = serializers.ChoiceField(STATUSES)
    freshness = serializers.ChoiceField(FRESHNESS)
    attempt = serializers.UUIDField(allow_null=True)
    outputs = OutputOut(many=True)


class CellsOut(serializers.Serializer[Any]):
    cells = CellOut(many=True)


class NotebookOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(Notebook.Kind.values)
    run_mode = serializers.ChoiceField(Notebook.RunMode.values)
    connection = serializers.UUIDField(allow_null=True)
    seq = serializers.IntegerField()
    revision = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    role = serializers.ChoiceField(["viewer", "runner", "editor", "owner"])


class NotebookWithCells(NotebookOut):
    cells = CellOut(many=True)
    kernel = KernelOut()


class NotebookListed(NotebookOut):
    cell_count = serializers.IntegerField()
    owner = serializers.CharField()


class NotebookPage(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = NotebookListed(many=True)


class ChangesOut(serializers.Serializer[Any]):
    seq = serializers.IntegerField(help_text="where the notebook stands")
    next = serializers.IntegerField(help_text="give this as since to go on")
    more = serializers.BooleanField()
    events = serializers.ListField(child=serializers.DictField())
    cells_run = serializers.ListField(child=serializers.UUIDField())


class ChangeOut(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    revision = serializers.IntegerField()
    operation_id = serializers.UUIDField()
    event = serializers.DictField()


class RunDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="requested, run_all, run_stale or restart")
    outcome = serializers.ChoiceField(OUTCOMES, allow_null=True, help_text="null while it goes on")
    by = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class RunOut(serializers.Serializer[Any]):
    run = RunDocument()
    order = serializers.ListField(child=serializers.UUIDField(), help_text="cells as they started")
    cells = RunCellOut(many=True, help_text="all concerned, their outputs as previews")
    timed_out = serializers.BooleanField()


class RestartOut(RunOut):
    run = RunDocument(allow_null=True, help_text="null without run_all")
    kernel = KernelOut(required=False, help_text="without run_all")


class RunListed(serializers.Serializer[Any]):
    run = RunDocument()
    order = serializers.ListField(child=serializers.UUIDField())


class RunPage(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RunListed(many=True)


class StopOut(serializers.Serializer[Any]):
    kernel = KernelOut()
    settled = serializers.BooleanField()


class ConnectionOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    driver = serializers.CharField()
    address = serializers.CharField(help_text="the DSN without its password")
    refused = serializers.CharField(help_text="why the DSN, which an import brought, is never used; mostly empty")
    shared = serializers.BooleanField(help_text="made by an operator for everyone")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ConnectionsOut(serializers.Serializer[Any]):
    connections = ConnectionOut(many=True)


class TokenOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    scope = serializers.ChoiceField(ApiToken.Scope.values)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class TokensOut(serializers.Serializer[Any]):
    tokens = TokenOut(many=True)


class TokenMade(TokenOut):
    token = serializers.CharField(help_text="shown once")
