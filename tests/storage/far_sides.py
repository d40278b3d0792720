"""Storages as outputs may find them: a real S3 server, and servers and folders that do not take anything."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from notebooks_app.output_folder import OutputFolder
from scripts.with_postgres import free_port

DENIED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"""
FULL_AT_BYTES = 16 * 1024


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """moto's S3 server as a process of its own; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("moto's server did not start")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


class MuteServer:
    """Accepts connections and never answers; `takes` so many bytes of each request, and agrees to be sent it."""

    def __init__(self, takes: int = 0) -> None:
        self._takes = takes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not taken stays with its sender
        self.accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one = self._socket.accept()[0]
                self.accepted.append(one)
                if self._takes:
                    threading.Thread(target=self._take, args=(one,), daemon=True).start()

    def _take(self, one: socket.socket) -> None:
        """The beginning of an upload, and then no more of it."""
        with contextlib.suppress(OSError):
            left = self._takes - len(one.recv(8192))
            one.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left > 0 and (data := one.recv(min(left, 8192))):
                left -= len(data)

    def close(self) -> None:
        self._socket.close()
        for one in self.accepted:
            one.close()


class _Denying(BaseHTTPRequestHandler):
    def _deny(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(DENIED)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(DENIED)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _deny

    def log_message(self, *args: object) -> None:
        """Silent."""


@contextlib.contextmanager
def denying_server() -> Iterator[str]:
    """Answers 403 to everything, as S3 does without permission."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Denying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class FullFolder(OutputFolder):
    """A folder in which the system writes no file beyond FULL_AT_BYTES, as on a disk that is full."""

    def _save(self, name: str, content: Any) -> str:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT_BYTES, before[1]))
        try:
            return super()._save(name, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
