"""`manage.py import_dynamodb` against a real DynamoDB server process (moto): both designs and dual writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
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


@pytest.mark.parametrize("is_file_first", [True, False])
def test_whole_floats_of_a_file_are_the_whole_numbers_of_its_item(
    owner: Any, server: str, tables: Any, old: Any, is_file_first: bool
):
    times = {"created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-02-03T04:05:06Z"}
    numbers = [1.0, 2.5, -3.0, 0.0, 1e22, 1e100, 12345678901234567890, True]
    chart = {"mime_type": "application/vnd.plotly.v1+json", "data": {"y": numbers}, "metadata": {"scale": 2.0}}
    cells = [cell("a", outputs=[chart])]
    path = old(document("n1", cells=cells, **times))
    put(tables[0], [item("n1", cells=cells)])
    takes = [lambda: run("import_notebooks", str(path), "--owner", "owner", "--verify")]
    takes.insert(int(is_file_first), lambda: import_tables(server, "--verify"))
    for take, outcome in zip(takes, ("imported", "unchanged"), strict=True):
        ran = take()
        assert (ran.failure, ran.err) == ("", "")
        assert ran.out.splitlines()[-1] == f"1 {outcome}, 1 verified the same, 0 different."


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
    assert "notebooks/user_37U0/both: its cells are in a table of their own, which was not named." in refused.err


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
    name = "notebooks/user_37U0/bad"
    assert f"{name}: not imported: {name}: cells 1 and 2 have the same id, 'a'." in ran.err
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


def test_one_id_under_two_users_is_two_notebooks_for_ever(owner: Any, server: str, tables: Any):
    """The key of the old table is both: nothing is lost, nothing changes in turn."""
    texts = {"user_a": "a = 1", "user_b": "b = 1", "user_c": "c = 1"}
    for user, text in texts.items():
        put(tables[0], [item("same", user_id=user, cells=[cell("c1", text)])])
    assert import_tables(server, "--dry-run").out.splitlines()[-1] == "3 would be imported."
    ran = import_tables(server, "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert ran.out.splitlines()[-1] == "3 imported, 3 verified the same, 0 different."
    assert ran.out.count("warning: A notebook of another user has the same id") == 2
    before = {one.pk: one.metadata["rillbook"]["import"]["user_id"] for one in Notebook.objects.all()}
    assert sorted(before.values()) == list(texts)
    assert set(Notebook.objects.values_list("external_id", flat=True)) == {"same"}
    for more in ([], ["--update"], ["--overwrite"]):
        ran = import_tables(server, "--verify", *more)
        assert ran.out.splitlines()[-1] == "3 unchanged, 3 verified the same, 0 different."
    put(tables[0], [item("same", user_id="user_b", cells=[cell("c1", "b = 2")])])
    ran = import_tables(server, "--verify", "--update")
    assert ran.out.splitlines()[-1] == "1 updated, 2 unchanged, 3 verified the same, 0 different."
    assert {one.pk: one.metadata["rillbook"]["import"]["user_id"] for one in Notebook.objects.all()} == before
    sources = {before[one.notebook_id]: one.source for one in Cell.objects.all()}
    assert sources == texts | {"user_b": "b = 2"}


def test_the_first_of_two_users_of_one_id_keeps_it_whichever_comes_first(owner: Any, server: str, tables: Any):
    put(tables[0], [item("same", user_id="user_b")])
    import_tables(server)
    first = Notebook.objects.get()
    put(tables[0], [item("same", user_id="user_a"), item("same", user_id="user_c")])
    ran = import_tables(server, "--verify")
    assert ran.out.splitlines()[-1] == "2 imported, 1 unchanged, 3 verified the same, 0 different."
    Notebook.objects.filter(pk=first.pk).delete()
    ran = import_tables(server, "--verify")
    assert ran.out.splitlines()[-1] == "1 imported, 2 unchanged, 3 verified the same, 0 different."
    assert Notebook.objects.filter(pk=first.pk).exists()


def test_notebooks_of_one_old_id_are_exported_apart_and_come_in_again(
    owner: Any, server: str, tables: Any, tmp_path: Path
):
    put(tables[0], [item("same", user_id=user, cells=[cell("c1", user)]) for user in ("user_a", "user_b")])
    import_tables(server)
    ran = run("export_notebooks", "--output", str(tmp_path), "same")
    assert ran.out.splitlines()[-1] == "2 written, 2 without its DSN."
    second = Notebook.objects.exclude(pk=importing.notebook_id("same")).get()
    assert {path.name for path in tmp_path.iterdir()} == {"same.json", f"{second.pk}.json"}
    here = run("import_notebooks", str(tmp_path), "--owner", "owner", "--verify", "--dry-run")
    assert here.out.splitlines()[-1].endswith("2 verified the same, 0 different.")
    before = set(Cell.objects.values_list("notebook_id", "source"))
    Notebook.objects.all().delete()
    again = run("import_notebooks", str(tmp_path), "--owner", "owner", "--verify")
    assert again.out.splitlines()[-1] == "2 imported, 2 verified the same, 0 different."
    assert set(Cell.objects.values_list("notebook_id", "source")) == before


@pytest.mark.parametrize("more", [[], ["--verify"]])
def test_cells_whose_notebook_has_no_item_are_said(owner: Any, server: str, tables: Any, more: list[str]):
    for name in ("a1", "m1", "m2", "z1"):
        head, rows = split(item(name))
        put(tables[1], rows)
        if name in ("a1", "m2"):
            put(tables[0], [head])
    ran = import_tables(server, "--cells-table", "cells", *more)
    for name in ("m1", "z1"):
        assert f"cells/{name}: 3 cells, and no item of their notebook in 'notebooks'." in ran.err
    assert ran.out.splitlines()[-1].startswith("2 imported, 2 failed")
    assert ran.failure == ("2 of 4 notebooks could not be compared." if more else "")


def test_cells_without_a_notebook_are_found_by_a_row_a_notebook(
    owner: Any, server: str, tables: Any, monkeypatch: pytest.MonkeyPatch
):
    for name in ("n1", "n2", "stray"):
        head, rows = split(item(name, cells=[cell(f"c{at}") for at in range(40)]))
        put(tables[1], rows)
        if name != "stray":
            put(tables[0], [head])
    source = dynamodb.Tables("notebooks", "cells", REGION, server, page_items=7)
    asked: list[tuple[str, int]] = []
    ask = source._ask

    def count(table: Any, operation: str, arguments: dict[str, Any]) -> Any:
        page = ask(table, operation, arguments)
        asked.append((f"{operation} {table.name}", page["Count"]))
        return page

    monkeypatch.setattr(source, "_ask", count)
    assert [one.name for one in source.sources()][-1] == "cells/stray"
    scans = [rows for name, rows in asked if name == "scan cells"]
    assert (len(scans), sum(scans)) == (4, 3)
    assert source.count_rows("stray") == 40
