"""How a web process follows a notebook whose runtime lives elsewhere, as if it lived here.

The runtime's live events come over the channel layer, numbered without gaps (relay.py). While none is missing they go
to the sockets as they are, and what rows say of states is not believed: it lags. After a loss, and when following
begins, the runtime is asked for a view (states, kernel, outputs, and the number up to which they hold).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from django.utils import timezone

from notebooks_app import db, facts, logs, output_ops, reading
from notebooks_app.models import KernelSession

if TYPE_CHECKING:
    from kernels_app.feed import NotebookFeed

log = logging.getLogger("rillbook.following")

MEND_EVERY_S = 0.25
REACH_S = 0.5  # for messages that are on their way
HELD_AT_MOST = 2_000  # messages that wait for a view
TRIES = 4

type Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What a runtime says of itself; its live events up to `number` are in it."""

    epoch: int
    number: int
    kernel: Document
    states: dict[str, Document] = field(default_factory=dict)  # all, if they were asked for
    outputs: dict[str, tuple[str, list[Document]]] = field(default_factory=dict)  # cell -> attempt, outputs
    unsaved: tuple[str, ...] = ()  # cells of which the database does not know everything


class Peers(Protocol):
    """Who reaches runtimes in other processes."""

    async def view(self, session: KernelSession, cells: Collection[str], *, with_states: bool) -> View | None:
        """None if the process that holds the lease does not answer in a moment."""


class ToldStates(Mapping[str, facts.CellState]):
    """States as another process told them."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._documents = documents

    def __getitem__(self, cell: str) -> facts.CellState:
        return facts.ToldState.of(self._documents[cell])

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)


class Following:
    """Of one feed. `is_sighted`: everything is known up to `number`, and the feed's states are the runtime's."""

    def __init__(self, feed: NotebookFeed, peers: Peers) -> None:
        self._feed = feed
        self._peers = peers
        self.epoch = 0
        self.number = 0
        self.is_sighted = False
        self.kernel: Document = {}
        self._session: KernelSession | None = None
        self._sound_seq = 0  # of what was saved up to here, no live event is missing
        self._held: list[Document] = []
        self._records: list[list[Document]] = []
        self._advanced = asyncio.Event()
        self._mender: asyncio.Task[None] | None = None
        self._mended_at = 0.0
        self._refreshers: set[asyncio.Task[None]] = set()

    # --- What happens -------------------------------------------------------------------------------------------

    def see(self, session: KernelSession | None) -> bool:
        """The lease as the database has it; whether the runtime's own word counts."""
        if session is None or not session.is_live(timezone.now()):
            if session is None or session.epoch >= self.epoch:
                self._lose_sight()
            return self.is_sighted
        if session.epoch > self.epoch or (session.epoch == self.epoch and not self.is_sighted):
            self._turn(session.epoch)
        return self.is_sighted

    def take(self, message: Document) -> None:
        """A live message, or (without events) the news of the last one's number."""
        if message["epoch"] < self.epoch:
            return  # of a runtime that was replaced
        if message["epoch"] > self.epoch:
            self._turn(message["epoch"])
        if self._is_mending or not self.is_sighted:
            self._held = [*self._held[-HELD_AT_MOST:], message]
            self._mend_soon()
        elif message["number"] == self.number + 1 and message["text"] != "[]":
            self._forward(message)
        elif message["number"] > self.number:
            self._held.append(message)
            self._mend_soon()

    def saved(self, seq: int, message: Document) -> None:
        """Something was saved: it holds what the messages up to a number told."""
        if message.get("epoch") != self.epoch or not self.is_sighted:
            return
        if self.number >= message["live"]:
            self._sound_seq = max(self._sound_seq, seq)
        else:
            asyncio.get_running_loop().call_later(REACH_S / 2, self._expect, self.epoch, message["live"])

    def doubt(self) -> None:
        """Something else was lost on the way: what was lost with it is asked for."""
        if self.is_sighted:
            self._mend_soon()

    async def look(self) -> None:
        """Begin to follow now, if there is a runtime to follow, and wait for the first view."""
        if not self.is_sighted:
            self.see(await db.read(lambda: reading.session_of(self._feed.notebook_id)))
        if self._mender is not None:
            await asyncio.wait([self._mender])

    def close(self) -> None:
        for task in (self._mender, *self._refreshers):
            if task is not None:
                task.cancel()

    # --- Outputs as they are now --------------------------------------------------------------------------------

    async def overlay(self, documents: list[Document]) -> None:
        """Give cells that carry outputs, as rows have them, those of the runtime. Afterwards they hold up to `number`:
        whoever does not wait before sending them sends all that was told, and nothing twice."""
        wanted = {document["id"]: document for document in documents if document["outputs"] is not None}
        for _ in range(TRIES):
            if not wanted or not self.is_sighted or self._session is None:
                return
            record: list[Document] = []
            self._records.append(record)
            try:
                view = await self._peers.view(self._session, list(wanted), with_states=False)
                if view is None or view.epoch != self.epoch:
                    return
                if await self._reach(view.number):
                    _put(wanted, view, record)
                    return
            finally:
                self._records.remove(record)
            await self._mended()

    async def _reach(self, number: int) -> bool:
        """Wait for messages that are on their way."""
        try:
            async with asyncio.timeout(REACH_S):
                while self.number < number:
                    self._advanced.clear()
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return True

    async def _mended(self) -> None:
        self._mend_soon()
        if self._mender is not None:
            await asyncio.wait([self._mender])

    # --- Sight --------------------------------------------------------------------------------------------------

    @property
    def _is_mending(self) -> bool:
        return self._mender is not None and not self._mender.done()

    def _turn(self, epoch: int) -> None:
        """Follow this runtime from here on."""
        if epoch != self.epoch:
            self.epoch, self.is_sighted, self._held = epoch, False, []
        self._mend_soon()

    def _lose_sight(self) -> None:
        self.is_sighted = False
        self._held = []

    def _expect(self, epoch: int, number: int) -> None:
        if epoch == self.epoch and self.number < number:
            self.doubt()

    def _mend_soon(self) -> None:
        if not self._is_mending:
            context = logs.context_of(self._feed.notebook_id)
            self._mender = asyncio.create_task(self._mend(), name="view of a runtime elsewhere", context=context)

    async def _mend(self) -> None:
        await asyncio.sleep(max(0.0, self._mended_at + MEND_EVERY_S - time.monotonic()))
        self._mended_at = time.monotonic()
        try:
            await self._take_view()
        except Exception:
            log.warning("notebook %s: its runtime could not be followed", self._feed.notebook_id, exc_info=True)
            self._lose_sight()

    async def _take_view(self) -> None:
        """See everything anew, and show the cells whose outputs may have changed unseen."""
        notebook_id, since = self._feed.notebook_id, self._sound_seq
        session = await db.read(lambda: reading.session_of(notebook_id))
        if session is None or not session.is_live(timezone.now()) or session.epoch < self.epoch:
            self._lose_sight()
            return
        if session.epoch > self.epoch:
            self.epoch, self.is_sighted, self._held = session.epoch, False, []
        self._session = session
        view = await self._peers.view(session, (), with_states=True)
        if view is None or view.epoch != self.epoch:
            self._lose_sight()
            return
        if not self.is_sighted:
            since = self._feed.seq  # until now, what was saved was read and told
        concerned = self._feed.take_view(view.states, view.kernel) | set(view.unsaved)
        self.number, self.kernel, self.is_sighted = view.number, view.kernel, True
        self._sound_seq = self._feed.seq
        self._advanced.set()
        held, self._held = self._held, []  # nothing is awaited from here on: what comes now is taken at once
        for message in held:
            if message["number"] == self.number + 1 and message["text"] != "[]":
                self._forward(message)
        if any(message["number"] > self.number for message in held):
            asyncio.get_running_loop().call_soon(self.doubt)
        self._refresh({uuid.UUID(cell) for cell in concerned}, since)

    def _refresh(self, cells: set[uuid.UUID], since: int) -> None:
        """Show these cells, and those saved since, as they are now."""

        async def show() -> None:
            ran = await db.read(lambda: reading.cells_run_since(self._feed.notebook_id, since))
            await self._feed.refresh_cells(cells | set(ran))

        task = asyncio.create_task(show(), name="cells whose events were missed", context=logs.context_of())
        self._refreshers.add(task)
        task.add_done_callback(self._refreshed)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("notebook %s: cells were not shown anew", self._feed.notebook_id, exc_info=task.exception())
            self.doubt()

    def _forward(self, message: Document) -> None:
        self.number = message["number"]
        happened: list[Document] = json.loads(message["text"])
        for record in self._records:
            record.append({"number": self.number, "events": happened})
        for event in happened:
            if event["type"] == "kernel.changed":
                self.kernel = {key: value for key, value in event.items() if key != "type"}
        self._feed.hear(happened, message["text"])
        self._advanced.set()


def _put(wanted: Mapping[str, Document], view: View, record: list[Document]) -> None:
    """The view's outputs, and what was told since."""
    attempts = {}
    for cell, (attempt, outputs) in view.outputs.items():
        attempts[cell], wanted[cell]["outputs"] = attempt, outputs
    later = (event for told in record if told["number"] > view.number for event in told["events"])
    for event in later:
        cell = event.get("cell")
        if event["type"] != "output.ops" or cell not in wanted:
            continue
        kept = wanted[cell]["outputs"] if attempts.get(cell) == event["attempt"] else []
        attempts[cell] = event["attempt"]
        wanted[cell]["outputs"] = output_ops.apply(kept, event["ops"])
