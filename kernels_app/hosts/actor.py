"""The actor in which one notebook lives on a node of the cluster: the runtime of a single server behind calls.

Nothing of Django is imported before the constructor has set it up. Where actors are placed and found is ray.py's; what
holds the notebook inside is single.py's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels_app.hosts.single import SingleKernelHost

log = logging.getLogger("rillbook.actor")

COMMANDS = frozenset(
    ("run", "run_all", "run_stale", "restart", "stop", "take_out", "wait", "keep_files", "settle", "input_reply")
    + ("complete", "inspect", "table", "variables", "info")
)
CONNECTIONS = 4  # with the database, of one notebook: a node holds many
LEAVES_S = 5.0
UNUSED_S = 120.0  # whoever made this actor is gone before it opened a notebook


class RuntimeActor:
    """Answers (value, None) or (None, error): refusals cross the wire as themselves."""

    def __init__(self, name: str, *, ready_kernels: int = 0) -> None:
        _set_up()
        from kernels_app.hosts.single import SingleKernelHost

        self._host: SingleKernelHost = SingleKernelHost(name, ready_kernels=ready_kernels, leave=_leave)
        self._starting = asyncio.Lock()
        self._notebook: uuid.UUID | None = None

    async def ready(self) -> int:
        """Begin; the pid. A kernel that is started beforehand may still be on its way."""
        async with self._starting:
            if not self._host.is_started:
                await self._host.start()
                self._host.keep(self._leave_if_unused())
        return os.getpid()

    async def open(self, notebook: str) -> tuple[Any, Exception | None]:
        """Take the notebook's lease and load it. The error is Unavailable where somebody else holds it."""
        await self.ready()
        if self._notebook not in (None, uuid.UUID(notebook)):
            return None, _unavailable("This process has taken another notebook.")
        self._notebook = uuid.UUID(notebook)
        answer = await _answered(self._host.ensure(self._notebook))
        if answer[1] is not None:
            self._notebook = None
            return answer
        return True, None

    async def ask(self, command: str, *args: Any, **more: Any) -> tuple[Any, Exception | None]:
        """A command of the runtime (hosts/base.py: RuntimeHandle)."""
        runtime = self._runtime()
        if command not in COMMANDS or runtime is None:
            return None, _unavailable("The kernel has ended; try again.")
        return await _answered(getattr(runtime, command)(*args, **more))

    async def states(self) -> tuple[Any, Exception | None]:
        """The state of each cell, of its present source."""
        runtime = self._runtime()
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

    def _runtime(self) -> Any:
        return self._host.runtime_of(self._notebook) if self._notebook is not None else None

    async def _leave_if_unused(self) -> None:
        await asyncio.sleep(UNUSED_S)
        if self._notebook is None:
            await _leave()


async def _answered(work: Any) -> tuple[Any, Exception | None]:
    from notebooks_app.errors import RillbookError

    try:
        return (await work if inspect.isawaitable(work) else work), None
    except RillbookError as error:
        return None, error


def _unavailable(words: str) -> Exception:
    from notebooks_app.errors import Unavailable

    return Unavailable(words)


async def _leave() -> None:
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
