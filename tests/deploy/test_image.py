"""The Dockerfile, executed step by step, and its container: an unprivileged user whose kernels run in their sandbox."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.with_postgres import free_port
from tests.deploy.dockerfile import Builder, Stage
from tests.servers import ROOT

READY_S = 60


def built(folder: Path, site_packages: Path | None) -> Builder:
    for program in ("bwrap", "tini"):
        assert shutil.which(program), f"The image's packages must be here: apt-get install bubblewrap tini ({program})"
    return Builder(ROOT / "Dockerfile", folder, site_packages)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return built(tmp_path_factory.mktemp("image"), Path(sysconfig.get_path("purelib")))


@pytest.fixture(scope="module")
def image(builder: Builder) -> Stage:
    """Built with the libraries of the tests instead of fetched ones; pip itself says that they suffice."""
    return builder.build()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def container(image: Stage, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """ENTRYPOINT and CMD, as the image's user; before it the migration, as `docker compose run migrate`."""
    refused = inside(image, *image.settings["ENTRYPOINT"].command, "web", PORT=str(port))
    assert refused.returncode == 1 and "manage.py migrate" in refused.stderr, refused.stdout + refused.stderr
    done = inside(image, *image.settings["ENTRYPOINT"].command, "migrate")
    assert done.returncode == 0 and "OK" in done.stdout, done.stdout + done.stderr
    process = started(image, port)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(10)


def started(image: Stage, port: int) -> subprocess.Popen[bytes]:
    command = [*image.settings["ENTRYPOINT"].command, *image.settings["CMD"].command]
    process = subprocess.Popen(image.wrapped(command, as_user=True, PORT=str(port)))
    until = time.monotonic() + READY_S
    while not answers(port):
        assert process.poll() is None and time.monotonic() < until, "the container did not start"
        time.sleep(0.1)
    return process


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def inside(image: Stage, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    wrapped = image.wrapped(command, as_user=True, **environment)
    return subprocess.run(wrapped, capture_output=True, text=True, timeout=120, check=False)


def test_every_step_runs_in_order(builder: Builder, image: Stage) -> None:
    kinds = ["-m venv", "pip install", "collectstatic", "chmod"]
    assert [kind for step in builder.ran for kind in kinds if kind in step] == kinds


def test_the_build_gets_the_program_and_nothing_else(builder: Builder) -> None:
    sent = {path.parts[0] for path in builder.sent()}
    program = {"notebook_project", "notebooks_app", "kernels_app", "static", "templates"}
    assert sent == program | {"manage.py", "requirements.txt", "requirements-ray.txt", "deploy"}


def test_no_build_tools_are_installed(builder: Builder) -> None:
    install = next(step.plain for step in builder.instructions if "apt-get install" in step.plain)
    packages = re.search(r"--no-install-recommends ([a-z0-9 -]+?) *&&", install)
    assert packages is not None and packages[1].split() == ["bubblewrap", "ca-certificates", "tini"]
    assert "rm -rf /var/lib/apt/lists" in install


def test_the_user_may_write_its_data_and_not_the_program(image: Stage) -> None:
    assert image.user == "rillbook" and image.ids() == "10001"
    mode = stat.S_IMODE(image.path("/app/manage.py").stat().st_mode)
    assert mode & 0o444 == 0o444 and not mode & 0o022
    tries = "touch /data/mine && ! touch /app/mine && ! touch /opt/venv/mine"
    assert inside(image, "/bin/sh", "-c", tries).returncode == 0


def test_kernels_read_the_interpreter(image: Stage) -> None:
    assert closed_files(image) == []


def closed_files(image: Stage) -> list[Path]:
    return [path for path in image.path("/opt/venv").rglob("*") if not path.is_symlink() and not is_open(path)]


def is_open(path: Path) -> bool:
    mode = path.stat().st_mode
    return bool(mode & 0o004) and (bool(mode & 0o001) or not path.is_dir()) and not mode & 0o022


def test_static_files_lie_compressed_in_the_image(image: Stage) -> None:
    folder = image.path(image.environment["STATIC_ROOT"])
    assert (folder / "js" / "notebook.js").is_file() and (folder / "vendor" / "codemirror.js.gz").is_file()
    assert (folder / "admin").is_dir()


def test_the_container_serves_pages_and_compressed_files(container: subprocess.Popen[bytes], port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/static/vendor/codemirror.js", headers={"Accept-Encoding": "gzip"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip"


def test_its_health_check_tells_a_server_from_none(container: subprocess.Popen[bytes], image: Stage, port: int) -> None:
    check = image.settings["HEALTHCHECK"].plain.removeprefix("CMD ")
    assert check == '["python", "/app/deploy/health.py"]'
    program = ["python", "/app/deploy/health.py"]
    assert inside(image, *program, PORT=str(port)).returncode == 0
    assert inside(image, *program, PORT=str(free_port())).returncode == 1
    assert inside(image, *program, "--port", str(free_port())).returncode == 1


@pytest.mark.usefixtures("container")
def test_a_kernel_starts_in_its_sandbox_without_any_privilege(image: Stage) -> None:
    entry = image.settings["ENTRYPOINT"].command
    doctor = inside(image, *entry, "manage", "doctor", "--json", KERNEL_SANDBOX="bubblewrap")
    assert '"bubblewrap' in doctor.stdout or "bubblewrap sandbox" in doctor.stdout, doctor.stdout + doctor.stderr
    assert '"fail"' not in doctor.stdout, doctor.stdout


def test_an_unknown_role_is_refused(image: Stage) -> None:
    done = inside(image, *image.settings["ENTRYPOINT"].command, "wbe")
    assert done.returncode == 64 and "not wbe" in done.stderr


@pytest.mark.usefixtures("container")
def test_a_migration_that_has_nothing_to_do_changes_nothing(image: Stage) -> None:
    done = inside(image, *image.settings["ENTRYPOINT"].command, "migrate")
    assert done.returncode == 0 and "No migrations to apply" in done.stdout, done.stdout + done.stderr


def ended(container: subprocess.Popen[bytes]) -> int:
    """What the engine sends goes to tini."""
    children = subprocess.run(["pgrep", "-P", str(container.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGTERM)
    return container.wait(60)


def test_sigterm_ends_the_container_in_order(container: subprocess.Popen[bytes], port: int) -> None:
    assert ended(container) in (0, 143) and not answers(port)


def test_a_new_container_with_the_same_volume_has_everything(
    container: subprocess.Popen[bytes], image: Stage, port: int
) -> None:
    """An upgrade: the container is another one, the volume stays."""
    assert container.poll() is not None, "the one before has ended"
    key = image.path("/data/secret_key").read_text(encoding="utf-8")
    again = started(image, port)
    try:
        entry = image.settings["ENTRYPOINT"].command
        program = "from notebooks_app.models import Notebook; print(*Notebook.objects.values_list('name', flat=True))"
        found = inside(image, *entry, "manage", "shell", "--no-imports", "-c", program)
        assert "Demo" in found.stdout, found.stdout + found.stderr
        assert image.path("/data/secret_key").read_text(encoding="utf-8") == key
    finally:
        assert ended(again) in (0, 143)


@pytest.mark.soak
def test_the_image_builds_from_fetched_libraries(tmp_path: Path) -> None:
    builder = built(tmp_path, None)
    image = builder.build()
    done = inside(image, "python", "manage.py", "check")
    assert done.returncode == 0, done.stderr
    assert any("compileall" in step for step in builder.ran) and closed_files(image) == []
