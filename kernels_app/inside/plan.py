"""The plan: cells in order, amended while it runs, each reported as it starts and ends.

Which cells are in it is the server's choice; how one cell runs is cells.py's. A plan stops at an interrupt
and tells what it left. See docs/architecture.md, section 5.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from typing import Any

from . import attempts, interrupt
from .cells import CellRunner, Item

LONG_CELL_S = 0.016
BREATHE_S = 0.02
ENDS_KEPT = 10_000  # attempts


class Plan:
    """Cells that wait, under a lock: the runner takes from the front, amendments come from the control
    thread.
    """

    def __init__(self, id: str, items: list[Item]) -> None:
        self.id = id
        self.stopped = False
        self._items = deque(items)
        self._over = False
        self._lock = threading.Lock()

    @interrupt.masked
    def take(self) -> Item | None:
        """The next cell to run; None when the plan is over, and then nothing can be appended any more."""
        with self._lock:
            if self.stopped or not self._items:
                self._over = True
                return None
            return self._items.popleft()

    def left(self) -> list[str]:
        """The attempts that did not start."""
        with self._lock:
            return [item["attempt"] for item in self._items]

    def amend(self, drop: list[str], replace: list[Item], append: list[Item]) -> list[str]:
        """Change what waits. Returns the attempts it came too late for; for a plan that is over, all of
        them.
        """
        with self._lock:
            late = [attempt for attempt in drop if not self._remove(attempt)]
            late += [item["attempt"] for item in replace if not self._replace(item)]
            if self._over:
                return late + [item["attempt"] for item in append]
            self._items.extend(append)
            return late

    def _remove(self, attempt: str) -> bool:
        for item in self._items:
            if not self._over and item["attempt"] == attempt:
                self._items.remove(item)
                return True
        return False

    def _replace(self, item: Item) -> bool:
        for key in ("attempt", "cell"):
            for index, waiting in enumerate(self._items):
                if not self._over and waiting[key] == item[key]:
                    self._items[index] = item
                    return True
        return False


class PlanRunner:
    """Runs one plan at a time; `active` is the one that runs now."""

    def __init__(self, cells: CellRunner) -> None:
        self._cells = cells
        self.active: Plan | None = None
        self._ends: OrderedDict[str, tuple[Any, dict[str, Any]]] = OrderedDict()  # attempt -> version, end

    def stop(self) -> bool:
        """Start no further cell of the running plan; whether there is one. Called by every interrupt."""
        if self.active is not None:
            self.active.stopped = True
        return self.active is not None

    async def run(self, plan: Plan) -> dict[str, Any]:
        """Run the plan to its end. Returns the content of `rill_run_reply`."""
        writer = attempts.writer()
        writer.flush()
        writer.plan = plan.id
        interrupt.forget()
        self.active = plan
        finished: list[dict[str, Any]] = []
        failed: set[str] = set()
        try:
            breathed = time.perf_counter()
            while (item := plan.take()) is not None:
                entry = await self._step(item, failed)
                finished.append(entry)
                if time.perf_counter() - breathed > BREATHE_S:
                    await asyncio.sleep(0)  # tasks that cells left behind go on
                    breathed = time.perf_counter()
        finally:
            self.active = None
            interrupt.forget()
            attempts.collect()
            writer.flush()
        return {"status": "ok", "plan": plan.id, "finished": finished, "left": plan.left()}

    async def _step(self, item: Item, failed: set[str]) -> dict[str, Any]:
        if failed.intersection(item.get("needs", ())):
            entry: dict[str, Any] = {
                "t": "finished",
                "attempt": item["attempt"],
                "outcome": "skipped",
                "names": [],
                "kept": [],
                "undeclared": [],
                "duration_ms": 0,
            }
        else:
            started = time.perf_counter()
            entry = self._end_of(item) or await self._run(item)
        attempts.writer().push(entry)
        if entry["outcome"] != "ok":
            failed.add(item["attempt"])
        if entry["outcome"] == "interrupted":
            self.stop()
        if entry["outcome"] != "skipped" and time.perf_counter() - started > LONG_CELL_S:
            attempts.writer().flush()
        return entry

    async def _run(self, item: Item) -> dict[str, Any]:
        interrupt.keep()
        entry = await self._cells.run(item)
        self._ends[item["attempt"]] = (item["version"], entry)
        if len(self._ends) > ENDS_KEPT:
            self._ends.popitem(last=False)
        return entry

    def _end_of(self, item: Item) -> dict[str, Any] | None:
        """How an attempt ended that comes a second time: a cell forged the end of the plan it was in, so that the
        server gives us the rest anew. An attempt runs once; of another version than ran, nothing is known."""
        version, entry = self._ends.get(item["attempt"], (None, None))
        if entry is None or version == item["version"]:
            return entry
        return {**entry, "outcome": "interrupted", "names": [], "kept": []}
