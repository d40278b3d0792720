"""Django's cache in the database, for what is counted against guessing: nothing leaves it before it has expired.

Django's own drops the lowest keys beyond some hundred entries, so that whoever makes entries (a mail for a lost
password makes two) would wipe others' counts. Here the table is bounded by what is counted within a quarter of an hour.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.cache.backends.db import DatabaseCache
from django.db import connections


class CountingCache(DatabaseCache):
    _table: str

    def _cull(self, db: str, cursor: Any, now: datetime, num: int) -> None:
        """Called by every write of a cache that has many entries: remove those that expired."""
        quote, adapt = connections[db].ops.quote_name, connections[db].ops.adapt_datetimefield_value
        cursor.execute(f"DELETE FROM {quote(self._table)} WHERE {quote('expires')} < %s", [adapt(now)])
