"""Bodies without an end, and larger than what their address takes: refused early, kept nowhere."""

from __future__ import annotations

import http.client
import http.cookiejar
import io
import json
import os
import select
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.urls import reverse

from kernels_app.incoming import DRAIN_BYTES
from notebooks_app import bodies
from tests.pressure.test_sockets import MB, resident
from tests.servers import LiveServer

UPLOAD_MAX = 8 * MB
CHUNK = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
LOGIN = "/accounts/login/"
API = "/api/v1/notebooks/"
NAMED = "Authorization: Bearer unknown"  # known or not is asked of the database, later
SYSTEM_BYTES = 48 * MB  # that the system may hold: 32 MiB (tcp_rmem) and 4 MiB (tcp_wmem) here, with room
NOTEBOOK = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("temporary")
    made = LiveServer(
        tmp_path_factory.mktemp("server"), UPLOAD_MAX_BYTES=str(UPLOAD_MAX), TMPDIR=str(folder), BASE_PATH="/rill"
    )
    made.url += "/rill"
    yield made
    made.stop()


@pytest.fixture
def kept(server: LiveServer) -> Iterator[None]:
    """In the end neither the folder for temporary files nor a file without a name there has anything of it."""
    folder = Path(server.environment()["TMPDIR"])
    before = {path.name for path in folder.iterdir()}
    yield
    end = time.monotonic() + 30
    while (unnamed := unnamed_bytes(server.pid, folder)) or {path.name for path in folder.iterdir()} - before:
        assert time.monotonic() < end, (unnamed, list(folder.iterdir()))
        time.sleep(0.05)


def unnamed_bytes(pid: int, folder: Path) -> int:
    """Bytes of deleted files below a folder that a process has open."""
    total = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
            if target.startswith(str(folder)) and target.endswith("(deleted)"):
                total += link.stat().st_size
        except FileNotFoundError:
            continue
    return total


def begin(server: LiveServer, path: str, *lines: str) -> socket.socket:
    """A connection on which the head of a POST was sent."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    path = urlsplit(server.url).path + path
    head = "\r\n".join([f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines, "", ""])
    connection.sendall(head.encode())
    return connection


def answer(connection: socket.socket) -> tuple[int, str]:
    said = http.client.HTTPResponse(connection, method="POST")
    said.begin()
    assert said.headers["Connection"] == "close"
    return said.status, said.read().decode()


def pieces(size: int) -> Iterable[bytes]:
    for _ in range(size // MB):
        yield b"x" * MB
    yield b"x" * (size % MB)


def send(server: LiveServer, path: str, body: bytes, **headers: str) -> tuple[int, str, str]:
    """Status, where it ended, and text of the answer, as a browser would have it: sent whole, then read."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.open(server.login_url, timeout=60).read()
    token = next(cookie.value or "" for cookie in jar if cookie.name == "rillbook-csrf")
    headers |= {"Origin": server.url.removesuffix("/rill"), "X-CSRFToken": token}
    request = urllib.request.Request(server.url + path, body, headers, method="POST")
    try:
        with opener.open(request, timeout=60) as said:
            return said.status, said.url, said.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.url, error.read().decode()


def bring(server: LiveServer, *sizes: int) -> tuple[int, str, str]:
    """Import notebook files of these sizes."""
    body = b""
    for number, size in enumerate(sizes):
        head = f'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="n{number}.ipynb"\r\n\r\n'
        body += head.encode() + NOTEBOOK.ljust(size) + b"\r\n"
    kind = "multipart/form-data; boundary=b0undary"
    return send(server, "/notebooks/import/", body + b"--b0undary--\r\n", **{"Content-Type": kind})


def test_the_import_pages_address_is_the_one_that_takes_files():
    assert reverse("notebook_import").endswith(bodies.IMPORT_PATH)


@pytest.mark.parametrize("path", [LOGIN, "/notebooks/import/", "/api/v1/notebooks/", "/no/such/page/", "/health"])
def test_a_length_over_the_bound_is_refused_before_anything_is_sent(server: LiveServer, kept: None, path: str):
    with begin(server, path, "Content-Length: 5000000000") as connection:
        status, text = answer(connection)
        assert (status, "more than the" in text) == (413, True)
    with begin(server, path, "Content-Length: 5000000000", "Expect: 100-continue") as connection:
        assert answer(connection)[0] == 413
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("path", "limit", "line"),
    [(LOGIN, bodies.PAGE_BYTES, NAMED), (API, UPLOAD_MAX, NAMED), (API, bodies.PAGE_BYTES, "Cookie: other=1")],
)
def test_a_body_in_chunks_without_an_end_is_refused_and_cut_off(
    server: LiveServer, kept: None, path: str, limit: int, line: str
):
    folder = Path(server.environment()["TMPDIR"])
    before = most = resident(server.pid)
    sent = on_disk = 0
    with begin(server, path, line, "Transfer-Encoding: chunked") as connection:
        try:
            while sent < 2 * DRAIN_BYTES:
                connection.sendall(CHUNK)
                sent += len(CHUNK)
                if sent // len(CHUNK) % 32 == 0:
                    most = max(most, resident(server.pid))
                    on_disk = max(on_disk, unnamed_bytes(server.pid, folder))
        except OSError:
            pass
    assert limit < sent < limit + DRAIN_BYTES + SYSTEM_BYTES
    assert most - before < 16 * MB
    assert on_disk <= limit


def test_who_sends_in_chunks_hears_the_refusal(server: LiveServer, kept: None):
    with begin(server, API, NAMED, "Transfer-Encoding: chunked") as connection:
        for _ in range(UPLOAD_MAX // 65536 + 64):
            connection.sendall(CHUNK)
        status, text = answer(connection)
        assert (status, json.loads(text)["error"]["code"]) == (413, "too_large")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1) == b""  # it is over when all was sent


def test_a_browser_is_told_that_its_files_are_too_large(server: LiveServer, kept: None):
    before = resident(server.pid)
    status, _, text = bring(server, 4 * UPLOAD_MAX)
    assert (status, text) == (413, bodies.refusal_of(UPLOAD_MAX + bodies.FORM_BYTES))
    assert bring(server, UPLOAD_MAX // 2, UPLOAD_MAX)[0] == 413  # all of them together
    status, url, text = bring(server, UPLOAD_MAX + 1)
    assert (status, url) == (200, f"{server.url}/")
    assert f"n0.ipynb: {UPLOAD_MAX + 1:,} bytes are more than the {UPLOAD_MAX:,} that can be imported." in text
    assert resident(server.pid) - before < 24 * MB


def test_what_is_just_under_the_bound_is_taken(server: LiveServer, kept: None):
    status, url, _ = bring(server, UPLOAD_MAX)
    assert (status, "/notebooks/" in url) == (200, True)
    assert bring(server, UPLOAD_MAX // 2, UPLOAD_MAX // 2 - 200)[0] == 200
    made = json.dumps({"name": "as large as can be"}).encode().ljust(UPLOAD_MAX)
    assert send(server, "/api/v1/notebooks/", made, **{"Content-Type": "application/json"})[0] == 201
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert send(server, "/notebooks/new/", b"name=x&more=".ljust(bodies.PAGE_BYTES, b"y"), **form)[0] == 200
    assert send(server, "/notebooks/new/", b"name=x&more=".ljust(bodies.PAGE_BYTES + 1, b"y"), **form)[0] == 413


def test_a_connection_goes_on_after_a_body_that_was_taken(server: LiveServer, kept: None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for size in (0, 1, 65536, 200_000, bodies.PAGE_BYTES):
        connection.request("POST", "/rill" + LOGIN, pieces(size), encode_chunked=True)
        said = connection.getresponse()
        assert said.status == 403  # no CSRF token
        said.read()
    connection.close()


def test_who_brings_neither_session_nor_token_may_send_little_to_the_api(server: LiveServer, kept: None):
    length = f"Content-Length: {bodies.PAGE_BYTES + 1}"
    with begin(server, API, length) as connection:
        assert answer(connection)[0] == 413
    for line in (NAMED, "Cookie: a=b; rillbook=unknown"):
        with begin(server, API, length, line, "Content-Type: application/json") as connection:
            connection.sendall(b"x" * (bodies.PAGE_BYTES + 1))
            said = http.client.HTTPResponse(connection, method="POST")
            said.begin()
            assert said.status in (401, 403)


def test_bodies_on_their_way_are_bounded_together(server: LiveServer, kept: None):
    folder = Path(server.environment()["TMPDIR"])
    lines = (NAMED, f"Content-Length: {UPLOAD_MAX}")
    connections = [begin(server, API, *lines) for _ in range(bodies.UNFINISHED)]
    for connection in connections:
        connection.sendall(b"x" * (UPLOAD_MAX - 1))
    held = bodies.UNFINISHED * (UPLOAD_MAX - 1)
    least = held - bodies.UNFINISHED * io.DEFAULT_BUFFER_SIZE  # a file's last bytes may be on their way to it
    end = time.monotonic() + 60
    while unnamed_bytes(server.pid, folder) < least:
        assert time.monotonic() < end
        time.sleep(0.05)
    with begin(server, API, *lines) as one_more:
        one_more.sendall(b"x" * UPLOAD_MAX)
        status, text = answer(one_more)
        assert (status, json.loads(text)["error"]["code"]) == (503, "unavailable")
    assert least <= unnamed_bytes(server.pid, folder) <= held
    for connection in connections:
        connection.close()
    while unnamed_bytes(server.pid, folder):
        assert time.monotonic() < end
        time.sleep(0.05)
    made = json.dumps({"name": "after"}).encode().ljust(UPLOAD_MAX)
    assert send(server, API, made, **{"Content-Type": "application/json"})[0] == 201


def test_a_body_that_comes_a_byte_now_and_then_is_given_up(server: LiveServer, kept: None):
    with begin(server, API, f"Content-Length: {bodies.PAGE_BYTES}") as connection:
        connection.sendall(b"x" * 100_000)
        connection.settimeout(10)
        for _ in range(10):  # a minute and a half: longer than an idle connection may be
            connection.sendall(b"x")
            if select.select([connection], [], [], 9)[0]:
                break
        status, text = answer(connection)
        assert (status, json.loads(text)["error"]["code"]) == (408, "too_slow")
        assert connection.recv(1) == b""
