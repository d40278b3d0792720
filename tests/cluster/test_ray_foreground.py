"""`raynode --block`, as a container runs it: what actors log is among what the container says, one JSON line each."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.with_postgres import free_port
from tests.servers import ROOT

HEAD = "127.0.0.9"  # beside the cluster of the other tests
START_S = 60
# A terraform alarm looks for these words (modules/monitoring).
ACTOR = """
import os, ray
ray.init(address=os.environ["RAY_ADDRESS"], namespace="rillbook", log_to_driver=False, configure_logging=False)

@ray.remote(num_cpus=0.1)
class Actor:
    def say(self):
        import django, logging
        django.setup()
        logging.getLogger("rillbook.runtime").warning("the kernel of notebook %s died: test", "abc")

ray.get(Actor.remote().say.remote())
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    own = {
        "RAY_ADDRESS": f"{HEAD}:{free_port()}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(24),
        "RILLBOOK_DATA_DIR": str(tmp_path), "LOG_FORMAT": "json",
        "DJANGO_SETTINGS_MODULE": "notebook_project.settings",
    }  # fmt: skip
    return {**os.environ, **own}


@pytest.fixture
def said(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """What a member in the foreground says. It offers a place, which a head in production does not."""
    folder, said = tempfile.mkdtemp(prefix="rb-ray-", dir="/tmp"), tmp_path / "said"
    port = environment["RAY_ADDRESS"].rpartition(":")[2]
    command = [sys.executable, "manage.py", "raynode", "head", "--block", "--free-ports", "--node-ip", HEAD]
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", port, "--cpus", "1", "--folder", folder],
            cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    until = time.monotonic() + START_S
    while "Ray runtime started" not in said.read_text(errors="replace"):
        assert process.poll() is None and time.monotonic() < until, said.read_text(errors="replace")
        time.sleep(0.1)
    yield said
    process.terminate()
    try:
        process.wait(60)
    finally:
        with_it = subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True).stdout.split()
        shutil.rmtree(folder, ignore_errors=True)
    assert with_it == []  # SIGTERM ended everything


def test_what_an_actor_logs_is_said_by_its_container(environment: dict[str, str], said: Path) -> None:
    subprocess.run([sys.executable, "-c", ACTOR], cwd=ROOT, env=environment, check=True, timeout=120)
    until = time.monotonic() + 30
    while not (found := [line for line in said.read_text(errors="replace").splitlines() if "died: test" in line]):
        assert time.monotonic() < until, said.read_text(errors="replace")
        time.sleep(0.1)
    assert json.loads(found[0])["logger"] == "rillbook.runtime"
