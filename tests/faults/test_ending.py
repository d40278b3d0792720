"""SIGTERM at bad moments: during an upload, an import, an export, a long run. What was answered is there, what was not
is not there in part, the server ends within 30 s and the next one begins clean."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.test_processes import TICKS, cells_of, children, is_alive, make, text, until
from tests.pressure.test_slow_readers import ask_slowly
from tests.servers import LiveServer

DRAIN_S = 30.0
CELLS = 1500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path)
    yield made
    made.stop()


def notebook_file(name: str) -> bytes:
    """An .ipynb of CELLS cells with an output each."""
    output = {"output_type": "stream", "name": "stdout", "text": "z" * 2000}
    cell = {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [output]}
    cells = [{**cell, "source": f"x{number} = '{name}'"} for number in range(CELLS)]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}).encode()


class Asked(threading.Thread):
    """A request under way; `answer` once there is one."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._ask()
        except OSError as error:
            self.answer = (0, str(error))


class Person:
    """A browser that is signed in, without its scripts."""

    def __init__(self, server: LiveServer) -> None:
        self._url, cookies = server.url, server.sign_in()
        self._port = server.port
        self._headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "X-CSRFToken": cookies["rillbook-csrf"], "Origin": server.url,
        }  # fmt: skip

    def get(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(f"{self._url}/{path}", headers=self._headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()

    def bring(self, name: str) -> tuple[int, bytes]:
        """Import a notebook file; the page that is shown then."""
        headers = {**self._headers, "Content-Type": "multipart/form-data; boundary=b0undary"}
        request = urllib.request.Request(f"{self._url}/notebooks/import/", form(name), headers, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()

    def begin_upload(self, name: str) -> socket.socket:
        """A connection on which half of an import was sent."""
        body = form(name)
        headers = {**self._headers, "Content-Type": "multipart/form-data; boundary=b0undary"}
        lines = [f"{key}: {value}" for key, value in headers.items()]
        lines += [f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(body)}"]
        head = "\r\n".join(["POST /notebooks/import/ HTTP/1.1", *lines])
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        connection.sendall(head.encode() + b"\r\n\r\n" + body[: len(body) // 2])
        return connection


def form(name: str) -> bytes:
    head = f'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="{name}.ipynb"\r\n\r\n'
    return head.encode() + notebook_file(name) + b"\r\n--b0undary--\r\n"


def ends(server: LiveServer) -> None:
    """SIGTERM, and it is over in time with all that it had started."""
    below = children(server.pid)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < DRAIN_S
    assert not [pid for pid in below if is_alive(pid)]


def test_requests_under_way_are_answered_or_undone_and_the_next_server_begins_clean(server: LiveServer):
    api, person = server.api(), Person(server)
    assert person.bring("before")[0] == 200
    status, listed = api("GET", "notebooks/?search=before")
    before = listed["results"][0]["id"]
    path, cells = make(api, TICKS, "print('after')")
    api("POST", f"{path}runs/", {"cells": [cells[0]]})
    until(lambda: "tick 3" in text(cells_of(api, path)[0]))
    half = person.begin_upload("half")
    waits = Asked(lambda: api("POST", f"{path}runs/", {"cells": [cells[0]], "wait": True}))
    brought = Asked(lambda: person.bring("during"))
    exported = Asked(lambda: person.get(f"notebooks/{before}/export/"))
    time.sleep(0.2)  # they are somewhere in the middle
    ends(server)
    for asked in (waits, brought, exported):
        asked.join(30)
        assert not asked.is_alive()
    half.close()
    server.start()

    names = {found["name"]: found["id"] for found in api("GET", "notebooks/?limit=100")[1]["results"]}
    assert "half" not in names
    if brought.answer[0] == 200:
        assert "during" in names
    if "during" in names:
        assert api("GET", f"notebooks/{names['during']}/")[1]["cells"][-1]["source"] == f"x{CELLS - 1} = 'during'"
    if exported.answer[0] == 200:
        assert len(json.loads(exported.answer[1])["cells"]) == CELLS
    first = cells_of(api, path)[0]
    assert (first["status"], first["state"]["outcome"]) == ("idle", "interrupted")
    assert "tick 3" in text(first)
    runs = api("GET", f"{path}runs/")[1]["results"]
    assert {found["run"]["outcome"] for found in runs} == {"interrupted"}
    assert Person(server).bring("half")[0] == 200
    status, body = api("POST", f"{path}runs/", {"cells": cells[1:], "wait": True})
    assert (status, body["run"]["outcome"]) == (200, "ok")


def test_a_reader_who_takes_nothing_does_not_keep_a_server_from_ending(server: LiveServer):
    api = server.api()
    path, _ = make(api, "from IPython.display import HTML\nHTML('x' * 60_000_000)")
    assert api("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] == "ok"
    url = urlsplit(cells_of(api, path)[0]["outputs"][0]["files"]["text/html"]["url"]).path
    with ask_slowly(server, url) as slow:
        assert slow.recv(1)
        ends(server)
