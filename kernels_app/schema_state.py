"""Whether the database answers, and whether its tables are of this version: older, newer, or damaged.

Asked by a connection of its own: the pool's goes on trying for five seconds before it says anything.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from kernels_app import releases
from kernels_app.far_words import Trouble, of_database

SERVER_OLDEST = 140_000  # PostgreSQL 14
TLS_S = 5
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's protocol, Message Formats


def database_troubles(connection: BaseDatabaseWrapper, *, migrates: bool) -> Iterator[Trouble]:
    try:
        found = _connect(connection) if connection.vendor == "postgresql" else None
        if found:
            yield found
            return
        yield from _tables(connection, migrates=migrates)
    except DatabaseError as error:
        yield _of_file(error, connection) if connection.vendor == "sqlite" else _at(connection, of_database(error))


def _connect(connection: BaseDatabaseWrapper) -> Trouble | None:
    """One plain connection by the same parameters."""
    import psycopg

    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("pool", "cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    try:
        with psycopg.connect(**parameters) as made:
            version = made.info.server_version
    except (psycopg.Error, OSError, ValueError) as error:
        return _at(connection, of_database(_of_tls(error, parameters)))
    if version < SERVER_OLDEST:
        return Trouble("DATABASE_URL", f"PostgreSQL {version // 10_000} is too old.", "Use PostgreSQL 14 or newer.")
    return None


def _of_tls(error: Exception, parameters: dict[str, Any]) -> Exception:
    """libpq does not say why it trusts no certificate; Python does, asked to look at the same one."""
    trusted = parameters.get("sslrootcert")
    if "certificate verify failed" not in str(error) or not trusted or trusted == "system":
        return error
    try:
        context = ssl.create_default_context(cafile=str(trusted))
        host = str(parameters.get("host") or "localhost")
        with socket.create_connection((host, int(parameters.get("port") or 5432)), TLS_S) as plain:
            plain.sendall(SSL_REQUEST)
            plain.recv(1)
            context.wrap_socket(plain, server_hostname=host).close()
    except (OSError, ValueError) as found:
        return found
    return error


def _at(connection: BaseDatabaseWrapper, trouble: Trouble) -> Trouble:
    asked = connection.settings_dict
    return replace(trouble, at=f"{asked['HOST'] or 'this machine'}:{asked['PORT'] or 5432}")


def _tables(connection: BaseDatabaseWrapper, *, migrates: bool) -> Iterator[Trouble]:
    executor = MigrationExecutor(connection)
    known = set(executor.loader.disk_migrations)
    applied = executor.loader.applied_migrations
    newer = sorted(key for key in applied if key[0] in releases.OURS and key not in known)
    if newer:
        yield _of_newer(".".join(newer[-1]), is_next=releases.is_next(executor.loader))
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing and not newer and not migrates:
        first = missing[0][0]
        yield Trouble(
            "DATABASE_URL",
            f"the database lacks {len(missing)} migrations ({first.app_label}.{first.name} is the first).",
            "Run manage.py migrate.",
        )


def _of_newer(migration: str, *, is_next: bool) -> Trouble:
    """`is_next`: of the release after this one, whose migrations leave this one running."""
    if is_next:
        return Trouble(
            "DATABASE_URL",
            f"the database is of the next release ({migration} is not known here), on which this one still runs.",
            "Go no further back: the release before this one does not run on it (docs/operations.md, Deploy).",
            is_bearable=True,
        )
    return Trouble(
        "DATABASE_URL",
        f"the database is of a newer Rillbook ({migration} is not known here).",
        "Deploy that release, or take its migrations back with it (docs/operations.md, Deploy).",
    )


def _of_file(error: DatabaseError, connection: BaseDatabaseWrapper) -> Trouble:
    """What SQLite says of its file."""
    said, path = str(error).lower(), connection.settings_dict["NAME"]
    if "not a database" in said or "malformed" in said:
        return Trouble("RILLBOOK_DATA_DIR", f"{path} is damaged, or no SQLite file.", "Restore it from a backup.")
    if "readonly" in said or "unable to open" in said:
        return Trouble("RILLBOOK_DATA_DIR", f"{path} cannot be written.", "Give it to the user that runs the server.")
    if "full" in said:
        return Trouble("RILLBOOK_DATA_DIR", f"the disk of {path} is full.", "Free some room.")
    if "locked" in said:
        return Trouble("RILLBOOK_DATA_DIR", f"{path} is locked by another program.", "End it.")
    return Trouble("RILLBOOK_DATA_DIR", f"{path} cannot be used.", "Is it on a local disk?")
