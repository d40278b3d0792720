"""`manage.py rotate_connection_keys`: encrypt connections under the first key. The work is rotation.py's."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notebooks_app import crypto, rotation
from notebooks_app.rotation import State


class Command(BaseCommand):
    help = (
        "Encrypt connections that older keys sealed under the first of CONNECTION_KEYS, then say what is left under "
        "others. Safe while servers run that have all these keys; stopping it and running it again is too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        self._ends = False
        before = signal.signal(signal.SIGTERM, self._end)
        try:
            self._rotate_all(is_dry=options["dry_run"])
        except ValueError as error:  # a malformed key
            raise CommandError(str(error)) from None
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end(self, *args: object) -> None:
        """SIGTERM ends the loop after the connection at hand."""
        self._ends = True

    def _rotate_all(self, *, is_dry: bool) -> None:
        done = 0
        for connection in rotation.connections():
            if self._ends:
                self.stdout.write("Stopped; run it again to go on.")
                break
            state = rotation.state_of(connection)
            words = f"{connection.pk} (key {crypto.key_id(bytes(connection.secret))})"
            if state is State.OLD and is_dry:
                self.stdout.write(f"{words}: would be encrypted anew")
            elif state is State.OLD and rotation.rotate(connection):
                done += 1
                self.stdout.write(f"{words}: encrypted anew")
            elif state is State.LOST:
                self.stderr.write(f"{words}: does not open; its key is not in CONNECTION_KEYS, or it was changed")
        self._tell(done)

    def _tell(self, done: int) -> None:
        found = rotation.standing()
        first = crypto.first_key_id()
        self.stdout.write(f"{done:,} encrypted anew. Under the first key ({first}): {found.keys[first]:,}.")
        for key, count in sorted(found.keys.items()):
            if key != first:
                self.stdout.write(f"Under key {key}: {count:,}.")
        if not found.states[State.OLD] and not found.states[State.LOST]:
            self.stdout.write("Nothing is left under other keys: they can be removed from CONNECTION_KEYS.")
        if found.states[State.LOST]:
            raise CommandError(
                f"{found.states[State.LOST]:,} connections do not open: put the keys that made them back at the end of "
                "CONNECTION_KEYS and run this again, or have their owners enter the DSN again."
            )
