"""A server of a cluster that cannot work does not start, and says what to set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels_app import cluster
from tests.cluster.rays import RayCluster
from tests.servers import ROOT

GOOD = {
    "KERNEL_HOST": "ray",
    "RAY_ADDRESS": "127.0.0.9:1",
    "RAY_AUTH_TOKEN": "a" * 48,
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://rillbook@127.0.0.1:1/none",
}


def checked(folder: Path, **environment: str) -> str:
    """What `manage.py check` says, which fails."""
    return refused(folder, "check", **environment)


def refused(folder: Path, *command: str, **environment: str) -> str:
    """What a command of manage.py says, which fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    given = {"RILLBOOK_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "notebook_project.settings"}
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env=kept | given | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("RAY_ADDRESS", "needs RAY_ADDRESS, host:port"),
        ("RAY_AUTH_TOKEN", "needs RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"),
        ("REDIS_URL", "needs REDIS_URL"),
        ("DATABASE_URL", "needs PostgreSQL: set DATABASE_URL"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, missing: str, words: str):
    said = checked(tmp_path, **{name: value for name, value in GOOD.items() if name != missing})
    assert words in said and "docs/cluster.md" in said


def test_a_cluster_without_tokens_is_refused(tmp_path: Path):
    assert "RAY_AUTH_MODE must be token" in checked(tmp_path, **GOOD, RAY_AUTH_MODE="disabled")


@pytest.mark.parametrize(
    ("token", "kept", "words"),
    [
        ("  ", "a" * 48, "RAY_AUTH_TOKEN is blank"),
        ("", None, "token cannot be read (No such file or directory)"),
        ("", " \n", "token is empty"),
    ],
)
def test_a_token_that_is_none_is_named(tmp_path: Path, token: str, kept: str | None, words: str):
    path = tmp_path / "token"
    if kept is not None:
        path.write_text(kept, encoding="utf-8")
    said = checked(tmp_path, **GOOD | {"RAY_AUTH_TOKEN": token, "RAY_AUTH_TOKEN_PATH": str(path)})
    assert words in said and "RAY_AUTH_TOKEN" in said


@pytest.mark.parametrize(("token", "kept"), [("a" * 48, None), ("", f" {'a' * 48}\n")])
def test_a_token_that_ray_would_read_is_none_of_the_refusals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str, kept: str | None
):
    path = tmp_path / "token"
    if kept is not None:
        path.write_text(kept, encoding="utf-8")
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    assert cluster.package_refusals() == []


JOIN = ("raynode", "join", "--node-ip", "127.0.0.9")


@pytest.mark.parametrize(("missing", "words"), [("REDIS_URL", "needs REDIS_URL"), ("DATABASE_URL", "needs PostgreSQL")])
def test_a_node_joins_with_what_its_actors_need_only(tmp_path: Path, missing: str, words: str):
    """Without DATABASE_URL it would write outputs to an empty SQLite of its own."""
    given = {name: value for name, value in GOOD.items() if name != missing}
    assert words in refused(tmp_path, *JOIN, **given)


@pytest.mark.parametrize("role", [("head",), (*JOIN[1:], "--offer-nothing")])
def test_who_runs_no_kernel_needs_no_database(tmp_path: Path, role: tuple[str, ...]):
    """Refused for the one thing that they lack."""
    given = {"RAY_ADDRESS": GOOD["RAY_ADDRESS"], "KERNEL_HOST": "ray"}
    said = refused(tmp_path, "raynode", *role, **given)
    assert "needs RAY_AUTH_TOKEN" in said and "PostgreSQL" not in said and "REDIS_URL" not in said


def test_another_host_than_these_two_is_refused(tmp_path: Path):
    assert "KERNEL_HOST" in checked(tmp_path, KERNEL_HOST="dask")


ATTACH = """
import django, os, sys
django.setup()
{before}
from kernels_app import cluster
try:
    cluster.attach()
except cluster.NoCluster as error:
    print("REFUSED", error)
"""


# Attaching as a server's start does, which tries again where none answers.
CHECK = """
from kernels_app import cluster
from kernels_app.hosts import link
tried, why_not = [], link._why_not
link._why_not = lambda: [tried.append(1), why_not()][1]
cluster.attach = link.check
import atexit
atexit.register(lambda: print("tried", len(tried)))
"""


def attached(folder: Path, environment: dict[str, str], before: str = "") -> str:
    given = {"RILLBOOK_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "notebook_project.settings"}
    done = subprocess.run(
        [sys.executable, "-c", ATTACH.format(before=before)],
        cwd=ROOT, env=dict(os.environ) | given | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_an_address_where_no_cluster_answers_is_said(tmp_path: Path):
    assert "No Ray cluster answers at RAY_ADDRESS=127.0.0.9:1" in attached(tmp_path, GOOD)


def test_another_token_than_the_heads_is_said_and_not_tried_again(tmp_path: Path, rays: RayCluster):
    said = attached(tmp_path, rays.environment | {"RAY_AUTH_TOKEN": "0" * 48}, CHECK)
    (once,) = [line for line in said.splitlines() if line.startswith("REFUSED")]
    assert "refuses this machine's token: RAY_AUTH_TOKEN" in once
    assert "tried 1" in said and "0" * 48 not in said


def test_another_version_of_ray_is_said(tmp_path: Path, rays: RayCluster):
    before = "import ray\nray.__version__ = '1.0.0'"
    assert "The cluster runs another Ray or Python" in attached(tmp_path, rays.environment, before)
    assert "REFUSED" not in attached(tmp_path, rays.environment)
