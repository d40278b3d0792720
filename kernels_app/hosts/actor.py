"""The actor in which one notebook lives on a node of the cluster: the runtime of a single server behind calls.

No model of Django is imported before the constructor has set it up. Which notebook gets which actor is ray.py's,
what waits for one steward.py's, and what holds it inside single.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import pickle
import time
import uuid
from typing import TYPE_CHECKING, Any

from kernels_app import cluster

if TYPE_CHECKING:
    from kernels_app.hosts.single import SingleKernelHost

log = logging.getLogger("rillbook.actor")

COMMANDS = frozenset(
    ("run", "run_all", "run_stale", "restart", "stop", "take_out", "wait", "keep_files", "settle", "input_reply")
    + ("complete", "inspect", "table", "variables", "info")
)
QUESTIONS = frozenset(("ready", "open", "ask", "states", "view", "end"))
CONNECTIONS = 4  # with the database, of one notebook: a node holds many
LEAVES_S = 5.0
UNUSED_S = 30.0  # whoever made this actor, or kept it waiting, is gone before it opened a notebook
LOOK_S = 2.0


class RuntimeActor:
    """Answers (value, None) or (None, error): refusals cross the wire as themselves."""

    def __init__(self, name: str, *, ready_kernels: int = 0) -> None:
        _set_up()
        from kernels_app.hosts.single import SingleKernelHost

        self._host: SingleKernelHost = SingleKernelHost(name, ready_kernels=ready_kernels, leave=leave)
        self._starting = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._notebook: uuid.UUID | None = None
        self._kept_at = time.monotonic()

    async def ready(self) -> int:
        """Begin; the pid. A kernel that is started beforehand may still be on its way."""
        async with self._starting:
            if not self._host.is_started:
                await self._host.start()
                self._host.keep(self._leave_if_unused())
        return os.getpid()

    async def stay(self) -> tuple[int, int]:
        """Begin, and wait for a notebook for a while longer; the pid, and how many kernels are ready."""
        self._kept_at = time.monotonic()
        return await self.ready(), self._host.numbers().ready

    async def answer(self, question: bytes) -> bytes:
        """A question of a web process: a method's name and its arguments; what it returns. Packed, for those who carry
        it (driver.py) have no Django."""
        method, args, more = pickle.loads(question)  # noqa: S301  whoever reaches this actor has Ray's token
        if method not in QUESTIONS:
            raise ValueError(method)
        return pickle.dumps(await getattr(self, method)(*args, **more))

    async def open(self, notebook: str) -> tuple[Any, Exception | None]:
        """Take the notebook's lease and load it. The error is Unavailable where somebody else holds it."""
        await self.ready()
        async with self._opening:
            if self._notebook not in (None, uuid.UUID(notebook)):
                return None, _unavailable("This process has taken another notebook.")
            self._notebook = uuid.UUID(notebook)
            try:
                await self._host.ensure(self._notebook)
            except BaseException as error:
                self._notebook, self._kept_at = None, time.monotonic()
                return _refused(error)
            return True, None

    async def ask(self, command: str, *args: Any, **more: Any) -> tuple[Any, Exception | None]:
        """A command of the runtime (hosts/base.py: RuntimeHandle)."""
        runtime = await self._opened()
        if command not in COMMANDS or runtime is None:
            return None, _unavailable("The kernel has ended; try again.")
        return await _answered(getattr(runtime, command)(*args, **more))

    async def states(self) -> tuple[Any, Exception | None]:
        """The state of each cell, of its present source."""
        runtime = await self._opened()
        if runtime is None:
            return None, _unavailable("The kernel has ended; try again.")
        return await _answered(self._host.notebook_states(runtime.notebook_id))

    async def view(self, cells: list[str], with_states: bool) -> tuple[Any, Exception | None]:
        """For web processes that follow the notebook (following.py: View), or None."""
        return self._host.view(self._notebook, cells, with_states=with_states) if self._notebook else None, None

    async def end(self, reason: str) -> None:
        """End the kernel, give the lease back, leave."""
        if self._notebook is not None:
            await self._host.stop(self._notebook, reason)

    async def _opened(self) -> Any:
        """Whoever reads the lease may be here before the notebook is loaded."""
        async with self._opening:
            return self._runtime()

    def _runtime(self) -> Any:
        return self._host.runtime_of(self._notebook) if self._notebook is not None else None

    async def _leave_if_unused(self) -> None:
        while self._notebook is None or self._runtime() is None:
            if self._notebook is None and time.monotonic() - self._kept_at > UNUSED_S:
                await leave()
            await asyncio.sleep(LOOK_S)


def make(name: str, resources: dict[str, float], *, ready_kernels: int, node: str = "") -> Any:
    """A new actor that reserves this, on any node or on one. It is detached: it outlives the process that had it made.
    It is never restarted: a kernel that is lost is said to be."""
    options = cluster.actor_options(name, node=node) | resources
    return _actor_class().options(**options).remote(name, ready_kernels=ready_kernels)


def kill(actor: Any) -> None:
    import ray
    from ray.exceptions import RayError

    with contextlib.suppress(RayError, ValueError):  # gone, or this process lets go of the cluster
        ray.kill(actor)


@functools.cache
def _actor_class() -> Any:
    import ray

    remote: Any = ray.remote  # Ray's stubs know only a part of the options
    return remote(max_restarts=0, max_task_retries=0, max_concurrency=1000)(RuntimeActor)


async def _answered(work: Any) -> tuple[Any, Exception | None]:
    try:
        return (await work if inspect.isawaitable(work) else work), None
    except Exception as error:
        return _refused(error)


def _refused(error: BaseException) -> tuple[None, Exception]:
    """Our refusals cross the wire as themselves. Raises every other error."""
    from notebooks_app.errors import RillbookError

    if not isinstance(error, RillbookError):
        raise error
    return None, error


def _unavailable(words: str) -> Exception:
    from notebooks_app.errors import Unavailable

    return Unavailable(words)


async def leave() -> None:
    """End this actor: its name and what it reserved are free."""
    import ray

    me = ray.get_runtime_context().current_actor
    await asyncio.to_thread(ray.kill, me)
    await asyncio.sleep(LEAVES_S)
    os._exit(0)


def _set_up() -> None:
    """Django, as in the server; of the database's connections this process needs few."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notebook_project.settings")
    import django
    from django.conf import settings

    django.setup()
    database: dict[str, Any] = settings.DATABASES["default"]
    options = database.get("OPTIONS") or {}
    if "pool" in options:
        options["pool"] = {**options["pool"], "max_size": min(CONNECTIONS, options["pool"]["max_size"])}
