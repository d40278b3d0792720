"""What is done to each connection to the database: failures are counted; a migration may take its time."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate

from notebooks_app import metrics


def install() -> None:
    connection_created.connect(_count_failures, dispatch_uid="rillbook.count_failures")
    pre_migrate.connect(_without_limit, dispatch_uid="rillbook.without_limit")
    post_migrate.connect(_with_limit, dispatch_uid="rillbook.with_limit")


def _count_failures(connection: Any, **kwargs: Any) -> None:
    if metrics.count_failures not in connection.execute_wrappers:
        connection.execute_wrappers.append(metrics.count_failures)


def _without_limit(using: str, **kwargs: Any) -> None:
    """An index on a large table takes longer than any statement of a request may."""
    _say(using, "SET statement_timeout = 0")
    raw: Any = connections[using].connection
    if raw is not None and connections[using].vendor == "postgresql":
        raw.limit_s = None  # until this connection is closed (bounded_connection.py)


def _with_limit(using: str, **kwargs: Any) -> None:
    _say(using, "RESET statement_timeout")  # to what the connection's options say


def _say(using: str, statement: str) -> None:
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(statement)
