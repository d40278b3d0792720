"""The script that makes an instance a node: rendered by Terraform, run in a root of its own with stand-ins for AWS."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.terraform.working import Terraform

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:r/"
VALUES = {
    "region": "eu-central-1",
    "image": "123456789012.example.com/r:7",
    "registry": "123456789012.example.com",
    "log_group": "/r/kernels",
    "environment": {"RAY_ADDRESS": "head.r.internal:6379", "KERNEL_SANDBOX": "bubblewrap"},
    "secrets": {"SECRET_KEY": f"{ARN}secret_key", "RAY_AUTH_TOKEN": f"{ARN}ray_token"},
    "url_parameter": "arn:aws:ssm:eu-central-1:123456789012:parameter/r/database-url",
}
# A secret's value is its name; everything else that would change the machine only notes its call. What the file
# /run/trouble names happens once: a call that fails, or brings nothing.
STUBS = {
    "aws": "trouble=$(cat /run/trouble 2> /dev/null)\n"
    'case "$trouble" in "$2 "*) rm /run/trouble ;; esac\n'
    'case "$trouble" in\n'
    '"$2 fails") echo denied >&2; exit 254 ;;\n'
    '"$2 brings nothing") exit 0 ;;\n'
    '"$2 brings none") echo None; exit 0 ;;\nesac\n'
    'case "$1 $2" in\n'
    '"secretsmanager get-secret-value") echo "value-of-${4##*/}" ;;\n'
    '"ssm get-parameters") echo postgresql://rillbook@db/rillbook ;;\n'
    '"ecr get-login-password") echo login ;;\nesac\n',
    # An image is on the disk once it was fetched.
    "docker": 'case "$1" in\n'
    "image) exec test -e /var/pulled ;;\n"
    "login) cat > /dev/null ;;\n"
    'pull) touch /var/pulled ;;\nesac\necho "docker $*" >> /var/notes\n',
    "systemctl": 'echo "systemctl $*" >> /var/notes\n',
    # As where the network is not there yet when the machine starts.
    "dnf": 'echo "dnf $*" >> /var/notes\n[ -e /var/tried ] || { touch /var/tried; exit 1; }\n',
    "sleep": "",
    # Without an owner: whoever runs the tests may not give files away.
    "install": 'words=\nwhile [ $# -gt 0 ]; do case $1 in -o|-g) shift ;; *) words="$words $1" ;; esac; shift; done\n'
    "exec /usr/bin/install $words\n",
}


@pytest.fixture(scope="module")
def machine(workspace: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a machine on which the script ran, and after it what systemd would run before each start."""
    script = workspace.evaluate(f'jsonencode(templatefile("modules/kernels/node.sh.tftpl", {json.dumps(VALUES)}))')
    root = tmp_path_factory.mktemp("node")
    for folder in ("etc/systemd/system", "var/lib", "run", "stubs", "sbin"):
        (root / folder).mkdir(parents=True)
    for name, body in STUBS.items():
        (root / "stubs" / name).write_text(f"#!/bin/bash\n{body}", encoding="utf-8")
        (root / "stubs" / name).chmod(0o755)
    (root / "script").write_text(json.loads(json.loads(script)), encoding="utf-8")
    run(root, "bash", "/root.script")
    run(root, "/usr/local/sbin/rillbook-prepare")
    return root


def run(root: Path, *command: str) -> None:
    done = tried(root, *command)
    assert done.returncode == 0, done.stdout + done.stderr


def tried(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    walls = [
        "bwrap",
        "--die-with-parent",
        "--clearenv",
        "--setenv",
        "PATH",
        "/stubs:/usr/bin:/bin",
        "--ro-bind",
        "/usr",
        "/usr",
    ]
    for name in ("bin", "lib", "lib64"):
        walls += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in ("etc", "var", "run"):
        walls += ["--bind", str(root / name), f"/{name}"]
    walls += ["--ro-bind", str(root / "stubs"), "/stubs", "--bind", str(root / "sbin"), "/usr/local/sbin"]
    walls += ["--ro-bind", str(root / "script"), "/root.script", "--dev", "/dev", "--proc", "/proc"]
    return subprocess.run([*walls, "--", *command], capture_output=True, text=True, timeout=60, check=False)


def test_secrets_are_in_memory_and_nowhere_else(machine: Path) -> None:
    lines = (machine / "run/rillbook/environment").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    assert told["SECRET_KEY"] == "value-of-secret_key" and told["RAY_AUTH_TOKEN"] == "value-of-ray_token"
    assert told["DATABASE_URL"] == "postgresql://rillbook@db/rillbook" and told["RAY_ADDRESS"] == "head.r.internal:6379"
    kept = [path for name in ("etc", "sbin", "var") for path in (machine / name).rglob("*") if path.is_file()]
    assert len(kept) >= 4 and [path for path in kept if "value-of-" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("call", ["get-secret-value", "get-parameters"])
@pytest.mark.parametrize("what", ["fails", "brings nothing", "brings none"])
def test_a_node_does_not_start_without_a_value_and_starts_at_the_next_try(machine: Path, call: str, what: str) -> None:
    """systemd runs the preparation again (Restart=always) and starts the container after one that ended well only."""
    environment = machine / "run/rillbook/environment"
    before = environment.read_text(encoding="utf-8")
    (machine / "run/trouble").write_text(f"{call} {what}", encoding="utf-8")
    notes = (machine / "var/notes").read_text(encoding="utf-8")
    assert tried(machine, "/usr/local/sbin/rillbook-prepare").returncode != 0
    assert not environment.exists() and (machine / "var/notes").read_text(encoding="utf-8") == notes
    run(machine, "/usr/local/sbin/rillbook-prepare")
    assert environment.read_text(encoding="utf-8") == before and environment.stat().st_mode & 0o077 == 0


def test_only_root_reads_them(machine: Path) -> None:
    assert (machine / "run/rillbook/environment").stat().st_mode & 0o077 == 0
    assert (machine / "run/rillbook").stat().st_mode & 0o077 == 0


def test_the_unit_runs_the_image_without_privileges(machine: Path) -> None:
    unit = (machine / "etc/systemd/system/rillbook-node.service").read_text(encoding="utf-8")
    start = re.sub(r"\\\n\s*", "", unit).split("ExecStart=")[1].splitlines()[0].split()
    assert start[-2:] == [VALUES["image"], "node"] and "--privileged" not in start
    assert start[start.index("--cap-drop") + 1] == "ALL" and "no-new-privileges" in start
    assert start[start.index("--env-file") + 1] == "/run/rillbook/environment"
    assert start[start.index("--ulimit") + 1] == "nofile=65536:65536"


def test_a_first_start_has_time_to_fetch_the_image_and_an_end_to_finish_what_runs(machine: Path) -> None:
    unit = (machine / "etc/systemd/system/rillbook-node.service").read_text(encoding="utf-8")
    given = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"(Timeout\w+|Restart|ExecStop)=", line))
    assert given["TimeoutStartSec"] == "15min" and given["Restart"] == "always"
    stopping = re.search(r"--time (\d+)", given["ExecStop"])
    assert stopping is not None and 60 <= int(stopping[1]) < int(given["TimeoutStopSec"])


def test_the_image_is_fetched_before_the_first_start(machine: Path) -> None:
    notes = (machine / "var/notes").read_text(encoding="utf-8").splitlines()
    assert notes[:2] == ["dnf install -y docker"] * 2 and "systemctl enable --now rillbook-node" in notes
    assert notes[-2:] == [
        f"docker login --username AWS --password-stdin {VALUES['registry']}",
        f"docker pull --quiet {VALUES['image']}",
    ]


def test_an_image_that_is_on_the_disk_is_not_asked_for_again(machine: Path) -> None:
    """A node starts anew though the registry is away, or has no such image any more."""
    run(machine, "/usr/local/sbin/rillbook-prepare")
    notes = (machine / "var/notes").read_text(encoding="utf-8")
    assert notes.count("docker pull") == notes.count("docker login") == 1
    (machine / "var/pulled").unlink()
    run(machine, "/usr/local/sbin/rillbook-prepare")
    assert (machine / "var/notes").read_text(encoding="utf-8").count("docker pull") == 2
