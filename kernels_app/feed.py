"""What the sockets of this process are told about one notebook.

One feed a notebook and process. It listens to the channel layer, keeps the one order (`seq`), closes gaps from the
database, and derives the states of the cells. Live frames of a runtime in this process pass through it without a hop.
Decoding commands is consumers.py; who may listen is checked there.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from channels.layers import get_channel_layer
from django.db import InterfaceError, OperationalError

from kernels_app import greeting, waiting
from kernels_app.following import Following, Peers, ToldStates
from kernels_app.greeting import encode
from kernels_app.presence import Presence
from kernels_app.relay import Relay
from notebooks_app import db, events, facts, logs, reading, services, standing, wakeups
from notebooks_app.access import Role
from notebooks_app.models import Cell, KernelSession, Notebook
from notebooks_app.standing import Seat

log = logging.getLogger("rillbook.feed")

type Document = dict[str, Any]

TYPING_PAUSE_S = 0.3  # derived names and states follow typing by this
SETTLE_S = 0.02  # structural changes of one burst are derived together
POLL_S = 1.0
BEAT_LOOK_S = 1.0
TOLD_AT_ONCE = 100  # events of one message to other processes
CATCH_UP_LIMIT = 500  # more changes than this: a snapshot is smaller
CATCH_UP_BYTES = 4 * 1024 * 1024  # and so are changes of more text than this


class Subscriber(Protocol):
    """A socket: sending never blocks; `cursor` is the last number it was told, None before its hello."""

    cursor: int | None

    def send_text(self, text: str) -> None: ...

    def send_frames(self, texts: list[str]) -> None: ...

    def access_is(self, role: Role | None) -> None:
        """What the person is in the notebook now; None: nothing any more. Told again and again."""

    @property
    def seat(self) -> Seat: ...

    def person(self) -> Document | None:
        """Who it is: id, name, initials, color; None for guests, who are not shown."""

    def window(self) -> Document:
        """Where they are in this window: window, person, cell, selection."""


class LiveRuntime(Protocol):
    """What a feed needs of the runtime in its process."""

    def cells_changed(
        self, cells: list[Cell], known: Mapping[str, facts.CellFacts], revision: int, run_mode: str
    ) -> dict[str, facts.CellState]:
        """Take the cells and their facts as they are now; the states that may be others for it."""

    def states(self) -> dict[str, facts.CellState]: ...

    def kernel_document(self) -> Document: ...

    def live_outputs(self, cell_id: str) -> list[Document] | None: ...


class NotebookFeed:
    def __init__(self, notebook_id: uuid.UUID, peers: Peers | None = None) -> None:
        self.notebook_id = notebook_id
        self.runtime: LiveRuntime | None = None
        self.relay: Relay | None = None  # in a process without sockets: to those that have them
        self._far = Following(self, peers) if peers is not None else None  # a runtime in another process
        self.seq = 0
        self.openers = 0  # who wait for it to begin
        self._subscribers: set[Subscriber] = set()
        self._states: dict[str, Document] = {}
        self._rows = reading.CellRows(notebook_id)  # of `refresh` alone
        self._kernel: Document | None = None  # as last told of a runtime that is elsewhere, or nowhere
        self._channel = ""
        self._listener: asyncio.Task[None] | None = None
        self._refresher: asyncio.Task[None] | None = None
        self._refresh_at = 0.0
        self.presence = Presence(self._send_here, self._tell_people)
        self._ordering = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._started = asyncio.Lock()

    # --- Life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the group first, then read where the notebook stands: nothing falls between.

        Without a layer that answers, the poll tells what happens until it can be joined.
        """
        async with self._started:
            if self._listener is not None:
                return
            self._channel = await wakeups.join(*self._groups)
            try:
                self.seq = await db.read(self._read_seq)
            except BaseException:  # nobody would read the channel
                await self._leave()
                raise
            context = logs.context_of(self.notebook_id)
            self._listener = asyncio.create_task(self._listen(), name=f"feed {self.notebook_id}", context=context)

    async def close(self) -> None:
        for task in (self._listener, self._refresher):
            if task is not None:
                task.cancel()
        self.presence.close()
        if self._far is not None:
            self._far.close()
        await self._leave()

    async def _leave(self) -> None:
        channel, self._channel = self._channel, ""
        if channel:
            await wakeups.leave(channel, *self._groups)

    @property
    def _groups(self) -> list[str]:
        live = [events.live_group_name(self.notebook_id)] if self._far is not None else []
        return [events.group_name(self.notebook_id), *live]

    @property
    def _follows(self) -> bool:
        """Whether a runtime in another process tells what happens."""
        return self._far is not None and self._far.is_sighted

    @property
    def is_idle(self) -> bool:
        return not self._subscribers and self.runtime is None and not self.openers

    def _read_seq(self) -> int:
        return Notebook.objects.filter(pk=self.notebook_id).values_list("seq", flat=True).first() or 0

    # --- Sockets ------------------------------------------------------------------------------------------------

    def add(self, subscriber: Subscriber) -> None:
        self._subscribers.add(subscriber)
        self.presence.enter(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        self.presence.leave(subscriber)

    def announce_move(self, subscriber: Subscriber) -> None:
        self.presence.moved(subscriber)

    def people(self) -> list[Document]:
        return self.presence.people()

    def _tell_people(self, told: Document) -> None:
        """To the other processes that watch this notebook, if there can be any."""
        if wakeups.is_shared():
            message = {"type": "notebook.presence", "notebook": str(self.notebook_id), **told}
            events.post(message)

    async def greet(self, subscriber: Subscriber, cursor: int | None) -> int:
        """Bring a socket from its cursor to now, and keep it there; how many characters that took. Raises
        Notebook.DoesNotExist."""
        document = await self._since(cursor)
        if document["seq"] < self.seq:  # something was delivered to the others while we read: now it waits for us
            async with self._ordering:
                document = await self._since(cursor)
        subscriber.cursor = document["seq"]
        frames = greeting.frames(document)
        subscriber.send_frames(frames)
        return sum(map(len, frames))

    async def _since(self, cursor: int | None) -> Document:
        if self._far is not None:
            await self._far.look()
        await self.refresh()
        document = await db.read(lambda: self._read_since(cursor))
        await self._overlay(document["cells"])
        if self.runtime is not None:
            document["kernel"] = self.runtime.kernel_document()
        elif self._far is not None and self._far.is_sighted:
            document["kernel"] = self._far.kernel
            self._restate(document)
        elif self._kernel is None:
            self._kernel = document["kernel"]
        dropped = greeting.drop_what_does_not_fit(document["cells"])
        if document["type"] == "catch_up":
            document["cells"] = [cell for cell in document["cells"] if cell["outputs"] is not None]
            document["outdated"] += dropped
        document["people"] = self.people()
        return document

    def _read_since(self, cursor: int | None) -> Document:
        notebook = Notebook.objects.alive().get(pk=self.notebook_id)
        head = {
            "seq": notebook.seq,
            "notebook": reading.notebook_document(notebook),
            "kernel": reading.kernel_document(reading.session_of(notebook.pk)),
        }
        changes = None
        if cursor is not None and cursor <= notebook.seq:
            changes = reading.changes_since(notebook.pk, cursor, CATCH_UP_LIMIT, CATCH_UP_BYTES)
        if changes is None or cursor is None:
            states = self._current_states()
            self._remember(states)
            return {"type": "snapshot", **head, "cells": greeting.snapshot_cells(self.notebook_id, states)}
        ran = set(reading.cells_run_since(notebook.pk, cursor))
        if self.runtime is not None or self._follows:
            ran |= {uuid.UUID(cell) for cell, state in self._states.items() if state["status"] == "running"}
        states = self._current_states()
        self._remember(states)
        cells, outdated = greeting.changed_cells(notebook.pk, states, ran)
        states_json = {cell_id: state.as_compact_json() for cell_id, state in states.items()}
        told = {"events": changes, "cells": cells, "outdated": outdated, "states": states_json}
        return {"type": "catch_up", **head, **told}

    def _remember(self, states: Mapping[str, facts.CellState]) -> None:
        """What the first reader is told with the rest need not be told again as news."""
        if not self._states:
            self._states = {cell: state.as_json() for cell, state in states.items()}

    async def cells(self, cell_ids: Iterable[uuid.UUID], *, with_outputs: bool = True) -> list[Document]:
        """Named cells as they are now, with their outputs or without that key: as many as fit, at least one."""
        wanted = list(cell_ids)
        documents = await db.read(
            lambda: greeting.asked_cells(self.notebook_id, self._current_states(), wanted, with_outputs=with_outputs)
        )
        if with_outputs:
            await self._overlay(documents)
        if self._follows:
            self._restate({"cells": documents})
        return documents

    def _restate(self, document: Document) -> None:
        """The states that were told last, which those that were read may be behind."""
        for cell in document["cells"]:
            cell["state"] = self._states.get(cell["id"], cell["state"])
        if "states" in document:
            document["states"] = {cell: state.as_compact_json() for cell, state in ToldStates(self._states).items()}

    async def _overlay(self, documents: list[Document]) -> None:
        """A running cell's outputs are ahead of the database by what is not saved yet."""
        if self._far is not None:
            await self._far.overlay(documents)
        if self.runtime is None:
            return
        for document in documents:
            if document["outputs"] is None:
                continue
            live = self.runtime.live_outputs(document["id"])
            if live is not None:
                document["outputs"] = live

    def _current_states(self) -> Mapping[str, facts.CellState]:
        if self._follows:
            return ToldStates(dict(self._states))
        return self.runtime.states() if self.runtime is not None else reading.states_now(self.notebook_id)

    # --- A runtime elsewhere ------------------------------------------------------------------------------------

    def hear(self, happened: list[Document], text: str) -> None:
        """Live events of a runtime elsewhere; `text` is their JSON."""
        for event in happened:
            if event["type"] == "cells.state":
                self._states |= event["states"]
            elif event["type"] == "kernel.changed":
                self._kernel = {key: value for key, value in event.items() if key != "type"}
        frame = f'{{"type":"events","seq":null,"events":{text}}}'
        for subscriber in tuple(self._subscribers):
            subscriber.send_text(frame)

    def take_view(self, states: dict[str, Document], kernel: Document) -> set[str]:
        """All that a runtime elsewhere says: what is new is told. The cells that run, or ran since they were told."""
        ran = {
            cell
            for cell, state in states.items()
            if "running" in (state["status"], (known := self._states.get(cell, state))["status"])
            or known["attempt"] != state["attempt"]
        }
        changed = {cell: state for cell, state in states.items() if self._states.get(cell) != state}
        self._states = states
        told: list[Document] = [{"type": "cells.state", "states": changed}] if changed else []
        if kernel != self._kernel:
            self._kernel = kernel
            told.append({"type": "kernel.changed", **kernel})
        self._send_here(told)
        return ran

    def told_states(self) -> dict[str, Document]:
        """The state of each cell as it was told last."""
        return dict(self._states)

    @property
    def has_readers(self) -> bool:
        """Whether there are sockets here: also those that are being greeted hear live events."""
        return bool(self._subscribers)

    async def rows_of(self, cells: set[str]) -> list[Document]:
        """Documents of cells as rows tell, if anybody reads here: as many as fit, at least one."""
        if not cells or not self.has_readers:
            return []
        wanted, states = [uuid.UUID(cell) for cell in cells], ToldStates(dict(self._states))
        return await db.read(lambda: greeting.asked_cells(self.notebook_id, states, wanted, with_outputs=True))

    def show_anew(self, documents: list[Document]) -> None:
        """Cells as they are now, whose live events were missed."""
        self._restate({"cells": documents})
        self._send_here([{"type": "cell.refreshed", "cell": document} for document in documents] if documents else [])

    # --- Sending ------------------------------------------------------------------------------------------------

    def send_live(self, happened: list[Document], *, to_greeted: bool = False) -> None:
        """Unnumbered events to every socket at once; `to_greeted`: what a greeting will tell the others anyway."""
        self._send_here(happened, to_greeted=to_greeted)
        if self.relay is not None:
            self.relay.tell(happened)

    def _send_here(self, happened: list[Document], *, to_greeted: bool = False) -> None:
        told = [one for one in self._subscribers if not to_greeted or one.cursor is not None]
        if told and happened:
            text = encode({"type": "events", "seq": None, "events": happened})
            for subscriber in told:
                subscriber.send_text(text)

    def tell_everywhere(self, happened: list[Document]) -> None:
        """Unnumbered events that only this process knows of, to the sockets of all."""
        self._send_here(happened)
        if wakeups.is_shared():
            for start in range(0, len(happened), TOLD_AT_ONCE):
                told = {"process": self.presence.process, "events": happened[start : start + TOLD_AT_ONCE]}
                events.post({"type": "notebook.told", "notebook": str(self.notebook_id), **told})

    def _deliver(self, seq: int, happened: list[Document]) -> None:
        """Numbered events to all who were greeted; where several numbers come at once, it says after which."""
        since = {"since": self.seq} if seq != self.seq + 1 else {}
        self.seq = seq
        text = encode({"type": "events", "seq": seq, **since, "events": happened})
        for subscriber in tuple(self._subscribers):
            if subscriber.cursor is not None and subscriber.cursor < seq:
                subscriber.cursor = seq
                subscriber.send_text(text)

    def changed_states(self, states: dict[str, facts.CellState]) -> list[Document]:
        """The event of those states that differ from the last ones told (none: no event), which are remembered."""
        now = {cell: state.as_json() for cell, state in states.items()}
        changed = {cell: state for cell, state in now.items() if self._states.get(cell) != state}
        self._states |= changed
        return [{"type": "cells.state", "states": changed}] if changed else []

    def take_back(self) -> None:
        """Somebody stopped: what waits for a runtime here does not begin."""
        if waiting.take_back(self.notebook_id) and self.runtime is None and not self._follows:
            self._kernel = {"state": "stopped", "detail": ""}  # if another one runs it, the poll says so
            self.send_live([{"type": "kernel.changed", "cell": None, **self._kernel}])

    # --- Listening ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while not self._channel:
            await asyncio.sleep(POLL_S)
            self._channel = await wakeups.join(*self._groups)
        layer = get_channel_layer()
        while True:
            message = await layer.receive(self._channel)
            try:
                await self._hear(message)
            except Exception:
                log.exception("an event of notebook %s could not be delivered", self.notebook_id)

    async def _hear(self, message: Document) -> None:
        is_ours = message.get("process") == self.presence.process  # it was told here before
        match message["type"]:
            case "notebook.presence":
                self.presence.hear(message)
            case "notebook.live":
                if self._far is not None and self.runtime is None:
                    self._far.take(message)
            case "notebook.access":
                await self._look_at_sockets(message["user"])
            case "notebook.stopped":
                if not is_ours:
                    self.take_back()
            case "notebook.told":
                if not is_ours:
                    self._send_here(message["events"])
            case _:
                await self.receive(message["seq"], message["events"])
                if self._far is not None:
                    self._far.saved(message["seq"], message)

    async def _look_at_sockets(self, user_id: int | None) -> None:
        """Somebody's role changed (None: that of many): tell their sockets at once. What fails here, the poll mends."""
        concerned = [each for each in self._subscribers if user_id is None or each.seat.user_id == user_id]
        try:
            await look_at(concerned)
        except Exception:
            log.warning("roles in notebook %s wait for the database", self.notebook_id, exc_info=True)

    @property
    def subscribers(self) -> list[Subscriber]:
        return list(self._subscribers)

    async def receive(self, seq: int, happened: list[Document] | None) -> None:
        """A numbered event, or the news of one: in its order, or after the gap before it was closed."""
        async with self._ordering:
            if seq <= self.seq:
                return
            if seq == self.seq + 1 and happened is not None:
                await self._accept(seq, happened)
            else:
                await self._close_gap()

    async def poll(self, seq: int) -> None:
        """What the database says: the layer may have lost the last wake-up, and that leaves no gap to see."""
        if seq > self.seq:
            async with self._ordering:
                if seq > self.seq:
                    await self._close_gap()

    def see_session(self, session: KernelSession | None) -> None:
        """What the database says of the kernel: a lease that another process took, lost or let run out is told here."""
        if self.runtime is not None:
            self._kernel = None
            return
        if self._far is not None and self._far.see(session):
            return
        kernel = reading.kernel_document(session)
        if kernel != self._kernel:
            self._kernel = kernel
            self.send_live([{"type": "kernel.changed", "cell": None, **kernel}])
            self.refresh_soon(0)

    def lose_runtime(self, why: str) -> None:
        """The runtime here is at its end, whoever runs the notebook now: the kernel that was seen here is gone."""
        self.runtime = None
        self._kernel = {"state": "dead", "detail": why}
        self.send_live([{"type": "kernel.changed", "cell": None, **self._kernel}])
        self.refresh_soon(0)

    async def _close_gap(self) -> None:
        if self._far is not None:
            self._far.doubt()  # what was lost may not have been lost alone
        start = self.seq
        seq, changes, ran = await db.read(lambda: self._read_gap(start))
        if seq <= self.seq:
            return
        saved = [{"type": "output.saved", "cell": str(cell)} for cell in ran]
        if changes is None:
            for subscriber in tuple(self._subscribers):
                subscriber.send_text(encode({"type": "resync", "seq": seq}))
            self.seq = seq
            self.refresh_soon(0)
        else:
            await self._accept(seq, changes + saved)

    def _read_gap(self, start: int) -> tuple[int, list[Document] | None, list[uuid.UUID]]:
        seq = self._read_seq()
        return (
            seq,
            reading.changes_since(self.notebook_id, start, CATCH_UP_LIMIT, CATCH_UP_BYTES),
            reading.cells_run_since(self.notebook_id, start),
        )

    async def _accept(self, seq: int, happened: list[Document]) -> None:
        told = []
        for event in happened:
            if event["type"] == "output.saved" and self.runtime is None and not self._follows:
                told.append({"type": "cell.refreshed", "cell": event["cell"]})
            else:
                told.append(event)
        refreshed = [event for event in told if event["type"] == "cell.refreshed"]
        if refreshed:  # the runtime is in another process: its outputs are read from the database
            documents = {doc["id"]: doc for doc in await self.cells({uuid.UUID(event["cell"]) for event in refreshed})}
            for event in refreshed:
                event["cell"] = documents.get(event["cell"])
            told = [event for event in told if event.get("cell", True) is not None]
        self._deliver(seq, told)
        typing = all(event["type"] == "cell.edited" for event in happened)
        # What a runtime in this process did, it has told itself.
        causes = ("cell.", "cells.", "notebook.") if self.runtime is not None else ("cell", "output.", "notebook.")
        if self._follows:  # it hears the same, and tells what follows from it
            return
        if any(event["type"].startswith(causes) for event in happened):
            self.refresh_soon(TYPING_PAUSE_S if typing else SETTLE_S)

    # --- Deriving -----------------------------------------------------------------------------------------------

    def refresh_soon(self, delay_s: float) -> None:
        """Derive names and states after a pause; a later call moves it, so that typing waits for its end."""
        self._refresh_at = asyncio.get_running_loop().time() + delay_s
        if self._refresher is None or self._refresher.done():
            context = logs.context_of(self.notebook_id)
            self._refresher = asyncio.create_task(
                self._refresh_later(), name=f"refresh {self.notebook_id}", context=context
            )

    async def _refresh_later(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._refresh_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        while True:
            try:
                await self.refresh()
            except (OperationalError, InterfaceError):
                log.warning("states of notebook %s wait for the database", self.notebook_id)
                await asyncio.sleep(POLL_S)
                continue
            except Exception:
                log.exception("states of notebook %s could not be derived", self.notebook_id)
            return

    async def refresh(self) -> None:
        """Analyse what was edited, derive all states, tell what changed."""
        if self._follows:
            return
        async with self._refreshing:
            analysed = await self._analyse()
            cells, revision, run_mode, session = await db.read(self._read_small)
            if self._follows:  # since a moment ago
                self.tell_everywhere(analysed)
                return
            if self.runtime is not None:
                states = self.runtime.cells_changed(cells, self._rows.known, revision, run_mode)
            else:
                states = await asyncio.to_thread(reading.states_of, cells, session, self._rows.known)
            # What is gone is forgotten: a cell that comes back is told anew.
            self._states = {cell: state for cell, state in self._states.items() if cell in self._rows.known}
            self.tell_everywhere(analysed)  # what is saved no other feed would find
            self.send_live(self.changed_states(states), to_greeted=True)

    async def _analyse(self) -> list[Document]:
        """Read, think, write: the thinking holds no thread of the database."""
        pending = await db.read(lambda: services.pending_analysis(self.notebook_id))
        if not pending:
            return []
        found = await services.analyse(pending)
        return await db.write(lambda: services.save_analyses(found))

    def _read_small(self) -> tuple[list[Cell], int, str, KernelSession | None]:
        notebook = Notebook.objects.only("revision", "run_mode").get(pk=self.notebook_id)
        cells = self._rows.read()
        return cells, notebook.revision, notebook.run_mode, reading.session_of(self.notebook_id)


class Feeds:
    """The feeds of this process, and the poll that keeps them honest."""

    def __init__(self, peers: Peers | None = None) -> None:
        self._peers = peers
        self._feeds: dict[uuid.UUID, NotebookFeed] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def count(self) -> int:
        """How many notebooks are watched or run here."""
        return len(self._feeds)

    async def open(self, notebook_id: uuid.UUID) -> NotebookFeed:
        feed = self._feeds.setdefault(notebook_id, NotebookFeed(notebook_id, self._peers))
        feed.openers += 1
        try:
            await feed.start()
        except BaseException:
            feed.openers -= 1
            await self.release(feed)
            raise
        feed.openers -= 1
        if not self._tasks:
            for work, name in ((self._poll(), "poll of all feeds"), (self._beat(), "presence of all feeds")):
                self._tasks.append(asyncio.create_task(work, name=name, context=logs.context_of()))
        return feed

    def tell_here(self, notebook_id: uuid.UUID, happened: list[Document]) -> None:
        """Unnumbered events to the sockets of this process, if there are any."""
        if notebook_id in self._feeds:
            self._feeds[notebook_id].send_live(happened)

    def take_back(self, notebook_id: uuid.UUID) -> None:
        """Somebody stopped: what waits for the notebook's runtime, in all processes that watch it, does not begin."""
        process = ""
        if (feed := self._feeds.get(notebook_id)) is not None:
            process = feed.presence.process
            feed.take_back()
        else:
            waiting.take_back(notebook_id)
        if wakeups.is_shared():
            events.post({"type": "notebook.stopped", "notebook": str(notebook_id), "process": process})

    async def release(self, feed: NotebookFeed) -> None:
        """Close a feed that nobody uses any more."""
        if feed.is_idle and self._feeds.get(feed.notebook_id) is feed:
            del self._feeds[feed.notebook_id]
            await feed.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        for feed in list(self._feeds.values()):
            await feed.close()
        self._feeds.clear()

    async def _beat(self) -> None:
        """Apart from the poll: people are told while the database does not answer."""
        while True:
            await asyncio.sleep(BEAT_LOOK_S)
            for feed in self._feeds.values():
                try:
                    feed.presence.beat()
                except Exception:
                    log.exception("who watches notebook %s could not be told", feed.notebook_id)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            ids = list(self._feeds)
            if not ids:
                continue
            try:
                rows, sessions = await db.read(lambda ids=ids: _read_poll(ids))
                await look_at([socket for feed in self._feeds.values() for socket in feed.subscribers])
            except Exception:
                log.warning("the poll of %s notebooks failed", len(ids), exc_info=True)
                continue
            for notebook_id, seq in rows.items():
                feed = self._feeds.get(notebook_id)
                if feed is None:
                    continue
                try:
                    feed.see_session(sessions.get(notebook_id))
                    await feed.poll(seq)
                except (OperationalError, InterfaceError):
                    log.warning("a gap of notebook %s waits for the database", notebook_id)
                except Exception:  # the others are looked at, and this one again
                    log.exception("notebook %s could not be looked at", notebook_id)


async def look_at(sockets: list[Subscriber]) -> None:
    """Tell sockets what their people are now: after a logout, another password, a revocation they are nothing."""
    if not sockets:
        return
    roles = await db.read(lambda: standing.roles_of({socket.seat for socket in sockets}))
    for socket in sockets:
        socket.access_is(roles[socket.seat])


def _read_poll(ids: list[uuid.UUID]) -> tuple[dict[uuid.UUID, int], dict[uuid.UUID, KernelSession]]:
    """Where notebooks stand, and their leases: two queries for all."""
    return (
        dict(Notebook.objects.filter(pk__in=ids).values_list("pk", "seq")),
        KernelSession.objects.in_bulk(ids),
    )
