"""PostgreSQL goes away while a cell runs, and comes back: nothing is lost and nothing half-acknowledged."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.with_postgres import temporary_postgres
from tests.faults.test_processes import cells_of, make, text, until
from tests.servers import LiveServer

COUNTING = "import time\nfor _i in range(240):\n    print('tick', _i)\n    time.sleep(0.05)"


class Wire:
    """A TCP relay to the database that can be cut: connections are reset, new ones refused."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self._to)
            except OSError:
                return
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[tuple[LiveServer, Wire]]:
    with temporary_postgres() as url:
        port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
        wire = Wire(port)
        server = LiveServer(tmp_path, DATABASE_URL=url.replace(f":{port}/", f":{wire.port}/"))
        try:
            yield server, wire
        finally:
            server.stop()


def is_live(server: LiveServer) -> bool:
    with urllib.request.urlopen(f"{server.url}/health", timeout=10) as answer:
        return bool(answer.status == 200)


def is_ready(server: LiveServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def test_a_run_outlives_its_database_and_no_edit_is_half_made(wired: tuple[LiveServer, Wire]):
    server, wire = wired
    api = server.api()
    path, cells = make(api, COUNTING, "x = 0")
    run = api("POST", f"{path}runs/", {"cells": [cells[0]]})[1]["run"]["id"]
    until(lambda: "tick 5" in text(cells_of(api, path)[0]))
    assert api("PATCH", f"{path}cells/{cells[1]}/", {"version": 1, "source": "x = 1"})[0] == 200

    wire.cut()
    until(lambda: not is_ready(server))
    assert is_live(server)
    status, refused = api("PATCH", f"{path}cells/{cells[1]}/", {"version": 2, "source": "x = 2"})
    assert status in (500, 503)
    assert "error" in refused
    wire.mend()

    until(lambda: is_ready(server))
    until(lambda: api("GET", f"{path}runs/{run}/")[1]["run"]["outcome"] == "ok", 60)
    first, second = cells_of(api, path)
    assert text(first) == "".join(f"tick {number}\n" for number in range(240))
    assert first["freshness"] == "current"
    assert (second["source"], second["version"]) == ("x = 1", 2)
    assert api("PATCH", f"{path}cells/{cells[1]}/", {"version": 2, "source": "x = 2"})[0] == 200
    assert api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60})[1]["run"]["outcome"] == "ok"
