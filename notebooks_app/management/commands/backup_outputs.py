"""`manage.py backup_outputs`: copies of the output files. The work is notebooks_app/output_backup.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notebooks_app import output_backup
from notebooks_app.management import output_commands


class Command(BaseCommand):
    help = "Copy output files to a folder, those that it lacks. After the dump of the database; safe while servers run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="Where copies are kept; one folder serves many dumps.")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{folder} cannot be made: {error.strerror}.") from None
        output_commands.run(self, output_backup.copy_out(folder), "copied")
