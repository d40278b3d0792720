"""Counting what may be tried only so often, in the database: the same for all server processes."""

from __future__ import annotations

from django.db import models


class AttemptCount(models.Model):
    """The latest attempts under one key: an account, a device or an address (sign_in_limits.py)."""

    key = models.CharField(max_length=64, primary_key=True)
    # Seconds since the epoch, oldest first, at most as many as may be tried.
    times = models.JSONField(default=list)
    # When the row may be thrown away.
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key


class CacheEntry(models.Model):
    """Django's database cache (its columns are fixed there): what allauth counts, in one place for all processes."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "rillbook_cache"

    def __str__(self) -> str:
        return self.cache_key
