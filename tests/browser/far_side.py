"""The far side of the notebook page's socket, for tests of the page alone: it keeps cells by the rules of
docs/architecture.md, section 4, and lets a test play the kernel and other people. The real server has its own
tests.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from playwright.sync_api import WebSocketRoute

from notebooks_app import rendering

type Cell = dict[str, Any]

STATE: dict[str, Any] = {
    "status": "idle", "freshness": "new", "loaded": False, "place": None, "errors": [], "blocked_by": [],
    "disabled_by": [], "stale_because": None, "attempt": None, "outcome": None, "started_at": None,
    "finished_at": None, "duration_ms": None, "execution_count": None, "reason": None, "warnings": [],
}  # fmt: skip


def cell(source: str, kind: str = "python", *, outputs: list[Any] | None = None, **state: Any) -> Cell:
    known = {"id": str(uuid.uuid4()), "type": kind, "source": source, "version": 1, "result_name": ""}
    plain = {"connection": None, "disabled": False, "code_hidden": False, "definitions": [], "references": []}
    return known | plain | {"state": STATE | state, "outputs": outputs or []}


def drawn(number: int, one: Cell) -> Cell:
    """A cell as the page's view hands it to the templates."""
    more = {"number": number, "far": False, "source_html": rendering.highlight(one["source"], one["type"])}
    if one["type"] == "markdown":
        more["markdown_html"] = rendering.markdown_html(one["source"])
    return one | more


def apply_changes(text: str, changes: list[Any]) -> str:
    """The text after a change set; texts of tests are of the basic plane, where a character is one unit."""
    parts, at = [], 0
    for part in changes:
        if isinstance(part, int):
            parts.append(text[at : at + part])
            at += part
        else:
            parts.append("\n".join(part[1:]))
            at += part[0]
    assert at == len(text), "a change set for another text"
    return "".join(parts)


class FarSide:
    def __init__(self, cells: list[Cell]) -> None:
        self.cells = cells
        self.seq = 0
        self.log: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        self.sockets: list[WebSocketRoute] = []
        self.is_down = False
        self.binned: list[tuple[int, Cell]] = []

    # --- What tests do ---

    def of(self, cell_id: str) -> Cell:
        return next(one for one in self.cells if one["id"] == cell_id)

    def asked_for(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.asked if message["type"] == kind]

    def live(self, *events: dict[str, Any]) -> None:
        self._send({"type": "events", "seq": None, "events": list(events)})

    def set_state(self, one: Cell, **state: Any) -> None:
        one["state"] = one["state"] | state
        self.live({"type": "cells.state", "states": {one["id"]: one["state"]}})

    def print_text(self, one: Cell, attempt: str, text: str, start: int = 0) -> None:
        op = {"op": "text", "item": 0, "name": "stdout", "from": start, "text": text}
        self.live({"type": "output.ops", "cell": one["id"], "attempt": attempt, "ops": [op]})

    def another_types(
        self, one: Cell, *, changes: list[Any] | None = None, source: str | None = None
    ) -> None:
        one["source"] = apply_changes(one["source"], changes) if changes else source
        one["version"] += 1
        self._announce(
            "cell.edited",
            cell=one["id"],
            version=one["version"],
            changes=changes,
            source=source,
            author="Ben",
        )

    def go_down(self) -> None:
        """Drops every connection and takes no new one until `is_down` is False."""
        self.is_down = True
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()

    # --- The wire ---

    def connect(self, socket: WebSocketRoute) -> None:
        if self.is_down:
            socket.close()
            return
        socket.on_message(lambda text: self._receive(socket, json.loads(text)))

    def _receive(self, socket: WebSocketRoute, message: dict[str, Any]) -> None:
        if message["type"] == "ack" or self.is_down:
            return
        self.asked.append(message)
        command: Callable[..., Any] = getattr(self, f"_{message['type']}", lambda **_: {})
        answer = command(
            socket=socket, **{key: value for key, value in message.items() if key not in ("type", "id")}
        )
        socket.send(json.dumps({"type": "reply", "id": message["id"], "ok": "error" not in answer} | answer))
        while self.log and self.seq < self.log[-1][0]:
            self.seq += 1
            event = next(event for seq, event in self.log if seq == self.seq)
            self._send({"type": "events", "seq": self.seq, "events": [event]})

    def _hello(self, socket: WebSocketRoute, cursor: int | None, **_: Any) -> dict[str, Any]:
        missed = [event for seq, event in self.log if seq > (cursor or 0)]
        people = [{"id": 1, "name": "Maya Kern", "initials": "MK", "color": 1, "cell": None}]
        socket.send(
            json.dumps({"type": "catch_up", "seq": self.seq, "events": missed, "cells": [], "people": people})
        )
        self.sockets.append(socket)
        return {}

    def _edit(
        self, cell: str, version: int, changes: list[Any], operation_id: str, **_: Any
    ) -> dict[str, Any]:
        one = self.of(cell)
        known = next((event for _, event in self.log if event.get("operation_id") == operation_id), None)
        if known:
            return {"version": known["version"]}
        if version != one["version"]:
            since = [
                event for _, event in self.log if event.get("cell") == cell and event["version"] > version
            ]
            return {"error": {"code": "conflict", "message": "The cell has changed.", "since": since}}
        one["source"] = apply_changes(one["source"], changes)
        one["version"] += 1
        self._record(
            "cell.edited",
            cell=cell,
            version=one["version"],
            changes=changes,
            source=None,
            operation_id=operation_id,
        )
        return {"version": one["version"]}

    def _insert(
        self, cell: str, after: str | None, cell_type: str, source: str = "", **_: Any
    ) -> dict[str, Any]:
        one = globals()["cell"](source, cell_type) | {"id": cell}
        self.cells.insert(self._place(after), one)
        self._record("cell.inserted", cell=dict(one), after=after)
        return {"version": 1}

    def _delete(self, cells: list[str], **_: Any) -> dict[str, Any]:
        self.binned = [(at, one) for at, one in enumerate(self.cells) if one["id"] in cells]
        self.cells = [one for one in self.cells if one["id"] not in cells]
        self._record("cell.deleted", cells=cells)
        return {}

    def _undo(self, **_: Any) -> dict[str, Any]:
        inserted = []
        for at, one in self.binned:
            inserted.append(
                {
                    "type": "cell.inserted",
                    "cell": dict(one),
                    "after": self.cells[at - 1]["id"] if at else None,
                }
            )
            self.cells.insert(at, one)
        self._record("cells.restored", inserted=inserted)
        return {}

    def _move(self, cells: list[str], after: str | None, **_: Any) -> dict[str, Any]:
        moving = [one for one in self.cells if one["id"] in cells]
        self.cells = [one for one in self.cells if one["id"] not in cells]
        at = self._place(after)
        self.cells[at:at] = moving
        self._record("cell.moved", cells=cells, after=after)
        return {}

    def _update(self, cell: str, fields: dict[str, Any], **_: Any) -> dict[str, Any]:
        one = self.of(cell)
        one.update(fields, version=one["version"] + 1)
        self._record("cell.updated", cell=cell, version=one["version"], fields=fields)
        return {"version": one["version"]}

    def _cells(self, cells: list[str], **_: Any) -> dict[str, Any]:
        return {"cells": [self.of(one) for one in cells]}

    def _variables(self, **_: Any) -> dict[str, Any]:
        return {"variables": []}

    def _complete(self, source: str, cursor: int, **_: Any) -> dict[str, Any]:
        start = cursor
        while start and source[start - 1].isidentifier():
            start -= 1
        return {"matches": [{"text": "orders", "type": "instance"}], "from": start, "to": cursor}

    def _place(self, after: str | None) -> int:
        return next((at + 1 for at, one in enumerate(self.cells) if one["id"] == after), 0)

    def _record(self, kind: str, **fields: Any) -> None:
        """Logs an event; it is sent after the reply of its command."""
        seq = self.log[-1][0] + 1 if self.log else 1
        self.log.append((seq, {"type": kind, "author": "Maya Kern", **fields}))

    def _announce(self, kind: str, **fields: Any) -> None:
        self._record(kind, **{"operation_id": str(uuid.uuid4()), **fields})
        self.seq = self.log[-1][0]
        self._send({"type": "events", "seq": self.seq, "events": [self.log[-1][1]]})

    def _send(self, frame: dict[str, Any]) -> None:
        for socket in self.sockets:
            socket.send(json.dumps(frame))
