"""Two web processes behind the supplied nginx, on a real PostgreSQL and a real Redis at the end of a wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from benchmarks.browser import Browser
from scripts.cluster import Cluster, run_cluster
from tests.cluster.rays import rays
from tests.faults.test_processes import make
from tests.servers import Api
from tests.wires import Wire

__all__ = ["rays"]

BASE = "/rillbook"
ATTEMPTS = 4  # wrong passwords from one address


@dataclass
class Team:
    """The cluster, people with their sessions, and the wire to Redis."""

    cluster: Cluster
    redis: Wire
    redis_url: str  # past the wire
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        """Of each process, past nginx."""
        return [self.cluster.url_of(web) for web in self.cluster.webs]

    def cookie(self, name: str = "me") -> str:
        if name not in self.cookies:
            made = self.cluster.webs[0].session_cookies(name)
            self.cookies[name] = "; ".join(f"{key}={value}" for key, value in made.items())
        return self.cookies[name]

    def api(self, process: int | None = None, name: str = "me") -> Api:
        """Of one process, or through nginx."""
        self.cookie(name)
        return self.cluster.api(self.cluster.url if process is None else self.urls[process], name)

    def browser(self, notebook: str, process: int | None = None, name: str = "me", cookie: str = "") -> Browser:
        """A browser on one process, or wherever nginx sends it."""
        url = self.cluster.url if process is None else self.urls[process]
        parts = urlsplit(url)
        return Browser(url, notebook, cookie or self.cookie(name), origin=f"{parts.scheme}://{parts.netloc}")

    def join(self, notebook: str, name: str, role: str) -> None:
        """Make a person a member of the notebook."""
        self.cookie(name)
        status, _ = self.api()("POST", f"notebooks/{notebook}/members/", {"user": name, "role": role})
        assert status == 201

    def notebook(self, *sources: str) -> tuple[str, list[str]]:
        """A new notebook and its cells."""
        path, cells = make(self.api(), *sources)
        return path.split("/")[1], cells


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory, postgres: str, redis_server: str) -> Iterator[Team]:
    port = urlsplit(redis_server).port
    assert port is not None
    wire = Wire(port)
    environment = {"KERNEL_POOL_SIZE": "0", "LOG_FORMAT": "json", "SIGN_IN_ADDRESS_ATTEMPTS": str(ATTEMPTS)}
    with run_cluster(
        tmp_path_factory.mktemp("cluster"), database_url=postgres, redis_url=f"redis://127.0.0.1:{wire.port}/0",
        base_path=BASE, **environment,
    ) as cluster:  # fmt: skip
        yield Team(cluster, wire, redis_server)
