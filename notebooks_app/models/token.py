"""API tokens: shown once, kept as a hash, scoped and revocable."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class ApiToken(models.Model):
    class Scope(models.TextChoices):
        READ = "read"
        RUN = "run"
        EDIT = "edit"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.READ)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=["read", "run", "edit"]), name="api_token_scope_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, user_id: int, name: str, scope: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
        """A new token and its text, which is shown once and never stored."""
        text = f"rill_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            user_id=user_id, name=name, scope=scope, digest=cls.digest_of(text), expires_at=expires_at
        )
        return token, text

    @classmethod
    def find(cls, text: str) -> ApiToken | None:
        token = cls.objects.select_related("user").filter(digest=cls.digest_of(text)).first()
        if token is None or not token.user.is_active:
            return None
        if token.expires_at and token.expires_at <= timezone.now():
            return None
        return token

    @staticmethod
    def digest_of(text: str) -> str:
        # A token is 256 random bits: a plain hash cannot be guessed back.
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
