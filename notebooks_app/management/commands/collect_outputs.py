"""`manage.py collect_outputs`: remove output files nothing refers to. The work is notebooks_app/file_collector.py's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notebooks_app.file_collector import Collected, collect_orphans, collect_rows
from notebooks_app.output_html import size_words

GRACE_H = 24.0
# An output gets its row when its upload begins and is saved with its cell: that takes minutes at the worst.
LEAST_GRACE_H = 1.0


class Command(BaseCommand):
    help = "Remove rows and stored files of outputs that are gone. Safe while servers run; running it twice is too."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Say what would be removed; remove nothing.")
        parser.add_argument(
            "--grace", type=float, default=GRACE_H, metavar="HOURS", help=f"Leave alone what is younger ({GRACE_H:g})."
        )

    def handle(self, *args: Any, dry_run: bool, grace: float, **options: Any) -> None:
        if not LEAST_GRACE_H <= grace <= 1_000_000:
            raise CommandError(f"--grace: a number of hours from {LEAST_GRACE_H:g}.")
        before = timezone.now() - timedelta(hours=grace)
        verb = "would be removed" if dry_run else "removed"
        result = Collected()
        self._show(collect_rows(before, dry_run=dry_run, result=result), verb)
        try:
            self._show(collect_orphans(before, dry_run=dry_run, result=result), verb)
        except Exception as error:  # storages raise what their libraries raise
            result.failures.append(f"the storage could not be listed: {type(error).__name__}")
        self._sum_up(result, verb)
        if result.failures and not (result.rows or result.objects):
            raise CommandError(f"Nothing was removed; {len(result.failures)} could not be.")

    def _show(self, lines: Iterator[str], verb: str) -> None:
        for line in lines:
            self.stdout.write(f"{line} {verb}")

    def _sum_up(self, result: Collected, verb: str) -> None:
        for key in result.foreign[:20]:
            self.stdout.write(f"{key}: not one of ours; left alone")
        for failure in result.failures[:20]:
            self.stderr.write(f"{failure}; left for the next run")
        self.stdout.write(
            f"{result.rows:,} rows and {result.objects:,} stored files {verb} ({size_words(result.freed_bytes)} and "
            f"{result.orphans:,} files without a row); {result.young:,} files without a row are too young, "
            f"{len(result.foreign):,} are not ours, {len(result.failures):,} failed."
        )
