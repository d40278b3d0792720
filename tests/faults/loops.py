"""A server under edits and runs: the bench of the kill loops, held against its history at the end."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websockets

from tests.faults.database import Postgres, cells, edits
from tests.faults.history import Board, RestWriter, SocketWriter, Told, Writer, check
from tests.faults.test_processes import TICKS, children, is_alive, make, text, until
from tests.servers import Api, LiveServer

CELLS = 6


@dataclass
class Loop:
    """A server under edits and runs, and what is needed to hold it against its history."""

    server: LiveServer
    database: str | Path
    seed: int = field(default_factory=lambda: random.randrange(10**6))
    api: Api = field(init=False)
    path: str = field(init=False)
    board: Board = field(init=False)
    ticking: str = field(init=False)
    writers: list[Writer] = field(init=False)
    ready_s: list[float] = field(default_factory=list)

    @property
    def logged(self) -> list[tuple[int, str, str, int]]:
        return edits(self.database, self.path.split("/")[1])

    def __post_init__(self) -> None:
        print(f"seed {self.seed}")
        self.dice = random.Random(self.seed)
        self.api = self.server.api()
        self.path, made = make(self.api, TICKS, *["# empty"] * CELLS)
        self.ticking = made[0]
        self.board = Board(made[1:])
        cookies = self.server.sign_in().items()
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies)}
        address = f"ws://127.0.0.1:{self.server.port}/ws/{self.path}"

        def connect() -> Any:
            return websockets.connect(
                address, origin=self.server.url, additional_headers=headers, max_size=None, open_timeout=10
            )  # type: ignore[arg-type]

        rest = {"port": self.server.port, "path": self.path, "headers": self.api.headers}
        self.writers = [
            RestWriter(self.board, "rest 1", self.seed + 1, **rest),
            RestWriter(self.board, "rest 2", self.seed + 2, **rest),
            SocketWriter(self.board, "socket 1", self.seed + 3, connect=connect),
            SocketWriter(self.board, "socket 2", self.seed + 4, connect=connect),
        ]
        for writer in self.writers:
            writer.start()

    def run_something(self) -> None:
        """A cell that would run for ever runs, and has said something."""
        status, body = self.api("POST", f"{self.path}runs/", {"cells": [self.ticking]})
        assert status == 202, body
        until(lambda: self._ticks(body["run"]["id"]))

    def _ticks(self, run: str) -> bool:
        status, notebook = self.api("GET", self.path)
        if status != 200:  # the database came back a moment ago
            return False
        cell = notebook["cells"][0]
        status, known = self.api("GET", f"{self.path}runs/{run}/")  # not found until it is saved
        return status == 200 and bool(known["order"]) and cell["status"] == "running" and "tick" in text(cell)

    def kill_server(self) -> None:
        """SIGKILL, and all that it had started is gone; start again, and nothing runs."""
        below = children(self.server.pid)
        self.server.kill()
        until(lambda: not [pid for pid in below if is_alive(pid)], 10)
        started = time.monotonic()
        self.server.start()
        self.ready_s.append(time.monotonic() - started)
        found = self.api("GET", f"{self.path}?outputs=0&sources=0")[1]
        assert {cell["status"] for cell in found["cells"]} == {"idle"}
        runs = self.api("GET", f"{self.path}runs/?limit=200")[1]["results"]
        assert None not in {run["run"]["outcome"] for run in runs}, "a run is left open"

    def finish(self) -> Told:
        """Let the writers end and hold their history against the database."""
        self.board.ends.set()
        for writer in self.writers:
            writer.join(90)
            assert not writer.is_alive(), f"{writer.name} knows nothing of its last edit"
            if writer.failure is not None:
                raise writer.failure
        return check(self.board, self.logged, cells(self.database))

    def kill_database(self, postgres: Postgres) -> None:
        """At a random point; it is back before anyone gives up, and the server takes edits again by itself."""
        time.sleep(self.dice.uniform(0.3, 1.0))
        postgres.kill()
        time.sleep(self.dice.uniform(0, 0.5))
        postgres.start()
        known = len(self.logged)
        until(lambda: len(self.logged) > known)
