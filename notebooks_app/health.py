"""Whether this server can work: database, channel layer and storage, each asked within a time limit.

A flood of probes costs one question a second. Which address answers how is in probes.py; `manage.py doctor` says what
is wrong and how to mend it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from channels.layers import get_channel_layer
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import close_old_connections, connection

from notebooks_app import metrics

log = logging.getLogger("rillbook.health")

LIMIT_S = 2.0
KEEP_S = 1.0
THREADS = 3  # one a check: a check that hangs holds its own thread, never a server's


class Readiness:
    """The last answer and the question under way, so that whoever asks meanwhile gets the same."""

    def __init__(self, limit_s: float = LIMIT_S, keep_s: float = KEEP_S) -> None:
        self.limit_s, self.keep_s = limit_s, keep_s
        self.asked = 0
        self._answer: dict[str, bool] | None = None
        self._answered_at = 0.0
        self._task: asyncio.Task[dict[str, bool]] | None = None
        self._stuck: dict[str, asyncio.Future[None]] = {}
        self._layer_channel = ("", 0)

    async def ask(self) -> dict[str, bool]:
        """Whether each part answers, by its name."""
        if self._answer is not None and time.monotonic() - self._answered_at < self.keep_s:
            return self._answer
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._task = asyncio.get_running_loop().create_task(self._check_all(), name="readiness")
        return await asyncio.shield(task)

    async def _check_all(self) -> dict[str, bool]:
        self.asked += 1
        checks: dict[str, Callable[[], Awaitable[None]]] = {
            "database": lambda: self._in_thread("database", check_database),
            "channel_layer": self._check_layer,
            "storage": lambda: self._in_thread("storage", check_storage),
        }
        results = await asyncio.gather(*(self._try(name, check) for name, check in checks.items()))
        answer = dict(zip(checks, results, strict=True))
        self._answer, self._answered_at = answer, time.monotonic()
        return answer

    async def _try(self, name: str, check: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with asyncio.timeout(self.limit_s):
                await check()
        except Exception as error:
            log.warning("not ready: %s: %s", name, error)
            return False
        return True

    async def _in_thread(self, name: str, check: Callable[[], None]) -> None:
        """In a thread of its own; while the last one has not come back, that is the answer."""
        loop = asyncio.get_running_loop()
        stuck = self._stuck.get(name)
        if stuck is not None and not stuck.done() and stuck.get_loop() is loop:
            raise TimeoutError("the last check has not come back")
        future = loop.run_in_executor(_threads(), check)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody waits any more
        self._stuck[name] = future
        await asyncio.shield(future)

    async def _check_layer(self) -> None:
        """Send to a channel of our own and receive it. The channel is kept: each one costs the layer a subscription."""
        layer = get_channel_layer()
        here = id(asyncio.get_running_loop())
        if self._layer_channel[1] != here:
            self._layer_channel = (await layer.new_channel(), here)
        channel, mark = self._layer_channel[0], uuid.uuid4().hex
        try:
            await layer.send(channel, {"type": "readiness", "mark": mark})
            while (await layer.receive(channel)).get("mark") != mark:
                pass  # a late answer to an earlier question
        except BaseException:
            self._layer_channel = ("", 0)
            raise


readiness = Readiness()


def check_database() -> None:
    """Raises what the database says where it does not answer."""
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except Exception:
        if connection.connection is None:
            metrics.connect_failed()
        raise
    finally:
        close_old_connections()


def check_storage(storage: Storage | None = None) -> None:
    """Whether the storage of outputs answers; a folder must be one that can be written. Raises what it says."""
    storage = storage or storages["outputs"]
    if isinstance(storage, FileSystemStorage):
        folder = Path(storage.location)
        while not folder.exists():  # it is made with the first file
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "the folder cannot be written")
        return
    storage.exists("readiness")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="readiness")
