"""Rillbook as several server processes on one machine: PostgreSQL, Redis, web processes, nginx in front.

The parts, for `make cluster` (scripts/try_cluster.py), for tests/cluster and for benchmarks/scale.py. Every process is
ended by its id when the context ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.nginx import ROUND_ROBIN, PlainNginx
from scripts.with_postgres import free_port
from tests.servers import Api, LiveServer


@dataclass
class Cluster:
    """The web processes, and the one address that people use."""

    webs: list[LiveServer]
    nginx: PlainNginx

    @property
    def url(self) -> str:
        return self.nginx.url

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.nginx.port}"

    def url_of(self, web: LiveServer) -> str:
        """The same as `url`, past nginx to one process."""
        return f"{web.url}{self.nginx.base_path}"

    def api(self, url: str, username: str = "me") -> Api:
        """A client of the API at `url`, with this person's token."""
        return Api(url, self.webs[0].api(username).token)


@contextlib.contextmanager
def run_cluster(
    folder: Path,
    *,
    database_url: str,
    redis_url: str,
    processes: int = 2,
    base_path: str = "",
    balance: str = ROUND_ROBIN,
    port: int | None = None,
    **environment: str,
) -> Iterator[Cluster]:
    """Web processes that share a data folder below `folder`, and nginx in front of them."""
    shared = {
        "RILLBOOK_DATA_DIR": str(folder / "data"),  # and with it the key that signs and encrypts
        "DATABASE_URL": database_url, "REDIS_URL": redis_url, "BASE_PATH": base_path, "BEHIND_PROXY": "true",
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        webs: list[LiveServer] = []
        for number in range(processes):  # one after the other: the first one migrates
            own = folder / f"web{number + 1}"
            own.mkdir(parents=True)
            webs.append(LiveServer(own, **(shared | environment)))
            stack.callback(webs[-1].stop)
        ports = [web.port for web in webs]
        nginx = PlainNginx(folder / "nginx", port or free_port(), ports, base_path=base_path, balance=balance)
        stack.callback(nginx.stop)
        nginx.start()
        yield Cluster(webs, nginx)
