"""What goes wrong between us and DynamoDB, over the wire: throttling, refused credentials, items that disagree."""

from __future__ import annotations

import json
import threading
import urllib.request
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from notebooks_app import dynamodb, importing
from notebooks_app.import_owners import Owners
from notebooks_app.models import Cell, Notebook
from tests.migration.conftest import cell
from tests.migration.test_import_dynamodb import REGION, import_tables, item, put, server, split, tables

__all__ = ["server", "tables"]  # fixtures
pytestmark = [pytest.mark.django_db, pytest.mark.database]

THROTTLED = ("ProvisionedThroughputExceededException", "The level of configured provisioned throughput is exceeded.")
REFUSED = (
    "InvalidSignatureException",
    "The request signature we calculated does not match.\n\nx-amz-security-token:FQoGZXIvYXdzEJr-secret",
)


@contextmanager
def between(server: str, error: tuple[str, str], *, times: int, operation: str = "") -> Iterator[str]:
    """A server before the real one, which answers the first requests (of an operation) with an error; its URL."""
    left = [times]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if left[0] and self.headers["X-Amz-Target"].endswith(operation):
                left[0] -= 1
                made = {"__type": f"com.amazonaws.dynamodb.v20120810#{error[0]}", "message": error[1]}
                self._answer(400, json.dumps(made).encode())
                return
            passed = urllib.request.Request(server, body, dict(self.headers), method="POST")
            with urllib.request.urlopen(passed, timeout=30) as answer:
                self._answer(answer.status, answer.read())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join(10)


def test_a_table_that_throttles_is_asked_again(owner: Any, server: str, tables: Any):
    put(tables[0], [item("n1")])
    with between(server, THROTTLED, times=2, operation="Scan") as url:
        ran = import_tables(url)
    assert (ran.failure, ran.out.splitlines()[-1]) == ("", "1 imported.")


def test_one_that_throttles_for_ever_is_said_and_what_came_before_stays(
    owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dynamodb, "ATTEMPTS", 2)
    head, rows = split(item("n2", user_id="z"))
    put(tables[0], [item("n1"), head])
    put(tables[1], rows)
    with between(server, THROTTLED, times=1_000, operation="Query") as url:
        ran = import_tables(url, "--cells-table", "cells")
    assert "The table 'cells' at" in ran.failure
    assert "ProvisionedThroughputExceededException: The level of configured" in ran.failure
    assert ran.failure.endswith("run the command again to go on.")
    assert not Notebook.objects.filter(external_id="n2").exists()
    went_on = import_tables(server, "--cells-table", "cells", "--verify")
    assert went_on.failure == ""
    assert Notebook.objects.count() == 2


def test_refused_credentials_are_said_without_what_the_answer_quotes(
    owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dynamodb, "ATTEMPTS", 1)
    with between(server, REFUSED, times=10) as url:
        ran = import_tables(url)
    assert "cannot be read: InvalidSignatureException: The request signature we calculated" in ran.failure
    assert "secret" not in ran.failure + ran.err + ran.out


def test_no_credentials_are_said(owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert "NoCredentialsError" in import_tables(server).failure


def test_items_that_make_no_sense_are_named_and_stop_no_other(owner: Any, server: str, tables: Any):
    head, rows = split(item("twins"))
    count, _ = split(item("count"))
    put(tables[0], [head, count | {"cell_count": "many"}, item("number", revision=-1), item("good")])
    put(tables[1], [*rows, rows[0] | {"position": Decimal(99)}])
    ran = import_tables(server, "--cells-table", "cells")
    assert "notebooks/user_37U0/count: cell_count is not a whole number." in ran.err
    assert "notebooks/user_37U0/twins: cells 1 and 4 have the same id, 'c1'." in ran.err
    assert "notebooks/user_37U0/number: revision is not a whole number from 0 to 2^53." in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 3 failed."
    assert ran.failure == ""


def test_times_that_are_missing_or_wrong_are_said_and_the_rest_is_kept(owner: Any, server: str, tables: Any):
    wrong = item("wrong") | {"created_at": "last week", "ttl": Decimal(1_600_000_000)}
    missing = {key: value for key, value in item("missing").items() if key != "created_at"}
    future = item("later") | {"created_at": "2030-01-01T00:00:00Z", "ttl": Decimal(4_000_000_000)}
    put(tables[0], [wrong, missing, future])
    ran = import_tables(server, "--verify")
    assert ran.out.splitlines()[-1] == "3 imported, 3 verified the same, 0 different."
    assert "warning: Its created_at is not a time: 'last week'." in ran.out
    assert "warning: Its created_at is later than its updated_at" in ran.out
    assert ran.out.count("warning: Its ttl passed on 2020-09-13") == 1
    for made in Notebook.objects.all():
        assert made.created_at == made.updated_at
        assert made.updated_at.year == 2024


def test_gaps_and_a_position_that_is_no_whole_number_keep_the_order(owner: Any, server: str, tables: Any):
    head, rows = split(item("gaps", cells=[cell(f"c{at}", f"x{at} = {at}") for at in range(12)]))
    places = [Decimal(one) for one in ("-3", "0", "2.5", "7", "8", "9", "10", "11", "100", "1000", "1000000", "1E+20")]
    put(tables[0], [head])
    put(tables[1], [row | {"position": place} for row, place in zip(rows, places, strict=True)][::-1])
    ran = import_tables(server, "--cells-table", "cells", "--verify")
    assert (ran.failure, "warning" in ran.out) == ("", False)
    assert [one.source for one in Notebook.objects.get().cells.in_order()] == [f"x{at} = {at}" for at in range(12)]


def test_a_notebook_of_too_many_rows_is_refused_before_they_are_all_read(
    owner: Any, server: str, tables: Any, settings: Any
):
    settings.NOTEBOOK_MAX_CELLS = 10
    head, rows = split(item("many", cells=[cell(f"c{at}") for at in range(40)]))
    put(tables[0], [head])
    put(tables[1], rows)
    ran = import_tables(server, "--cells-table", "cells")
    assert "notebooks/user_37U0/many: it has more than the 10 cells that a notebook may have." in ran.err
    source = dynamodb.Tables("notebooks", "cells", REGION, server, page_items=4)
    assert len(source.rows_of("many", 11) or []) == 11
    assert not Notebook.objects.exists()


def test_a_dry_run_over_tables_writes_nothing(owner: Any, server: str, tables: Any):
    put(tables[0], [item(f"n{at}") for at in range(3)])
    assert import_tables(server, "--dry-run").out.splitlines()[-1] == "3 would be imported."
    assert not Notebook.objects.exists() and not Cell.objects.exists()


def test_a_scan_keeps_no_item_longer_than_its_import(
    owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch
):
    """A hundred thousand items take the memory of a page of them and of two notebooks."""
    put(tables[0], [item(f"n{at}", cells=[cell("a", stdout="x" * 1_000)]) for at in range(30)])
    seen: list[weakref.ref[Any]] = []
    most = 0
    read = dynamodb.ItemSource.load

    def watched(self: Any, max_cells: int) -> Any:
        nonlocal most
        loaded = read(self, max_cells)
        seen.append(weakref.ref(loaded.notebook))
        most = max(most, sum(ref() is not None for ref in seen))
        return loaded

    monkeypatch.setattr(dynamodb.ItemSource, "load", watched)
    source = dynamodb.Tables("notebooks", "", REGION, server, page_items=5)
    options = importing.Options(Owners(fallback=owner))
    for one in source.sources():
        importing.import_source(one, options)
    assert len(seen) == 30
    assert Notebook.objects.count() == 30
    assert most <= 2
