"""`manage.py verify_outputs`: is every output file there, whole? The work is notebooks_app/output_backup.py's."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from notebooks_app import output_backup
from notebooks_app.management import output_commands


class Command(BaseCommand):
    help = "Read every output file that the database names and compare its hash. Changes nothing; safe at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quick", action="store_true", help="Ask for sizes only; read nothing.")

    def handle(self, *args: Any, quick: bool, **options: Any) -> None:
        output_commands.run(self, output_backup.verify(is_quick=quick), "found whole")
