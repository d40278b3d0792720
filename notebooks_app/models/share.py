"""Share links: a notebook for whoever holds the link. The text is shown once and kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from notebooks_app.models.member import Membership

TOKEN_BYTES = 24  # 192 random bits
TOKEN_MAX_LENGTH = 64


class ShareLinkQuerySet(models.QuerySet["ShareLink"]):
    def live(self) -> ShareLinkQuerySet:
        """Those that open their notebook now."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)


class ShareLink(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notebook = models.ForeignKey("notebooks_app.Notebook", on_delete=models.CASCADE, related_name="share_links")
    # What its maker calls it: "for the board".
    name = models.CharField(max_length=100, blank=True, default="")
    role = models.CharField(max_length=10, choices=Membership.Role.choices)
    # Whether it opens without an account. For viewers only: whoever runs or edits is known by name.
    allows_guests = models.BooleanField(default=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ShareLinkQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=["viewer", "runner", "editor"]), name="share_link_role_known"),
            models.CheckConstraint(
                condition=Q(allows_guests=False) | Q(role="viewer"), name="share_link_guests_only_view"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.role} link"

    @classmethod
    def issue(cls, **fields: Any) -> tuple[ShareLink, str]:
        """A new link and its text, which is shown once and never stored."""
        text = secrets.token_urlsafe(TOKEN_BYTES)
        return cls.objects.create(digest=cls.digest_of(text), **fields), text

    @classmethod
    def find(cls, text: str) -> ShareLink | None:
        """The live link of this text to a notebook that is there."""
        if len(text) > TOKEN_MAX_LENGTH:
            return None
        return cls.objects.live().filter(digest=cls.digest_of(text), notebook__deleted_at=None).first()

    @staticmethod
    def digest_of(text: str) -> str:
        # Random bits: a plain hash cannot be guessed back.
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    def count_use(self) -> None:
        """One more opening."""
        ShareLink.objects.filter(pk=self.pk).update(uses=F("uses") + 1, last_used_at=timezone.now())

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
