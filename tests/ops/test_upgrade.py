"""A database of the first release: what is in it is there after an upgrade, and the present code serves it.

It is made with real rows: a server is used, ended, and its database taken back to the first migration of each
application. What did not exist there yet is gone with its tables (docs/operations.md, Deploy).
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.with_postgres import temporary_postgres
from tests.servers import LiveServer

# Back to the first migrations; rows that no request makes, as the first release's code would have, by the models of
# that time; and to now. Prints the id of such a notebook, and each row of each table before and after.
THERE_AND_BACK = """
import json, uuid
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from notebooks_app.facts import source_hash

FIRST = [("kernels_app", "0001_kernel_limits"), ("notebooks_app", "0001_initial")]

def text(value):
    return bytes(value).hex() if isinstance(value, (bytes, memoryview)) else str(value)

def rows():
    found, there = {}, set(connection.introspection.table_names())
    for model in [model for app, _ in FIRST for model in apps.get_app_config(app).get_models()]:
        table = model._meta.db_table
        if table not in there:
            continue
        with connection.cursor() as cursor:
            columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
            cursor.execute("SELECT %s FROM %s" % (", ".join('"%s"' % name for name in columns), table))
            listed = [dict(zip(columns, map(text, row))) for row in cursor.fetchall()]
        found[table] = {row[model._meta.pk.column]: row for row in listed}
    return found

for app, name in FIRST:
    call_command("migrate", app, name, verbosity=0)
old = MigrationLoader(connection).project_state(FIRST).apps
friend = get_user_model().objects.get(username="friend")
old.get_model("kernels_app", "KernelLimits").objects.create(user_id=friend.pk, memory_mib=2048, kernels=2)
notebook = old.get_model("notebooks_app", "Notebook").objects.create(owner_id=friend.pk, name="Bare, of a friend")
cells = old.get_model("notebooks_app", "Cell").objects
def cell(position, source, **fields):
    return cells.create(
        notebook=notebook, position=position, source=source, source_hash=source_hash("python", source), **fields)

cell(1024, "bare = 6 * 7\\nbare")
running = cell(2048, "bare + 1", status="running", status_epoch=3)
half = {"op": "text", "item": 0, "name": "stdout", "from": 0, "text": "half a line"}
old.get_model("notebooks_app", "StreamChunk").objects.create(cell=running, attempt=uuid.uuid4(), ops=[half])
before = rows()
call_command("migrate", verbosity=0)
print("\\n" + json.dumps([str(notebook.pk), before, rows()]))
"""
BIG = "print('x' * 200_000)"  # a file of its own
HTML = "from IPython.display import HTML; HTML('<b>bold</b>')"
CELLS = ("a = 20", "b = a + 1; print('b is', b); b", BIG, "1 / 0", HTML)


def ok(answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status < 300, body
    return body


def use(server: LiveServer) -> str:
    """Make what people make; the notebook's id."""
    api = server.api()
    notebook = ok(api("POST", "notebooks/", {"name": "Kept"}))["id"]
    path = f"notebooks/{notebook}/"
    ok(api("POST", "connections/", {"name": "warehouse", "dsn": "postgresql://me:word@db.example.com/warehouse"}))
    ok(api("POST", f"{path}members/", {"user": "friend", "role": "editor"}))
    for source in CELLS:
        ok(api("POST", f"{path}cells/", {"type": "python", "source": source}))
    ok(api("POST", f"{path}cells/", {"type": "markdown", "source": "# A *heading*"}))
    first = ok(api("GET", path))["cells"][0]
    ok(api("PATCH", f"{path}cells/{first['id']}/", {"source": "a = 21", "version": first["version"]}))
    for cell in ok(api("GET", path))["cells"][: len(CELLS)]:
        ok(api("POST", f"{path}runs/", {"cells": [cell["id"]], "wait": True}))
    return notebook


def told(server: LiveServer, notebook: str) -> dict[str, Any]:
    """What the API says of a notebook, and the bytes of its files."""
    api, path = server.api(), f"notebooks/{notebook}/"
    cells = [ok(api("GET", f"{path}cells/{each['id']}/")) for each in ok(api("GET", path))["cells"]]
    outputs = [output for cell in cells for output in cell["outputs"]]
    urls = [file["url"] for output in outputs for file in (output.get("files") or {}).values()]
    for cell in cells:
        del cell["state"]["loaded"]  # in a kernel's memory
    changes = ok(api("GET", f"{path}changes/?since=0"))["events"]
    found = {"cells": cells, "changes": changes, "files": [fetched(server, url) for url in urls]}
    return found | {"members": ok(api("GET", f"{path}members/")), "connections": ok(api("GET", "connections/"))}


def fetched(server: LiveServer, path: str) -> str:
    headers = {"Authorization": f"Bearer {server.api().token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}{path}", headers=headers), timeout=30) as answer:
        return answer.read().decode()


def lost(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What of the old rows is not there as it was."""
    found = []
    for table, old in before.items():
        for key, row in old.items():
            new = after.get(table, {}).get(key)
            if new is None or {name: new[name] for name in row} != row:
                found.append(f"{table} {key}: {row} is {new}")
    return found


@dataclass
class Upgraded:
    """The present code on a database of the first release."""

    server: LiveServer
    cookies: dict[str, str]
    notebook: str  # made by people, before
    bare: str  # made by the models of the first release
    before: dict[str, Any]
    old: dict[str, Any]
    lost: list[str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    with contextlib.ExitStack() as stack:
        is_sqlite = request.param == "sqlite"
        more = {} if is_sqlite else {"DATABASE_URL": stack.enter_context(temporary_postgres())}
        server = LiveServer(tmp_path_factory.mktemp("upgrade"), **more)
        stack.callback(server.stop)
        cookies = server.sessions_of("me", "friend")["me"]
        notebook = use(server)
        before = told(server, notebook)
        server.stop()
        printed = server.manage("shell", "--no-imports", "-c", THERE_AND_BACK).splitlines()[-1]
        bare, old, new = json.loads(printed)
        server.start()
        yield Upgraded(server, cookies, notebook, bare, before, old, lost(old, new))


def test_no_row_of_the_first_release_is_lost_or_changed(upgraded: Upgraded) -> None:
    assert len(upgraded.old) >= 13 and sum(map(len, upgraded.old.values())) > 40
    assert [table for table, rows in upgraded.old.items() if not rows] == []
    assert upgraded.lost == []


def test_the_present_code_tells_of_them_what_was_told_before(upgraded: Upgraded) -> None:
    after = told(upgraded.server, upgraded.notebook)
    assert [len(file) for file in after["files"]] == [200_001]
    for name, said in upgraded.before.items():
        assert after[name] == said, name


def test_the_session_of_then_opens_pages_of_old_notebooks(upgraded: Upgraded) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in upgraded.cookies.items())
    for path in ("/", f"/notebooks/{upgraded.notebook}/"):
        request = urllib.request.Request(f"{upgraded.server.url}{path}", headers={"Cookie": cookies})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert "Kept" in answer.read().decode()


def test_old_notebooks_run_are_edited_and_have_a_history(upgraded: Upgraded) -> None:
    api, path = upgraded.server.api(), f"notebooks/{upgraded.notebook}/"
    cells = ok(api("GET", path))["cells"]
    changed = {"source": "a = 40", "version": cells[0]["version"]}
    ok(api("PATCH", f"{path}cells/{cells[0]['id']}/", changed))
    ok(api("POST", f"{path}runs/", {"cells": [cells[1]["id"]], "wait": True}))
    assert "b is 41" in json.dumps(ok(api("GET", f"{path}cells/{cells[1]['id']}/"))["outputs"])
    ok(api("POST", f"{path}versions/", {"name": "after the upgrade"}))
    groups = ok(api("GET", f"{path}history/"))["groups"]
    assert sum(len(group["entries"]) for group in groups) >= 2


def test_a_cell_that_ran_when_the_old_server_ended_is_idle_and_runs(upgraded: Upgraded) -> None:
    api, path = upgraded.server.api("friend"), f"notebooks/{upgraded.bare}/"
    cells = ok(api("GET", path))["cells"]
    assert [cell["state"]["status"] for cell in cells] == ["idle", "idle"]
    assert cells[1]["outputs"][0]["text"] == "half a line"
    ok(api("POST", f"{path}runs/", {"cells": [cells[1]["id"]], "wait": True}))
    assert "43" in json.dumps(ok(api("GET", f"{path}cells/{cells[1]['id']}/"))["outputs"])
