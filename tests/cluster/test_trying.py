"""`make cluster`: says what is missing; starts everything, prints one URL that signs in, ends all of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from scripts.with_postgres import free_port
from tests.faults.test_processes import children, is_alive
from tests.readable import readable_folder
from tests.servers import ROOT

START_S = 180


def test_what_is_missing_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-c", MISSING]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "Redis is missing: apt-get install redis-server." in done.stderr


MISSING = "import sys; sys.argv = ['try_cluster', '--local']; from scripts.try_cluster import main; sys.exit(main())"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where its temporary files go: the user postgres can walk there."""
    with readable_folder() as made:
        made.chmod(0o777)
        yield made


@pytest.mark.soak
@pytest.mark.parametrize("local", [True, False])
def test_a_cluster_starts_signs_in_and_is_gone_after_ctrl_c(folder: Path, tmp_path: Path, local: bool) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "scripts.try_cluster", "--port", str(free_port()), *(["--local"] if local else [])]
    with log.open("w") as out:
        environment = {**os.environ, "TMPDIR": str(folder)}
        trying = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment)
    try:
        until = time.monotonic() + START_S
        while not (found := re.search(r"^URL: (\S+)$", log.read_text(), re.MULTILINE)):
            assert trying.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert "Demo" in opener.open(found[1], timeout=30).read().decode()
        below = children(trying.pid)
        assert len(below) > 5
        trying.send_signal(signal.SIGINT)
        assert trying.wait(90) == 0, log.read_text()
        assert [pid for pid in below if is_alive(pid)] == []
        assert not list(folder.glob("rillbook-*"))
    finally:
        if trying.poll() is None:
            trying.terminate()
            trying.wait(90)
