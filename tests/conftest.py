"""The cast, and the servers that tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from scripts.with_postgres import temporary_postgres
from tests.servers import LiveServer, temporary_redis

# The same examples in every run, so that what lands is what was tried; `make soak` looks for new ones.
# Nothing is timed: a busy machine makes examples slowly.
UNTIMED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **UNTIMED)
hypothesis.settings.register_profile("new", derandomize=False, **UNTIMED)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


# Files of these take long, one by one: begun first, so that no worker is left alone with one at the end.
LONG = (
    "terraform", "cluster", "faults", "security", "pressure", "migration", "runtime", "storage", "ops", "deploy", "api",
)  # fmt: skip


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """With `--dist loadfile`: one worker for all files that share what takes long (the Ray cluster, Terraform)."""
    return _ByFile(config, log)


class _ByFile(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if "/terraform/" in file:
            return "terraform"
        return "ray" if "/test_ray_" in file else file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses Chromium: Playwright's synchronous API leaves an event loop running in its thread, in which no
    asynchronous test can start, so that `make test` runs these apart. Long ones come first."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        apart = [item for item in items if item.get_closest_marker("postgresql")]
        items[:] = [item for item in items if item not in apart]
        config.hook.pytest_deselected(items=apart)
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: LONG.index(folder) if (folder := item.path.parent.name) in LONG else len(LONG))


def _person(name: str) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user(name, password="a long enough password")


@pytest.fixture
def owner(db: None) -> Any:
    return _person("owner")


@pytest.fixture
def editor(db: None) -> Any:
    return _person("editor")


@pytest.fixture
def viewer(db: None) -> Any:
    return _person("viewer")


@pytest.fixture
def stranger(db: None) -> Any:
    return _person("stranger")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL of this worker's own, with nothing in it."""
    with temporary_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis of this worker's own."""
    with temporary_redis() as url:
        yield url


@pytest.fixture(autouse=True)
def _live_server_helper() -> None:
    """Replaces pytest-django's fixture of this name, which expects its own live_server and fails with ours."""


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The real server, one for a module of tests."""
    server = LiveServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium by Playwright, one for all tests of a process."""
    # Its synchronous API runs an event loop in this thread, in which Django refuses the ORM otherwise.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser_page(chromium: Any, live_server: LiveServer) -> Iterator[Any]:
    """A page whose person is signed in. At its end no script may have failed."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(live_server.login_url)
    yield page
    context.close()
    assert errors == []
