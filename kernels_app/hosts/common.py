"""What hosts of runtimes share, wherever runtimes live: asked from other threads, background tasks, held outputs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from notebooks_app import db, files, logs
from notebooks_app.errors import Unavailable

log = logging.getLogger("rillbook.host")

MOVE_HELD_S = 60.0


class HostBase:
    def __init__(self) -> None:
        self.is_started = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def call(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """See hosts/base.py: KernelHost."""
        if self.loop is None:
            work.close()
            raise Unavailable("The server is starting; try again.")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise Unavailable(f"The server did not answer within {timeout_s:g} s.") from None

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """A background task that belongs to the host."""
        name = getattr(work, "__name__", "host")
        task = asyncio.get_running_loop().create_task(work, name=name, context=logs.context_of())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s of the host failed", task.get_name(), exc_info=task.exception())

    async def _move_held(self) -> None:
        """Outputs that the database holds for a storage that was away move there by themselves."""
        while True:
            await asyncio.sleep(MOVE_HELD_S)
            try:
                for file_id in await db.read(files.held_ids):
                    await db.upload(lambda file_id=file_id: files.try_to_move(file_id))
            except Exception:
                log.exception("held outputs could not be moved")
