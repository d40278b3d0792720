"""`manage.py doctor`: whether each part of this server works, and how to mend what does not."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kernels_app.doctor import Check, Finding, Level, examine
from kernels_app.doctor_cluster import check_cluster
from kernels_app.doctor_socket import check_way


class Command(BaseCommand):
    help = "Check database, migrations, channel layer, storage, kernels, isolation, proxy, and the way to a server."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", help="Also ask the server that runs there, as a browser would: https://…")
        parser.add_argument("--nodes", type=int, default=1, help="So many nodes of the cluster must run kernels (1).")
        parser.add_argument("--json", action="store_true", help="One JSON list instead of lines.")

    def handle(self, *args: Any, url: str | None, nodes: int, json: bool, **options: Any) -> None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise CommandError("--url must be http://… or https://…")
        if nodes < 1:
            raise CommandError("--nodes must be 1 or more.")
        found: list[Finding] = []
        asked: dict[str, Check] = {"cluster": partial(check_cluster, nodes)}
        if url:
            asked["way"] = partial(check_way, url)
        for finding in examine(asked):
            found.append(finding)
            if not json:
                self._tell(finding)
        if json:
            self.stdout.write(_dump(found))
        failed = sum(finding.level is Level.FAIL for finding in found)
        if failed:
            raise CommandError(f"{failed} of {len(found)} checks failed.", returncode=1)

    def _tell(self, finding: Finding) -> None:
        style = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING, Level.FAIL: self.style.ERROR}
        self.stdout.write(f"{style[finding.level](f'{finding.level.value:5}')} {finding.part}: {finding.words}")
        if finding.mend:
            self.stdout.write(f"      → {finding.mend}")
        self.stdout.flush()


def _dump(found: list[Finding]) -> str:
    return json.dumps([finding.as_json() for finding in found], ensure_ascii=False, indent=2)
