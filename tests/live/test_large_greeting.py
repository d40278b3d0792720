"""A socket's greeting ends however large the notebook is, in frames that a slow line can carry."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.watching import Watcher, connect
from tests.servers import LiveServer

pytestmark = pytest.mark.asyncio

CELLS = 1_500
NAMES = [f"value_of_some_length_{number}" for number in range(14)]  # that every cell defines: 14 errors a cell
LARGE = 60  # cells whose outputs are as large as rows may be
PARTS, PART = 6, 60_000
SOURCE = f"value = 1\n# {'long ' * 100}"


# Made by rows: typing or importing so many takes minutes.
MAKE = f"""
from django.contrib.auth import get_user_model
from benchmarks import scenes
from notebooks_app.models import Cell, Output
from notebooks_app.notebooks import output_row
scene = scenes.make(get_user_model().objects.get(username="me"), {CELLS}, output_bytes=100)
Cell.objects.filter(notebook=scene.notebook_id).update(definitions={NAMES}, source={SOURCE!r})
item = {{"kind": "display_data", "data": {{"text/plain": "é" * {PART}}}, "files": {{}}}}
for cell in scene.cells[:{LARGE}]:
    Output.objects.bulk_create(output_row(cell, None, index, item) for index in range(1, {PARTS}))
print(scene.notebook_id)
"""


@pytest.fixture(scope="module")
def large(live_server: LiveServer) -> str:
    """1,500 cells with long states; 60 of them with 300,000 characters of output."""
    return live_server.manage("shell", "--no-imports", "-c", MAKE)


async def test_a_snapshot_of_everything_ends_in_frames_of_a_size(live_server: LiveServer, large: str):
    async with connect(live_server, large) as socket:
        watcher = Watcher(socket)
        greeting = await watcher.hello()
        cells = greeting["cells"]
        assert (len(cells), len({cell["id"] for cell in cells})) == (CELLS, CELLS)
        assert watcher.largest < 2_000_000
        assert watcher.received > 16 * 1024 * 1024, "more than may wait in a socket"
        shown = [cell for cell in cells if cell["outputs"]]
        assert 0 < len(shown) < LARGE
        assert shown[0]["outputs"][-1]["data"]["text/plain"] == "é" * PART
        assert cells[0]["source"].startswith("value = 1")
        assert cells[-1]["state"]["errors"][0]["kind"] == "duplicate"


async def test_what_was_left_out_comes_in_as_many_answers_as_it_takes(live_server: LiveServer, large: str):
    async with connect(live_server, large) as socket:
        watcher = Watcher(socket)
        cells = (await watcher.hello())["cells"]
        missing = [cell["id"] for cell in cells[:LARGE] if cell["outputs"] is None] + [cells[-1]["id"]]
        found: dict[str, Any] = {}
        answers = 0
        while left := [cell for cell in missing if cell not in found]:
            reply = await watcher.ask(type="cells", cells=left)
            assert reply["cells"], "at least one comes each time"
            found |= {cell["id"]: cell for cell in reply["cells"]}
            answers += 1
        assert answers > 1
        assert all(len(found[cell]["outputs"]) == PARTS for cell in missing[:-1])
        assert found[missing[-1]]["source"] == SOURCE


async def test_a_catch_up_that_is_too_large_names_what_to_ask_for(live_server: LiveServer, large: str):
    api = live_server.api()
    made = api("POST", "notebooks/", {"name": "Away"})[1]["id"]
    source = f"for _ in range({PARTS}): display('x' * {PART})"
    for _ in range(12):
        api("POST", f"notebooks/{made}/cells/", {"type": "python", "source": source})
    async with connect(live_server, made) as socket:
        cursor = (await Watcher(socket).hello())["seq"]
    assert api("POST", f"notebooks/{made}/runs/", {"all": True, "wait": True}, 120)[0] in (200, 201)
    async with connect(live_server, made) as socket:
        watcher = Watcher(socket)
        greeting = await watcher.hello(cursor)
        assert greeting["type"] == "catch_up"
        assert len(greeting["cells"]) + len(greeting["outdated"]) == 12
        assert greeting["cells"] and greeting["outdated"]
        assert watcher.received < 6_000_000
        assert len(greeting["states"]) == 12
