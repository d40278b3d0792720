"""No file descriptor is left: in a kernel, where a cell takes them all, and in the server, where connections do."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.faults.test_processes import cells_of, is_alive, make, text, until
from tests.servers import LiveServer

LIMIT = 256
TAKES_ALL = """
import os
_held = []
try:
    while True: _held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as _error:
    print(_error.strerror)
"""


class FewDescriptors(LiveServer):
    """A server that may open LIMIT files."""

    def start(self) -> None:
        super().start()
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FewDescriptors]:
    made = FewDescriptors(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


def test_a_server_whose_descriptors_are_all_taken_lives_and_answers_when_there_are_some(server: FewDescriptors):
    api = server.api()
    path, cells = make(api, "import time\nfor _i in range(40):\n    print('tick', _i)\n    time.sleep(0.1)", "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [cells[0]]})[1]["run"]["id"]
    until(lambda: "tick" in text(cells_of(api, path)[0]))
    held: list[socket.socket] = []
    try:
        for _ in range(2 * LIMIT):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        time.sleep(1)
        assert is_alive(server.pid)
    finally:
        for connection in held:
            connection.close()
    until(lambda: answers(server))
    assert api("PATCH", f"{path}cells/{cells[1]}/", {"version": 1, "source": "x = 1"})[0] == 200
    until(lambda: api("GET", f"{path}runs/{run}/")[1]["run"]["outcome"] == "ok", 60)
    assert text(cells_of(api, path)[0]) == "".join(f"tick {number}\n" for number in range(40))
    status, body = api("POST", f"{path}runs/", {"cells": [cells[1]], "wait": True})
    assert (status, body["run"]["outcome"]) == (200, "ok")


def test_a_cell_that_takes_all_descriptors_of_its_kernel_is_told_and_its_kernel_can_be_restarted(
    server: FewDescriptors,
):
    api = server.api()
    page = "from IPython.display import HTML\nHTML('y' * 99999)"
    path, cells = make(api, TAKES_ALL, "print('large', len('x' * 9))", page)
    status, body = api("POST", f"{path}runs/", {"cells": cells[:1], "wait": True, "timeout_s": 60})
    assert (status, body["run"]["outcome"]) == (200, "ok")
    assert "Too many open files" in text(cells_of(api, path)[0])
    assert api("POST", f"{path}runs/", {"cells": cells[1:], "wait": True, "timeout_s": 60})[0] == 200
    assert "large 9" in text(cells_of(api, path)[1])
    assert "was not kept" in str(cells_of(api, path)[2]["outputs"])
    assert api("POST", f"{path}restart/", {"wait": True})[0] == 200
    assert api("POST", f"{path}runs/", {"cells": cells[2:], "wait": True})[1]["run"]["outcome"] == "ok"
    assert cells_of(api, path)[2]["outputs"][0]["files"]


def answers(server: LiveServer) -> bool:
    try:
        return server.api()("GET", "notebooks/", timeout_s=5)[0] == 200
    except OSError:
        return False
