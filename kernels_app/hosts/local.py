"""Runtimes of this process: asyncio tasks on the server's loop, kernels as its children."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from kernels_app import allowances, checks, leases, saver
from kernels_app.broker import Broker
from kernels_app.deaths import Death
from kernels_app.feed import Feeds, NotebookFeed
from kernels_app.hosts.base import HostNumbers
from kernels_app.hosts.common import HostBase
from kernels_app.kernel import Kernel
from kernels_app.pool import KernelPool
from kernels_app.provisioner import Profile
from kernels_app.runtime import Runtime
from notebooks_app import db, facts, logs, metrics, reading
from notebooks_app.demo.sample import ensure_sample_apart
from notebooks_app.errors import Unavailable
from notebooks_app.models import KernelSession

log = logging.getLogger("rillbook.host")

RENEW_S = 2.0
CLAIM_RETRY_S = 0.5
CLOSING_LOOK_S = 0.05
IDLE_LOOK_S = 5.0
SAMPLE_S = 20.0
GONE = "Outputs are kept; variables are gone."
HELD_ELSEWHERE = (
    "This notebook's kernel lives in another server process. Run it from a page of that server, or end that process: "
    "then it can run here. Edits are saved from either."
)
DATABASE_GONE = "The database did not answer for too long. Outputs are kept; variables are gone."
RESTARTED = "The server was restarted. Outputs are kept; variables are gone."
ENDING = "The server is ending; try again in a moment."


class LocalKernelHost(HostBase):
    """See hosts/base.py: KernelHost."""

    def __init__(self) -> None:
        super().__init__()
        self.pool_size = settings.KERNEL_POOL_SIZE
        self.feeds = Feeds()
        self.saver = saver.Saver()
        self.broker = Broker()
        self._pool: KernelPool | None = None
        self._runtimes: dict[uuid.UUID, Runtime] = {}
        self._locks: dict[uuid.UUID, asyncio.Lock] = {}
        self._renewed_at = time.monotonic()
        self._claiming = asyncio.Lock()
        self._sampled = asyncio.Event()
        self._owners: dict[uuid.UUID, int] = {}  # of notebooks that have had a kernel here
        self._starting: set[uuid.UUID] = set()

    # --- Life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; the pool fills in the background."""
        self.is_started = True
        self.loop = asyncio.get_running_loop()
        # Kernels are shown the folder of the sample; what is made there in the background appears in it.
        settings.SAMPLE_DATABASE.parent.mkdir(parents=True, exist_ok=True)
        self._pool = KernelPool(self.pool_size, self.profile(), settings.KERNEL_WORK_DIR)
        await self._free_dead()
        self.keep(self._prepare())
        self.keep(self._renew())
        self.keep(self._move_held())
        self.keep(self._stop_idle())

    def profile(self) -> Profile:
        """What all kernels here have in common."""
        return allowances.profile()

    async def close(self) -> None:
        """End every runtime and kernel; what they had shown is saved."""
        self.is_started = False
        await self._drain()
        for task in tuple(self._tasks):
            task.cancel()
        endings = [self._end(runtime, RESTARTED) for runtime in tuple(self._runtimes.values())]
        for failure in await asyncio.gather(*endings, return_exceptions=True):
            if failure is not None:  # the next server waits for the lease to run out
                log.error("a runtime could not be ended in order", exc_info=failure)
        await self.saver.close()
        await self.feeds.close()
        await self.broker.close()
        if self._pool is not None:
            await self._pool.close()
        await asyncio.to_thread(db.close)

    async def _free_dead(self) -> None:
        """What a process that was killed held is free from the first page on."""
        try:
            await db.write(leases.free_dead)
        except DatabaseError:
            log.warning("leases of ended processes could not be freed", exc_info=True)

    async def _drain(self) -> None:
        """Give what runs a bounded time to end."""
        runtimes = [runtime for runtime in self._runtimes.values() if not runtime.is_fenced]
        await asyncio.gather(*(runtime.settle(settings.DRAIN_S) for runtime in runtimes), return_exceptions=True)

    async def _prepare(self) -> None:
        await asyncio.to_thread(ensure_sample_apart, settings.SAMPLE_DATABASE)
        self._sampled.set()
        assert self._pool is not None
        await self._pool.start()

    # --- Runtimes -----------------------------------------------------------------------------------------------

    async def ensure(self, notebook_id: uuid.UUID) -> Runtime:
        if not self.is_started:
            raise Unavailable(ENDING)
        runtime = self._runtimes.get(notebook_id)
        if runtime is not None and not runtime.is_closing:
            return runtime
        # Who asked may be gone before it is there: what was begun is carried to its end, so that no lease is left.
        opening = asyncio.create_task(self._ensure(notebook_id), name="opening", context=logs.context_of(notebook_id))
        self._tasks.add(opening)
        opening.add_done_callback(self._opened)
        return await asyncio.shield(opening)

    def _opened(self, opening: asyncio.Task[Runtime]) -> None:
        """What it failed with is told to who asked, if they are still there."""
        self._tasks.discard(opening)
        if not opening.cancelled():
            opening.exception()

    async def _ensure(self, notebook_id: uuid.UUID) -> Runtime:
        async with self._locks.setdefault(notebook_id, asyncio.Lock()):
            while (runtime := self._runtimes.get(notebook_id)) is not None and runtime.is_closing:
                await asyncio.sleep(CLOSING_LOOK_S)
            if runtime is None:
                runtime = await self._open(notebook_id)
            return runtime

    async def get(self, notebook_id: uuid.UUID) -> Runtime | None:
        return self._runtimes.get(notebook_id)

    async def stop(self, notebook_id: uuid.UUID, reason: str) -> None:
        runtime = self._runtimes.get(notebook_id)
        if runtime is not None:
            await self._end(runtime, reason)

    def drop(self, runtime: Runtime) -> None:
        """Forget a runtime that was fenced."""
        if self._runtimes.get(runtime.notebook_id) is runtime:
            del self._runtimes[runtime.notebook_id]

    async def notebook_states(self, notebook_id: uuid.UUID) -> dict[str, facts.CellState]:
        """The states of all cells: live where the notebook's runtime is here, else as the database tells."""
        runtime = self._runtimes.get(notebook_id)
        if runtime is None:
            return await db.read(lambda: reading.states_now(notebook_id))
        await runtime.feed.refresh()
        return runtime.states()

    async def _open(self, notebook_id: uuid.UUID) -> Runtime:
        epoch, session = await self._claim(notebook_id)
        try:
            feed = await self.feeds.open(notebook_id)
            self.attach(feed, epoch)
            return await self._open_on(feed, epoch, session)
        except BaseException:
            await self._give_back(notebook_id, epoch)
            raise

    async def _open_on(self, feed: NotebookFeed, epoch: int, session: KernelSession) -> Runtime:
        """The runtime of a feed; if it cannot be opened, nothing of it stays."""
        runtime = Runtime(self, feed, epoch, session)
        self._runtimes[feed.notebook_id] = runtime
        try:
            await runtime.open()
        except BaseException:
            self._runtimes.pop(feed.notebook_id, None)
            runtime.leave()
            await self.feeds.release(feed)
            raise
        return runtime

    async def _give_back(self, notebook_id: uuid.UUID, epoch: int) -> None:
        try:
            await db.write(lambda: saver.session_ended(notebook_id, epoch, ""))
        except DatabaseError:
            log.warning("the lease of notebook %s was not given back; it runs out", notebook_id, exc_info=True)

    def attach(self, feed: NotebookFeed, epoch: int) -> None:
        """A runtime of this epoch will tell this feed what happens."""

    async def _end(self, runtime: Runtime, detail: str) -> None:
        try:
            await runtime.close(detail)
        finally:
            self.drop(runtime)
        try:
            await self.saver.flush()
            await db.write(lambda: saver.session_ended(runtime.notebook_id, runtime.epoch, detail))
        finally:
            await self.feeds.release(runtime.feed)

    # --- Lease --------------------------------------------------------------------------------------------------

    async def _claim(self, notebook_id: uuid.UUID) -> tuple[int, KernelSession]:
        """Take the notebook's lease; waits for one whose server is gone to run out, not for one that is renewed.

        One that nobody renews while we wait is over, though a clock that was wrong dated its end in a year.
        """
        me = leases.new_host_name()
        held: leases.Holder | None = None
        deadline = time.monotonic() + settings.LEASE_SECONDS + 2
        while True:
            silent = held if time.monotonic() > deadline else None
            claimed = await db.write(lambda silent=silent: leases.claim(notebook_id, me, silent=silent))
            if claimed is not None:
                return claimed
            now = await db.read(lambda: leases.holder(notebook_id))
            if (held is not None and now != held) or silent is not None:
                raise Unavailable(HELD_ELSEWHERE)
            held = now
            await asyncio.sleep(CLAIM_RETRY_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            runtimes = list(self._runtimes.values())
            if not runtimes:
                self._renewed_at = time.monotonic()
                continue
            try:
                kept = await db.write(lambda runtimes=runtimes: [_renew(runtime) for runtime in runtimes])
            except Exception:
                await self._endure(runtimes)
                continue
            self._renewed_at = time.monotonic()
            for runtime, is_kept in zip(runtimes, kept, strict=True):
                if is_kept:
                    runtime.hold(False)
                else:
                    runtime.fenced()

    async def _endure(self, runtimes: list[Runtime]) -> None:
        """The database does not answer: hold, and give up only after a long while."""
        outage_s = time.monotonic() - self._renewed_at
        log.warning("leases could not be renewed for %.0f s", outage_s)
        for runtime in runtimes:
            if outage_s > settings.LEASE_LOST_KILL_S:
                runtime.fenced(DATABASE_GONE)
            else:
                runtime.hold(True)

    # --- Kernels ------------------------------------------------------------------------------------------------

    async def claim_kernel(self, notebook_id: uuid.UUID, epoch: int) -> Kernel:
        """A kernel with the limits of the notebook's owner. Raises NoRoom, KernelStartTimeout, RuntimeError.

        `epoch` is that of the notebook's lease.
        """
        pool = self._pool
        assert pool is not None
        if words := await asyncio.to_thread(checks.refusal):
            raise RuntimeError(words)
        with contextlib.suppress(TimeoutError):  # who reads the sample must find it; others go on
            await asyncio.wait_for(self._sampled.wait(), SAMPLE_S)
        async with self._claiming:  # one after the other, so that none is counted too late
            allowance = await db.read(lambda: allowances.of_notebook(notebook_id, pool.profile))
            await db.write(lambda: KernelSession.objects.starts(notebook_id, epoch=epoch))
            here = [(held, owner) for held, owner in self._owners.items() if self._holds_kernel(held)]
            await db.read(lambda: allowances.check_room(notebook_id, allowance, here, tuple(self._runtimes)))
            self._owners[notebook_id] = allowance.owner
            self._starting.add(notebook_id)
        try:
            return await pool.claim(str(notebook_id), allowance.profile)
        finally:
            self._starting.discard(notebook_id)

    def _holds_kernel(self, notebook_id: uuid.UUID) -> bool:
        runtime = self._runtimes.get(notebook_id)
        return notebook_id in self._starting or (runtime is not None and runtime.has_kernel)

    async def _stop_idle(self) -> None:
        """End kernels that nobody has used for longer than they may be idle."""
        while True:
            await asyncio.sleep(IDLE_LOOK_S)
            for runtime in tuple(self._runtimes.values()):
                try:
                    await self._stop_if_idle(runtime)
                except Exception:
                    log.exception("the idle kernel of notebook %s was not ended in order", runtime.notebook_id)

    async def _stop_if_idle(self, runtime: Runtime) -> None:
        limit_s, idle_s = self.idle_limit_s(runtime), runtime.idle_s()
        if limit_s and idle_s > limit_s:
            stopped = f"Stopped after {_spell(limit_s)} without use. {GONE}"
            await self._end(runtime, stopped if runtime.has_kernel else runtime.kernel_document()["detail"])

    def idle_limit_s(self, runtime: Runtime) -> int:
        """How long the runtime may be unused; 0: as long as it likes."""
        return runtime.idle_limit_s

    def kernel_died(self, death: Death) -> None:
        """Count it."""
        metrics.kernel_died(death.kind)

    async def saver_has_room(self) -> None:
        while self.saver.is_behind:
            await asyncio.sleep(0.1)

    def numbers(self) -> HostNumbers:
        """For metrics and the admin; may be asked from any thread."""
        kernels = self.kernels()
        held = [kernel["memory_bytes"] for kernel in kernels.values() if "memory_bytes" in kernel]
        ready = self._pool.ready_count if self._pool is not None else 0
        return HostNumbers(len(kernels), len(held), ready, sum(held), self.saver.lag_s, self.feeds.count)

    def kernels(self) -> dict[uuid.UUID, dict[str, Any]]:
        """The kernel of each notebook that runs here, as it is told to browsers; from any thread."""
        return {runtime.notebook_id: runtime.kernel_document() for runtime in tuple(self._runtimes.values())}


def _spell(seconds: int) -> str:
    """4 hours, 90 seconds."""
    for size, name in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {name}" + ("s" if seconds != size else "")
    return f"{seconds} second" + ("s" if seconds != 1 else "")


def _renew(runtime: Runtime) -> bool:
    return leases.renew(runtime.notebook_id, runtime.epoch)
