"""Writers that never give up, and the checker of what they were told: the bench of the kill loops.

A writer edits its notebook over REST or over a socket, at a person's pace, and notes what it asked and what it was
answered. Whatever goes wrong it asks again with the same operation id, until it knows. `check` holds all that against
the rows of the database: every acknowledged change is there, once, with the version and number that were told; no
refused one is; versions of a cell have no gap; what a cell holds is what its last change says.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import websockets
import websockets.exceptions

PACE_S = 0.1  # between two edits of one writer
LOST = 0.2  # share of answers that a writer throws away unread
STALE = 0.1  # share of edits on a version that is gone
ANSWER_S = 10.0  # an answer that takes longer is as good as lost


@dataclass
class Operation:
    id: str
    cell: str
    version: int  # the edit was made on
    source: str
    is_stale: bool = False
    tries: int = 0
    told_version: int | None = None
    told_seq: int | None = None
    is_refused: bool = False

    @property
    def is_known(self) -> bool:
        return self.is_refused or self.told_version is not None


class Board:
    """What is known of the cells, by all writers; and everything that they did."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.cells = list(cells)
        self.versions = dict.fromkeys(cells, 1)
        self.operations: list[Operation] = []
        self.ends = threading.Event()
        self._lock = threading.Lock()

    def next(self, name: str, dice: random.Random) -> Operation:
        """Another edit: of any cell, for the writers are meant to collide; sometimes of a version that is gone."""
        with self._lock:
            cell = dice.choice(self.cells)
            version = self.versions[cell]
            is_stale = version > 1 and dice.random() < STALE
            number = len(self.operations)
            # Text that is no code: nothing runs it, and each is one of a kind.
            made = Operation(str(uuid.uuid4()), cell, version - is_stale, f"# {name} {number}", is_stale)
            self.operations.append(made)
            return made

    def accepted(self, operation: Operation, version: int, seq: int) -> None:
        with self._lock:
            if operation.told_version is not None:  # a retry is told what the first one was
                assert (operation.told_version, operation.told_seq) == (version, seq), operation
            operation.told_version, operation.told_seq = version, seq
            self.versions[operation.cell] = max(version, self.versions[operation.cell])

    def refused(self, operation: Operation, version: int) -> None:
        with self._lock:
            assert operation.told_version is None, f"accepted and then refused: {operation}"
            operation.is_refused = True
            self.versions[operation.cell] = max(version, self.versions[operation.cell])


class Writer(threading.Thread):
    """Edits until the board ends, and then until it knows the outcome of its last edit."""

    def __init__(self, board: Board, name: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.board, self.dice = board, random.Random(seed)
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure

    def work(self) -> None:
        raise NotImplementedError


class RestWriter(Writer):
    def __init__(self, board: Board, name: str, seed: int, *, port: int, path: str, headers: dict[str, str]) -> None:
        super().__init__(board, name, seed)
        self._port, self._path, self._headers = port, path, headers

    def work(self) -> None:
        while not self.board.ends.is_set():
            operation = self.board.next(self.name, self.dice)
            while not operation.is_known:
                try:
                    self._ask(operation)
                except (OSError, http.client.HTTPException, ValueError):  # ValueError: half an answer
                    time.sleep(0.05)
            time.sleep(PACE_S)

    def _ask(self, operation: Operation) -> None:
        operation.tries += 1
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            body = {"version": operation.version, "source": operation.source, "operation_id": operation.id}
            url = f"/api/v1/{self._path}cells/{operation.cell}/"
            connection.request("PATCH", url, json.dumps(body), self._headers)
            if self.dice.random() < LOST:
                return
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status == 200:
            # The answer is the cell as it is by now, which others may have changed; the number is of our change.
            assert told["version"] > operation.version
            self.board.accepted(operation, operation.version + 1, told["seq"])
        elif answer.status == 409:
            self.board.refused(operation, told["error"]["version"])
        else:
            assert answer.status in (500, 503), (answer.status, told)
            time.sleep(0.1)


class SocketWriter(Writer):
    def __init__(self, board: Board, name: str, seed: int, *, connect: Callable[[], Any]) -> None:
        super().__init__(board, name, seed)
        self._connect = connect
        self._operation: Operation | None = None

    def work(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        while not self.board.ends.is_set() or self._operation is not None:
            try:
                async with asyncio.timeout(60), self._connect() as socket:
                    await self._edit(socket)
            except (OSError, TimeoutError, websockets.exceptions.WebSocketException):
                await asyncio.sleep(0.05)

    async def _edit(self, socket: Any) -> None:
        await socket.send(json.dumps({"type": "hello", "id": 0, "cursor": None}))
        while not self.board.ends.is_set() or self._operation is not None:
            if self._operation is None:
                self._operation = self.board.next(self.name, self.dice)
            await self._ask(socket, self._operation)
            if self._operation.is_known:
                self._operation = None
                await asyncio.sleep(PACE_S)

    async def _ask(self, socket: Any, operation: Operation) -> None:
        operation.tries += 1
        known = {"cell": operation.cell, "version": operation.version, "operation_id": operation.id}
        await socket.send(json.dumps({"type": "edit", "id": operation.tries, **known, "source": operation.source}))
        if self.dice.random() < LOST:
            socket.transport.abort()
            raise OSError("the answer is lost")
        async with asyncio.timeout(ANSWER_S):
            frame: dict[str, Any] = {}
            while frame.get("type") != "reply" or frame["id"] != operation.tries:
                frame = json.loads(await socket.recv())
        if frame["ok"]:
            self.board.accepted(operation, frame["version"], frame["seq"])
        elif frame["error"]["code"] == "conflict":
            self.board.refused(operation, frame["error"]["version"])
        else:
            assert frame["error"]["code"] == "unavailable", frame
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Told:
    """How it went, for a report."""

    accepted: int
    refused: int
    retried: int


def check(board: Board, changes: list[tuple[int, str, str, int]], stored: dict[str, tuple[int, str]]) -> Told:
    """Hold the writers' history against the log, `changes` = (seq, operation, cell, version) in the log's order,
    and against the cells, `stored` = {cell: (version, source)}."""
    made = {operation.id: operation for operation in board.operations}
    numbers = [seq for seq, *_ in changes]
    assert numbers == sorted(set(numbers)), "the order of the log is not one"
    logged = [operation for _, operation, _, _ in changes]
    assert len(logged) == len(set(logged)), "an operation was applied twice"
    assert set(logged) <= set(made), "a change that nobody made"
    rows = {operation: (seq, cell, version) for seq, operation, cell, version in changes}
    for operation in board.operations:
        if operation.is_refused:
            assert operation.id not in rows, f"refused, and yet applied: {operation}"
        else:
            told = (operation.told_seq, operation.cell, operation.told_version)
            assert rows.get(operation.id) == told, f"acknowledged, and not in the log as told: {operation}"
            assert operation.told_version == operation.version + 1, f"a stale edit was accepted: {operation}"
    versions: dict[str, list[int]] = defaultdict(list)
    last: dict[str, str] = {}
    for _, operation, cell, version in changes:
        versions[cell].append(version)
        last[cell] = made[operation].source
    for cell, found in versions.items():
        assert found == list(range(2, len(found) + 2)), f"versions of {cell} have gaps or repeat: {found}"
        assert stored[cell] == (len(found) + 1, last[cell]), "a cell does not hold its last change"
    return Told(
        accepted=len(changes),
        refused=sum(operation.is_refused for operation in board.operations),
        retried=sum(operation.tries > 1 for operation in board.operations),
    )
