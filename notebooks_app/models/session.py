"""The lease on a notebook's runtime: who may run it now, fenced by an epoch that only grows."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils import timezone


class LeaseClock(Now):
    """The time by which leases are taken, prolonged and over: the database's, for clocks of machines differ.

    SQLite is a file of one machine, whose clock counts.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return compiler.compile(Value(timezone.now(), output_field=models.DateTimeField()))


class KernelSessionQuerySet(models.QuerySet["KernelSession"]):
    def live(self) -> KernelSessionQuerySet:
        """Leases that somebody holds now."""
        return self.exclude(host="").filter(expires__gt=LeaseClock())

    def claim(
        self,
        notebook_id: uuid.UUID,
        *,
        host: str,
        ttl: timedelta,
        now: datetime | LeaseClock | None = None,
        silent: tuple[int, datetime] | None = None,
    ) -> int | None:
        """Take the lease if nobody holds a live one; the new epoch, or None.

        One conditional statement decides (stack.md 5.2); `host` is unique for each incarnation of a runtime.
        `silent`: epoch and end of a lease that nobody prolonged for as long as the caller watched, which was `ttl` or
        more: it is over whatever its end says, for it may come of a clock that was wrong.
        """
        now = now or LeaseClock()
        self.get_or_create(notebook_id=notebook_id, defaults={"expires": timezone.now()})  # held by nobody
        is_over = Q(expires__lte=now) | Q(host="")
        if silent is not None:
            is_over |= Q(epoch=silent[0], expires=silent[1])
        claimed = self.filter(Q(notebook_id=notebook_id), is_over).update(
            epoch=F("epoch") + 1, host=host, expires=now + ttl, started_at=None, state="starting", detail=""
        )
        if not claimed:
            return None
        return self.values_list("epoch", flat=True).get(notebook_id=notebook_id, host=host)

    def renew(
        self, notebook_id: uuid.UUID, *, epoch: int, ttl: timedelta, now: datetime | LeaseClock | None = None
    ) -> bool:
        """Prolong the lease, also after it ran out: nobody took it while the epoch is still ours. False: fenced."""
        now = now or LeaseClock()
        return self.filter(notebook_id=notebook_id, epoch=epoch).exclude(host="").update(expires=now + ttl) == 1

    def starts(self, notebook_id: uuid.UUID, *, epoch: int) -> None:
        """The runtime is about to start a kernel: note since when it asks for room (`asked_before`)."""
        held = self.filter(notebook_id=notebook_id, epoch=epoch).exclude(host="")
        held.update(started_at=LeaseClock(), state="starting", detail="")

    def asked_before(self, notebook_id: uuid.UUID) -> KernelSessionQuerySet:
        """Without those that start a kernel and asked for room after this notebook, or have not asked yet."""
        asked = KernelSession.objects.filter(notebook_id=notebook_id).values_list("started_at", flat=True).first()
        later = Q(started_at=None)
        if asked is not None:
            later |= Q(started_at__gt=asked) | Q(started_at=asked, notebook_id__gt=notebook_id)
        return self.exclude(Q(state="starting") & later)

    def release(self, notebook_id: uuid.UUID, *, epoch: int, now: datetime, detail: str = "") -> None:
        self.filter(notebook_id=notebook_id, epoch=epoch).update(host="", expires=now, state="stopped", detail=detail)


class KernelSessionManager(models.Manager.from_queryset(KernelSessionQuerySet)):
    """Rows with the time at which they were read, by the clock of leases."""

    def get_queryset(self) -> KernelSessionQuerySet:
        found: KernelSessionQuerySet = super().get_queryset()
        return found.annotate(**{"read_at": LeaseClock()})  # the attribute below, which the stubs would make anew


class KernelSession(models.Model):
    class State(models.TextChoices):
        STOPPED = "stopped"
        STARTING = "starting"
        IDLE = "idle"
        RUNNING = "running"
        PAUSED = "paused"
        DEAD = "dead"

    notebook = models.OneToOneField(
        "notebooks_app.Notebook", on_delete=models.CASCADE, related_name="session", primary_key=True
    )
    epoch = models.PositiveBigIntegerField(default=0)
    host = models.CharField(max_length=200, blank=True, default="")
    expires = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.STOPPED)
    # The sentence a person reads: "Out of memory at 2.0 GiB in cell 4".
    detail = models.CharField(max_length=500, blank=True, default="")
    # Executions so far: the next cell's execution count.
    executions = models.PositiveIntegerField(default=0)
    # Since when it has its kernel, or asked for room for one. Empty where none was begun under this lease.
    started_at = models.DateTimeField(null=True, blank=True)

    read_at: datetime  # of rows that `objects` has read
    objects = KernelSessionManager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["stopped", "starting", "idle", "running", "paused", "dead"]),
                name="session_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} (epoch {self.epoch})"

    def is_live(self) -> bool:
        """Whether somebody held the lease when this row was read."""
        return bool(self.host) and self.expires > self.read_at
