"""`manage.py compact_changes`: merge old keystrokes of the change log. The rule is in notebooks_app/compaction.py."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notebooks_app.compaction import SHORTEST_AGE, Compacted, compact, notebooks_with_edits

OLDER_THAN_DAYS = 7


class Command(BaseCommand):
    help = "Merge runs of old edits in the change log into one each. Named versions and later replays stay right."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=int, default=OLDER_THAN_DAYS, metavar="DAYS", help=f"default {OLDER_THAN_DAYS}"
        )
        parser.add_argument("--notebook", type=uuid.UUID, help="Only this notebook.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be merged; write nothing.")

    def handle(
        self, *args: Any, older_than: int, notebook: uuid.UUID | None, dry_run: bool, **options: Any
    ) -> None:
        age = timedelta(days=max(0, min(older_than, 36_500)))
        if age < SHORTEST_AGE:
            raise CommandError(f"--older-than: at least {SHORTEST_AGE.days} day; open pages may need younger changes.")
        before = timezone.now() - age
        done = Compacted()
        for notebook_id in [notebook] if notebook else notebooks_with_edits(before):
            found = compact(notebook_id, before=before, dry_run=dry_run)
            done += found
            if found.removed and options["verbosity"] > 1:
                self.stdout.write(f"{notebook_id}: {found.removed:,} changes into {found.runs:,}")
        verb = "would be merged" if dry_run else "merged"
        self.stdout.write(f"{done.removed:,} changes {verb} into {done.runs:,} others.")
