"""What ends a kernel of a cluster by intention: its place is free, and the next run has a new one."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.rays import Lease, RayCluster
from tests.cluster.test_ray_spares import runs
from tests.faults.test_processes import is_alive, make, until
from tests.servers import LiveServer

IDLE = """
from django.contrib.auth import get_user_model
from kernels_app.models import KernelLimits
owner = get_user_model().objects.get(username="idler")
KernelLimits.objects.update_or_create(user=owner, defaults={"idle_seconds": 2})
"""


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def other(rays: RayCluster, web: LiveServer) -> Iterator[LiveServer]:
    """Nothing was run through this one."""
    server = rays.server()
    yield server
    server.stop()


def begin(rays: RayCluster, api: Any) -> tuple[str, Lease]:
    path, _ = make(api, "print('here')")
    assert runs(api, path) == (200, "ok")
    return path, rays.lease(path.split("/")[1])


def check_ended(rays: RayCluster, api: Any, path: str, lease: Lease, words: str) -> None:
    """It is said, its process is gone, and the next run has another one."""
    until(lambda: not is_alive(lease.pid))
    kernel = api("GET", f"{path}kernel/")[1]
    assert kernel["state"] == "stopped" and words in kernel["detail"]
    assert runs(api, path) == (200, "ok")
    after = rays.lease(path.split("/")[1])
    assert after.epoch == lease.epoch + 1 and after.pid != lease.pid
    api("DELETE", path)


def test_a_kernel_that_nobody_uses_ends_on_its_node(rays: RayCluster, web: LiveServer):
    web.session_cookies("idler")  # makes them
    api = web.api("idler")
    web.manage("shell", "--no-imports", "-c", IDLE)
    path, lease = begin(rays, api)
    check_ended(rays, api, path, lease, "Stopped after 2 seconds without use.")


def test_an_operator_stops_a_kernel_by_any_server(rays: RayCluster, web: LiveServer, other: LiveServer):
    path, lease = begin(rays, web.api())
    stop(other, path.split("/")[1])
    check_ended(rays, web.api(), path, lease, "An operator stopped the kernel.")


def stop(server: LiveServer, notebook: str) -> None:
    """By the admin's action, as the first user."""
    cookies = server.sign_in()
    url = f"{server.url}/admin/notebooks_app/kernelsession/"
    asked = urllib.request.Request(url, headers={"Cookie": header(cookies)})
    with urllib.request.urlopen(asked, timeout=60) as page:
        token = page.read().decode().partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    body = {"csrfmiddlewaretoken": token, "action": "stop", "_selected_action": notebook}
    asked = urllib.request.Request(
        url, urllib.parse.urlencode(body).encode(), headers={"Cookie": header(cookies), "Referer": url}
    )
    with urllib.request.urlopen(asked, timeout=60) as page:
        assert page.status == 200


def header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
