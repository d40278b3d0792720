"""A database of a test's own, empty, on either engine, and work carried out where it is the default one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import ConnectionHandler, connections

from notebook_project.env import env_database


def empty_database(engine: str, name: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Its URL. On PostgreSQL it is another than the shared one: what other tests left there is not this one's."""
    if engine == "sqlite":
        return f"sqlite:///{folder}/x.sqlite3"
    shared = request.getfixturevalue("postgres")
    with psycopg.connect(shared, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return f"{shared.rpartition('/')[0]}/{name}"


def apart(work: Callable[[], Any], address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The work where this database is the default one: in a thread, for connections belong to one."""
    monkeypatch.setenv("DATABASE_URL", address)

    def within() -> Any:
        wrapper = ConnectionHandler({"default": env_database("DATABASE_URL", Path("unused"))})["default"]
        connections["default"] = wrapper
        try:
            return work()
        finally:
            wrapper.close()
            if wrapper.vendor == "postgresql":
                wrapper.close_pool()  # type: ignore[attr-defined]

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(within).result()
