"""Tests of kernels_app/sandbox.py: what code behind bubblewrap can and cannot reach."""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kernels_app import checks, interpreters, sandbox, uids
from kernels_app.provisioner import Profile
from kernels_app.sandbox import Rung
from tests.readable import readable_folder
from tests.walls import Inside, behind, python_for

PROJECT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def landlock_python() -> Iterator[str]:
    """An interpreter that kernels under uids of their own can run; it is another environment than the server's."""
    with python_for(Rung.LANDLOCK) as python:
        yield python


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    with behind(Rung.BUBBLEWRAP, tmp_path) as made:
        yield made


@pytest.fixture(params=[Rung.BUBBLEWRAP, Rung.LANDLOCK])
def either(request: pytest.FixtureRequest) -> Iterator[Inside]:
    """Both rungs, one after the other."""
    python = request.getfixturevalue("landlock_python") if request.param is Rung.LANDLOCK else ""
    with readable_folder() as folder, behind(request.param, folder, python) as made:
        yield made


def test_bubblewrap_works_on_this_machine_and_is_chosen():
    assert sandbox.verdict("auto").rung is Rung.BUBBLEWRAP, sandbox.verdict("auto").why
    assert "bubblewrap sandbox" in sandbox.describe("auto")


def test_no_sandbox_is_said_plainly():
    assert sandbox.available("none") is Rung.NONE
    assert "all that the server can" in sandbox.describe("none")


@pytest.fixture
def fresh_verdicts() -> Iterator[None]:
    sandbox.verdict.cache_clear()
    yield
    sandbox.verdict.cache_clear()


@pytest.mark.parametrize(
    ("platform", "which", "words"),
    [
        ("darwin", "/x/bwrap", "Linux only"),
        ("linux", None, "not installed"),
        ("linux", "/bin/false", "does not work"),
    ],
)
def test_a_machine_without_bubblewrap_says_why(
    monkeypatch: pytest.MonkeyPatch, fresh_verdicts: None, platform: str, which: str | None, words: str
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: which)
    monkeypatch.setattr(sandbox.landlock, "abi", lambda: 0)
    assert sandbox.available() is Rung.NONE
    assert words in sandbox.describe()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        OSError(errno.EMFILE, "Too many open files"),
        uids.NoUid("All uids for kernels are taken."),
        subprocess.TimeoutExpired("bwrap", 20),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "errno", "")),
)
def test_a_sandbox_that_cannot_be_tried_for_a_moment_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, fresh_verdicts: None, error: Exception
):
    def fails(**_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(sandbox.tempfile, "TemporaryDirectory", fails)
        with pytest.raises(sandbox.Untried, match="could not be tried just now"):
            _ = Profile(sandbox="auto").rung
        assert "could not be tried" in sandbox.describe() and "Not known" in sandbox.protections()[0]
        assert "could not be tried" in checks.refusal()
    assert sandbox.available("auto") is Rung.BUBBLEWRAP


def test_where_namespaces_are_forbidden_landlock_is_next_and_says_why(
    monkeypatch: pytest.MonkeyPatch, fresh_verdicts: None, landlock_python: str
):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    found = sandbox.verdict("auto", landlock_python)
    assert found.rung is Rung.LANDLOCK, found.why
    assert "bubblewrap is not installed" in found.why
    assert "Landlock" in sandbox.describe("auto", landlock_python)


def test_landlock_is_refused_where_it_would_stop_too_little(monkeypatch: pytest.MonkeyPatch, fresh_verdicts: None):
    monkeypatch.setattr(sandbox.uids, "can_give", lambda: False)
    monkeypatch.setattr(sandbox.landlock, "abi", lambda: 5)
    found = sandbox.verdict("landlock")
    assert found.rung is Rung.NONE and "too old" in found.why
    monkeypatch.setattr(sandbox.seccomp, "is_known", lambda: False)
    assert "no seccomp filter" in sandbox._landlock_problem("")


@pytest.mark.parametrize("rung", [Rung.BUBBLEWRAP, Rung.LANDLOCK])
def test_what_a_rung_does_and_does_not_do_is_said_in_sentences(rung: Rung, landlock_python: str):
    words = sandbox.protections(rung.value, python=landlock_python if rung is Rung.LANDLOCK else "")
    assert all(line.endswith((".", ")")) for line in words) and len(words) > 5
    assert any(line.startswith("Not hidden") for line in words) is (rung is Rung.LANDLOCK)
    assert sandbox.protections("none")[0].startswith("Not isolated")


def test_the_servers_files_cannot_be_read(inside: Inside, tmp_path: Path):
    other = tmp_path / "notebooks" / "other"
    other.mkdir()
    (other / "secret.csv").write_text("theirs")
    database = tmp_path / "db.sqlite3"
    database.write_text("rows")
    hidden = [
        other,
        other / "secret.csv",
        database,
        PROJECT / "manage.py",
        PROJECT / "notebook_project" / "settings.py",
        PROJECT / "kernels_app" / "sandbox.py",
        PROJECT / ".git",
        Path.home() / ".bashrc",
        Path.home() / ".ssh",
        "/etc/shadow",
        "/etc/hostname",
        "/var/log",
    ]
    assert [str(path) for path in hidden if inside.can_read(path)] == []


def test_the_servers_processes_and_their_environment_cannot_be_seen(inside: Inside):
    seen = inside.run(
        "print(json.dumps([open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]))"
    )
    assert {command.split("\0")[0].split("/")[-1] for command in seen} <= {"bwrap", "python", "python3"}
    assert len(seen) <= 3
    if os.getpid() > 10:
        assert not inside.can_read(f"/proc/{os.getpid()}/environ")


def test_the_environment_is_an_allow_list(inside: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET_KEY", "canary")
    monkeypatch.setenv("DATABASE_URL", "canary")
    seen = inside.run("print(json.dumps(dict(os.environ)))")
    assert "canary" not in str(seen) and seen["EXTRA"] == "given"
    assert set(seen) <= {
        "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "PWD", "EXTRA",
        "PYTHONNOUSERSITE",
    }  # fmt: skip


def test_the_work_folder_is_the_hosts_and_the_only_one(inside: Inside):
    (inside.room.work / "data.csv").write_text("a,b")
    seen = inside.run(
        "open('made.txt', 'w').write('by the kernel'); print(json.dumps([os.getcwd(), sorted(os.listdir())]))"
    )
    assert seen == ["/work", ["data.csv", "made.txt"]]
    assert (inside.room.work / "made.txt").read_text() == "by the kernel"


def test_the_system_and_our_code_are_read_only(inside: Inside):
    code = (
        "failed = []\n"
        "folders = ['', '/dev', '/usr', '/etc', '/opt/venv', '/opt/rillbook/inside', '/run']\n"
        "for path in [f'{folder}/x' for folder in folders] + [os.__file__]:\n"
        "    try: open(path, 'a').close()\n"
        "    except OSError: failed.append(path)\n"
        "print(json.dumps(len(failed)))"
    )
    assert inside.run(code) == 8


def test_there_is_no_network_unless_it_is_opened(inside: Inside):
    code = "import socket\nprint(json.dumps([name for _, name in socket.if_nameindex()]))"
    assert inside.run(code) == ["lo"]
    inside.change(network=True)
    host = sorted(name for name in os.listdir("/sys/class/net") if not name.startswith("bonding"))
    assert set(host) <= set(inside.run(code))


def test_a_server_on_the_hosts_loopback_cannot_be_reached(inside: Inside):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import socket\n"
            f"try: socket.create_connection(('127.0.0.1', {port}), 2); print('true')\n"
            "except OSError: print('false')"
        )
        assert inside.run(code) is False


def test_new_user_namespaces_and_capabilities_are_refused(inside: Inside):
    code = (
        "import ctypes\n"
        "caps = [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')]\n"
        "print(json.dumps([ctypes.CDLL(None).unshare(0x10000000), caps]))"
    )
    refused, caps = inside.run(code)
    assert refused == -1 and all(int(cap, 16) == 0 for cap in caps)


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/home/kernel"])
def test_folders_in_memory_are_bounded(inside: Inside, folder: str):
    inside.change(tmp_bytes=32 * 1024 * 1024)
    most = {"/tmp": 32, "/dev/shm": 256, "/home/kernel": 64}[folder]
    code = f"found = os.statvfs({folder!r}); print(found.f_blocks * found.f_frsize // 1024 // 1024)"
    assert inside.run(code) <= most


def test_what_is_bound_read_only_can_be_read_and_not_written(inside: Inside, tmp_path: Path):
    sample = tmp_path / "sample"
    sample.mkdir()
    (sample / "sample.db").write_text("rows")
    inside.change(readonly={"/data/sample": sample})
    code = (
        "text = open('/data/sample/sample.db').read()\n"
        "try: open('/data/sample/sample.db', 'a'); text = 'writable'\n"
        "except OSError: pass\n"
        "print(json.dumps(text))"
    )
    assert inside.run(code) == "rows"


def test_the_libraries_of_the_servers_environment_are_there(inside: Inside):
    code = "import sys, numpy, ipykernel; print(json.dumps([sys.prefix, numpy.__file__]))"
    prefix, file = inside.run(code)
    assert prefix == "/opt/venv" and file.startswith("/opt/venv/")


def test_a_user_has_a_name_and_a_home(inside: Inside):
    code = "import getpass, pwd; print(json.dumps([getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir]))"
    assert inside.run(code) == ["kernel", "/home/kernel"]


def test_the_kernel_dies_with_the_server(either: Inside):
    """A server that is killed says nothing to its kernels: the system does."""
    argv = [sandbox.python_inside(either.room.python, either.rung), "-c", "sum(range(10**12))"]
    told = either.room.run.parent / "pid"
    code = (
        "import json, os, subprocess, sys\n"
        "from kernels_app import recipes, sandbox\n"
        "recipe = json.load(sys.stdin) | {'parent': os.getpid()}\n"
        "file = sandbox.recipe_descriptor(recipe)\n"
        "kernel = subprocess.Popen(recipes.command(file), env={}, pass_fds=[file])\n"
        "open(sys.argv[1], 'w').write(str(kernel.pid)); kernel.wait()"
    )
    server = subprocess.Popen([sys.executable, "-c", code, told], stdin=subprocess.PIPE, text=True, cwd=PROJECT)
    json.dump(sandbox.recipe(either.rung, replace(either.room, argv=argv)), server.stdin)
    server.stdin.close()
    wait_until(lambda: told.exists() and told.read_text())
    kernel = os.pidfd_open(int(told.read_text()))
    server.kill()
    server.wait()
    ended, _, _ = select.select([kernel], [], [], 10)
    os.close(kernel)
    assert ended


@pytest.mark.parametrize("path", [str(Path.home()), "/home", "/home/someone", "/", "/opt"])
def test_a_home_is_never_bound_whole(path: str):
    with pytest.raises(ValueError, match="more than an interpreter"):
        interpreters.refuse_homes(path)


def test_another_interpreter_is_asked_for_its_folders():
    found = interpreters.interpreter(os.path.realpath(sys.executable))
    assert not found.is_venv
    assert any(os.path.realpath(sys.executable).startswith(path) for path in (*found.paths, "/usr"))
