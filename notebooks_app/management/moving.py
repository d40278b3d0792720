"""What the commands that move notebooks in and out share: the loop over them, its progress, its summary."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError, connection
from django.urls import reverse
from tqdm import tqdm

from notebooks_app.dynamodb import TableError
from notebooks_app.errors import RillbookError
from notebooks_app.formats import FormatError
from notebooks_app.import_owners import BadUserMap, Owners, UnknownUser, read_user_map
from notebooks_app.import_sources import NotANotebook, Source
from notebooks_app.importing import Options, Result, import_source
from notebooks_app.management.tally import Failure, Tally

log = logging.getLogger("rillbook.import")

MAX_LINES = 20  # of warnings or differences shown for one notebook
ENDED = 130  # exit code of a command that was told to end


class MovingCommand(BaseCommand):
    """Goes on where one notebook fails, ends after the notebook at hand when told to, and shows a bar."""

    ends = False

    @contextmanager
    def ending_softly(self) -> Iterator[None]:
        """SIGTERM and Ctrl+C end the loop after the item at hand; a second one ends it at once."""
        self.ends = False
        before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

        def end(number: int, frame: Any) -> None:
            self.ends = True
            signal.signal(number, signal.SIG_DFL)

        for one in before:
            signal.signal(one, end)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def bar(self, total: int, verb: str) -> Any:
        return tqdm(total=total, desc=verb, unit=" notebooks", file=sys.stderr, disable=None, leave=False)

    def say(self, words: str, *, is_error: bool = False) -> None:
        """A line above the bar. Names of files and users are anybody's: control characters are shown, not sent."""
        with tqdm.external_write_mode(sys.stderr):
            (self.stderr if is_error else self.stdout).write(printable(words))

    def say_all(self, head: str, lines: list[str], *, is_error: bool = False) -> None:
        for line in lines[:MAX_LINES]:
            self.say(f"    {head}: {line}", is_error=is_error)
        if len(lines) > MAX_LINES:
            self.say(f"    {head}: {len(lines) - MAX_LINES:,} more of these", is_error=is_error)


class ImportCommand(MovingCommand):
    """Shared by the commands that import."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--owner",
            metavar="USERNAME",
            help="Gets the notebooks that do not say whose they are, and those of users who are nobody here; in single "
            "mode the first user.",
        )
        parser.add_argument(
            "--user-map", metavar="FILE", help="Old user ids and usernames: CSV `id,username`, or a JSON object."
        )
        parser.add_argument(
            "--users-by-name",
            action="store_true",
            help="Take an old user id that is a username here for that user. Only where nobody could choose their own.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Read and check; write nothing.")
        parser.add_argument(
            "--update",
            action="store_true",
            help="Take a source that changed since its import, where nobody changed or ran the notebook here.",
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="As --update, and also where somebody did: their changes and what their runs made are lost.",
        )
        parser.add_argument(
            "--verify",
            action="store_true",
            help="Then compare every cell, output and their order with the source; with --dry-run, only compare.",
        )

    def options_of(self, given: dict[str, Any]) -> Options:
        owners = Owners(
            mapping=_user_map(given["user_map"]), fallback=owner_named(given["owner"]), by_name=given["users_by_name"]
        )
        flags = {name: given[name] for name in ("dry_run", "update", "overwrite", "verify")}
        return Options(owners, **flags)

    def import_all(
        self,
        sources: Iterable[Source],
        total: int,
        options: Options,
        *,
        ignored: int = 0,
        failures: Iterable[Failure] = (),
    ) -> Tally:
        """Import each, say what became of it, then sum up. Raises CommandError as `--help` says."""
        tally = Tally(ignored=ignored)
        for failure in failures:
            tally.fail(failure)
        with self.ending_softly(), self.bar(total, "verifying" if options.verify else "importing") as bar:
            try:
                for source in sources:
                    if self.ends:
                        break
                    tally.number += 1
                    self._import_one(source, total, options, tally)
                    bar.update()
            except TableError as error:
                tally.broke = str(error)
        self._sum_up(tally, options)
        return tally

    def _import_one(self, source: Source, total: int, options: Options, tally: Tally) -> None:
        place = f"[{tally.number}/{max(total, tally.number)}] {source.name}"
        try:
            result = import_source(source, options)
        except NotANotebook:
            tally.ignored += 1
            return
        except TableError:
            raise
        except Exception as error:  # a notebook that finds a fault of ours stops no other
            user_id = error.user_id if isinstance(error, UnknownUser) else ""
            tally.fail(failure := Failure(source.name, reason(error), user_id))
            self.say(f"{place}: not imported: {failure.reason}", is_error=True)
            if isinstance(error, OperationalError) and not connection.is_usable():
                connection.close()  # the next one connects again
            return
        tally.add(result)
        self._tell(place, result)

    def _tell(self, place: str, result: Result) -> None:
        notebook = result.notebook
        where = f" as {notebook.pk}, {reverse('notebook', args=[notebook.pk])}" if notebook is not None else ""
        self.say(f"{place}: {result.outcome.value}{where}")
        self.say_all("warning", result.warnings)
        self.say_all("note", result.notes)
        self.say_all("difference", result.differences, is_error=True)

    def _sum_up(self, tally: Tally, options: Options) -> None:
        for line in tally.failure_lines():
            self.say(line, is_error=True)
        self.say(tally.words(verified=options.verify))
        if tally.broke:
            raise CommandError(f"{tally.broke} What was imported before that stays; run the command again to go on.")
        if self.ends:
            raise CommandError("Ended before all were done; run the command again to go on.", returncode=ENDED)
        if tally.different:
            raise CommandError(f"{tally.different:,} of {tally.done:,} notebooks differ from their source.")
        if options.verify and tally.failed:
            raise CommandError(f"{tally.failed:,} of {tally.done:,} notebooks could not be compared.")
        if tally.failed and tally.failed == tally.done:
            raise CommandError(f"None of {tally.failed:,} could be imported.")


def owner_named(username: str | None) -> Any:
    """The account that is named; in single mode the first one; None where nobody is. Raises CommandError."""
    users = get_user_model().objects
    if username:
        user = users.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        return user
    return users.filter(is_active=True).order_by("pk").first() if settings.RILLBOOK_MODE == "single" else None


def _user_map(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return read_user_map(Path(path))
    except BadUserMap as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The error in words that name no secret."""
    if isinstance(error, RillbookError):
        return error.message
    if isinstance(error, FormatError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, OperationalError):  # about the database itself: full, locked, away
        return f"the database: {str(error).partition('\n')[0]}"
    if isinstance(error, DatabaseError):
        # Its own text may quote the row.
        return f"the database refused it ({type(error).__name__}); was it imported by another process just now?"
    log.exception("an import failed in a way that nobody thought of", exc_info=error)
    return f"a fault of Rillbook itself ({type(error).__name__}); the log says where"


def printable(words: str) -> str:
    """The words with what would move a terminal's cursor, or cannot be written at all, as escapes."""
    return "".join(one if one.isprintable() or one == " " else repr(one)[1:-1] for one in words)
