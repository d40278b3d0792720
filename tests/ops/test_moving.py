"""docs/operations.md, Moving production here: its lines, carried out in order on old files and on DynamoDB."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notebooks_app.models import Cell, Notebook
from tests.migration.conftest import Ran, cell, document, run
from tests.migration.test_import_dynamodb import REGION, as_items, server, tables
from tests.ops.documented import commands

__all__ = ["server", "tables"]
pytestmark = [pytest.mark.django_db, pytest.mark.database]
STEPS = [line for line in commands("## Moving production here").splitlines() if line.startswith("manage.py ")]
ID = "3b1f8a52-9f0d-4a56-8f0e-0a8c9f3f7d11"

type Step = Callable[[str], Ran]


def typed(line: str, replaced: dict[str, str]) -> Ran:
    words = shlex.split(line)
    assert words[0] == "manage.py"
    return run(words[1], *(replaced.get(word, word) for word in words[2:]))


def steps(command: str) -> dict[str, str]:
    """try, run both, verify, cut over; by what stands before each line on the page."""
    lines = [line for line in STEPS if line.split()[1] == command]
    return dict(zip(("try", "both", "verify", "cut"), lines, strict=True))


@pytest.fixture
def people(owner: Any, tmp_path: Path) -> Path:
    path = tmp_path / "users.csv"
    path.write_text("old user id,username\nuser_37U0,owner\n", encoding="utf-8")
    return path


def test_the_page_shows_each_step_for_both_sources():
    assert list(steps("import_notebooks")) == list(steps("import_dynamodb"))
    assert re.match(r"manage.py export_notebooks .*--with-dsn", STEPS[-1])


def test_production_moves_from_files_and_back(people: Path, tmp_path: Path):
    old = tmp_path / "old"
    old.mkdir()
    (old / f"{ID}.json").write_text(json.dumps(document(ID)), encoding="utf-8")
    moved(steps("import_notebooks"), {"/old/notebooks": str(old), "users.csv": str(people)}, lambda: change(old))
    back = tmp_path / "back"
    done = typed(STEPS[-1], {"/back": str(back)})
    assert not done.failure, done
    written = json.loads((back / f"{ID}.json").read_text(encoding="utf-8"))
    assert written["cells"][0]["code"] == "made here = 1"
    assert written["db_conn_string"] == document(ID)["db_conn_string"]


def change(old: Path) -> None:
    """The old system goes on while both run."""
    found = document(ID)
    found["cells"].append(cell("c4", "later = 1"))
    (old / f"{ID}.json").write_text(json.dumps(found), encoding="utf-8")


def test_production_moves_from_dynamodb(people: Path, tables: Any):
    notebooks, cells = tables
    endpoint = ["--endpoint-url", notebooks.meta.client.meta.endpoint_url]

    def put(found: dict[str, Any]) -> None:
        made = as_items(found)
        item = {key: value for key, value in made.items() if key not in ("cells", "id")}
        notebooks.put_item(Item=item | {"notebook_id": ID, "cell_count": len(made["cells"])})
        for position, one in enumerate(made["cells"]):
            rest = {key: value for key, value in one.items() if key != "id"}
            cells.put_item(Item=rest | {"notebook_id": ID, "position": position, "cell_id": one["id"]})

    def later() -> None:
        found = document(ID, revision=43)
        found["cells"].append(cell("c4", "later = 1"))
        put(found)

    put(document(ID))
    lines = {name: f"{line} {shlex.join(endpoint)}" for name, line in steps("import_dynamodb").items()}
    assert REGION in lines["try"]
    moved(lines, {"users.csv": str(people)}, later)


def moved(lines: dict[str, str], replaced: dict[str, str], goes_on: Callable[[], None]) -> None:
    def step(name: str) -> Ran:
        return typed(lines[name], replaced)

    tried = step("try")
    assert not tried.failure and not Notebook.objects.filter(pk=ID).exists(), tried
    assert not step("both").failure and Notebook.objects.filter(pk=ID).exists()
    assert not step("verify").failure
    goes_on()
    assert step("verify").failure  # the old system is ahead
    assert not step("both").failure and not step("cut").failure
    assert Cell.objects.filter(notebook=ID, source="later = 1").exists()
    first = Cell.objects.filter(notebook=ID).order_by("position").first()
    assert first is not None
    Cell.objects.filter(pk=first.pk).update(source="made here = 1")  # work goes on here
