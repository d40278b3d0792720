"""Ray's token: no kernel has it but of a notebook that an operator trusts, which then commands the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.rays import RayCluster
from tests.faults.test_processes import cells_of, make, text
from tests.servers import LiveServer

LOOK = """
import os, pathlib
print(sorted(name for name in os.environ if name.upper().startswith("RAY")))
found = set()
for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if b"RAY_AUTH" in path.read_bytes():
            found.add(path.parts[2])
    except OSError:
        pass
print(sorted(found), os.path.exists(os.path.expanduser("~/.ray")), sorted(pathlib.Path("/tmp").glob("r*ray*")))
"""
SCALE = """
import ray
ray.init("auto", logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=0.1)
def square(number):
    return number * number

print(sum(ray.get([square.remote(each) for each in range(10)])))
ray.shutdown()
"""
TRUST = """
import uuid
from django.contrib.auth import get_user_model
from notebooks_app.models import Notebook
owner = get_user_model().objects.order_by("pk").first()
Notebook.objects.create(id=uuid.UUID("{notebook}"), owner=owner, name="Trusted")
"""


@pytest.fixture(scope="module")
def web(rays: RayCluster) -> Iterator[LiveServer]:
    server = rays.server()
    yield server
    server.stop()


def test_no_kernel_sees_the_token(web: LiveServer):
    api = web.api()
    path, cells = make(api, LOOK)
    status, run = api("POST", f"{path}runs/", {"all": True, "wait": True})
    if status == 503:  # a busy machine: "try again", it says
        status, run = api("POST", f"{path}runs/", {"all": True, "wait": True})
    assert status == 200 and run["run"]["outcome"] == "ok", run
    assert text(cells_of(api, path)[0]).splitlines() == ["[]", "[] False []"]


def test_a_trusted_notebook_computes_on_the_cluster(rays: RayCluster, web: LiveServer):
    api = web.api()
    web.manage("shell", "--no-imports", "-c", TRUST.format(notebook=rays.trusted))
    path = f"notebooks/{rays.trusted}/"
    assert api("POST", f"{path}cells/", {"type": "python", "source": SCALE})[0] == 201
    status, run = api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60}, timeout_s=120)
    assert (status, run["run"]["outcome"]) == (200, "ok"), cells_of(api, path)[0]["outputs"]
    assert text(cells_of(api, path)[0]).splitlines()[-1] == "285"
