"""`manage.py import_dynamodb TABLE`: the predecessor's notebooks out of DynamoDB. Only reads there; nothing runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from notebooks_app.dynamodb import TableError, Tables
from notebooks_app.management.moving import ImportCommand


class Command(ImportCommand):
    help = (
        "Import notebooks of a DynamoDB table (one item each), or of two (metadata and cells), each whole or not "
        "at all. Importing again changes nothing, so that an interrupted import goes on. Credentials come from where "
        "the AWS command line takes them. Exits with 1 where all failed or a table cannot be read, or with --verify "
        "where any differs or failed; else with 0, and the summary says how many failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("table", metavar="TABLE", help="The table of notebooks.")
        parser.add_argument("--cells-table", default="", metavar="TABLE", help="The table of cells, if there is one.")
        parser.add_argument("--region", help="Its region; else the one that is configured (AWS_DEFAULT_REGION).")
        parser.add_argument("--endpoint-url", metavar="URL", help="A DynamoDB elsewhere than at AWS.")
        super().add_arguments(parser)

    def handle(self, *args: Any, table: str, **given: Any) -> None:
        options = self.options_of(given)
        try:
            tables = Tables(table, given["cells_table"], given["region"], given["endpoint_url"])
            total = tables.check()
        except TableError as error:
            raise CommandError(str(error)) from error
        self.import_all(tables.sources(), total, options)
