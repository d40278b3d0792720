"""The predecessor's DynamoDB tables as sources of imports: one item a notebook, or items and a table of cells.

Reads only. What the items look like is formats/dynamodb.py's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from notebooks_app.formats import FormatError, dynamodb, legacy
from notebooks_app.import_sources import Loaded

ATTEMPTS = 8  # of a request, with growing pauses: tables have a limit of reads
CONNECT_S, READ_S = 10, 60
LAST_POSITION = Decimal("9.9999999999999999999999999999999999999E+125")  # the largest number that there is
MAX_WORDS = 500  # characters of an answer that a message has


class TableError(Exception):
    """A table that cannot be read; the message says which, where and why. Never holds a secret."""


@dataclass
class Tables:
    """The table of notebooks, and in the second design that of cells. `page_items` bounds a page, for tests."""

    notebooks: str
    cells: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    page_items: int | None = None

    def __post_init__(self) -> None:
        config = Config(
            retries={"total_max_attempts": ATTEMPTS, "mode": "adaptive"},
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
        )
        try:
            session = boto3.Session(region_name=self.region)
            resource = session.resource("dynamodb", endpoint_url=self.endpoint_url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise TableError(f"DynamoDB cannot be used: {_words(error)}") from error
        self._notebooks = resource.Table(self.notebooks)
        self._cells = resource.Table(self.cells) if self.cells else None
        self.where = resource.meta.client.meta.endpoint_url

    def check(self) -> int:
        """About how many notebooks there are. Raises TableError where a table is not there or is another."""
        count = self._describe(self._notebooks, "user_id")
        if self._cells is not None:
            self._describe(self._cells, "position")
        return count

    def _describe(self, table: Any, key: str) -> int:
        try:
            table.load()
        except (BotoCoreError, ClientError) as error:
            raise self._error(table.name, error) from error
        keys = [part["AttributeName"] for part in table.key_schema]
        if key not in keys:
            raise TableError(f"The table {table.name!r} has the keys {', '.join(keys)}, and not {key}.")
        return int(table.item_count or 0)

    def sources(self) -> Iterator[ItemSource | StraySource]:
        """Each notebook, page by page, then cells that are of none. Raises TableError, also between pages: those before
        it are imported.
        """
        seen = set[str]()
        for item in self._pages(self._notebooks, "scan"):
            seen.add(str(item.get("notebook_id")))
            yield ItemSource(self, item)
        if self._cells is not None:
            yield from (StraySource(self, one) for one in self._owners_of_cells() if one not in seen)

    def _owners_of_cells(self) -> Iterator[str]:
        """The notebook_id of all cells, once each. Reads a row a notebook: scans go on from any key, so that this one
        leaps over the rest of a notebook.
        """
        arguments: dict[str, Any] = {"Limit": 1, "ConsistentRead": True}
        found = ""
        while True:
            page = self._ask(self._cells, "scan", arguments)
            start = page.get("LastEvaluatedKey")
            if page["Items"] and (owner := page["Items"][0]["notebook_id"]) != found:
                yield (found := owner)
                start = {"notebook_id": found, "position": LAST_POSITION}
            if start is None:
                return
            arguments["ExclusiveStartKey"] = start

    def count_rows(self, notebook_id: str) -> int:
        """How many cells of this notebook_id there are. Raises TableError."""
        arguments = {"KeyConditionExpression": Key("notebook_id").eq(notebook_id), "Select": "COUNT"}
        return sum(page["Count"] for page in self._answers(self._cells, "query", arguments))

    def rows_of(self, notebook_id: str, at_most: int) -> list[Any] | None:
        """The first cells of a notebook in order of position; None without a table of cells. Raises TableError."""
        if self._cells is None:
            return None
        condition = Key("notebook_id").eq(notebook_id)
        rows = self._pages(self._cells, "query", KeyConditionExpression=condition)
        return list(itertools.islice(rows, at_most))

    def _pages(self, table: Any, operation: str, **arguments: Any) -> Iterator[Any]:
        for page in self._answers(table, operation, arguments):
            yield from page["Items"]

    def _answers(self, table: Any, operation: str, arguments: dict[str, Any]) -> Iterator[Any]:
        arguments["ConsistentRead"] = True
        if self.page_items is not None:
            arguments["Limit"] = self.page_items
        while True:
            page = self._ask(table, operation, arguments)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _ask(self, table: Any, operation: str, arguments: dict[str, Any]) -> Any:
        try:
            return getattr(table, operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise self._error(table.name, error) from error

    def _error(self, name: str, error: Exception) -> TableError:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        if code == "ResourceNotFoundException":
            return TableError(f"There is no table {name!r} at {self.where}: check its name and the region.")
        return TableError(f"The table {name!r} at {self.where} cannot be read: {_words(error)}")


@dataclass
class ItemSource:
    """One item of the table of notebooks; its cells are read when it is loaded."""

    tables: Tables
    item: Any

    @property
    def name(self) -> str:
        return f"{self.tables.notebooks}/{self.item.get('user_id')}/{self.item.get('notebook_id')}"

    def load(self, max_cells: int) -> Loaded:
        """Raises FormatError, TableError."""
        warnings: list[str] = []
        rows = self._rows(max_cells) if dynamodb.needs_rows(self.item) else None
        try:
            document = dynamodb.document(self.name, self.item, rows, warnings, now=datetime.now(UTC))
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{self.name}: a number in it cannot be read ({error}).") from error
        found = legacy.read_document(self.name, document, max_cells=max_cells)
        found.warnings[:0] = warnings
        return Loaded.of_legacy(found, by_user=True)

    def _rows(self, max_cells: int) -> list[Any] | None:
        """The rows of its cells, never more than a notebook may have. Raises FormatError, TableError."""
        rows = self.tables.rows_of(str(self.item.get("notebook_id")), max_cells + 1)
        if rows is not None and len(rows) > max_cells:
            raise FormatError(f"{self.name}: it has more than the {max_cells:,} cells that a notebook may have.")
        return rows


@dataclass
class StraySource:
    """Cells whose notebook has no item: nobody knows its name and whose it is, so that they are said and not taken."""

    tables: Tables
    notebook_id: str

    @property
    def name(self) -> str:
        return f"{self.tables.cells}/{self.notebook_id}"

    def load(self, max_cells: int) -> Loaded:
        """Raises FormatError, TableError."""
        count = self.tables.count_rows(self.notebook_id)
        raise FormatError(f"{self.name}: {count:,} cells, and no item of their notebook in {self.tables.notebooks!r}.")


def _words(error: Exception) -> str:
    """What an operator needs of an error: what the server answered, or why it was not reached.

    Of an answer its first line alone: where a signature is wrong, AWS goes on with the request's headers, in which a
    session token may be.
    """
    answer = getattr(error, "response", {}).get("Error", {})
    words = f"{answer.get('Code')}: {answer.get('Message')}" if answer else f"{type(error).__name__}: {error}"
    return words.partition("\n")[0][:MAX_WORDS]
