"""Several queries that see the database as it was at one moment, for readers of whole notebooks. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction


@contextmanager
def snapshot() -> Iterator[None]:
    """All queries of the block see one state; nobody waits for it. In a transaction already, they see what that sees.

    For a short while: it holds a transaction open, so that files are read after it.
    """
    if connection.in_atomic_block:
        yield
        return
    wrapper: Any = connection
    connection.ensure_connection()  # which sets the mode
    mode = getattr(wrapper, "transaction_mode", None)
    if mode is not None:
        wrapper.transaction_mode = "DEFERRED"  # SQLite: the others' transactions take the lock of the one writer
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    finally:
        if mode is not None:
            wrapper.transaction_mode = mode
