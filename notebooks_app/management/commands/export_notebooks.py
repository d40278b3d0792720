"""`manage.py export_notebooks`: notebooks out of the database into files. The work is notebooks_app/exporting.py's."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q, QuerySet

from notebooks_app.exporting import WRITERS, export_notebook
from notebooks_app.management.moving import ENDED, MovingCommand, owner_named, reason
from notebooks_app.models import Notebook


class Command(MovingCommand):
    help = (
        "Write notebooks into files of a folder: the predecessor's JSON, .ipynb, # %% scripts, or HTML pages to read. "
        "JSON and .ipynb have all outputs, JSON all that import_notebooks reads again. Files are whole or not there; "
        "what has not changed is not written again. Exits with 1 where any failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="Ids, new or old; all without any.")
        parser.add_argument("--format", choices=sorted(WRITERS), default="json", help="json loses nothing.")
        parser.add_argument("--output", required=True, metavar="FOLDER", help="Where files go.")
        parser.add_argument("--owner", metavar="USERNAME", help="Only those of this user.")
        parser.add_argument(
            "--with-dsn",
            action="store_true",
            help="Also write DSNs of connections, with their passwords (JSON and scripts).",
        )

    def handle(self, *args: Any, notebooks: list[str], output: str, **given: Any) -> None:
        if given["with_dsn"] and given["format"] in ("ipynb", "html"):
            raise CommandError(f"An .{given['format']} file has no place for a DSN: --with-dsn needs another --format.")
        owner = owner_named(given["owner"]) if given["owner"] else None
        found = _wanted(notebooks, owner)
        folder = Path(output)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{folder}: {reason(error)}") from error
        self._export_all(found, folder, given["format"], with_dsn=given["with_dsn"])

    def _export_all(self, found: QuerySet[Notebook], folder: Path, ending: str, *, with_dsn: bool) -> None:
        ids = list(found.order_by("created_at", "pk").values_list("pk", flat=True))
        counts = {"written": 0, "unchanged": 0, "with its DSN and password": 0, "without its DSN": 0}
        failed = 0
        with self.ending_softly(), self.bar(len(ids), "exporting") as bar:
            for number, pk in enumerate(ids, start=1):
                if self.ends:
                    break
                failed += not self._export_one(pk, f"[{number}/{len(ids)}]", folder, ending, with_dsn, counts)
                bar.update()
        self._sum_up(counts, failed, len(ids))

    def _export_one(
        self, pk: uuid.UUID, place: str, folder: Path, ending: str, with_dsn: bool, counts: dict[str, int]
    ) -> bool:
        notebook = Notebook.objects.alive().select_related("owner", "connection").filter(pk=pk).first()
        if notebook is None:  # deleted meanwhile
            return True
        try:
            made = export_notebook(notebook, folder, ending, with_dsn=with_dsn)
        except Exception as error:  # a notebook that finds a fault of ours stops no other
            self.say(f"{place} {notebook.pk} ({notebook.name}): not exported: {reason(error)}", is_error=True)
            return False
        outcome = "written" if made.is_new else "unchanged"
        counts[outcome] += 1
        counts["with its DSN and password"] += made.has_dsn
        counts["without its DSN"] += notebook.connection is not None and not made.has_dsn
        self.say(f"{place} {made.path}: {outcome}")
        return True

    def _sum_up(self, counts: dict[str, int], failed: int, total: int) -> None:
        parts = [f"{count:,} {words}" for words, count in counts.items() if count] or ["none exported"]
        self.stdout.write(f"{', '.join(parts)}{f', {failed:,} failed' if failed else ''}.")
        if self.ends:
            raise CommandError("Ended before all were done; run the command again to go on.", returncode=ENDED)
        if failed:
            raise CommandError(f"{failed:,} of {total:,} notebooks could not be exported.")


def _wanted(named: list[str], owner: Any) -> QuerySet[Notebook]:
    """The notebooks to export. Raises CommandError for an id that nothing has."""
    found = Notebook.objects.alive()
    if owner is not None:
        found = found.filter(owner=owner)
    if not named:
        return found
    ids = [pk for name in named for pk in _ids_of(found, name)]
    return found.filter(pk__in=ids)


def _ids_of(found: QuerySet[Notebook], name: str) -> list[uuid.UUID]:
    """Of an old id there may be several: those of users who had the same one."""
    condition = Q(external_id=name)
    with contextlib.suppress(ValueError):
        condition |= Q(pk=uuid.UUID(name))
    ids = list(found.filter(condition).values_list("pk", flat=True))
    if not ids:
        raise CommandError(f"There is no notebook {name!r}.")
    return ids
