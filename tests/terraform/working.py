"""Terraform on a copy of terraform/, against moto: where the provider comes from, and what is different in tests.

The provider is taken from a local plugin folder where there is one (terraform/README.md), so that nothing asks a
registry. A second file beside each real one (an override file) points the provider at moto.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.with_postgres import free_port
from tests.servers import ROOT

SOURCE = ROOT / "terraform"
EXAMPLE = "production.tfvars.example"
ACCOUNT = "123456789012"
REGION = "eu-central-1"
PLUGIN_FOLDERS = (
    os.environ.get("TERRAFORM_PLUGINS", ""),
    "~/.terraform.d/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/opt/tf-plugins",
)
PROVIDER = """
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 2
}
"""
# The plan does not know the values of tasks' environment yet; it does know the names.
NAMES = """
output "names_of_settings" {
  value = {
    web              = keys(local.environment_of_web)
    nodes            = keys(local.environment_of_nodes)
    secrets          = keys(local.secrets_of_web)
    secrets_of_nodes = keys(local.secrets_of_nodes)
    head             = concat(keys(local.settings_of_head), keys(local.secrets_of_head))
  }
}
"""


class Terraform:
    """A copy of terraform/ in `folder`, with `overrides` (file name to content) beside it, talking to `endpoint`."""

    def __init__(self, folder: Path, endpoint: str, overrides: dict[str, str] | None = None) -> None:
        self.folder = folder / "terraform"
        shutil.copytree(SOURCE, self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars"))
        for name, content in ({"tests_override.tf": PROVIDER, "tests.tf": NAMES} | (overrides or {})).items():
            (self.folder / name).write_text(content, encoding="utf-8")
        self._environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1",
            "TF_CLI_CONFIG_FILE": str(_cli_config(folder)), "AWS_ENDPOINT_URL": endpoint, "NO_COLOR": "1",
        }  # fmt: skip
        self.run("init", "-input=false")

    def run(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [terraform(), *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        problems = (done.stderr or done.stdout)[-6000:]
        assert not check or done.returncode == 0, f"terraform {arguments[0]}:\n{problems}"
        return done

    def popen(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The same in a session of its own, its output read by the caller."""
        return subprocess.Popen(
            [terraform(), *arguments],
            cwd=self.folder,
            env=self._environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def evaluate(self, expression: str) -> str:
        """What Terraform makes of an expression, as its console prints it."""
        done = subprocess.run(
            [terraform(), "console"], cwd=self.folder, env=self._environment, input=expression, capture_output=True,
            text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    def plan(self, *more: str) -> dict[str, Any]:
        """What would be made from nothing, with the example's values: Terraform's JSON plan."""
        self.run("plan", "-input=false", "-refresh=false", f"-var-file={EXAMPLE}", "-out=plan", *more)
        return json.loads(self.run("show", "-json", "plan").stdout)


def terraform() -> str:
    """The program. Raises RuntimeError, which says what to do, where there is none."""
    program = shutil.which("terraform")
    if program is None:
        raise RuntimeError("These tests need Terraform 1.11 or newer on the PATH: see terraform/README.md, Tests.")
    return program


def plugin_folder() -> Path | None:
    """The first folder that holds the provider, as HOST/hashicorp/aws/VERSION/PLATFORM/."""
    for name in filter(None, PLUGIN_FOLDERS):
        folder = Path(name).expanduser()
        if any(folder.glob("*/hashicorp/aws")):
            return folder.resolve()
    return None


def _cli_config(folder: Path) -> Path:
    path = folder / "terraform.rc"
    mirror = plugin_folder()
    lines = [
        "provider_installation {",
        "  filesystem_mirror {",
        f"    path    = {json.dumps(str(mirror))}",
        '    include = ["hashicorp/aws"]',
        "  }",
        "}",
    ]
    path.write_text("\n".join(lines) + "\n" if mirror else "", encoding="utf-8")
    return path


@contextmanager
def moto_server(log: Path) -> Iterator[str]:
    """The URL of an AWS-compatible server: a process of its own on a free loopback port."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_ACCOUNT_ID": ACCOUNT}
    with log.open("wb") as out:
        command = [sys.executable, "-m", "tests.terraform.moto_in_turn", str(port)]
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        _wait(url, server, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()
            return
        except OSError:
            if time.monotonic() > until or server.poll() is not None:
                raise RuntimeError(f"moto did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
