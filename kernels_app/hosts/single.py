"""A host of exactly one notebook, in a process of its own: an actor of the cluster (actor.py). Knows nothing of Ray.

It is the host of a single server (local.py) with another name in the lease, no patience at the claim, and an end: when
its runtime is over, for whichever reason, it leaves.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from kernels_app import leases
from kernels_app.deaths import Death
from kernels_app.feed import NotebookFeed
from kernels_app.following import View
from kernels_app.hosts.local import LocalKernelHost
from kernels_app.kernel import Kernel
from kernels_app.models import KernelDeaths
from kernels_app.provisioner import Profile
from kernels_app.relay import Relay
from kernels_app.runtime import Runtime
from notebooks_app import db, events
from notebooks_app.errors import Unavailable
from notebooks_app.models import KernelSession

WITHOUT_KERNEL_S = 600  # a runtime whose kernel died or never started is kept this long for those who read
GPUS = "CUDA_VISIBLE_DEVICES"
DRIVER = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
LAST_WORDS_S = 0.5  # for what is on its way to those who watch


def gpu_devices(visible: str) -> tuple[str, ...]:
    """The files of these GPUs of NVIDIA's (their numbers, with commas between) and of the driver they share."""
    numbers = [number for number in visible.split(",") if number.strip().isdigit()]
    return (*(f"/dev/nvidia{number.strip()}" for number in numbers), *DRIVER) if numbers else ()


class SingleKernelHost(LocalKernelHost):
    """`name` is what the lease says of it: who reads it finds this process. `leave` ends the process."""

    def __init__(self, name: str, *, ready_kernels: int, leave: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.name = name
        self.pool_size = ready_kernels
        self._leave = leave
        self._over = asyncio.Event()
        self._relay: Relay | None = None

    async def start(self) -> None:
        events.use_loop(asyncio.get_running_loop())
        await super().start()
        self._ending = asyncio.create_task(self._leave_when_over(), name="end of the actor")

    def profile(self) -> Profile:
        """With the GPUs that Ray reserved for this process; none, where it reserved none."""
        common, gpus = super().profile(), os.environ.get(GPUS, "")
        return replace(common, env={**common.env, GPUS: gpus}, devices=gpu_devices(gpus))

    def kernel_died(self, death: Death) -> None:
        """In the database: nobody asks this process for metrics."""
        self.keep(db.write(lambda: KernelDeaths.add(death.kind)))

    def runtime_of(self, notebook_id: uuid.UUID) -> Runtime | None:
        return self._runtimes.get(notebook_id)

    def drop(self, runtime: Runtime) -> None:
        super().drop(runtime)
        if runtime.is_fenced:
            self._over.set()

    async def _end(self, runtime: Runtime, detail: str) -> None:
        try:
            await super()._end(runtime, detail)
        finally:
            self._over.set()

    async def _free_dead(self) -> None:
        """A claim does this for its notebook: what waits for one needs no database."""

    async def _claim(self, notebook_id: uuid.UUID) -> tuple[int, KernelSession]:
        """At once or not at all: who asked this process sees to whom the lease belongs."""
        me = leases.new_host_name(self.name)
        claimed = await db.write(lambda: leases.claim(notebook_id, me))
        if claimed is None:
            raise Unavailable("Another process holds this notebook.")
        return claimed

    def attach(self, feed: NotebookFeed, epoch: int) -> None:
        feed.relay = self._relay = Relay(feed.notebook_id, epoch)

    def view(self, notebook_id: uuid.UUID, cells: Collection[str], *, with_states: bool) -> View | None:
        """What those are told who follow the notebook from another process; in one moment of this loop."""
        runtime = self._runtimes.get(notebook_id)
        if runtime is None or self._relay is None:
            return None
        return View(
            epoch=runtime.epoch,
            number=self._relay.follow(),
            kernel=runtime.kernel_document(),
            states=runtime.feed.told_states() if with_states else {},
            outputs=runtime.outputs_of(cells),
            unsaved=tuple(runtime.unsaved_cells()) if with_states else (),
        )

    async def claim_kernel(self, notebook_id: uuid.UUID, epoch: int) -> Kernel:
        kernel = await super().claim_kernel(notebook_id, epoch)
        assert self._pool is not None
        await self._pool.shrink(0)  # this process will need no other
        return kernel

    def idle_limit_s(self, runtime: Runtime) -> int:
        return runtime.idle_limit_s if runtime.has_kernel else WITHOUT_KERNEL_S

    async def _move_held(self) -> None:
        """Web processes do this."""

    async def _leave_when_over(self) -> None:
        await self._over.wait()
        if self._relay is not None:
            await self._relay.close()
        await asyncio.sleep(LAST_WORDS_S)
        try:
            async with asyncio.timeout(30):
                await self.close()
        finally:
            await self._leave()
