"""`manage.py spill_outputs`: move files that the database holds to the storage. The work is notebooks_app/files.py's.

The server does so by itself every minute; this is for who wants it now, or wants to know why it does not happen.
"""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notebooks_app import files
from notebooks_app.output_html import size_words


class Command(BaseCommand):
    help = "Move output files held in the database to the storage. Safe while servers run; running it twice is too."

    def handle(self, *args: Any, **options: Any) -> None:
        self._ends = False
        before = signal.signal(signal.SIGTERM, self._end)
        try:
            self._move_all(list(files.held_files().order_by("created_at").values_list("pk", "size_bytes")))
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end(self, *args: object) -> None:
        """SIGTERM ends the loop after the file at hand."""
        self._ends = True

    def _move_all(self, held: list[tuple[Any, int]]) -> None:
        moved = moved_bytes = failed = 0
        for number, (file_id, size) in enumerate(held, start=1):
            if self._ends:
                self.stdout.write(f"Stopped; {len(held) - number + 1:,} are left.")
                break
            words = f"[{number}/{len(held)}] {file_id}, {size_words(size)}"
            try:
                done = files.move_held(file_id)
            except (files.StorageFailed, files.HeldDamaged, OSError) as error:
                failed += 1
                self.stderr.write(f"{words}: not moved: {error}")
                continue
            moved, moved_bytes = moved + done, moved_bytes + size * done
            self.stdout.write(f"{words}: {'moved' if done else 'not held any more'}")
        self.stdout.write(f"{moved:,} moved ({size_words(moved_bytes)}), {failed:,} failed.")
        if failed and not moved:
            raise CommandError("None of the held files could be moved; they stay in the database and are served.")
