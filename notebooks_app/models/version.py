"""Named versions of a notebook: its cells as they were, one row each. Never compacted; outputs are not part of one."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Version(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="versions")
    name = models.CharField(max_length=200)
    # The notebook's numbers when it was named: `seq` is where the changes since begin.
    seq = models.PositiveBigIntegerField()
    revision = models.PositiveBigIntegerField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # A notebook's history, newest first.
            models.Index(fields=["notebook", "-created_at"], name="version_recent"),
        ]

    def __str__(self) -> str:
        return self.name


class VersionCell(models.Model):
    """A cell as it stood in a version. No foreign keys to cell and connection: a version outlives them."""

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="cells")
    position = models.BigIntegerField()
    cell_id = models.UUIDField()
    type = models.CharField(max_length=10)
    source = models.TextField(blank=True, default="")
    source_hash = models.CharField(max_length=64, default="")
    result_name = models.CharField(max_length=100, blank=True, default="")
    connection_id = models.UUIDField(null=True, blank=True)
    disabled = models.BooleanField(default=False)
    code_hidden = models.BooleanField(default=False)
    # For a cell that is made anew (restoring.py): versions of before these columns know neither.
    external_id = models.CharField(max_length=200, blank=True, default="", db_default="")
    metadata = models.JSONField(default=dict, blank=True, db_default={})

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="version_position_unique"),
            models.UniqueConstraint(fields=["version", "cell_id"], name="version_cell_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.type} cell {self.cell_id}"
