"""Runs a management command in a folder that comes from S3 and goes back there: a task on AWS keeps no file.

    python deploy/with_files.py s3://BUCKET/PREFIX import_notebooks old --user-map users.csv

All below PREFIX is fetched into a new folder, in which the command runs: its paths are relative to that. Files that it
made or changed there are put back below PREFIX, also where it failed; nothing is removed there. The exit code is the
command's; 1 where S3 refuses. deploy/release.py --files runs this in a task.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
AT_ONCE = 8

type Stamps = dict[str, tuple[int, int]]


class Refused(Exception):
    """The message says what could not be fetched or put back, and why."""


class Place:
    """The objects below a prefix of a bucket, by their paths below it."""

    def __init__(self, client: Any, url: str) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def fetch(self, folder: Path) -> int:
        """All of them into `folder`; how many. Raises Refused."""
        return _each(self._paths(), lambda path: self._fetch(path, folder / path))

    def put(self, folder: Path, paths: Iterable[str]) -> int:
        """Files of `folder` to where they belong; how many. Raises Refused."""
        return _each(
            paths, lambda path: self._client.upload_file(str(folder / path), self._bucket, self._prefix + path)
        )

    def _paths(self) -> Iterable[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for found in page.get("Contents", []):
                if not found["Key"].endswith("/"):  # a console's mark of an empty folder
                    yield found["Key"].removeprefix(self._prefix)

    def _fetch(self, path: str, target: Path) -> None:
        if str(PurePosixPath(path)) != path or path.startswith("/") or ".." in path.split("/"):
            raise Refused(f"the name of {self._prefix}{path} is none of a file in a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._client.download_file(self._bucket, self._prefix + path, str(target))


def run(url: str, words: list[str], client: Any) -> int:
    """The command's exit code, once what it wrote is put back. Raises Refused."""
    place = Place(client, url)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{place.fetch(folder)} files of {url}", flush=True)
        before = stamps(folder)
        code = _command(words, folder)
        changed = [path for path, stamp in stamps(folder).items() if before.get(path) != stamp]
        print(f"{place.put(folder, changed)} files put back to {url}", flush=True)
    return code


def stamps(folder: Path) -> Stamps:
    """Size and time of each file, by its path in the folder."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def _command(words: list[str], folder: Path) -> int:
    """Run it to its end; what tells this process to end tells the command."""
    command = subprocess.Popen([sys.executable, str(MANAGE), *words], cwd=folder)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda told, frame: command.send_signal(told))
    code = command.wait()
    return code if code >= 0 else 128 - code


def _each(paths: Iterable[str], do: Callable[[str], Any]) -> int:
    try:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return len(list(threads.map(do, list(paths))))
    except (ClientError, BotoCoreError, Boto3Error, OSError) as error:
        raise Refused(str(error)) from error


def main() -> int:
    url, *words = sys.argv[1:]
    client = boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
    try:
        return run(url, words, client)
    except Refused as error:
        print(f"with_files: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
