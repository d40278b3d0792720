"""A browser without its page, for tests and benchmarks of many: connects, acknowledges, reconnects, keeps the notebook.

What is typed is sent until it is acknowledged, with the same operation id, as static/js/edits.js does; waits between
attempts are static/js/socket.js's. It keeps sources, order, name and people; of runs, what tests ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import websockets

from notebooks_app import changeset, output_ops

RECONNECT_S = 0.4
RECONNECT_MAX_S = 15.0
REPLY_S = 20.0
SILENCE_S = 20.0
ACK_BYTES = 64 * 1024
ACK_S = 1.0
FINAL_CODES = (4401, 4403, 4404)

type Document = dict[str, Any]


class Offline(Exception):
    """The connection was lost before the answer came."""


class Refused(Exception):
    """The server refused a command; `error` is what it said."""

    def __init__(self, error: Document) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error


@dataclass
class Cell:
    source: str
    version: int


class Browser:
    """One window. `async with` opens it; it stays connected, through losses, until the end."""

    def __init__(self, url: str, notebook: str, cookie: str, *, origin: str) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/ws/notebooks/{notebook}/"
        self._headers = {"Cookie": cookie}
        self._origin: Any = origin
        self._socket: Any = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Document]] = {}
        self._next = 0
        self._changed = asyncio.Event()
        self._forget_connection()
        self.seq: int | None = None
        self.name = ""
        self.cells: dict[str, Cell] = {}
        self.order: list[str] = []
        self.people: list[Document] = []
        self.window = ""
        self.is_online = False
        self.connections = self.gaps = 0
        self.code: int | None = None  # with which the server ended it for good
        self.refusals: list[Document] = []
        self.outputs: dict[str, list[Document]] = {}
        self.states: dict[str, Document] = {}
        self.analysed: dict[str, Document] = {}
        self.finished: dict[str, str] = {}
        self.events = 0
        self.bytes = 0
        self.listeners: list[Callable[[Document], None]] = []

    async def __aenter__(self) -> Browser:
        self._task = asyncio.create_task(self._live(), name="browser")
        await self.until(lambda: self.is_online or self.code is not None)
        return self

    async def __aexit__(self, *_: Any) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def until(self, is_true: Callable[[], Any], timeout_s: float = 60) -> Any:
        """Wait until something holds of what this browser knows; TimeoutError if it does not come to."""
        async with asyncio.timeout(timeout_s):
            while not (found := is_true()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def document(self) -> Document:
        """What all browsers of a notebook must agree on."""
        return {"name": self.name, "cells": [(each, self.cells[each].source) for each in self.order]}

    def windows(self) -> set[str]:
        return {window["window"] for person in self.people for window in person["windows"]}

    # --- Commands -----------------------------------------------------------------------------------------------

    async def ask(self, kind: str, **fields: Any) -> Document:
        """One command, once. Raises Offline, Refused, TimeoutError."""
        if not self.is_online:
            raise Offline
        return await self._request(kind, **fields)

    async def change(self, kind: str, **fields: Any) -> Document:
        """A change, sent again after a loss of the connection, until it is acknowledged. Raises Refused."""
        operation = str(uuid.uuid4())
        while True:
            await self.until(lambda: self.is_online, 120)
            with contextlib.suppress(Offline, TimeoutError):
                return await self._request(kind, operation_id=operation, **fields)

    async def edit(self, cell: str, rewrite: Callable[[str], str]) -> Document:
        """Rewrite a cell's text; after a conflict what the others wrote is rewritten. Returns once acknowledged."""
        while True:
            version, source = self.cells[cell].version, rewrite(self.cells[cell].source)
            try:
                reply = await self.change("edit", cell=cell, version=version, source=source)
                if reply["version"] == self.cells[cell].version + 1 == version + 1:
                    self.cells[cell] = Cell(source, version + 1)  # the event, which may come later, changes nothing
                return reply
            except Refused as refused:
                if refused.error["code"] != "conflict":
                    self.refusals.append(refused.error)
                    raise
                self._learn(cell, refused.error)
                await self.until(lambda version=version: self.cells[cell].version > version)

    def _learn(self, cell: str, conflict: Document) -> None:
        """What a conflict says of the cell, ahead of its number."""
        for event in conflict.get("since", ()):
            if event["version"] == self.cells[cell].version + 1:
                self._apply(event)
        if conflict.get("source") is not None and conflict.get("version"):
            self.cells[cell] = Cell(conflict["source"], conflict["version"])

    async def _request(self, kind: str, **fields: Any) -> Document:
        self._next += 1
        number, socket = self._next, self._socket
        future: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await socket.send(json.dumps({"type": kind, "id": number, **fields}))
            reply = await asyncio.wait_for(future, REPLY_S)
        except websockets.ConnectionClosed:
            if socket is self._socket:  # who tries again waits, or `_live` would never hear of it
                self.is_online = False
            raise Offline from None
        finally:
            self._waiting.pop(number, None)
        if not reply["ok"]:
            raise Refused(reply["error"])
        return reply

    # --- Connection ---------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        failures = 0
        while self.code is None:
            try:
                async with websockets.connect(
                    self._url, origin=self._origin, additional_headers=self._headers, max_size=None,
                    open_timeout=SILENCE_S, ping_interval=None, close_timeout=2, compression=None, proxy=None,
                ) as socket:  # fmt: skip
                    self._forget_connection()
                    self._socket = socket
                    self.connections += 1
                    await self._listen(socket)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                code = error.rcvd.code if isinstance(error, websockets.ConnectionClosed) and error.rcvd else None
                self.code = code if code in FINAL_CODES else None
            if self.is_online:
                failures = 0
            self._lose()
            if self.code is None:
                full = min(RECONNECT_MAX_S, RECONNECT_S * 2**failures)
                await asyncio.sleep(full / 2 + full / 2 * random.random())
                failures += 1

    async def _listen(self, socket: Any) -> None:
        greeting = asyncio.create_task(self._hello())
        acknowledging = asyncio.create_task(self._acknowledge(socket))
        try:
            while True:
                text = await asyncio.wait_for(socket.recv(), SILENCE_S)
                self._received += len(text) if text.isascii() else len(text.encode())
                self._take(json.loads(text))
                self._changed.set()
                if self._received - self._acknowledged >= ACK_BYTES:
                    await self._acknowledge_now(socket)
        finally:
            greeting.cancel()
            acknowledging.cancel()

    async def _hello(self) -> None:
        with contextlib.suppress(Offline, TimeoutError, Refused):
            reply = await self._request("hello", cursor=self.seq, lost=False)
            self.window = reply["window"]
            self.is_online = True
            self._changed.set()

    async def _acknowledge(self, socket: Any) -> None:
        while True:
            await asyncio.sleep(ACK_S)
            if self._received > self._acknowledged:
                with contextlib.suppress(websockets.ConnectionClosed):
                    await self._acknowledge_now(socket)

    async def _acknowledge_now(self, socket: Any) -> None:
        self._acknowledged = self._received
        await socket.send(json.dumps({"type": "ack", "bytes": self._received}))

    def _lose(self) -> None:
        self.is_online = False
        self.bytes += self._received
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Offline())
        self._changed.set()

    def _forget_connection(self) -> None:
        self._received = self._acknowledged = self._parts = 0
        self._greeting: Document | None = None

    # --- What is told -------------------------------------------------------------------------------------------

    def _take(self, frame: Document) -> None:
        kind = frame["type"]
        if kind == "reply":
            future = self._waiting.get(frame["id"])
            if future is not None and not future.done():
                future.set_result(frame)
        elif kind in ("snapshot", "catch_up"):
            self._greeting, self._parts = frame, frame.get("more", 0)
        elif kind == "part" and self._greeting is not None:
            self._greeting["cells"] += frame.get("cells", [])
            self._greeting.setdefault("states", {}).update(frame.get("states", {}))
            self._parts -= 1
        elif kind == "events":
            self._take_events(frame)
        elif kind == "resync" or (kind == "heartbeat" and self.is_online and frame["seq"] > (self.seq or 0)):
            self._ask_again()
        if self._greeting is not None and not self._parts:
            greeting, self._greeting = self._greeting, None
            self._greeted(greeting)

    def _ask_again(self) -> None:
        if self.is_online:
            self.is_online = False
            self.gaps += 1
            self._again = asyncio.create_task(self._hello())

    def _greeted(self, greeting: Document) -> None:
        if greeting["type"] == "snapshot":
            self.cells = {each["id"]: Cell(each["source"], each["version"]) for each in greeting["cells"]}
            self.order = [each["id"] for each in greeting["cells"]]
        else:
            for event in greeting["events"]:
                self._apply(event)
        for each in greeting["cells"]:
            if each.get("outputs") is not None:
                self.outputs[each["id"]] = each["outputs"]
            self.states[each["id"]] = each["state"]
        self.states |= greeting.get("states", {})
        self.seq, self.name, self.people = greeting["seq"], greeting["notebook"]["name"], greeting["people"]

    def _take_events(self, frame: Document) -> None:
        seq = frame["seq"]
        if seq is not None:
            if self.seq is None or seq <= self.seq:
                return
            if frame.get("since", seq - 1) != self.seq:
                self._ask_again()
                return
            self.seq = seq
        for event in frame["events"]:
            self.events += 1
            self._apply(event)
            for listener in self.listeners:
                listener(event)

    def _apply(self, event: Document) -> None:
        apply = getattr(self, "_on_" + event["type"].replace(".", "_"), None)
        if apply is not None:
            apply(event)

    def _on_cell_edited(self, event: Document) -> None:
        cell = self.cells.get(event["cell"])
        if cell is None or event["version"] <= cell.version:
            return
        if event.get("source") is not None:
            cell.source = event["source"]
        elif event.get("base_version", event["version"] - 1) == cell.version:
            cell.source = changeset.apply(event["changes"], cell.source)
        else:
            raise AssertionError(f"an edit from {cell.version} to {event['version']}")
        cell.version = event["version"]

    def _on_cell_updated(self, event: Document) -> None:
        if event["cell"] in self.cells:
            self.cells[event["cell"]].version = max(self.cells[event["cell"]].version, event["version"])

    def _on_cell_inserted(self, event: Document) -> None:
        cell = event["cell"]
        if cell["id"] not in self.cells:
            self.cells[cell["id"]] = Cell(cell["source"], cell["version"])
            self._place([cell["id"]], event["after"])

    def _on_cell_deleted(self, event: Document) -> None:
        self.order = [each for each in self.order if each not in event["cells"]]
        for cell in event["cells"]:
            self.cells.pop(cell, None)

    def _on_cell_moved(self, event: Document) -> None:
        self.order = [each for each in self.order if each not in event["cells"]]
        self._place(event["cells"], event["after"])

    def _on_cells_restored(self, event: Document) -> None:
        for inserted in event["inserted"]:
            self._on_cell_inserted(inserted)

    def _on_cells_placed(self, event: Document) -> None:
        for moved in event["moves"]:
            self._on_cell_moved(moved)

    def _on_notebook_renamed(self, event: Document) -> None:
        self.name = event["name"]

    def _on_notebook_restored(self, event: Document) -> None:
        for step in event["steps"]:
            self._apply(step)

    def _on_cell_analysed(self, event: Document) -> None:
        self.analysed[event["cell"]] = event

    def _on_cells_state(self, event: Document) -> None:
        self.states |= event["states"]

    def _on_cell_refreshed(self, event: Document) -> None:
        self.outputs[event["cell"]["id"]] = event["cell"]["outputs"]

    def _on_output_ops(self, event: Document) -> None:
        self.outputs[event["cell"]] = output_ops.apply(self.outputs.get(event["cell"], []), event["ops"])

    def _on_run_finished(self, event: Document) -> None:
        self.finished[event["run"]] = event["outcome"]

    def _on_presence_changed(self, event: Document) -> None:
        self.people = event["people"]

    def _on_presence_moved(self, event: Document) -> None:
        moved = {window["window"]: window for window in event["windows"]}
        for person in self.people:
            person["windows"] = [moved.get(window["window"], window) for window in person["windows"]]

    def _place(self, cells: list[str], after: str | None) -> None:
        at = self.order.index(after) + 1 if after is not None else 0
        self.order[at:at] = cells


async def agree(browsers: list[Browser], timeout_s: float = 30) -> Document:
    """Wait until all browsers show the same, of the same number; that document."""
    until = time.monotonic() + timeout_s
    while True:
        documents = [(each.seq, each.document()) for each in browsers]
        if all(each.is_online for each in browsers) and all(each == documents[0] for each in documents):
            return documents[0][1]
        if time.monotonic() > until:
            raise AssertionError(f"they do not agree: {documents}")
        await asyncio.sleep(0.05)
