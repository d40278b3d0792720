"""Runtimes as actors of a Ray cluster: this process finds them by their lease, has them made, and asks them.

The lease row is the truth and names the actor that holds a notebook; Ray only places. A web process holds nothing: what
it is told of a notebook that runs elsewhere is following.py's. What an actor does inside is actor.py's; which ones wait
for a notebook is spares.py's; the process that speaks to Ray is driver.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import time
import uuid
from collections.abc import Collection
from typing import Any

from django.conf import settings

from kernels_app import cluster, leases, needs
from kernels_app.feed import Feeds
from kernels_app.following import View
from kernels_app.hosts.base import HostNumbers
from kernels_app.hosts.common import HostBase
from kernels_app.hosts.link import Away, Link, Lost
from kernels_app.hosts.spares import Spares
from kernels_app.needs import Needs
from notebooks_app import db, facts, reading
from notebooks_app.errors import KernelDied, Unavailable
from notebooks_app.models import KernelSession

log = logging.getLogger("rillbook.ray")

LOOK_S = 0.25
ANSWERS_S = 5.0  # an actor says that it is there, or its node does not answer
ASK_S = 60.0  # what is asked of a kernel
VIEW_S = 2.0
SPARE_S = 15.0  # one that waits does so
CROWDED_S = 1.0  # without a place: those that wait for a notebook give way
OPEN_S = 60.0  # a process that has its place starts, takes the lease and loads the notebook
ENDING = "The server is ending; try again in a moment."
PLACING = "A place for the kernel is looked for."
FULL = "The cluster is full: no machine has room for another kernel. Stop one that is not needed, or try again later."
TOO_LARGE = "No machine of the cluster is large enough for this notebook's kernel (it needs {})."
SLOW = "The kernel's process did not start in time; try again."
BROKEN = "The kernel's process did not start; the server's log says why."
LOST = "The kernel was lost with its process or its machine. Outputs are kept; variables are gone."
SILENT = "The machine that runs this notebook's kernel does not answer; try again in a moment."
NO_CLUSTER = "The cluster on which kernels run does not answer; try again in a moment. Edits are saved."
HELD_ELSEWHERE = "This notebook's kernel lives in a process that this server cannot reach. Edits are saved."


class RayHandle:
    """See hosts/base.py: RuntimeHandle. A command to a process that has died goes once to the next one."""

    def __init__(self, host: RayKernelHost, notebook_id: uuid.UUID, actor: str) -> None:
        self._host = host
        self._notebook_id = notebook_id
        self._actor = actor  # its name

    async def run(self, versions: dict[str, int], *, by: Any, only: bool = False, revision: int | None = None) -> str:
        return await self._again("run", versions, by=by, only=only, revision=revision)

    async def run_all(self, *, by: Any, revision: int | None = None) -> str:
        return await self._again("run_all", by=by, revision=revision)

    async def run_stale(self, *, by: Any, revision: int | None = None) -> str:
        return await self._again("run_stale", by=by, revision=revision)

    async def restart(self, *, by: Any, run_all: bool = False) -> str | None:
        return await self._again("restart", by=by, run_all=run_all)

    async def wait(self, run: str, timeout_s: float) -> bool:
        return await self._unless_lost(True, "wait", run, timeout_s, within_s=timeout_s + ASK_S)

    async def keep_files(self) -> None:
        await self._unless_lost(None, "keep_files")

    async def settle(self, timeout_s: float) -> bool:
        return await self._unless_lost(True, "settle", timeout_s, within_s=timeout_s + ASK_S)

    async def stop(self, run: str | None = None) -> None:
        await self._unless_lost(None, "stop", run)

    async def take_out(self, cell: str) -> None:
        await self._unless_lost(None, "take_out", cell)

    async def input_reply(self, attempt: str, value: str) -> None:
        await self._ask("input_reply", attempt, value)

    async def complete(self, source: str, cursor: int) -> dict[str, Any]:
        return await self._unless_lost({"matches": [], "from": cursor, "to": cursor}, "complete", source, cursor)

    async def inspect(self, source: str, cursor: int) -> dict[str, Any]:
        return await self._unless_lost({}, "inspect", source, cursor)

    async def table(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._ask("table", request)

    async def variables(self) -> list[dict[str, Any]]:
        return await self._unless_lost([], "variables")

    async def info(self) -> dict[str, Any]:
        return await self._unless_lost({"state": "dead", "detail": LOST}, "info")

    async def _ask(self, command: str, *args: Any, within_s: float = ASK_S, **more: Any) -> Any:
        """Raises what the runtime raises, KernelDied if its process is gone, Unavailable if it does not answer."""
        return await self._host.asked(self._actor, "ask", command, *args, within_s=within_s, **more)

    async def _unless_lost(self, nothing: Any, command: str, *args: Any, **more: Any) -> Any:
        try:
            return await self._ask(command, *args, **more)
        except KernelDied:
            return nothing

    async def _again(self, command: str, *args: Any, **more: Any) -> Any:
        try:
            return await self._ask(command, *args, **more)
        except KernelDied:
            log.warning("notebook %s: its process is gone; another one is asked", self._notebook_id)
        handle = await self._host.ensure(self._notebook_id)
        return await handle._ask(command, *args, **more)


class RayKernelHost(HostBase):
    """See hosts/base.py: KernelHost."""

    def __init__(self) -> None:
        super().__init__()
        self.feeds = Feeds(self)
        self.link = Link()
        self.spares = Spares(self.link)
        self._locks: dict[uuid.UUID, asyncio.Lock] = {}

    # --- Life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; the cluster may be away, now and later (`serve` refuses to start without one)."""
        self.is_started = True
        self.loop = asyncio.get_running_loop()
        self.keep(self.link.keep())
        self.keep(self._move_held())
        self.keep(self.spares.keep())

    async def close(self) -> None:
        """Let go: the actors and what they run go on."""
        self.is_started = False
        for task in tuple(self._tasks):
            task.cancel()
        await self.feeds.close()
        await self.link.close()
        await asyncio.to_thread(db.close)

    # --- Runtimes -----------------------------------------------------------------------------------------------

    async def ensure(self, notebook_id: uuid.UUID) -> RayHandle:
        if not self.is_started:
            raise Unavailable(ENDING)
        async with self._locks.setdefault(notebook_id, asyncio.Lock()):
            deadline = time.monotonic() + settings.LEASE_SECONDS + settings.KERNEL_RAY_WAIT_S + OPEN_S
            held, silent_since = None, 0.0
            while time.monotonic() < deadline:
                session = await self._session(notebook_id)
                if session is None:
                    if handle := await self._open(notebook_id):
                        return handle
                    continue  # somebody else was first
                if actor := await self._actor(session, is_checked=True):
                    return RayHandle(self, notebook_id, actor)
                # Its process does not answer: until the lease is over, nobody else may run.
                now = (session.epoch, session.expires)
                if held is None:
                    held, silent_since = now, time.monotonic()
                elif now != held:
                    raise Unavailable(HELD_ELSEWHERE)
                elif time.monotonic() - silent_since > settings.LEASE_SECONDS + 2:  # the database's clock was set back
                    await db.write(lambda now=now: leases.end(notebook_id, now))
                await asyncio.sleep(LOOK_S)
            raise Unavailable(SILENT)

    async def get(self, notebook_id: uuid.UUID) -> RayHandle | None:
        session = await self._session(notebook_id)
        actor = await self._actor(session) if session is not None else None
        return RayHandle(self, notebook_id, actor) if actor is not None else None

    async def notebook_states(self, notebook_id: uuid.UUID) -> dict[str, facts.CellState]:
        session = await self._session(notebook_id)
        with contextlib.suppress(KernelDied, Unavailable):
            actor = await self._actor(session) if session is not None else None
            if actor is not None:
                states: dict[str, facts.CellState] = await self.asked(actor, "states", within_s=ANSWERS_S)
                return states
        return await db.read(lambda: reading.states_now(notebook_id))

    async def view(self, session: KernelSession, cells: Collection[str], *, with_states: bool) -> View | None:
        """See following.py: Peers."""
        with contextlib.suppress(KernelDied, Unavailable):
            actor = await self._actor(session)
            if actor is not None:
                view: View | None = await self.asked(actor, "view", list(cells), with_states, within_s=VIEW_S)
                return view
        return None

    async def stop(self, notebook_id: uuid.UUID, reason: str) -> None:
        session = await self._session(notebook_id)
        actor = await self._actor(session) if session is not None else None
        if actor is not None:
            with contextlib.suppress(KernelDied, Unavailable):
                await self._answer(actor, "end", reason, within_s=ASK_S)

    async def asked(self, actor: str, method: str, *args: Any, within_s: float, **more: Any) -> Any:
        """What the actor's method returns. Raises what it refuses with, KernelDied, Unavailable."""
        value, error = await self._answer(actor, method, *args, within_s=within_s, **more)
        if error is not None:
            raise error
        return value

    async def _answer(self, actor: str, method: str, *args: Any, within_s: float, **more: Any) -> Any:
        question = pickle.dumps((method, args, more))
        try:
            return pickle.loads(await self.link.ask("ask", actor, "answer", question, within_s=within_s))  # noqa: S301
        except Lost as lost:
            raise KernelDied(LOST) from lost
        except (Away, TimeoutError) as lost:  # it may have been carried out, or not
            raise Unavailable(SILENT) from lost

    # --- Finding and making -------------------------------------------------------------------------------------

    async def _session(self, notebook_id: uuid.UUID) -> KernelSession | None:
        """The notebook's lease, if it is live."""
        session = await db.read(lambda: reading.session_of(notebook_id))
        return session if session is not None and session.is_live() else None

    async def _actor(self, session: KernelSession, *, is_checked: bool = False) -> str | None:
        """The actor that the lease names; None if the cluster knows none, or (`is_checked`) if it does not answer.
        Raises Unavailable."""
        name = leases.token_of(session.host)
        try:
            if is_checked:
                await self._answer(name, "ready", within_s=ANSWERS_S)
                return name
            return name if await self.link.ask("is_known", name, within_s=ANSWERS_S) else None
        except (KernelDied, Unavailable):
            return None
        except (Away, TimeoutError) as away:
            raise Unavailable(SILENT) from away

    async def _open(self, notebook_id: uuid.UUID) -> RayHandle | None:
        """Have an actor take the notebook; None if another process was faster. Raises Unavailable."""
        wanted = await db.read(lambda: needs.of_notebook(notebook_id))
        if (spare := await self.spares.take(wanted)) is not None:
            try:
                return await self._open_in(spare, notebook_id, None)
            except Unavailable as error:
                log.warning("notebook %s: an actor that waited did not take it: %s", notebook_id, error.message)
                return None  # another one is tried, when nobody holds the lease
        self._tell(notebook_id, "starting", PLACING)
        # A kernel starts while the notebook is loaded, for what follows is nearly always a run.
        name, ready = cluster.new_name(), min(1, settings.KERNEL_POOL_SIZE)
        try:
            await self._told("make", name, wanted.resources(), ready)
            return await self._open_in(name, notebook_id, wanted)
        except Unavailable as error:
            self._tell(notebook_id, "stopped", error.message)
            raise

    async def _open_in(self, name: str, notebook_id: uuid.UUID, wanted: Needs | None) -> RayHandle | None:
        work = self._answer(name, "open", str(notebook_id), within_s=settings.KERNEL_RAY_WAIT_S + 2 * OPEN_S)
        opening = asyncio.ensure_future(work)
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())  # also if nobody waits any more
        is_ours = False
        try:
            is_ours = await self._opened(opening, name, notebook_id, wanted)
        finally:
            if not is_ours:
                opening.cancel()
                self.keep(self._kill(name))
        return RayHandle(self, notebook_id, name) if is_ours else None

    async def _kill(self, name: str) -> None:
        with contextlib.suppress(Lost, Away, TimeoutError):
            await self.link.ask("kill", name, within_s=ANSWERS_S)

    async def _told(self, method: str, *args: Any) -> Any:
        """What the driver says. Raises Unavailable."""
        try:
            return await self.link.ask(method, *args, within_s=ANSWERS_S)
        except (Lost, Away, TimeoutError) as away:
            words = str(away)[:200] or type(away).__name__
            log.warning("the cluster did not do what it was asked (%s): %s", method, words)
            raise Unavailable(NO_CLUSTER) from away

    async def _opened(
        self, opening: asyncio.Future[Any], name: str, notebook_id: uuid.UUID, wanted: Needs | None
    ) -> bool:
        """`wanted`: what the actor waits for a place with; None: it has one."""
        begun, is_asked = time.monotonic(), False
        while True:
            done, _ = await asyncio.wait([opening], timeout=LOOK_S)
            if done:
                return await self._taken(opening, notebook_id)
            waited_s = time.monotonic() - begun
            session = await self._session(notebook_id)
            if session is not None and leases.token_of(session.host) != name:
                return opening.done() and await self._taken(opening, notebook_id)
            if session is None and wanted is None and waited_s > SPARE_S:
                raise Unavailable(SLOW)
            if session is None and wanted is not None and waited_s > CROWDED_S:
                is_asked = await self._make_room(name, notebook_id, wanted, waited_s, is_asked=is_asked)
            if waited_s > settings.KERNEL_RAY_WAIT_S + OPEN_S:
                log.error("an actor for notebook %s did not start within %.0f s", notebook_id, waited_s)
                raise Unavailable(SLOW)

    async def _make_room(
        self, name: str, notebook_id: uuid.UUID, wanted: Needs, waited_s: float, *, is_asked: bool
    ) -> bool:
        """Where there is no place, have those go that wait for a notebook, once. Raises Unavailable when it is late, or
        at once where no machine would do."""
        if await self._told("has_room", wanted.resources()) or await self._told("is_placed", name):
            return is_asked
        if not is_asked:
            if await self._told("is_too_large", wanted.resources()):
                log.warning("no node is large enough for notebook %s (%s)", notebook_id, wanted)
                raise Unavailable(TOO_LARGE.format(wanted))
            await self.spares.give_way()
        elif waited_s > settings.KERNEL_RAY_WAIT_S:
            log.warning("the cluster is full: no node has room for notebook %s (%s)", notebook_id, wanted)
            raise Unavailable(FULL)
        return True

    def _tell(self, notebook_id: uuid.UUID, state: str, detail: str) -> None:
        """The browsers of this process, while there is no runtime that tells."""
        kernel = {"state": state, "detail": detail, "cell": None}
        self.feeds.tell_here(notebook_id, [{"type": "kernel.changed", **kernel}])

    async def _taken(self, opening: asyncio.Future[Any], notebook_id: uuid.UUID) -> bool:
        try:
            _, error = opening.result()
        except KernelDied as lost:
            log.warning("the actor for notebook %s did not start: %s", notebook_id, lost.__cause__)
            raise Unavailable(BROKEN) from lost
        if error is None:
            return True
        if await self._session(notebook_id) is None:  # refused for another reason than the lease
            raise error
        return False

    # --- What is told of the host -------------------------------------------------------------------------------

    def numbers(self) -> HostNumbers:
        """Of the whole cluster, as the database tells."""
        sessions = _live_sessions()
        kernels = sum(session.state in ("idle", "running", "paused") for session in sessions)
        return HostNumbers(len(sessions), kernels, self.spares.ready, 0, 0.0, self.feeds.count)

    def kernels(self) -> dict[uuid.UUID, dict[str, Any]]:
        """Of the whole cluster: any process stops and restarts any kernel."""
        return {each.notebook_id: {"state": each.state, "detail": each.detail} for each in _live_sessions()}


def _live_sessions() -> list[KernelSession]:
    return list(KernelSession.objects.live())
