"""Clients of pages and API that read a byte a second: what they asked for is read no faster than they take it."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from tests.faults.test_processes import cells_of, make
from tests.pressure.test_sockets import MB, resident
from tests.servers import LiveServer

SIZE = 60_000_000
READERS = 4
SECONDS = 4


def ask_slowly(server: LiveServer, path: str) -> socket.socket:
    """A connection that has asked for `path` and read nothing of the answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    token = server.api().token
    lines = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    connection.sendall(lines.encode())
    return connection


def test_files_are_read_no_faster_than_their_readers_take_them(live_server: LiveServer):
    api = live_server.api()
    path, (cell,) = make(api, f"from IPython.display import HTML\nHTML('x' * {SIZE})")
    assert api("POST", f"{path}runs/", {"cells": [cell], "wait": True})[1]["run"]["outcome"] == "ok"
    url = urlsplit(cells_of(api, path)[0]["outputs"][0]["files"]["text/html"]["url"]).path
    before = resident(live_server.pid)
    slow = [ask_slowly(live_server, url) for _ in range(READERS)]
    try:
        most = 0
        for _ in range(SECONDS):
            assert all(connection.recv(1) for connection in slow)
            most = max(most, resident(live_server.pid) - before)
            time.sleep(1)  # a byte a second
        assert most < 32 * MB
        assert api("GET", path)[0] == 200  # others are served
        fast, slow[0] = slow[0], ask_slowly(live_server, url)
        fast.settimeout(60)
        got = SECONDS
        while got < SIZE:  # who reads on gets all of it
            got += len(fast.recv(1024 * 1024))
        fast.close()
    finally:
        for connection in slow:
            connection.close()
