"""A cell: one row, with room between positions so that an insert or a move writes one row."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from notebooks_app import facts


class CellQuerySet(models.QuerySet["Cell"]):
    def alive(self) -> CellQuerySet:
        """Cells that are in the notebook; deleted ones wait in the bin for an undo."""
        return self.filter(deleted_at=None)

    def in_order(self) -> CellQuerySet:
        return self.order_by("position")

    def small(self) -> CellQuerySet:
        """Cells with the columns that graph and states need: no sources, no outputs."""
        return self.defer("source", "metadata").select_related("last_run")


class Cell(models.Model):
    class Type(models.TextChoices):
        PYTHON = "python"
        SQL = "sql"
        MARKDOWN = "markdown"

    class Status(models.TextChoices):
        IDLE = "idle"
        QUEUED = "queued"
        RUNNING = "running"

    # Made by whoever creates the cell, so that an echo replaces instead of doubling.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="cells")
    # The id it had where it was imported from, where that was no uuid.
    external_id = models.CharField(max_length=200, blank=True, default="")
    position = models.BigIntegerField()
    type = models.CharField(max_length=10, choices=Type.choices, default=Type.PYTHON)
    source = models.TextField(blank=True, default="")
    # SHA-256 of what decides a run (facts.source_hash); kept so that freshness never reads a source.
    source_hash = models.CharField(max_length=64, default="")
    version = models.PositiveIntegerField(default=1)
    # Derived by analysis of the source whose hash is analysis_hash; they may lag behind typing by its pause.
    definitions = models.JSONField(default=list, blank=True)
    references = models.JSONField(default=list, blank=True)
    # Builtins it uses: no references to readers, but an edge where some cell defines a name of theirs.
    builtins_used = models.JSONField(default=list, blank=True)
    analysis_errors = models.JSONField(default=list, blank=True)
    analysis_hash = models.CharField(max_length=64, default="", blank=True)
    result_name = models.CharField(max_length=100, blank=True, default="")
    connection = models.ForeignKey(
        "notebooks_app.Connection", on_delete=models.SET_NULL, null=True, blank=True, related_name="cells"
    )
    disabled = models.BooleanField(default=False)
    code_hidden = models.BooleanField(default=False)
    # Counts only under the epoch it was written in: `running` of a dead server reads as idle.
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.IDLE)
    status_epoch = models.PositiveBigIntegerField(default=0)
    execution_count = models.PositiveIntegerField(null=True, blank=True)
    last_run = models.ForeignKey(
        "notebooks_app.CellRun", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # The notebook's seq when a run last changed this cell's outputs or state: what a browser that was away must fetch.
    run_seq = models.PositiveBigIntegerField(default=0)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    # In the bin: out of the order, kept for undo.
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = CellQuerySet.as_manager()

    class Meta:
        constraints = [
            # Plain, not deferrable: SQLite silently drops deferrable ones. Deleted cells have negative places.
            models.UniqueConstraint(fields=["notebook", "position"], name="cell_position_unique_in_notebook"),
            models.CheckConstraint(condition=Q(type__in=["python", "sql", "markdown"]), name="cell_type_known"),
            models.CheckConstraint(condition=Q(status__in=["idle", "queued", "running"]), name="cell_status_known"),
        ]
        indexes = [
            # Catch-up: cells that runs changed since a browser's cursor.
            models.Index(fields=["notebook", "run_seq"], name="cell_runs_since"),
            # Which notebook has the cell that was called …? Search (notebook.py: of_id).
            models.Index(fields=["external_id"], name="cell_external_id", condition=~Q(external_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.type} cell {self.id}"

    def current_hash(self) -> str:
        connection = str(self.connection_id) if self.connection_id else None
        return facts.source_hash(self.type, self.source, self.result_name, connection)

    @property
    def is_analysed(self) -> bool:
        return self.analysis_hash == self.source_hash

    def facts(self) -> facts.CellFacts:
        """The row as the value that graph, freshness and scheduler work on; `last_run` must have been joined."""
        pending = not self.is_analysed
        return facts.CellFacts(
            id=str(self.id),
            position=self.position,
            type=facts.CellType(self.type),
            version=self.version,
            source_hash=self.source_hash,
            definitions=frozenset(self.definitions),
            references=frozenset(self.references) | frozenset(self.builtins_used),
            disabled=self.disabled,
            on_connection=self.connection_id is not None,
            errors=() if pending else tuple(facts.CellError.from_json(error) for error in self.analysis_errors),
            last=self.last_run.attempt() if self.last_run else None,
        )

    def as_fields(self) -> dict[str, Any]:
        """What readers are told of the cell itself; state and outputs are added by who has them."""
        return self.as_small_fields() | {"source": self.source, "external_id": self.external_id}

    def as_small_fields(self) -> dict[str, Any]:
        """The same without the source, and what no page shows, for cells far from a reader's window."""
        return {
            "id": str(self.id),
            "type": self.type,
            "version": self.version,
            "result_name": self.result_name,
            "connection": str(self.connection_id) if self.connection_id else None,
            "disabled": self.disabled,
            "code_hidden": self.code_hidden,
            "definitions": self.definitions,
            "references": self.references,
        }


def source_limit() -> int:
    """Largest source that is kept, in bytes of UTF-8."""
    return settings.SOURCE_MAX_BYTES
