"""deploy/entry.sh: what each role of the image starts. Python is a program that notes how it is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.test_processes import until
from tests.servers import ROOT

NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$NOTES"\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    program = tmp_path / "python"
    program.write_text(NOTE, encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


def started(programs: Path, *role: str, **environment: str) -> list[str]:
    """The command lines, in order."""
    notes = programs / "notes"
    given = {"PATH": f"{programs}:/usr/bin:/bin", "NOTES": str(notes)} | environment
    subprocess.run([str(ROOT / "deploy" / "entry.sh"), *role], env=given, check=True, timeout=30)
    return [" ".join(line.split()) for line in notes.read_text(encoding="utf-8").splitlines()]


def test_a_web_task_serves_without_migrating(programs: Path) -> None:
    assert started(programs, "web") == ["python manage.py serve --host 0.0.0.0 --port 8000 --no-migrate"]


def test_a_web_task_of_a_cluster_joins_it_and_offers_nothing(programs: Path) -> None:
    lines = started(programs, "web", KERNEL_HOST="ray", RAY_ADDRESS="head:6379")
    assert [line for line in lines if line.startswith("python manage.py serve ")]
    notes = programs / "notes"  # the member stays beside the server, which waits for it
    assert until(lambda: "python manage.py raynode join --offer-nothing --block" in notes.read_text(encoding="utf-8"))


def test_the_head_and_a_node_stay_in_the_foreground(programs: Path) -> None:
    assert started(programs, "head") == ["python manage.py raynode head --block"]
    assert started(programs, "node", RAY_ADDRESS="head:6379")[1] == "python manage.py raynode join --block"


def test_migrate_and_manage_run_the_command(programs: Path) -> None:
    assert started(programs, "migrate") == ["python manage.py migrate --no-input"]
    assert started(programs, "manage", "doctor", "--json")[1] == "python manage.py doctor --json"


def test_the_script_is_plain_and_executable() -> None:
    script = ROOT / "deploy" / "entry.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)
