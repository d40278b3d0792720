"""deploy/entry.sh files: a command whose files are on S3 (moto), as a task on AWS runs it: by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.migration.conftest import NOTEBOOK_ID, document
from tests.servers import ROOT
from tests.storage.far_sides import moto_server

BUCKET = "exchange"
SLOW = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("ended").write_text("softly"), sys.exit(130)))
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def s3(endpoint: str, request: pytest.FixtureRequest) -> Any:
    keys = {"aws_access_key_id": "key-of-a-test", "aws_secret_access_key": "of-a-test"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def task(endpoint: str, tmp_path: Path) -> dict[str, str]:
    """What a task is told."""
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin", "RILLBOOK_DATA_DIR": str(tmp_path / "data"),
        "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path),
    }  # fmt: skip


@pytest.fixture
def me(task: dict[str, str]) -> str:
    """The one person of a database of its own."""
    assert run(task, "manage", "migrate", "--verbosity", "0").returncode == 0
    made = run(task, "manage", "createsuperuser", "--no-input", "--username", "me", "--email", "me@example.com")
    assert made.returncode == 0, made.stderr
    return "me"


def run(given: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "deploy" / "entry.sh"), *words]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=120, check=False)


def names(s3: Any) -> set[str]:
    return {found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def test_notebooks_move_in_and_out_by_a_bucket(s3: Any, task: dict[str, str], me: str, tmp_path: Path) -> None:
    made = document()
    s3.put_object(Bucket=BUCKET, Key=f"moving/old/{NOTEBOOK_ID}.json", Body=json.dumps(made))
    s3.put_object(Bucket=BUCKET, Key="moving/users.csv", Body=f"old user id,username\n{made['user_id']},{me}\n")
    s3.put_object(Bucket=BUCKET, Key="moving2/of-somebody-else.json", Body="{}")
    moving = "s3://exchange/moving"
    put_in = run(task, "files", moving, "import_notebooks", "old", "--user-map", "users.csv", "--update", "--verify")
    assert put_in.returncode == 0, put_in.stdout + put_in.stderr
    assert "2 files of s3://exchange/moving\n" in put_in.stdout and "\n0 files put back" in put_in.stdout
    out = run(task, "files", moving, "export_notebooks", "--output", "back", "--with-dsn")
    assert out.returncode == 0, out.stdout + out.stderr
    back = json.loads(s3.get_object(Bucket=BUCKET, Key=f"moving/back/{NOTEBOOK_ID}.json")["Body"].read())
    assert [cell["code"] for cell in back["cells"]] == [cell["code"] for cell in made["cells"]]
    assert back["db_conn_string"] == made["db_conn_string"]
    again = run(task, "files", moving, "export_notebooks", "--output", "back", "--with-dsn")
    assert "1 unchanged" in again.stdout and "\n0 files put back" in again.stdout
    # Nothing of it stays in the task, and nothing of the bucket goes.
    assert {path.name for path in tmp_path.iterdir()} == {"data"} and len(names(s3)) == 4


def test_a_command_that_fails_says_so_by_its_exit_code(s3: Any, task: dict[str, str]) -> None:
    done = run(task, "files", "s3://exchange/", "doctor", "--url", "here")
    assert done.returncode == 1 and "--url must be" in done.stderr and "0 files put back" in done.stdout


@pytest.mark.parametrize("key", ["moving/../outside", "moving//outside", "moving/a/./b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    s3: Any, task: dict[str, str], key: str, tmp_path: Path
) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body="mine")
    done = run(task, "files", "s3://exchange/moving", "doctor")
    assert done.returncode == 1 and "is none of a file in a folder" in done.stderr
    assert not list(tmp_path.rglob("outside"))


def test_a_bucket_that_refuses_ends_it_before_the_command(s3: Any, task: dict[str, str]) -> None:
    done = run(task, "files", "s3://not-there/moving", "empty_bin", "--older-than", "0")
    assert done.returncode == 1 and "NoSuchBucket" in done.stderr and "notebook" not in done.stdout


def test_who_ends_the_task_ends_the_command_and_what_it_wrote_is_put_back(
    s3: Any, task: dict[str, str], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from deploy import with_files; "
    program += f"with_files.MANAGE = '-c'; sys.argv[1:] = ['s3://exchange/moving', {SLOW.format(ready=str(ready))!r}]; "
    process = subprocess.Popen([sys.executable, "-c", program + "sys.exit(with_files.main())"], env=task)
    until = time.monotonic() + 30
    while not ready.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130 and names(s3) == {"moving/ended"}
