"""The folders through which large outputs travel are full: the kernel's own, and the server's for temporary files.

Each is a file system of a few MiB, mounted for the server alone. Runs end as their code says and say what was not kept;
what was saved before stands; the kernel lives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_processes import cells_of, make, text
from tests.servers import LiveServer

SMALL_MIB = 4
PAGE = "from IPython.display import HTML as _html\n_html({letter!r} * {size})"


class SmallFolders(LiveServer):
    """A server whose work folders and temporary files have SMALL_MIB each."""

    @property
    def prefix(self) -> list[str]:
        mount = (
            'for d in work tmp; do mkdir -p "$0/$d"; mount -t tmpfs -o size={}m tmpfs "$0/$d" || exit 1; done; '
            'exec "$@"'
        )
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        unshare = ["unshare", *own, "--mount", "--propagation", "private", "sh", "-c"]
        return [*unshare, mount.format(SMALL_MIB), str(self.data_dir)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFolders]:
    folder = tmp_path_factory.mktemp("server")
    made = SmallFolders(folder, TMPDIR=str(folder / "tmp"))
    yield made
    made.stop()


def run(server: LiveServer, path: str, cell: str) -> str:
    """How the run of a cell ended."""
    status, body = server.api()("POST", f"{path}runs/", {"cells": [cell], "wait": True}, timeout_s=120)
    assert status == 200, body
    return str(body["run"]["outcome"])


def test_an_output_that_the_kernels_folder_has_no_room_for_is_said_and_costs_nothing_else(server: SmallFolders):
    api = server.api()
    path, cells = make(
        api, "kept = 'still here'", PAGE.format(letter="a", size=500_000), PAGE.format(letter="b", size=40_000_000),
        "open('full', 'wb').write(b'x' * 100_000_000)", PAGE.format(letter="c", size=500_000), "print(kept)",
    )  # fmt: skip
    assert run(server, path, cells[0]) == "ok"
    assert run(server, path, cells[1]) == "ok"
    assert run(server, path, cells[2]) == "ok"  # larger than the folder, and than any message
    assert "40,000,000 bytes was not kept" in str(cells_of(api, path)[2]["outputs"])
    assert "No space left on device" in str(cells_of(api, path)[2]["outputs"])
    assert run(server, path, cells[3]) == "error"
    assert run(server, path, cells[4]) == "ok"
    assert "500,000 bytes was not kept" in str(cells_of(api, path)[4]["outputs"])
    assert run(server, path, cells[5]) == "ok"
    found = cells_of(api, path)
    assert text(found[5]) == "still here\n"  # the same kernel
    assert found[1]["outputs"][0]["files"]["text/html"]["size_bytes"] == 500_000
    assert api("POST", f"{path}restart/", {"wait": True})[0] == 200
    (Path(f"/proc/{server.pid}/root{server.data_dir}") / "work/notebooks" / path.split("/")[1] / "full").unlink()
    assert run(server, path, cells[4]) == "ok"
    assert cells_of(api, path)[4]["outputs"][0]["files"]["text/html"]["size_bytes"] == 500_000


def test_what_the_servers_folder_for_temporary_files_has_no_room_for_is_said(server: SmallFolders):
    api = server.api()
    path, cells = make(
        api, PAGE.format(letter="a", size=500_000), PAGE.format(letter="d", size=500_000),
        "for _n in range(8000): print(_n, 'y' * 100)", "print('on')",
    )  # fmt: skip
    assert run(server, path, cells[0]) == "ok"
    filler = Path(f"/proc/{server.pid}/root{server.data_dir}/tmp/filler")
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    assert run(server, path, cells[1]) == "ok"
    assert "did not take it" in str(cells_of(api, path)[1]["outputs"])
    assert run(server, path, cells[2]) == "ok"  # a long text: its beginning and its end are in the database
    shown = cells_of(api, path)[2]["outputs"]
    assert shown[0]["text"].startswith("0 yyy") and "7999 yyy" in shown[0]["cut"]["tail"]
    filler.unlink()
    assert run(server, path, cells[1]) == run(server, path, cells[3]) == "ok"
    found = cells_of(api, path)
    assert text(found[3]) == "on\n"
    for cell in found[:2]:
        assert cell["outputs"][0]["files"]["text/html"]["size_bytes"] == 500_000
