"""`manage.py import_dynamodb` against a real DynamoDB server process (moto): both designs and dual writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest

from notebooks_app import dynamodb, importing
from notebooks_app.import_owners import Owners
from notebooks_app.models import Cell, Notebook
from scripts.with_postgres import free_port
from tests.migration.conftest import TABLE, Ran, cell, document, run
from tests.storage.far_sides import moto_server

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REGION = "eu-central-1"
TEXT, NUMBER = "S", "N"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def tables(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The tables `notebooks` and `cells` as the old system had them, empty."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    resource = boto3.resource("dynamodb", endpoint_url=server, region_name=REGION)
    made = [
        make(resource, "notebooks", user_id=TEXT, notebook_id=TEXT),
        make(resource, "cells", notebook_id=TEXT, position=NUMBER),
    ]
    yield made
    for table in made:
        table.delete()


def make(resource: Any, name: str, **keys: str) -> Any:
    kinds = zip(keys, ("HASH", "RANGE"), strict=False)
    return resource.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )


def as_items(found: Any) -> Any:
    """Numbers as boto3 takes them."""
    return json.loads(json.dumps(found), parse_float=Decimal, parse_int=Decimal)


def item(notebook_id: str, **more: Any) -> dict[str, Any]:
    """An item of the first design; what is empty is absent."""
    found = document(notebook_id, created_at="2024-01-02T03:04:05Z", updated_at="2024-02-03T04:05:06+00:00", **more)
    found["notebook_id"] = found.pop("id")
    for one in found["cells"]:
        for key in [key for key, value in one.items() if value in ("", None, [])]:
            del one[key]
    return as_items(found)


def split(found: dict[str, Any], step: int = 2) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same in the second design: its item, and a row a cell with gaps between positions."""
    cells = found.pop("cells")
    rows = [
        {**one, "notebook_id": found["notebook_id"], "position": Decimal(at * step), "cell_id": one["id"],
         "updated_at": "2024-02-03T04:05:06Z"}
        for at, one in enumerate(cells)
    ]  # fmt: skip
    for row in rows:
        del row["id"]
    return found | {"cell_count": Decimal(len(rows))}, rows


def put(table: Any, items: list[dict[str, Any]]) -> None:
    with table.batch_writer() as batch:
        for one in items:
            batch.put_item(Item=one)


def import_tables(server: str, *more: str, name: str = "notebooks", region: str = REGION) -> Ran:
    place = ("--endpoint-url", server, "--region", region, "--owner", "owner")
    return run("import_dynamodb", name, *place, *more)


def test_items_of_the_first_design_are_imported_whole(owner: Any, server: str, tables: Any):
    put(tables[0], [item("n1"), item("demo-user_9", user_id="user_9")])
    ran = import_tables(server, "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert ran.out.splitlines()[-1] == "2 imported, 2 verified the same, 0 different."
    made = Notebook.objects.get(external_id="n1")
    assert (made.name, made.revision, made.created_at.year) == ("Sales", 42, 2024)
    query = made.cells.in_order()[1]
    assert query.outputs.get(index=2).data["application/json"] == TABLE
    assert query.outputs.get(index=3).data == {"application/vnd.plotly.v1+json": {"data": [{"y": [1.5, 2]}]}}


def test_two_tables_give_the_same_notebook_as_its_file_did(owner: Any, server: str, tables: Any, old: Any):
    times = {"created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-02-03T04:05:06Z"}
    cells = [one | {"updated_at": "2024-02-03T04:05:06Z"} for one in document()["cells"]]
    run("import_notebooks", str(old(document("n1", cells=cells, **times))), "--owner", "owner")
    head, rows = split(item("n1"))
    put(tables[0], [head])
    put(tables[1], rows)
    ran = import_tables(server, "--cells-table", "cells", "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert ran.out.splitlines()[-1] == "1 unchanged, 1 verified the same, 0 different."
    assert "hunter2" not in ran.out


def test_an_item_written_both_ways_has_the_cells_of_the_table(owner: Any, server: str, tables: Any):
    head, rows = split(item("both"))
    put(tables[0], [head | {"cells": as_items([cell("old", "old = 1")])}, item("first")])
    put(tables[1], [row | {"code": "new"} for row in rows[:2]])
    ran = import_tables(server, "--cells-table", "cells", "--verify")
    assert ran.failure == ""
    assert "warning: It says 3 cells; the table of cells has 2, which are taken." in ran.out
    assert [one.source for one in Notebook.objects.get(external_id="both").cells.in_order()] == ["new", "new"]
    assert Notebook.objects.get(external_id="first").cells.count() == 3
    refused = import_tables(server)
    assert "notebooks/both: its cells are in a table of their own, which was not named." in refused.err


def test_pages_of_both_tables_are_read_to_their_end(owner: Any, server: str, tables: Any):
    cells = [cell(f"c{at}", f"x{at} = {at}") for at in range(15)]
    for number in range(7):
        head, rows = split(item(f"n{number}", cells=cells), step=3)
        put(tables[0], [head])
        put(tables[1], rows)
    source = dynamodb.Tables("notebooks", "cells", REGION, server, page_items=4)
    options = importing.Options(Owners(fallback=owner), verify=True)
    results = [importing.import_source(one, options) for one in source.sources()]
    assert [result.differences for result in results] == [[]] * 7
    assert Notebook.objects.count() == 7
    for made in Notebook.objects.all():
        assert [one.source for one in made.cells.in_order()] == [f"x{at} = {at}" for at in range(15)]


def test_large_items_make_several_pages_by_themselves(owner: Any, server: str, tables: Any):
    """A page of DynamoDB ends at 1 MB: these need four."""
    big = [cell("a", stdout="x" * 300_000)]
    put(tables[0], [item(f"n{number}", cells=big) for number in range(12)])
    ran = import_tables(server)
    assert ran.out.splitlines()[-1] == "12 imported."


def test_the_same_again_changes_nothing_and_a_new_item_is_taken(owner: Any, server: str, tables: Any):
    put(tables[0], [item("n1")])
    import_tables(server)
    put(tables[0], [item("n2")])
    assert import_tables(server).out.splitlines()[-1] == "1 imported, 1 unchanged."
    assert Cell.objects.count() == 6


def test_a_bad_item_is_named_and_stops_no_other(owner: Any, server: str, tables: Any):
    put(tables[0], [item("bad", cells=[cell("a"), cell("a")]), item("good")])
    ran = import_tables(server)
    assert "notebooks/bad: not imported: notebooks/bad: cells 1 and 2 have the same id, 'a'." in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 1 failed."
    assert ran.failure == ""


def test_a_table_or_region_that_is_wrong_is_said(owner: Any, server: str, tables: Any):
    missing = import_tables(server, name="nothing")
    assert missing.failure == f"There is no table 'nothing' at {server}: check its name and the region."
    elsewhere = import_tables(server, region="us-west-2")
    assert elsewhere.failure.startswith("There is no table 'notebooks' at")
    exchanged = import_tables(server, name="cells")
    assert exchanged.failure == "The table 'cells' has the keys notebook_id, position, and not user_id."
    cells = import_tables(server, "--cells-table", "notebooks")
    assert cells.failure == "The table 'notebooks' has the keys user_id, notebook_id, and not position."


def test_no_region_and_no_server_are_said(owner: Any, tables: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dynamodb, "ATTEMPTS", 1)
    none = run("import_dynamodb", "notebooks", "--owner", "owner")
    assert none.failure.startswith("DynamoDB cannot be used: NoRegionError")
    away = import_tables(f"http://127.0.0.1:{free_port()}")
    assert "cannot be read: EndpointConnectionError" in away.failure


def test_a_table_that_goes_away_meanwhile_keeps_what_was_imported(
    owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch
):
    put(tables[0], [item(f"n{number}") for number in range(4)])
    pages = dynamodb.Tables._pages

    def break_after_two(self: Any, table: Any, operation: str, **arguments: Any) -> Iterator[Any]:
        for number, one in enumerate(pages(self, table, operation, **arguments)):
            if number == 2:
                raise self._error(table.name, ConnectionError("gone"))
            yield one

    monkeypatch.setattr(dynamodb.Tables, "_pages", break_after_two)
    ran = import_tables(server)
    assert ran.out.splitlines()[-1] == "2 imported."
    assert ran.failure.endswith("What was imported before that stays; run the command again to go on.")
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert import_tables(server).out.splitlines()[-1] == "2 imported, 2 unchanged."
