"""Who besides its owner may do what in a notebook."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class MembershipQuerySet(models.QuerySet["Membership"]):
    def live(self) -> MembershipQuerySet:
        """Those that count now: one that came by a share link ends with it."""
        now = timezone.now()
        is_open = Q(link__revoked_at=None) & (Q(link__expires_at=None) | Q(link__expires_at__gt=now))
        return self.filter(Q(link=None) | is_open)


class Membership(models.Model):
    class Role(models.TextChoices):
        VIEWER = "viewer"
        RUNNER = "runner"
        EDITOR = "editor"

    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    # The share link this person came by; None: named by the owner.
    link = models.ForeignKey(
        "notebooks_app.ShareLink", on_delete=models.CASCADE, null=True, blank=True, related_name="memberships"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["notebook", "user"], name="membership_unique"),
            models.CheckConstraint(condition=Q(role__in=["viewer", "runner", "editor"]), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.role}"
