"""What docs/api.md shows, carried out against the real server: the examples are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, LiveServer

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
HERE = "http://127.0.0.1:8000"


def blocks(heading: str) -> list[str]:
    """The indented examples under a heading, without their indent."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^(?:    .*)?\n)+", section, flags=re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in found if block.strip()]


@pytest.fixture(scope="module")
def environment(live_server: LiveServer) -> dict[str, str]:
    live_server.session_cookies("me")
    live_server.session_cookies("ann")
    token = live_server.manage("create_token", "me", "--scope", "edit").splitlines()[-1]
    return {**os.environ, "TOKEN": token}


def bash(script: str, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()


def test_the_examples_with_curl_do_what_they_say(live_server: LiveServer, environment: dict[str, str]):
    script = "\n".join(blocks("With curl")).replace(HERE, live_server.url)
    said = bash(script, environment)
    assert said[0] == '"ok"'
    assert '  "text": [\n    "20\\n"\n  ]' in "\n".join(said)
    assert '  "code": "conflict",' in said
    assert '"interrupted"' in said
    for line in ("50000", "editor", "cells.restored", "requested", "postgresql://reader:…@db.example.org/shop"):
        assert line in said, said
    assert said[-1] == "Prices 2026"
    assert "null" not in said


def test_the_other_examples_with_curl_are_carried_out(live_server: LiveServer, environment: dict[str, str]):
    begin = "\n".join(blocks("With curl")).split("# run all")[0].replace(HERE, live_server.url)
    lines = [line.strip() for line in PAGE.split("## With curl")[0].splitlines() if line.startswith("    curl ")]
    assert len(lines) >= 2
    for line in lines:
        assert bash(f"{begin}\n{line}", environment)[-1] not in ("", "null")


def test_the_example_in_python_does_what_it_says(
    live_server: LiveServer, environment: dict[str, str], tmp_path: Path
):
    script = tmp_path / "example.py"
    script.write_text("\n".join(blocks("With Python")).replace(HERE, live_server.url), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ok True"
    assert "2 idle current ['20\\n']" in done.stdout
    assert done.stdout.splitlines()[-6:] == [
        "run: ok",
        "file: True",
        "restored: 200 notebook.restored",
        "seq: True",
        "400 sorce: There is no such field; known are after, before, connection, id, index, operation_id, result_name, "
        "source, type.",
        "deleted: 204",
    ]
