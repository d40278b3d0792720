"""`manage.py import_notebooks FILE…`: notebook files into the database. Nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.urls import reverse

from notebooks_app.errors import RillbookError
from notebooks_app.formats import FormatError
from notebooks_app.importing import Imported, import_file


class Command(BaseCommand):
    help = "Import .ipynb and .py files, each whole or not at all. Importing the same content again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE")
        parser.add_argument("--owner", help="Username; in single mode the first user.")
        parser.add_argument("--dry-run", action="store_true", help="Read and check; write nothing.")

    def handle(self, *args: Any, files: list[str], owner: str | None, dry_run: bool, **options: Any) -> None:
        user = _owner(owner)
        counts = {result: 0 for result in Imported}
        failed = 0
        for number, path in enumerate(files, start=1):
            try:
                result, notebook = import_file(user, Path(path), dry_run=dry_run)
            except (FormatError, RillbookError, OSError, DatabaseError) as error:
                failed += 1
                self.stderr.write(f"[{number}/{len(files)}] {path}: not imported: {_reason(error)}")
                continue
            counts[result] += 1
            where = f" as {notebook.id}, {reverse('notebook', args=[notebook.id])}" if notebook is not None else ""
            self.stdout.write(f"[{number}/{len(files)}] {path}: {result.value}{where}")
        summary = ", ".join(f"{count} {result.value}" for result, count in counts.items() if count)
        self.stdout.write(f"{summary or 'none imported'}{f', {failed} failed' if failed else ''}.")
        if failed:
            done = counts[Imported.IMPORTED]
            raise CommandError(f"{failed} of {len(files)} files could not be imported; {done} were.")


def _owner(username: str | None) -> Any:
    users = get_user_model().objects
    if username:
        user = users.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        return user
    user = users.filter(is_active=True).order_by("pk").first() if settings.RILLBOOK_MODE == "single" else None
    if user is None:
        raise CommandError("Say whose the notebooks are: --owner USERNAME.")
    return user


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if isinstance(error, RillbookError) else str(error)
