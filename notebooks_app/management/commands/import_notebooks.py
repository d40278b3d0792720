"""`manage.py import_notebooks PATH…`: notebook files and trees of them into the database. Nothing runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from notebooks_app.import_sources import files_of
from notebooks_app.management.moving import ImportCommand, reason
from notebooks_app.management.tally import Failure


class Command(ImportCommand):
    help = (
        "Import .ipynb and .py files and the predecessor's .json notebooks, each whole or not at all; of folders all "
        "that are in them. Importing the same again changes nothing, so that an interrupted import goes on. Exits with "
        "1 where all failed, or with --verify where any differs or failed; else with 0, and the summary says how many "
        "failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", help="Files, or folders with all below them.")
        super().add_arguments(parser)

    def handle(self, *args: Any, paths: list[str], **given: Any) -> None:
        options = self.options_of(given)
        found = files_of(paths)
        for link in found.links:
            self.say(f"{link}: a link to a folder, which is not followed: name it to import what is in it")
        unread = [Failure(str(error.filename), f"it cannot be read: {reason(error)}") for error in found.errors]
        tally = self.import_all(found.sources, len(found.sources), options, ignored=found.others, failures=unread)
        if not tally.done:
            raise CommandError("There are no notebooks there.")
