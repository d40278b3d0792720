"""Kernels started before anybody asks, so that a notebook's first run waits for nothing.

A pool holds kernels of one profile, connected and ready, each in an empty folder of its own that becomes
the notebook's at the claim (folders.py). It refills in the background, one start at a time and not while a
claimed kernel has its first moments. What a kernel is: kernel.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from kernels_app import cgroups, deaths, provisioner, sandbox, trees
from kernels_app.folders import Folders
from kernels_app.interpreters import interpreter
from kernels_app.kernel import Kernel, KernelDied, KernelStartTimeout
from kernels_app.provisioner import Profile
from kernels_app.sandbox import Rung
from kernels_app.trees import Held

log = logging.getLogger("rillbook.pool")

REFILL_DELAY_S = 1.0
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0


class FolderFull(RuntimeError):
    """The notebook's folder holds so much that no kernel starts in it; the message is for its people."""


class KernelPool:
    """`size` ready kernels of one profile. Make and use it on one event loop; `start` it, `close` it."""

    def __init__(self, size: int, profile: Profile, work_root: Path) -> None:
        self.size = size
        self.profile = profile
        self.folders = Folders(work_root)
        self._ready: list[Kernel] = []
        self._all: set[Kernel] = set()
        self._wanted = asyncio.Event()
        self._filler: asyncio.Task[None] | None = None
        self._arrived = asyncio.Condition()
        self._is_filling = False
        self._is_closed = False
        self._prepared: asyncio.Task[None] | None = None

    @property
    def ready_count(self) -> int:
        """How many kernels wait to be claimed."""
        return len(self._ready)

    async def start(self) -> None:
        """Prepare the folders and begin to fill; does not wait for kernels."""
        with contextlib.suppress(OSError):  # no room, perhaps: whoever fills or claims tries again, and says so
            await self._prepare()
        if self._filler is None:
            self._filler = asyncio.get_running_loop().create_task(self._fill(), name="kernel-pool")
        self._wanted.set()

    async def claim(self, notebook_id: str, profile: Profile | None = None) -> Kernel:
        """A ready kernel bound to the notebook's own folder: a pooled one, else (or of another profile) a new one.

        The caller owns it and ends it with `shutdown` or `kill`; a notebook has one kernel at a time. Raises
        KernelStartTimeout, FolderFull, and ValueError for an id that is not flat.
        """
        self.folders.notebook(notebook_id)
        if self._is_closed:
            raise RuntimeError("The pool is closed.")
        await self._prepare()
        held = await asyncio.to_thread(self._look, notebook_id, profile or self.profile)
        while True:
            other = profile if profile is not None and profile != self.profile else None
            kernel = await (self._take() if other is None else self._start_one(other))
            try:
                work = await asyncio.to_thread(self._hand_over, kernel, notebook_id)
            except OSError:
                if not kernel.is_alive:  # it ended just now, and its folder went with it
                    continue
                await kernel.kill()
                raise
            except BaseException:  # whoever claims it goes
                await kernel.kill()
                raise
            if kernel.is_alive:
                kernel.belong_to(notebook_id, work, held)
                return kernel

    def _hand_over(self, kernel: Kernel, notebook_id: str) -> Path:
        keep_name = kernel.launch.profile.rung is not Rung.BUBBLEWRAP
        return self.folders.claim(kernel.launch.work, notebook_id, keep_name=keep_name)

    def _look(self, notebook_id: str, profile: Profile) -> Held:
        """What the notebook's folder holds before a kernel is given to it. Blocks. Raises FolderFull."""
        most = profile.disk_entries
        held = trees.measure([self.folders.notebook(notebook_id)], most=most + deaths.OVER_ENTRIES)
        if words := deaths.far_over_disk(held, bound=profile.disk_bytes, most=most):
            raise FolderFull(words)
        return held

    async def wait_until_full(self, timeout_s: float = 60.0) -> None:
        """Return when `size` kernels are ready. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self._ready) >= self.size)

    async def shrink(self, size: int) -> None:
        """Keep only so many ready from now on; what is too much ends."""
        self.size = size
        spare, self._ready = self._ready[size:], self._ready[:size]
        await asyncio.gather(*(kernel.kill() for kernel in spare))

    async def close(self) -> None:
        """End the filling and every kernel that came from here, claimed or not. No process is left."""
        self._is_closed = True
        if self._filler:
            self._filler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filler
        waiting, claimed = set(self._ready), self._all - set(self._ready)
        self._ready.clear()
        await asyncio.gather(
            *(kernel.kill() for kernel in waiting), *(kernel.shutdown() for kernel in claimed)
        )
        await asyncio.to_thread(self.folders.close)

    async def _prepare(self) -> None:
        """Once, or until it works: folders, provisioner, and the sandbox tried out."""
        if self._prepared is None or _has_failed(self._prepared):
            self._prepared = asyncio.get_running_loop().create_task(self._prepare_once())
        await asyncio.shield(self._prepared)

    async def _prepare_once(self) -> None:
        provisioner.register()
        await asyncio.to_thread(provisioner.remove_stale_run_folders)
        await asyncio.to_thread(self.folders.prepare)
        await asyncio.to_thread(cgroups.remove_stale)
        await asyncio.to_thread(sandbox.available, self.profile.sandbox, self.profile.python)
        await asyncio.to_thread(interpreter, self.profile.python)

    async def _take(self) -> Kernel:
        """A pooled kernel, the one that is being started for the pool, or one started now."""
        while self._ready or self._is_filling:
            if self._ready:
                kernel = self._ready.pop(0)
                self._wanted.set()
                if kernel.is_alive:
                    return kernel
                continue
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._ready or not self._is_filling)
        return await self._start_one()

    async def _start_one(self, profile: Profile | None = None) -> Kernel:
        slot = await asyncio.to_thread(self.folders.new_slot)
        try:
            kernel = await Kernel.start(profile or self.profile, slot)
        except BaseException:
            await asyncio.to_thread(self.folders.remove_slot, slot)
            raise
        if self._is_closed:
            await kernel.kill()
            await asyncio.to_thread(self.folders.remove_slot, slot)
            raise RuntimeError("The pool is closed.")
        self._all.add(kernel)
        kernel.died.add_done_callback(lambda _: self._forget(kernel))
        return kernel

    def _forget(self, kernel: Kernel) -> None:
        self._all.discard(kernel)
        self.folders.remove_slot(kernel.launch.work)
        if kernel in self._ready:
            log.warning("A waiting kernel ended: %s", kernel.died.result().reason)
            self._ready.remove(kernel)
            self._wanted.set()

    async def _fill(self) -> None:
        """Keep the pool full; wait longer after each failed start."""
        retry_s = RETRY_FIRST_S
        delay_s = 0.0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(delay_s)  # a claimed kernel's first run comes first
            delay_s = REFILL_DELAY_S
            while len(self._ready) < self.size:
                try:
                    await self._prepare()
                    await self._fill_one()
                    retry_s = RETRY_FIRST_S
                except (KernelStartTimeout, KernelDied, OSError) as error:
                    log.error("A kernel did not start; the next try is in %g s. %s", retry_s, error)
                    await asyncio.sleep(retry_s)
                    retry_s = min(RETRY_MOST_S, retry_s * 2)

    async def _fill_one(self) -> None:
        self._is_filling = True
        try:
            self._ready.append(await self._start_one())
        finally:
            self._is_filling = False
            async with self._arrived:
                self._arrived.notify_all()


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
