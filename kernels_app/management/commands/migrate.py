"""`manage.py migrate`: Django's own, after a look at the database: away or newer than this code is said at once.

A database of the next release is left as it is, for that is what going back a release means.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

from kernels_app import releases
from kernels_app.schema_state import database_troubles


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        found = list(database_troubles(connection, migrates=True))
        words = "\n".join(map(str, found))
        if not all(trouble.is_bearable for trouble in found):
            raise CommandError(words)
        if found and options["app_label"]:
            raise CommandError(f"{words}\nOnly the release that brought a migration takes it back.")
        if found:
            if options["verbosity"]:
                self.stdout.write(f"{words}\nNothing is migrated.")
            return
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        releases.begin(connection)
        super().handle(*args, **options)
        releases.finish(connection)
