"""`manage.py empty_bin`: delete for ever what has been in the bin for long. The work is notebooks_app/binning.py's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notebooks_app import binning


class Command(BaseCommand):
    help = "Delete notebooks and cells that have been in the bin for so many days, for ever."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", type=int, required=True, metavar="DAYS", help="Deleted that long ago.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be deleted; delete nothing.")

    def handle(self, *args: Any, older_than: int, dry_run: bool, **options: Any) -> None:
        if older_than < 0:
            raise CommandError("--older-than: a number of days from 0.")
        before = timezone.now() - timedelta(days=min(older_than, 36_500))
        verb = "would be deleted" if dry_run else "deleted"
        notebooks = cells = 0
        for notebook in binning.old_notebooks(before).iterator(chunk_size=200):
            if dry_run or binning.delete_old_notebook(notebook.pk, before):
                notebooks += 1
                about = f"{notebook.owner.get_username()}, {_counted(notebook.cell_count, 'cell')}"
                self.stdout.write(f"notebook {notebook.pk} “{notebook.name}” ({about}): {verb}")
        for notebook in binning.notebooks_with_old_cells(before).iterator(chunk_size=200):
            count = notebook.binned if dry_run else binning.empty_cells(notebook.pk, older_than=before)
            cells += count
            self.stdout.write(f"notebook {notebook.pk} “{notebook.name}”: {_counted(count, 'cell')} {verb}")
        self.stdout.write(f"{_counted(notebooks, 'notebook')} and {_counted(cells, 'cell')} {verb}.")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
