"""A notebook: its owner, its name and its one counter."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    type Person = AbstractBaseUser | AnonymousUser


def of_id(text: str) -> Q:
    """The notebook of this id, or with a cell of it: ours, or the one it had where it was imported from."""
    from notebooks_app.models.cell import Cell

    imported = Q(external_id=text) & ~Q(external_id="")  # the second as the partial indexes say it, so that they serve
    found = imported | Q(pk__in=Cell.objects.alive().filter(imported).values("notebook"))
    try:
        known = uuid.UUID(text)
    except ValueError:
        return found
    return found | Q(pk=known) | Q(pk__in=Cell.objects.alive().filter(pk=known).values("notebook"))


class NotebookQuerySet(models.QuerySet["Notebook"]):
    """Access starts here: what a person may see, so that a stranger's notebook is simply not found."""

    def visible_to(self, user: Person | None) -> NotebookQuerySet:
        if user is None or not user.is_authenticated:
            return self._shown_to_guest(getattr(user, "share_links", ()))
        from notebooks_app.models.member import Membership

        member = Membership.objects.live().filter(notebook=OuterRef("pk"), user_id=user.pk)
        return self.filter(Q(owner_id=user.pk) | Exists(member))

    def _shown_to_guest(self, links: Collection[uuid.UUID]) -> NotebookQuerySet:
        """What share links that open without an account show (sharing.py: Guest)."""
        from notebooks_app.models.share import ShareLink

        if not links:
            return self.none()
        opened = ShareLink.objects.live().filter(notebook=OuterRef("pk"), pk__in=links, allows_guests=True)
        return self.filter(Exists(opened))

    def listed_for(self, user: AbstractBaseUser) -> NotebookQuerySet:
        """As `visible_to`, for lists: begins with the person's own rows and memberships and reads no others."""
        from notebooks_app.models.member import Membership

        member = Membership.objects.live().filter(user_id=user.pk).values("notebook")
        return self.filter(pk__in=Notebook.objects.filter(owner_id=user.pk).values("pk").union(member))

    def alive(self) -> NotebookQuerySet:
        return self.filter(deleted_at=None)

    def searched(self, text: str) -> NotebookQuerySet:
        """Those with `text` in their name or imported id, and those whose id, or a cell's, it is."""
        return self.filter(Q(name__icontains=text) | Q(external_id__icontains=text) | of_id(text))

    def recent(self) -> NotebookQuerySet:
        return self.order_by("-updated_at", "id")

    def with_role(self, user: AbstractBaseUser) -> NotebookQuerySet:
        """Each with `member_role`: the person's role as a member, None for the owner."""
        from notebooks_app.models.member import Membership

        member = Membership.objects.filter(notebook=OuterRef("pk"), user_id=user.pk)
        return self.annotate(member_role=Subquery(member.values("role")[:1]))

    def with_cell_count(self) -> NotebookQuerySet:
        """Each with `cell_count`, counted in the index of positions: cells in the bin have negative ones."""
        from notebooks_app.models.cell import Cell

        alive = Cell.objects.filter(notebook=OuterRef("pk"), position__gt=0).order_by().values("notebook")
        counted = Subquery(alive.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
        return self.annotate(cell_count=Coalesce(counted, 0))

    def next_number(self, notebook_id: uuid.UUID) -> tuple[int, int]:
        """Take the next `seq` and `revision` for an edit. Call inside a transaction: the row lock is the order.

        Raises Notebook.DoesNotExist if the notebook is gone.
        """
        self.filter(pk=notebook_id).update(seq=F("seq") + 1, revision=F("revision") + 1, updated_at=timezone.now())
        return self.values_list("seq", "revision").get(pk=notebook_id)

    def next_run_seq(self, notebook_id: uuid.UUID, *, epoch: int) -> int | None:
        """Take the next `seq` for a runtime's outputs; None if another runtime has taken over."""
        if not self.filter(pk=notebook_id, session__epoch=epoch).update(seq=F("seq") + 1):
            return None
        return self.values_list("seq", flat=True).get(pk=notebook_id)


class Notebook(models.Model):
    class Kind(models.TextChoices):
        NORMAL = "normal"
        BLANK = "blank"
        DEMO = "demo"

    class RunMode(models.TextChoices):
        AUTO = "auto"
        LAZY = "lazy"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notebooks")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.NORMAL)
    demo_version = models.PositiveIntegerField(null=True, blank=True)
    run_mode = models.CharField(max_length=10, choices=RunMode.choices, default=RunMode.AUTO)
    connection = models.ForeignKey(
        "notebooks_app.Connection", on_delete=models.SET_NULL, null=True, blank=True, related_name="notebooks"
    )
    # The one counter: each accepted change, edit or batch of outputs, takes the next number.
    seq = models.PositiveBigIntegerField(default=0)
    # Accepted edits only: what people and the API see.
    revision = models.PositiveBigIntegerField(default=0)
    # The id it had where it was imported from, where that was no uuid; people look for it.
    external_id = models.CharField(max_length=200, blank=True, default="")
    # What the file it came from said about itself (ipynb metadata survives a round trip).
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = NotebookQuerySet.as_manager()

    class Meta:
        constraints = [
            # Each user gets Demo and Blank once.
            models.UniqueConstraint(
                fields=["owner", "kind"],
                condition=Q(kind__in=["blank", "demo"], deleted_at=None),
                name="notebook_one_demo_and_blank_per_owner",
            ),
            models.CheckConstraint(condition=Q(run_mode__in=["auto", "lazy"]), name="notebook_run_mode_known"),
            models.CheckConstraint(condition=Q(kind__in=["normal", "blank", "demo"]), name="notebook_kind_known"),
        ]
        indexes = [
            # The list page: a person's notebooks, last changed first.
            models.Index(fields=["owner", "-updated_at"], name="notebook_owner_recent"),
            # Where did the notebook go that we called …? Imports, search, the admin.
            models.Index(fields=["external_id"], name="notebook_external_id", condition=~Q(external_id="")),
        ]

    def __str__(self) -> str:
        return self.name

    def import_facts(self) -> dict[str, Any]:
        """What an import noted of where the notebook came from; `seq` is its number then."""
        from notebooks_app.formats.base import OURS

        ours = self.metadata.get(OURS)
        found = ours.get("import") if isinstance(ours, dict) else None
        return found if isinstance(found, dict) else {}
