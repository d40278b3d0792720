"""What `make` relies on: the finder of a Python, and the check for ways around notebooks_app/db.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import lint_orm

ROOT = Path(__file__).resolve().parent.parent
NEWEST, OLDER, TOO_OLD, SHIM = "python3.14", "python3.12", "python3", "python3.13"


def find(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the finder where PATH has this folder and the tools it needs, and no other Python."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("bash", "sort", "cat"):
        if not (tools / tool).exists():
            (tools / tool).symlink_to(f"/usr/bin/{tool}" if Path(f"/usr/bin/{tool}").exists() else f"/bin/{tool}")
    return subprocess.run(
        ["bash", str(ROOT / "scripts/find_python.sh")], env={"PATH": f"{folder}:{tools}", **environment},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip


def put(path: Path, *, says: str | None) -> None:
    """A Python that prints this as its path, or one that does not run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{f'echo {says}' if says else 'echo not installed >&2; exit 127'}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_newest_python_with_wheels_is_found(tmp_path: Path):
    put(tmp_path / "python3.15", says="too new")
    put(tmp_path / NEWEST, says="newest")
    put(tmp_path / OLDER, says="older")
    assert find(tmp_path).stdout.splitlines()[-1] == "newest"


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path):
    put(tmp_path / SHIM, says=None)
    put(tmp_path / OLDER, says="older")
    assert find(tmp_path).stdout.splitlines()[-1] == "older"


def test_the_newest_of_pyenvs_versions_is_found_behind_failing_shims(tmp_path: Path):
    put(tmp_path / SHIM, says=None)
    for version in ("3.13.2", "3.13.10", "3.11.9"):
        put(tmp_path / f"pyenv/versions/{version}/bin/python3", says=version)
    assert find(tmp_path, PYENV_ROOT=str(tmp_path / "pyenv")).stdout.splitlines()[-1] == "3.13.10"


def test_the_real_python_is_found_and_its_path_printed(tmp_path: Path):
    (tmp_path / "python3.12").symlink_to(sys.executable)
    found = find(tmp_path).stdout.strip()
    assert subprocess.run([found, "-c", "import venv"], check=False).returncode == 0


def test_without_any_the_message_says_what_to_install(tmp_path: Path):
    put(tmp_path / TOO_OLD, says=None)
    found = find(tmp_path)
    assert found.returncode == 1
    assert "needs Python 3.12 or newer" in found.stderr
    assert "apt-get install" in found.stderr


@pytest.mark.parametrize(
    "source",
    [
        "from asgiref.sync import sync_to_async",
        "from channels.db import database_sync_to_async as to_thread",
        "async def f(): await Cell.objects.aget(pk=1)",
        "async def f(cell): await cell.asave()",
    ],
)
def test_ways_around_the_database_module_are_found_with_their_line(tmp_path: Path, source: str):
    path = tmp_path / "consumer.py"
    path.write_text(f"\n{source}\n", encoding="utf-8")
    [line] = lint_orm.offences(path)
    assert line.startswith(f"{path}:2: ")


def test_our_own_methods_that_begin_with_a_are_no_offence(tmp_path: Path):
    path = tmp_path / "runtime.py"
    path.write_text("async def f(task): await task.answer(); task.add(1); task.append(2)", encoding="utf-8")
    assert lint_orm.offences(path) == []


def test_the_pins_name_no_machine_and_no_index():
    for name in ("requirements.txt", "requirements-ray.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and not line.startswith(("#", "-r "))]
        assert pins
        assert [line for line in pins if "==" not in line or "://" in line or os.sep in line] == []


FLAKY = """
import pathlib
def test_that_passes(): pass
def test_that_fails_once(tmp_path):
    seen = pathlib.Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


@pytest.mark.parametrize(
    ("text", "code", "said", "again"),
    [
        ("def test_good(): pass", 0, "1 passed", False),
        (FLAKY, 0, "ONLY THE SECOND TIME (mend the test, or what it tests):\n  test_it.py::test_that_fails_once", True),
        (FLAKY + "def test_bad(): assert 0", 1, "1 failed, 1 passed", True),
        ("import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_bad(n): assert 0", 1, "9 failed", False),
        ("import nothing_of_that_name", 1, "1 error", True),
        ("import pytest\ndef test_bad(): pytest.exit('no', returncode=3)", 3, "no", False),
    ],
)  # fmt: skip
def test_what_fails_is_run_once_more_and_told(tmp_path: Path, text: str, code: int, said: str, again: bool):
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/run_tests.py"), "-n", "2", "--dist", "loadfile", "-p", "no:django"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, "Once more, alone" in done.stdout) == (code, again), done.stdout
    assert said in done.stdout
    assert not (tmp_path / ".pytest_cache").exists()
