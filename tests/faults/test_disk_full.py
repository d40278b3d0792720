"""The disk of the data folder is full, for real: a small file system of its own for one server.

It is mounted in a mount namespace of the server's, so that nothing is left of it, whatever happens to this test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_processes import cells_of, make, text, until
from tests.servers import LiveServer

DISK_MIB = 96
COUNTING = "import time\nfor _i in range(300):\n    print('tick', _i, 'x' * 2000)\n    time.sleep(0.01)"
WAIT_S = 90.0


class SmallDisk(LiveServer):
    """A server whose data folder is a file system of DISK_MIB."""

    @property
    def prefix(self) -> list[str]:
        mount = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$0" && exec "$@"'
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return ["unshare", *own, "--mount", "--propagation", "private", "sh", "-c", mount, str(self.data_dir)]

    @property
    def disk(self) -> Path:
        """The data folder as the server sees it."""
        return Path(f"/proc/{self.pid}/root{self.data_dir}")

    def fill(self) -> None:
        with (self.disk / "filler").open("ab", buffering=0) as file:
            for size in (1024 * 1024, 4096):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def leave(self, room: int) -> None:
        """So many bytes of what `fill` took."""
        filler = self.disk / "filler"
        os.truncate(filler, max(0, filler.stat().st_size - room))

    def make_room(self) -> None:
        (self.disk / "filler").unlink()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


def test_a_full_disk_refuses_edits_in_plain_words_and_all_goes_on_when_there_is_room(server: SmallDisk):
    api = server.api()
    path, cells = make(api, COUNTING, "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [cells[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]), WAIT_S)
    edit = {"version": 1, "source": "# " + "y" * 3_000_000, "operation_id": str(uuid.uuid4())}
    server.fill()
    status, refused = api("PATCH", f"{path}cells/{cells[1]}/", edit)
    assert (status, refused["error"]["code"]) == (503, "unavailable")
    assert "disk is full" in refused["error"]["message"]
    found = cells_of(api, path)[1]
    assert (found["version"], found["source"]) == (1, "x = 0")
    server.make_room()
    until(lambda: api("PATCH", f"{path}cells/{cells[1]}/", edit)[0] == 200, WAIT_S)
    until(lambda: (api("GET", f"{path}runs/{run}/")[1].get("run") or {}).get("outcome") == "ok", WAIT_S)
    first, second = cells_of(api, path)
    assert second["version"] == 2 and second["source"] == edit["source"]
    shown = first["outputs"][0]
    assert shown["text"].startswith("tick 0 ") and "tick 299 " in shown["cut"]["tail"]


def test_large_outputs_that_find_no_room_are_named_and_the_next_run_keeps_them(server: SmallDisk):
    api = server.api()
    page = "from IPython.display import HTML\nHTML('z' * 20_000_000)"
    path, _ = make(api, page)
    api("POST", f"{path}runs/", {"all": True, "wait": True})  # a kernel is here, and its file was kept
    server.fill()
    api("POST", f"{path}runs/", {"all": True})
    server.make_room()
    until(lambda: cells_of(api, path)[0]["status"] == "idle", WAIT_S)
    status, again = api("POST", f"{path}runs/", {"all": True, "wait": True})
    assert (status, again["run"]["outcome"]) == (200, "ok")
    until(lambda: "text/html" in cells_of(api, path)[0]["outputs"][0]["files"], WAIT_S)


def test_a_disk_that_fills_up_in_the_middle_of_a_commit_keeps_every_acknowledged_edit_and_no_other(
    tmp_path: Path,
):
    """At many places: with a little more room each time, the write fails a page later."""
    server = SmallDisk(tmp_path)  # SQLite's log of a new one grows with every edit: it has not begun anew
    try:
        fill_up_during_edits(server, tmp_path)
    finally:
        server.stop()


def fill_up_during_edits(server: SmallDisk, folder: Path) -> None:
    api = server.api()
    path, (cell,) = make(api, "# 0")
    version, refusals = 1, 0
    for room in range(0, 24 * 4096, 2 * 4096):
        server.fill()
        server.leave(room)
        source = f"# {version} " + "y" * 30_000
        edit = {"version": version, "source": source, "operation_id": str(uuid.uuid4())}
        status, body = api("PATCH", f"{path}cells/{cell}/", edit)
        assert status in (200, 503), body
        server.make_room()
        if status == 503:
            refusals += 1
            assert api("PATCH", f"{path}cells/{cell}/", edit)[0] == 200  # the same, once
        version += 1
        found = cells_of(api, path)[0]
        assert (found["version"], found["source"]) == (version, source)
    assert refusals > 3
    for end in ("", "-wal"):  # a copy, for SQLite resolves the path and would look past the mount
        shutil.copy(server.disk / f"rillbook.sqlite3{end}", folder / f"copy.sqlite3{end}")
    with contextlib.closing(sqlite3.connect(folder / "copy.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        logged = "SELECT count(*) FROM notebooks_app_change WHERE kind = 'cell.edited' AND notebook_id = ?"
        log = database.execute(logged, [uuid.UUID(path.split("/")[1]).hex]).fetchone()
    assert log == (version - 1,)
