"""The process that speaks to a Ray cluster for a web server, which is its parent (link.py).

Apart, because Ray ends its driver by a failed check or an exit where the head was restarted, or was gone for long,
or the raylet of this machine died; refused by a new head, it ends itself. It carries bytes and knows no notebook.
`--check` only attaches and says how it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from typing import Any

from ray.exceptions import ActorUnavailableError, AuthenticationError, RayActorError

from kernels_app import cluster
from kernels_app.hosts import actor
from kernels_app.hosts.link import AWAY, DONE, LOST, packed, read

REFUSED = 3  # exit code: the cluster cannot be used
REPLACED = 4  # exit code: it is another one now
PR_SET_PDEATHSIG = 1


class NoActor(Exception):
    """The cluster knows none of this name."""


class Driver:
    """Answers questions: a method's name and its arguments."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}

    async def make(self, name: str, resources: dict[str, float], ready_kernels: int) -> None:
        """A new actor of this name. It is made known to the head, which may be away: others are answered meanwhile."""
        self._actors[name] = await asyncio.to_thread(actor.make, name, resources, ready_kernels=ready_kernels)

    async def steward(self, name: str, node: str, wanted: Any) -> None:
        """The steward of this name, made if there is none."""
        self._actors[name] = await asyncio.to_thread(_steward, name, node, wanted)

    async def is_known(self, name: str) -> bool:
        """Whether the cluster has an actor of this name."""
        with contextlib.suppress(NoActor):
            await self._actor(name)
        return name in self._actors

    async def ask(self, name: str, method: str, *args: Any) -> Any:
        """What a method of the actor returns."""
        try:
            return await getattr(await self._actor(name), method).remote(*args)
        except RayActorError as error:
            if not isinstance(error, ActorUnavailableError):
                self._actors.pop(name, None)
            raise

    async def kill(self, name: str) -> None:
        with contextlib.suppress(NoActor):
            actor.kill(await self._actor(name))
        self._actors.pop(name, None)

    async def is_placed(self, name: str) -> bool:
        """Whether the actor, which may still be starting, has its place."""
        return await asyncio.to_thread(cluster.is_placed, (await self._actor(name))._actor_id.hex())

    async def nodes_for(self, resources: dict[str, float]) -> list[str]:
        return await asyncio.to_thread(cluster.nodes_for, resources)

    async def has_room(self, resources: dict[str, float]) -> bool:
        return await asyncio.to_thread(cluster.has_room, resources)

    async def is_too_large(self, resources: dict[str, float]) -> bool:
        return await asyncio.to_thread(cluster.is_too_large, resources)

    async def _actor(self, name: str) -> Any:
        """Raises NoActor."""
        if name not in self._actors:
            self._actors[name] = await asyncio.to_thread(_found, name)
        return self._actors[name]


def _found(name: str) -> Any:
    import ray

    try:
        return ray.get_actor(name, namespace=cluster.NAMESPACE)
    except ValueError as error:
        raise NoActor(str(error)) from error


def _steward(name: str, node: str, wanted: Any) -> Any:
    import ray

    from kernels_app.hosts.steward import Steward

    remote: Any = ray.remote
    options = cluster.actor_options(name, node=node) | {"get_if_exists": True, "num_cpus": 0}
    return remote(max_restarts=0, max_concurrency=100)(Steward).options(**options).remote(node, wanted)


async def serve(line: socket.socket) -> None:
    """Answer until the server is gone."""
    reader, writer = await asyncio.open_connection(sock=line)
    driver, tasks = Driver(), set[asyncio.Task[None]]()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            number, method, args = await read(reader)
            task = asyncio.create_task(_answer(writer, driver, number, method, args))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _answer(writer: asyncio.StreamWriter, driver: Driver, number: int, method: str, args: Any) -> None:
    try:
        answer = (number, DONE, await getattr(driver, method)(*args))
    except ActorUnavailableError as error:
        answer = (number, AWAY, str(error))
    except (RayActorError, NoActor) as error:
        answer = (number, LOST, str(error))
    except AuthenticationError:  # a new head, which knows nothing of this driver: another one attaches to it
        os._exit(REPLACED)
    except Exception as error:  # of Ray, which has many
        answer = (number, AWAY, f"{type(error).__name__}: {error}")
    writer.write(packed(answer))


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    line = socket.socket(fileno=int(sys.argv[1])) if sys.argv[1] != "--check" else None
    try:
        cluster.attach()
    except cluster.NoCluster as error:
        if line is not None:
            line.sendall(packed((0, AWAY, str(error))))
        print(error, flush=True)
        return REFUSED
    if line is not None:
        line.sendall(packed((0, DONE, None)))
        asyncio.run(serve(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
