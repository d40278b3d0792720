"""The only way from asynchronous code to the ORM.

`sync_to_async` and the `a…` methods of the ORM share one thread of the process, so that one slow query stops every
socket. Here are two executors of our own: readers, and writers (one on SQLite, whose lock admits one). Connections are
kept on SQLite, for closing the last one checkpoints the whole WAL; PostgreSQL's pool keeps its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.db import OperationalError, close_old_connections, connection

from notebooks_app import metrics

READERS = 4
WRITERS_POSTGRESQL = 4
UPLOADERS = 4


async def read[T](function: Callable[[], T]) -> T:
    """Run `function`, which only reads, in a reader thread."""
    return await _run(_readers, function)


async def write[T](function: Callable[[], T]) -> T:
    """Run `function`, which writes, in the writer (SQLite) or a writer (PostgreSQL) thread."""
    return await _run(_writers, function)


async def upload[T](function: Callable[[], T]) -> T:
    """Run `function`, which moves large bytes and writes their row, where neither readers nor writers wait for it."""
    return await _run(_uploaders, function)


def close() -> None:
    """End the threads and with them their connections; the executors start anew when needed (tests, shutdown)."""
    for executor_of in (_readers, _writers, _uploaders):
        if executor_of.cache_info().currsize:
            executor = executor_of()
            executor_of.cache_clear()  # first: what comes now, from a server that ends, gets new ones
            for _ in range(executor._max_workers):
                executor.submit(connection.close)
            executor.shutdown(wait=True)


async def _run[T](executor_of: Callable[[], ThreadPoolExecutor], function: Callable[[], T]) -> T:
    # In the caller's context: what is logged there tells what it is about (logs.py).
    run = contextvars.copy_context().run
    loop = asyncio.get_running_loop()
    try:
        future = loop.run_in_executor(executor_of(), lambda: run(_with_connection, function))
    except RuntimeError:  # `close` ended these threads at this moment: the next ones take it
        future = loop.run_in_executor(executor_of(), lambda: run(_with_connection, function))
    return await future


def _with_connection[T](function: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return function()
    except OperationalError:
        if connection.connection is None:
            metrics.connect_failed()
        raise
    finally:
        close_old_connections()


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, thread_name_prefix="db-read")


@cache
def _uploaders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(UPLOADERS, thread_name_prefix="db-upload")


@cache
def _writers() -> ThreadPoolExecutor:
    workers = 1 if connection.vendor == "sqlite" else WRITERS_POSTGRESQL
    return ThreadPoolExecutor(workers, thread_name_prefix="db-write")
