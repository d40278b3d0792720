"""Prints what cells define and refer to, as JSON lines: `manage.py analyze --lang python < cell.py`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from notebooks_app.analysis import MAX_BYTES, analyse

LANGUAGES = ("python", "sql", "markdown")


class Command(BaseCommand):
    """One object a line: definitions, references and errors; with --json-lines one for each line read."""

    help = "Print the names that a cell defines and refers to, and its errors, as JSON."
    requires_system_checks: list[str] = []  # type: ignore[assignment]
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lang", choices=LANGUAGES, default="python", help="what standard input holds")
        parser.add_argument(
            "--json-lines",
            action="store_true",
            help='read lines of {"id", "lang", "code"} and print one result a line, with its id',
        )

    def handle(self, *, lang: str, json_lines: bool, **options: Any) -> None:
        source = sys.stdin.buffer
        if not json_lines:
            text = source.read().decode("utf-8", "surrogateescape")
            self.stdout.write(json.dumps(_result(lang, text)))
            return
        has_failed = False
        for number, line in enumerate(source, 1):
            if line.strip():
                result = _line_result(line, number, lang)
                has_failed = has_failed or "error" in result
                self.stdout.write(json.dumps(result))
        if has_failed:
            sys.exit(1)


def _line_result(line: bytes, number: int, lang: str) -> dict[str, Any]:
    """The result for one line of --json-lines, or what is wrong with the line itself under `error`."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"line": number, "error": f"line {number} is not JSON: {error}"}
    problem = next(_problems(request, lang), None)
    identity = {"id": request.get("id")} if isinstance(request, dict) else {}
    if problem is not None:
        return identity | {"line": number, "error": f"line {number}: {problem}"}
    return identity | _result(request.get("lang", lang), request["code"])


def _problems(request: Any, lang: str) -> Iterator[str]:
    if not isinstance(request, dict):
        yield 'expected an object with "id", "lang" and "code"'
    else:
        if "id" not in request:
            yield '"id" is missing'
        if not isinstance(request.get("code"), str):
            yield '"code" must be a text'
        if request.get("lang", lang) not in LANGUAGES:
            yield f'"lang" must be one of {", ".join(LANGUAGES)}'


def _result(lang: str, source: str) -> dict[str, Any]:
    max_bytes = getattr(settings, "ANALYSIS_MAX_BYTES", MAX_BYTES)
    found = analyse(lang, source.replace("\r\n", "\n").replace("\r", "\n"), max_bytes=max_bytes)
    return {
        "definitions": sorted(found.definitions),
        "references": sorted(found.references),
        "errors": [error.as_json() for error in found.errors],
    }
