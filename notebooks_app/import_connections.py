"""The DSN of an imported notebook as an encrypted connection of its owner: one for each DSN, named without its secrets.

A DSN that connections.py refuses is kept too, to be exported again, in a connection that is never used, with a warning
that says why. Its reason never holds the password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from notebooks_app import connections
from notebooks_app.crypto import DecryptionError
from notebooks_app.formats.base import DATABASE_WARNING, ImportedNotebook
from notebooks_app.models import Connection, Notebook
from notebooks_app.text import clean_name

MAX_NAME = 100


@dataclass
class Chosen:
    """The connection of the notebook, and those of its SQL cells by their place. `new` is the one that is not yet
    saved, to be saved with the notebook or not at all.
    """

    notebook: Connection | None = None
    new: Connection | None = None
    cells: dict[int, Connection | None] = field(default_factory=dict)


def check(found: ImportedNotebook) -> None:
    """Say in the notebook's warnings if its DSN will not be used here, in place of the general warning."""
    if not found.dsn:
        return
    found.warnings[:] = [warning for warning in found.warnings if warning != DATABASE_WARNING]
    try:
        connections.validate_dsn(found.dsn)
    except ValueError as error:
        found.warnings.append(f"Its database connection is kept, but cannot be used here: {error}")


def choose(found: ImportedNotebook, owner: Any) -> Chosen:
    """The connections of a notebook and its cells; a DSN that its owner has none for gets one, not yet saved."""
    chosen = Chosen()
    check(found)
    if found.dsn:
        chosen.notebook = with_dsn(owner, found.dsn)
        if chosen.notebook is None:
            chosen.notebook = chosen.new = _make(owner, found)
    elif found.connection:
        chosen.notebook = _named(found, owner, found.connection)
    for place, cell in enumerate(found.cells):
        if cell.type != "sql" or cell.connection == "":
            continue
        chosen.cells[place] = chosen.notebook if cell.connection is None else _named(found, owner, cell.connection)
    return chosen


def is_same(found: ImportedNotebook, known: Notebook) -> bool:
    """Whether the notebook here has the connection of its source."""
    if not found.dsn:
        return True
    return known.connection is not None and dsn_of(known.connection) == found.dsn


def dsn_of(connection: Connection) -> str | None:
    """The DSN in the clear, for comparing; None where its key is gone."""
    try:
        return connection.dsn()
    except DecryptionError:
        return None


def with_dsn(owner: Any, dsn: str) -> Connection | None:
    """The person's connection with this DSN, the first that they made."""
    owned = Connection.objects.filter(owner=owner).order_by("created_at")
    return next((connection for connection in owned if dsn_of(connection) == dsn), None)


def _make(owner: Any, found: ImportedNotebook) -> Connection:
    connection = Connection(owner=owner, name=free_name(owner, found.name))
    connection.keep_dsn(found.dsn)
    return connection


def free_name(owner: Any, notebook_name: str) -> str:
    """A name for the connection of a notebook that its owner has given to none."""
    base = f"database of {clean_name(notebook_name, max_length=settings.NAME_MAX_LENGTH)}"[: MAX_NAME - 6]
    taken = set(Connection.objects.filter(owner=owner, name__startswith=base).values_list("name", flat=True))
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base} {number}"
    return name


def _named(found: ImportedNotebook, owner: Any, name: str) -> Connection | None:
    usable = Connection.objects.usable_by(owner).filter(name=name)
    connection = usable.filter(owner=owner).first() or usable.first()
    if connection is None:
        warning = f"It uses the connection {name[:100]!r}, which its owner does not have here."
        if warning not in found.warnings:
            found.warnings.append(warning)
    return connection
