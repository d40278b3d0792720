"""Each setting that is wrong stops the start and is named, with what it should be; the README has all that are read."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from kernels_app import allowances
from notebook_project import oidc, outputs
from tests.servers import ROOT

SETTINGS = ROOT / "notebook_project" / "settings.py"
KEY = "fK3v-9sT1_xQwZ7mLr5bNc2yHd8gPj4eUa6oViXkSt0RBn-qCE"
MULTI = {"RILLBOOK_MODE": "multi", "SECRET_KEY": KEY, "ALLOWED_HOSTS": "notebooks.example.com"}
OIDC = {"OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"}
# Those that take any text: what is wrong with them only what they name can tell (test_wrong_surroundings.py).
FREE = {
    "RILLBOOK_DATA_DIR", "STATIC_ROOT", "KERNEL_PYTHON", "OUTPUTS_BUCKET", "OUTPUTS_REGION", "OIDC_NAME",
    "EMAIL_FROM", "METRICS_TOKEN", "DATABASE_PASSWORD", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "REDIS_IAM_USER",
    "REDIS_IAM_CACHE", "AWS_REGION", "SECRET_KEY", "CONNECTION_KEYS", "SECRET_KEY_FALLBACKS",
    "RAY_REDIS_ADDRESS",
}  # fmt: skip
NUMBERS_FROM_ONE = {"OUTPUTS_URL_SECONDS", "SQL_TIMEOUT_S", "PROXY_COUNT", "DATABASE_POOL_SIZE", "UPLOAD_MAX_BYTES"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment without any setting; modules that read it when they are imported are put back."""
    for name in reads():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("RILLBOOK_DATA_DIR", str(tmp_path / "data"))
    with monkeypatch.context() as patch:
        yield patch
    importlib.reload(outputs)


def load(bare: pytest.MonkeyPatch, **environment: str) -> dict[str, object]:
    for name, value in environment.items():
        bare.setenv(name, value)
    importlib.reload(outputs)
    importlib.reload(oidc)
    return runpy.run_path(str(SETTINGS))


def reads() -> dict[str, str]:
    """What notebook_project/ asks the environment for: name -> the helper that reads it."""
    found = {"REDIS_IAM_CACHE": "env_str", "AWS_REGION": "env_str"}  # read in a loop
    for path in (ROOT / "notebook_project").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("env_")
            if named and node.args and isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
                found[str(node.args[0].value)] = node.func.id  # type: ignore[attr-defined]
    return found


def table() -> set[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Settings")[1].split("## Map")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row)}


def test_the_readme_has_every_setting_that_is_read_and_none_besides():
    of_ray = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}  # Ray reads them by itself
    assert table() - of_ray == set(reads())


@pytest.mark.parametrize("spelled", [str, lambda each: str(each).upper(), lambda each: f" {each.hex} "])
def test_a_trusted_notebook_is_known_however_its_id_is_spelled(bare: pytest.MonkeyPatch, settings: Any, spelled: Any):
    notebooks = [uuid.uuid4(), uuid.uuid4()]
    loaded = load(bare, RAY_TRUSTED_NOTEBOOKS=",".join(map(spelled, notebooks)))
    settings.KERNEL_HOST, settings.RAY_TRUSTED_NOTEBOOKS = "ray", loaded["RAY_TRUSTED_NOTEBOOKS"]
    assert [allowances.is_trusted(each) for each in (*notebooks, uuid.uuid4())] == [True, True, False]


def test_the_defaults_load_without_any_setting(bare: pytest.MonkeyPatch):
    assert load(bare)["RILLBOOK_MODE"] == "single"


BAD = {
    "env_bool": "perhaps", "env_int": "ten", "env_float": "much", "env_choice": "sideways", "env_path": "no path",
    "env_targets": "a b", "env_own": "10.0.0.0/8", "env_database": "mysql://host/name", "env_mailer": "carrier-pigeon://x",
    "env_hosts": "https://notebooks.example.com", "env_origins": "notebooks.example.com", "env_url": "ftp://host",
    "env_resource": "much", "env_address": "10.0.0.5",
    "env_ids": "Sales, 2026",
}  # fmt: skip


@pytest.mark.parametrize(("name", "helper"), sorted((n, h) for n, h in reads().items() if n not in FREE))
def test_a_value_of_the_wrong_kind_names_its_variable(bare: pytest.MonkeyPatch, name: str, helper: str):
    around = {"BEHIND_PROXY": "1", "OIDC_ISSUER": "https://id.example.com", **OIDC, "HTTPS": "1"}
    around |= {"DATABASE_URL": "postgresql://u@host/name"} if name.startswith("DATABASE_") else {}
    with pytest.raises(ImproperlyConfigured) as refused:
        load(bare, **around | {name: BAD[helper]})
    said = str(refused.value)
    assert said.startswith(name) and said.endswith(".") and len(said) < 200 and "\n" not in said


@pytest.mark.parametrize("name", sorted(n for n, helper in reads().items() if helper == "env_int"))
def test_a_number_below_what_makes_sense_is_refused(bare: pytest.MonkeyPatch, name: str):
    around = {"BEHIND_PROXY": "1"} | ({"DATABASE_URL": "postgresql://u@h/n"} if name.startswith("DATABASE_") else {})
    for value in ("-1", "9" * 30, *(["0"] if name in NUMBERS_FROM_ONE else [])):
        with pytest.raises(ImproperlyConfigured, match=f"^{name} must be a whole number from"):
            load(bare, **around | {name: value})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DATABASE_URL": "postgresql://u:s3cret@host:99999/x"}, "DATABASE_URL has a port"),
        ({"DATABASE_URL": "postgresql://u:s3cret@[host/x"}, "DATABASE_URL is not a URL"),
        ({"DATABASE_URL": "postgresql://u:s3cret@host"}, "DATABASE_URL names no database"),
        ({"DATABASE_URL": "sqlite://data.sqlite3"}, "DATABASE_URL must start"),
        ({"DATABASE_URL": "rillbook"}, "DATABASE_URL must start"),
        ({"REDIS_URL": "redis://:s3cret@host:port/0"}, "REDIS_URL has a port"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL must begin"),
        ({"REDIS_URL": "redis://host", "REDIS_IAM_USER": "web"}, "REDIS_IAM_USER needs REDIS_IAM_CACHE"),
        ({"EMAIL_URL": "smtp://u:s3cret@host:x"}, "EMAIL_URL has a port"),
        ({"EMAIL_URL": "mail.example.com"}, "EMAIL_URL must be"),
        ({"OUTPUTS_ENDPOINT_URL": "minio:9000"}, "OUTPUTS_ENDPOINT_URL must begin"),
        ({"OIDC_ISSUER": "http://id.example.com", **OIDC}, "OIDC_ISSUER must be an https:// URL"),
        ({"OIDC_ISSUER": "https://id.example.com"}, "OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"),
        ({"CSRF_TRUSTED_ORIGINS": "https://a.example.com/path"}, "CSRF_TRUSTED_ORIGINS must hold origins"),
        ({"ALLOWED_HOSTS": "notebooks.example.com:443"}, "ALLOWED_HOSTS must hold names"),
        ({"KERNEL_RAY_CPUS": "0"}, "KERNEL_RAY_CPUS must be above 0"),
        ({"KERNEL_RAY_CPUS": "0.00001"}, "KERNEL_RAY_CPUS must be 0, or 0.0001 or more"),
        ({"KERNEL_RAY_GPUS": "1.5"}, "KERNEL_RAY_GPUS must be a whole number, or a share of one"),
        ({"RAY_ADDRESS": "10.0.0.5:"}, "RAY_ADDRESS must be host:port"),
        ({"RAY_ADDRESS": "10.0.0.5:65536"}, "RAY_ADDRESS must be host:port"),
        ({"RAY_ADDRESS": "ray://10.0.0.5:6379"}, "RAY_ADDRESS must be host:port"),
        ({"OUTPUTS_URL_SECONDS": "301"}, "OUTPUTS_URL_SECONDS must be a whole number from 1 to 300"),
        ({"RILLBOOK_MODE": "multi"}, "SECRET_KEY (or SECRET_KEY_FILE) must be set in multi mode"),
        (MULTI | {"SECRET_KEY": "changeme"}, "SECRET_KEY is a sample"),
        (MULTI | {"SECRET_KEY": "a1" * 10}, "SECRET_KEY is shorter"),
        (MULTI | {"SECRET_KEY": "ab" * 30}, "SECRET_KEY repeats"),
        (MULTI | {"SECRET_KEY_FALLBACKS": "changeme"}, "SECRET_KEY_FALLBACKS holds a key that is a sample"),
        (MULTI | {"DEBUG": "1"}, "DEBUG shows"),
        (MULTI | {"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS is open"),
        (MULTI | {"SOCKET_ORIGINS": "http://notebooks.example.com"}, "SOCKET_ORIGINS holds http://"),
        ({"SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE cannot be read: No such file"),
        ({"METRICS_TOKEN_FILE": "/bin/true"}, "METRICS_TOKEN_FILE names a file that is not text"),
        ({"DATABASE_URL_FILE": "/"}, "DATABASE_URL_FILE cannot be read: Is a directory"),
    ],
)
def test_what_is_wrong_in_a_special_way_is_said_in_its_own_words(bare, environment: dict[str, str], words: str):
    with pytest.raises(ImproperlyConfigured) as refused:
        load(bare, **environment)
    assert words in str(refused.value) and "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "name", "value"),
    [
        ({"RILLBOOK_MODE": "multi"}, "KERNELS_MAX", 200),
        ({"RILLBOOK_MODE": "multi", "KERNEL_HOST": "ray"}, "KERNELS_MAX", 0),
        ({"RILLBOOK_MODE": "multi", "KERNEL_HOST": "ray", "KERNELS_MAX": "9"}, "KERNELS_MAX", 9),
        ({}, "RAY_HEAD_AWAY_S", 60),
        ({"RAY_REDIS_ADDRESS": "10.0.0.6:6379"}, "RAY_HEAD_AWAY_S", 600),
        ({"KERNEL_RAY_CPUS": "1.5", "KERNEL_RAY_GPUS": "0.5"}, "KERNEL_RAY_GPUS", 0.5),
        ({"RAY_ADDRESS": "[::1]:6379"}, "RAY_ADDRESS", "[::1]:6379"),
    ],
)
def test_what_a_cluster_sets_otherwise(bare, environment: dict[str, str], name: str, value: object):
    around = MULTI | {"CONNECTION_KEYS": "a"} if "RILLBOOK_MODE" in environment else {}
    assert load(bare, **around | environment)[name] == value


def test_a_data_folder_that_cannot_be_made_is_named(bare: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ImproperlyConfigured, match="^RILLBOOK_DATA_DIR: the folder .* cannot be made"):
        load(bare, RILLBOOK_DATA_DIR=str(tmp_path / "file" / "data"))


def test_the_key_of_single_mode_is_kept_whole_and_for_its_owner_alone(bare: pytest.MonkeyPatch, tmp_path: Path):
    first, again = load(bare)["SECRET_KEY"], load(bare)["SECRET_KEY"]
    path = tmp_path / "data" / "secret_key"
    assert first == again == path.read_text(encoding="utf-8") and len(str(first)) >= 48
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]
