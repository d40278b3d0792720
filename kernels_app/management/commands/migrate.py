"""`manage.py migrate`: Django's own, after a look at the database: away or newer than this code is said at once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

from kernels_app.schema_state import database_troubles


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        if found := list(database_troubles(connections[options["database"]], migrates=True)):
            raise CommandError("\n".join(map(str, found)))
        super().handle(*args, **options)
