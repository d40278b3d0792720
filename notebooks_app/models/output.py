"""Outputs: one row an item, streamed text in append-only chunks while its cell runs, large items as files."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Q
from django.urls import reverse


class Output(models.Model):
    class Kind(models.TextChoices):
        STREAM = "stream"
        DISPLAY_DATA = "display_data"
        EXECUTE_RESULT = "execute_result"
        ERROR = "error"

    cell = models.ForeignKey("notebooks_app.Cell", on_delete=models.CASCADE, related_name="outputs")
    # The attempt that made it (no foreign key: imported outputs have none).
    attempt = models.UUIDField(null=True, blank=True)
    index = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    # Streams: name, text, cut. Errors: ename, evalue, traceback. Display data: the MIME bundle.
    data = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict, blank=True)
    display_id = models.CharField(max_length=200, blank=True, default="")
    size_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cell", "index"], name="output_index_unique_in_cell"),
            models.CheckConstraint(
                condition=Q(kind__in=["stream", "display_data", "execute_result", "error"]), name="output_kind_known"
            ),
        ]
        indexes = [
            # update_display_data reaches displays of other cells.
            models.Index(fields=["display_id"], name="output_display_id", condition=~Q(display_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.index} of {self.cell_id}"

    def as_json(self, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """The output as docs/architecture.md section 2 has it; `files` maps MIME types to url and size."""
        head = {"index": self.index, "kind": self.kind, "files": files}
        if self.kind in (self.Kind.STREAM, self.Kind.ERROR):
            return head | self.data
        return head | {"data": self.data, "metadata": self.metadata, "display_id": self.display_id or None}


class StreamChunk(models.Model):
    """A piece of an attempt's output, on top of the Output rows of the same attempt: while it runs, and what its
    threads say later. Folded into rows when the attempt ends, when it is quiet, and when pieces are more than the
    whole.
    """

    cell = models.ForeignKey("notebooks_app.Cell", on_delete=models.CASCADE, related_name="chunks")
    attempt = models.UUIDField()
    # Operations of docs/architecture.md section 3, in order.
    ops = models.JSONField()

    class Meta:
        indexes = [
            # A reader who opens the page while the attempt runs.
            models.Index(fields=["cell", "attempt", "id"], name="chunk_of_attempt"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.pk} of {self.attempt}"


class OutputFile(models.Model):
    """One large MIME item in object storage, under `<notebook>/<sha256>`; the hash is the server's own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="output_files")
    output = models.ForeignKey(Output, on_delete=models.SET_NULL, null=True, blank=True, related_name="files")
    sha256 = models.CharField(max_length=64)
    mime_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    # False from the moment the row is written until its bytes are in the storage.
    is_ready = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # One storage object may serve several outputs of a notebook.
            models.Index(fields=["notebook", "sha256"], name="output_file_key"),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        return f"{self.notebook_id}/{self.sha256}"

    @property
    def url(self) -> str:
        return reverse("output_file", args=[self.notebook_id, self.id])

    def as_json(self) -> dict[str, Any]:
        return {"url": self.url, "size_bytes": self.size_bytes}


class HeldPart(models.Model):
    """A piece of a file whose storage did not take it: kept here, up to a cap, until `spill_outputs` moves it."""

    file = models.ForeignKey(OutputFile, on_delete=models.CASCADE, related_name="held_parts")
    index = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["file", "index"], name="held_part_index_unique_in_file"),
        ]

    def __str__(self) -> str:
        return f"part {self.index} of {self.file_id}"
