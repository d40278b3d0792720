"""A web server's line to the process that speaks to the cluster for it (driver.py). It may end; then another begins.

Knows nothing of Ray. What is asked while no cluster answers is refused; what runs on nodes goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from typing import Any

from django.conf import settings

from kernels_app import cluster

log = logging.getLogger("rillbook.ray")

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 5.0
JOINING_S = 40.0  # until a server's start gives up: its machine may be joining
END_S = 5.0
HEAD_BYTES = 8
DONE, LOST, AWAY = "done", "lost", "away"  # what a question came to
COMMAND = (sys.executable, "-m", "kernels_app.hosts.driver")


class Lost(Exception):
    """The actor is dead, or there is none of that name."""


class Away(Exception):
    """The actor, the node or the cluster does not answer: what was asked may have been carried out, or not."""


class Link:
    """`keep` it for as long as the server lives; `ask` it from the same loop."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._attached = asyncio.Event()

    async def ask(self, method: str, *args: Any, within_s: float) -> Any:
        """What the driver's method returns. Raises Lost, Away (also where there is no driver), TimeoutError."""
        async with asyncio.timeout(within_s):
            while self._writer is None:
                await self._attached.wait()
            self._number += 1
            number, future = self._number, asyncio.get_running_loop().create_future()
            self._asked[number] = future
            try:
                self._writer.write(packed((number, method, args)))
                outcome, value = await future
            finally:
                self._asked.pop(number, None)
        if outcome == DONE:
            return value
        raise Lost(value) if outcome == LOST else Away(value)

    async def keep(self) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            try:
                if await self._live():
                    retry_s = RETRY_FIRST_S
            except Exception:
                log.exception("the process that speaks to the cluster could not be kept")
            await asyncio.sleep(retry_s)
            retry_s = min(RETRY_MOST_S, 2 * retry_s)

    async def close(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                process.kill()

    async def _live(self) -> bool:
        """One driver, from its start to its end; whether it was attached."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, str(theirs.fileno()), pass_fds=(theirs.fileno(),), cwd=settings.BASE_DIR, env=environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._process = process
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            _, outcome, words = await read(reader)
            if outcome != DONE:
                log.warning("the cluster is away: %s", words)
                return False
            self._writer = writer
            self._attached.set()
            await self._listen(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            log.warning("the process that speaks to the cluster ended, as when its head is gone; another begins")
        finally:
            self._let_go(writer)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return True

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            number, outcome, value = await read(reader)
            future = self._asked.get(number)
            if future is not None and not future.done():
                future.set_result((outcome, value))

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        self._writer = None
        self._attached.clear()
        writer.close()
        for future in self._asked.values():
            if not future.done():
                future.set_result((AWAY, "the cluster does not answer"))


def environment() -> dict[str, str]:
    """Of the driver: the settings of this server, and where its modules are."""
    return {**os.environ, **cluster.environment()}


def check() -> None:
    """Attach and let go, in another process. Raises cluster.NoCluster. Blocks: this machine may be about to join."""
    if words := cluster.refusals():
        raise cluster.NoCluster(" ".join(words))
    until = time.monotonic() + JOINING_S
    while words := _why_not():
        if "No Ray cluster answers" not in words[0] or time.monotonic() > until:
            raise cluster.NoCluster(words[0])
        time.sleep(RETRY_FIRST_S)


def _why_not() -> list[str]:
    done = subprocess.run(
        [*COMMAND, "--check"], cwd=settings.BASE_DIR, env=environment(), capture_output=True, text=True, check=False
    )
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return [said[-1] if said else f"Ray ended with exit code {done.returncode}."] if done.returncode else []


def packed(value: Any) -> bytes:
    """A frame of the line between the two."""
    body = pickle.dumps(value)
    return len(body).to_bytes(HEAD_BYTES) + body


async def read(reader: asyncio.StreamReader) -> Any:
    """The next frame. Raises asyncio.IncompleteReadError at the end."""
    size = int.from_bytes(await reader.readexactly(HEAD_BYTES))
    return pickle.loads(await reader.readexactly(size))  # noqa: S301  our own parent's, or child's
