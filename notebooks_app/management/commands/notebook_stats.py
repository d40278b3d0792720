"""`manage.py notebook_stats`: how large the database is, what in it is, and which statements take its time."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from notebooks_app import metrics, usage

MOST_LINES = 10_000


class Command(BaseCommand):
    help = "Size of the database, rows of each table, largest notebooks, storage by owner, slowest statements."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, default=10, help="Lines of each list (10).")
        parser.add_argument("--json", action="store_true", help="One JSON object instead of text.")

    def handle(self, *args: Any, limit: int, json: bool, **options: Any) -> None:
        if not 1 <= limit <= MOST_LINES:
            raise CommandError(f"--limit: a number from 1 to {MOST_LINES:,}.")
        found = collect(limit)
        if json:
            self.stdout.write(_dump(found))
        else:
            for line in describe(found):
                self.stdout.write(line)


def collect(limit: int) -> dict[str, Any]:
    return {
        "database": usage.database(),
        "tables": usage.tables(),
        "largest_notebooks": usage.largest_notebooks(limit),
        "storage_by_owner": [
            {"owner": use.username, "notebooks": use.notebooks, "output_bytes": use.output_bytes,
             "file_bytes": use.file_bytes}
            for use in usage.storage_by_owner(limit)
        ],
        "held_bytes": metrics.held_bytes(),
        "slowest_statements": usage.slowest_statements(limit),
    }  # fmt: skip


def describe(found: dict[str, Any]) -> list[str]:
    database = found["database"]
    lines = [f"{database['engine']}, {_size(database['size_bytes'])}: {database['version']}"]
    if "page_count" in database:
        lines.append(
            f"  {database['page_count']:,} pages of {database['page_size']:,} bytes, {database['freelist_count']:,} "
            f"free (VACUUM gives them back); journal {database['journal_mode']}"
        )
    lines += ["", "Tables (rows, size, of which indexes)"]
    for table in found["tables"]:
        if table["rows"] or table["size_bytes"]:
            sizes = f"{_size(table['size_bytes']):>12}{_size(table['index_bytes']):>12}"
            lines.append(f"  {table['table']:40}{table['rows']:>12,}{sizes}")
    lines += ["", "Largest notebooks (outputs and files, cells)"]
    lines += [
        f"  {_size(row['size_bytes']):>10}{row['cells']:>8,}  {row['id']}  {row['owner']}: {row['name']}"
        for row in found["largest_notebooks"]
    ]
    lines += ["", "Storage by owner (outputs, files, notebooks)"]
    lines += [
        f"  {_size(row['output_bytes']):>10}{_size(row['file_bytes']):>12}{row['notebooks']:>8,}  {row['owner']}"
        for row in found["storage_by_owner"]
    ]
    if found["held_bytes"]:
        lines += ["", f"{_size(found['held_bytes'])} wait for the storage: manage.py spill_outputs moves them."]
    return lines + ["", *_statements(found["slowest_statements"])]


def _statements(found: list[dict[str, Any]] | None) -> list[str]:
    if found is None:
        return ["Slowest statements: this database does not tell (PostgreSQL does with pg_stat_statements)."]
    lines = ["Slowest statements (total ms, mean ms, calls)"]
    return lines + [
        f"  {row['total_ms']:>12}{row['mean_ms']:>10}{row['calls']:>9}  {' '.join(row['statement'].split())[:160]}"
        for row in found
    ]


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else str(filesizeformat(size_bytes)).replace("\xa0", " ")


def _dump(found: dict[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, default=str, indent=2)
