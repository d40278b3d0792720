"""Databases that are killed, cut off and asked behind the server's back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from scripts.with_postgres import find_binaries, free_port, wait_ready
from tests import wires

# Rows of the log of changes and cells, as no part of ours reads them.
LOG = """SELECT seq, operation_id, cell_id, event, notebook_id FROM notebooks_app_change
         WHERE kind = 'cell.edited' ORDER BY seq"""
CELLS = "SELECT id, version, source FROM notebooks_app_cell"


class Postgres:
    """A server that may be killed: what it acknowledged is written, as in production, but for the disk itself."""

    def __init__(self) -> None:
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="rillbook-pg-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self.url = f"postgresql://rillbook@127.0.0.1:{self.port}/postgres"
        self._programs = find_binaries()
        initdb = [
            self._programs / "initdb", "-D", self.folder / "data", "-U", "rillbook", "-A", "trust", "-E", "UTF8",
            "--no-sync", "--no-locale",
        ]  # fmt: skip
        subprocess.run(initdb, user=self._user, cwd=self.folder, check=True, capture_output=True)
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and return when it answers: after a kill it recovers first."""
        command = [
            self._programs / "postgres", "-D", self.folder / "data", "-h", "127.0.0.1", "-p", str(self.port),
            "-k", self.folder, "-c", "fsync=off", "-c", "max_connections=100",
        ]  # fmt: skip
        with (self.folder / "log").open("a") as log:
            self._server = subprocess.Popen(command, user=self._user, cwd=self.folder, stdout=log, stderr=log)
        wait_ready(self._programs, self.port, self._server)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, wherever they are."""
        assert self._server is not None
        pids = [self._server.pid, *_children(self._server.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait(10)
        while any(Path(f"/proc/{pid}").exists() for pid in pids[1:]):
            time.sleep(0.01)

    def restart(self) -> None:
        """In order, as an upgrade does it: sessions are told and ended."""
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        self._server.wait(30)
        self.start()

    def close(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(10)
        self._server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rows(where: str | Path, query: str) -> list[tuple[Any, ...]]:
    """The answer of PostgreSQL (a URL) or SQLite (a file)."""
    if isinstance(where, Path):
        with contextlib.closing(sqlite3.connect(where)) as connection:
            return list(connection.execute(query))
    with psycopg.connect(where, autocommit=True) as database:
        return list(database.execute(query))  # type: ignore[arg-type]


def edits(where: str | Path, notebook: str) -> list[tuple[int, str, str, int]]:
    """(seq, operation id, cell id, version) of every edit in a notebook's log."""
    found = []
    for seq, operation, cell, event, of_notebook in rows(where, LOG):
        if _id(of_notebook) != notebook:
            continue
        known = json.loads(event) if isinstance(event, str) else event
        found.append((seq, _id(operation), _id(cell), known["version"]))
    return found


def cells(where: str | Path) -> dict[str, tuple[int, str]]:
    """{cell id: (version, source)}"""
    return {_id(cell): (version, source) for cell, version, source in rows(where, CELLS)}


def _id(value: Any) -> str:
    text = str(value)
    if len(text) == 32:
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return text


class Wire(wires.Wire):
    """To the database: one that can also swallow what is sent, for ever, and close a connection at the very COMMIT."""

    def __init__(self, port: int) -> None:
        self._at_commit = ""
        self.commits_cut = 0
        super().__init__(port)

    def swallow(self) -> None:
        """From now on connections are taken, and so is what they send; nobody answers, for ever."""
        self._flows.clear()

    def flow(self) -> None:
        """New connections are relayed again. Old ones stay mute."""
        self._flows.set()

    def cut_next_commit(self, *, arrives: bool) -> None:
        """Close the connection of the next COMMIT, before the database gets it or just after."""
        self._at_commit = "after" if arrives else "before"

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        is_mute = threading.Event()
        threading.Thread(target=self._ask, args=(near, far, is_mute), daemon=True).start()
        threading.Thread(target=self._answer, args=(far, near, is_mute), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, is_mute: threading.Event) -> None:
        """From the server to the database, up to the COMMIT that is to be cut."""
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                if self._at_commit and b"COMMIT" in data:
                    where, self._at_commit = self._at_commit, ""
                    self.commits_cut += 1
                    if where == "after":  # it is carried out, and nobody is told
                        is_mute.set()
                        far.sendall(data)
                        time.sleep(0.2)
                    break
                if self._is_swallowed(is_mute):
                    continue
                far.sendall(data)
        wires.close(near, far)

    def _answer(self, far: socket.socket, near: socket.socket, is_mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if not self._is_swallowed(is_mute):
                    near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)

    def _is_swallowed(self, is_mute: threading.Event) -> bool:
        if not self._flows.is_set():
            is_mute.set()
        return is_mute.is_set()
