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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from notebooks_app import db, facts, logs, output_ops, reading
from notebooks_app.models import KernelSession

if TYPE_CHECKING:
    from kernels_app.feed import NotebookFeed

log = logging.getLogger("rillbook.following")

MEND_EVERY_S = 0.25
REACH_S = 0.5  # for messages that are on their way
HELD_AT_MOST = 2_000  # messages that wait for a view
TRIES = 4
ROUNDS = 8

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
        self._seen = 0  # the number of the last view that was taken as a whole
        self.is_sighted = False
        self.kernel: Document = {}
        self._session: KernelSession | None = None
        self._sound_seq = 0  # of what was saved up to here, no live event is missing
        self._held: list[Document] = []
        self._asked: list[_Asked] = []
        self._advanced = asyncio.Event()
        self._mender: asyncio.Task[None] | None = None
        self._mended_at = 0.0

    # --- What happens -------------------------------------------------------------------------------------------

    def see(self, session: KernelSession | None) -> bool:
        """The lease as the database has it; whether the runtime's own word counts."""
        if session is None or not session.is_live():
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
        if self._mender is not None:
            self._mender.cancel()

    # --- Outputs as they are now --------------------------------------------------------------------------------

    async def overlay(self, documents: list[Document]) -> None:
        """Give cells that carry outputs, as rows have them, those of the runtime. Afterwards they hold up to `number`:
        whoever does not wait before sending them sends all that was told, and nothing twice."""
        asked = _Asked({document["id"]: document for document in documents if document["outputs"] is not None})
        if not asked.cells:
            return
        self._asked.append(asked)
        try:
            for _ in range(TRIES):
                if not self.is_sighted or self._session is None:
                    return
                view = await self._peers.view(self._session, list(asked.cells), with_states=False)
                if view is None or view.epoch != self.epoch:
                    self._lose_sight()  # rows are shown, and nothing is added to them before the next view
                    self._mend_soon()
                    return
                if view.number < self._seen:  # overtaken by a mending, which skipped what is between
                    continue
                if await self._reach(view.number):
                    asked.put(view)
                    return
                await self._mended()  # messages do not come: the view of the next mending is for this one too
                if asked.number is not None:
                    asked.add_later()
                    return
        finally:
            self._asked.remove(asked)

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
            await self._see_anew()
        except Exception:
            log.warning("notebook %s: its runtime could not be followed", self._feed.notebook_id, exc_info=True)
            self._lose_sight()

    async def _see_anew(self) -> None:
        """Take views until every cell whose live events were missed was shown with one; meanwhile messages wait.

        Accepted: what a thread of an ended cell prints, saved between the look at the rows and the view, is shown to
        those who watch with the cell's next change.
        """
        session = await db.read(lambda: reading.session_of(self._feed.notebook_id))
        if session is None or not session.is_live() or session.epoch < self.epoch:
            self._lose_sight()
            return
        if session.epoch > self.epoch:
            self.epoch, self.is_sighted, self._held = session.epoch, False, []
        self._session = session
        # Until it is sighted, what was saved is read from rows and told.
        since = self._sound_seq if self.is_sighted else self._feed.seq
        shown: set[str] = set()
        unshown: set[str] = set()
        for _ in range(ROUNDS):
            ran = await db.read(lambda: reading.cells_run_since(self._feed.notebook_id, since))
            unshown |= set(map(str, ran)) - shown
            documents = await self._feed.rows_of(unshown)
            cells = {document["id"]: document for document in documents}
            asked = list(self._asked)
            wanted = {*cells, *(cell for each in asked for cell in each.cells)}
            view = await self._peers.view(session, wanted, with_states=True)
            if view is None or view.epoch != self.epoch:
                self._lose_sight()
                return
            # Nothing is awaited from here to the next round, or to the end: what comes now is taken at once.
            for each in (_Asked(cells), *asked):
                each.put(view)
            shown |= set(cells) or unshown  # those that have no document are gone
            changed = self._feed.take_view(view.states, view.kernel) | set(view.unsaved)
            self._feed.show_anew(documents)
            self.number = self._seen = view.number
            self.kernel, self.is_sighted = view.kernel, True
            self._advanced.set()
            unshown = (unshown | changed) - shown
            if not unshown or not self._feed.has_readers:
                break
        self._sound_seq = self._feed.seq
        self._let_go()

    def _let_go(self) -> None:
        """Forward what waited for the view and is not in it."""
        held, self._held = self._held, []
        for message in held:
            if message["number"] == self.number + 1 and message["text"] != "[]":
                self._forward(message)
        if any(message["number"] > self.number for message in held):
            asyncio.get_running_loop().call_soon(self.doubt)

    def _forward(self, message: Document) -> None:
        self.number = message["number"]
        happened: list[Document] = json.loads(message["text"])
        for asked in self._asked:
            asked.later.append((self.number, happened))
        for event in happened:
            if event["type"] == "kernel.changed":
                self.kernel = {key: value for key, value in event.items() if key != "type"}
        self._feed.hear(happened, message["text"])
        self._advanced.set()


class _Asked:
    """Cells that somebody is about to be shown: their documents, and what was told while a view was on its way."""

    def __init__(self, cells: dict[str, Document]) -> None:
        self.cells = cells
        self.number: int | None = None
        self.later: list[tuple[int, list[Document]]] = []
        self._attempts: dict[str, str] = {}

    def put(self, view: View) -> None:
        """The view's outputs, and what was told since."""
        if self.number is None or view.number > self.number:
            self._put(view)
        self.add_later()

    def _put(self, view: View) -> None:
        self.number = view.number
        for cell, (attempt, outputs) in view.outputs.items():
            if cell in self.cells:
                self._attempts[cell], self.cells[cell]["outputs"] = attempt, outputs

    def add_later(self) -> None:
        assert self.number is not None
        for number, happened in self.later:
            if number > self.number:
                self.number = number
                for event in happened:
                    if event["type"] == "output.ops" and event["cell"] in self.cells:
                        self._add(event)

    def _add(self, event: Document) -> None:
        cell = event["cell"]
        kept = self.cells[cell]["outputs"] if self._attempts.get(cell) == event["attempt"] else []
        self._attempts[cell] = event["attempt"]
        self.cells[cell]["outputs"] = output_ops.apply(kept, event["ops"])
