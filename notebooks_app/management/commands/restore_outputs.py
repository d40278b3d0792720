"""`manage.py restore_outputs`: output files back from copies. The work is notebooks_app/output_backup.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notebooks_app import output_backup
from notebooks_app.management import output_commands


class Command(BaseCommand):
    help = "Give the storage the output files that it lacks, from a folder of backup_outputs. Running it twice is safe."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="What backup_outputs filled.")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder.")
        output_commands.run(self, output_backup.copy_in(folder), "given to the storage")
