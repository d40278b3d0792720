"""Runs and attempts: who or what started them, why each cell ran, on what, and how it ended."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from notebooks_app import facts


class Run(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="runs")
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=20, default="requested")  # requested | run_all | run_stale | restart
    # facts.Outcome: ok | error | interrupted | died; empty while it goes on. Counts only under `epoch`'s live lease.
    outcome = models.CharField(max_length=20, blank=True, default="")
    # The attempts that served it, in the order they started: requests that merge share attempts.
    attempts = models.JSONField(default=list, blank=True)
    epoch = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # A notebook's runs, newest first.
            models.Index(fields=["notebook", "-started_at"], name="run_recent"),
            # The admin's list: the runs of all notebooks, newest first.
            models.Index(fields=["-started_at"], name="run_newest"),
            # What clear_stale_sessions looks for: runs that no server has ended.
            models.Index(fields=["started_at"], name="run_open", condition=Q(outcome="")),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"


class CellRun(models.Model):
    """One attempt of one cell."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="cell_runs", null=True, blank=True)
    cell = models.ForeignKey("notebooks_app.Cell", on_delete=models.CASCADE, related_name="cell_runs")
    # Order of starting within the notebook: the notebook's execution count.
    number = models.PositiveIntegerField(null=True, blank=True)
    cell_version = models.PositiveIntegerField()
    source_hash = models.CharField(max_length=64)
    inputs = models.JSONField(default=dict, blank=True)
    values = models.JSONField(default=dict, blank=True)
    reason = models.JSONField(default=dict, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    # What the run says about itself in a line: rows, time and bound values of a query.
    note = models.CharField(max_length=500, blank=True, default="")
    outcome = models.CharField(max_length=20, blank=True, default="")
    epoch = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        indexes = [
            # What a cell did before, newest first: history and cost estimates.
            models.Index(fields=["cell", "-started_at"], name="cell_run_recent"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.id}"

    def attempt(self) -> facts.Attempt:
        return facts.Attempt(
            id=str(self.id),
            source_hash=self.source_hash,
            outcome=facts.Outcome(self.outcome) if self.outcome else None,
            inputs=self.inputs,
            values=self.values,
        )
