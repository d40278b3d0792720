"""`manage.py clear_stale_sessions`: leases, runs and cells that a server which went away left open (stale.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from kernels_app import stale

MINUTES = 10
MOST_MINUTES = 60_000_000  # more than a century


class Command(BaseCommand):
    help = "End leases that ran out, and runs and cells left open by servers that went away, as interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--minutes", type=float, default=MINUTES, help=f"How long a lease must have been over ({MINUTES})."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would be ended; change nothing.")

    def handle(self, *args: Any, minutes: float, dry_run: bool, **options: Any) -> None:
        if not 0 < minutes <= MOST_MINUTES:  # "nan" is a number, too
            raise CommandError(f"--minutes: a number above 0, at most {MOST_MINUTES:,}.")
        now = timezone.now()
        before = now - timedelta(minutes=minutes)
        count = 0
        for notebook_id in list(stale.stale_notebooks(before)):
            cleared = stale.clear(notebook_id, before, now, dry_run=dry_run)
            if cleared:
                count += 1
                self.stdout.write(_describe(cleared))
        self.stdout.write(f"{count} notebooks {'would be' if dry_run else 'were'} cleared.")


def _describe(cleared: stale.Cleared) -> str:
    lease = "lease, " if cleared.lease else ""
    return (
        f"{cleared.notebook_id}  {lease}{cleared.runs} runs, {cleared.attempts} attempts, {cleared.cells} cells"
        f"  {cleared.name}"
    )
