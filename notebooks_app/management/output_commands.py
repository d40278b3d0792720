"""What the commands over all output files share: progress, the summary, and the exit code."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import BaseCommand, CommandError

from notebooks_app.output_backup import Tally
from notebooks_app.output_html import size_words

SHOWN = 50


def run(command: BaseCommand, tallies: Iterator[Tally], done: str) -> None:
    """Work through the tallies, telling each; raises CommandError where anything failed."""
    tally, told = Tally(), 0
    for tally in tallies:
        if tally.seen > told:
            told = tally.seen
            command.stdout.write(f"{tally.seen:,} files looked at …")
            command.stdout.flush()
    for line in tally.failures[:SHOWN]:
        command.stderr.write(line)
    if len(tally.failures) > SHOWN:
        command.stderr.write(f"and {len(tally.failures) - SHOWN:,} more")
    command.stdout.write(
        f"{tally.done:,} {done} ({size_words(tally.done_bytes)}), {len(tally.failures):,} failed, of {tally.seen:,}."
    )
    if tally.failures:
        raise CommandError(f"{len(tally.failures):,} output files are not as they should be.")
