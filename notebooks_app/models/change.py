"""The log of accepted changes: catch-up after a reconnect, undo, history, and the answer to a retry."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models


class Change(models.Model):
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="changes")
    seq = models.PositiveBigIntegerField()
    revision = models.PositiveBigIntegerField()
    # No foreign key: the log outlives its cells.
    cell_id = models.UUIDField(null=True, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=40)
    # Made by the client: a retry of an operation gets the first answer.
    operation_id = models.UUIDField()
    # The event as it was announced.
    event = models.JSONField()
    # What takes it back: arguments of the inverse, never announced.
    inverse = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["notebook", "seq"], name="change_seq_unique_in_notebook"),
            models.UniqueConstraint(fields=["notebook", "operation_id"], name="change_operation_unique_in_notebook"),
        ]
        indexes = [
            # What happened to a cell since a version: the body of a conflict.
            models.Index(fields=["cell_id", "seq"], name="change_of_cell"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq}"

    def as_event(self) -> dict[str, Any]:
        return {**self.event, "seq": self.seq}
