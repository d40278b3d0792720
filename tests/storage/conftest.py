"""A notebook, and the storages its outputs may meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from notebook_project import outputs
from notebooks_app.models import Notebook
from scripts.with_postgres import free_port
from tests.storage.far_sides import FullFolder, MuteServer, denying_server, moto_server

BUCKET = "rillbook-outputs"

type Use = Callable[..., None]


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the S3 server; its bucket is empty."""
    _credentials(monkeypatch)
    client = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    return client


@pytest.fixture
def use_bucket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Keep outputs in a bucket at an endpoint, by the product's own options."""

    def use(endpoint: str, timeout_s: int = 5) -> None:
        _credentials(monkeypatch)
        given = {"BUCKET": BUCKET, "ENDPOINT_URL": endpoint, "ADDRESSING": "path", "TIMEOUT_S": timeout_s}
        for name, value in given.items():
            monkeypatch.setattr(outputs, name, value)
        settings.OUTPUTS_BUCKET, settings.OUTPUTS_TIMEOUT_S = BUCKET, timeout_s
        settings.STORAGES = settings.STORAGES | {"outputs": outputs.storage(Path("unused"))}

    return use


@pytest.fixture
def use_folder(settings: Any, tmp_path: Path) -> Use:
    """Keep outputs in a folder, by the product's class or another."""

    def use(backend: str = "notebooks_app.output_folder.OutputFolder") -> None:
        settings.OUTPUTS_BUCKET = ""
        options = {"location": str(tmp_path / "outputs")}
        settings.STORAGES = settings.STORAGES | {"outputs": {"BACKEND": backend, "OPTIONS": options}}

    return use


@pytest.fixture(params=["down", "slow", "hanging", "denying", "full"])
def bad_storage(request: pytest.FixtureRequest, use_bucket: Use, use_folder: Use) -> Iterator[str]:
    """Each storage that takes nothing, in use."""
    if request.param == "down":
        use_bucket(f"http://127.0.0.1:{free_port()}")
        yield request.param
    elif request.param in ("slow", "hanging"):  # from the start, and in the middle of an upload
        mute = MuteServer(takes=64 * 1024 if request.param == "hanging" else 0)
        use_bucket(mute.url, timeout_s=1)
        yield request.param
        mute.close()
    elif request.param == "denying":
        with denying_server() as url:
            use_bucket(url)
            yield request.param
    else:
        use_folder(f"{FullFolder.__module__}.{FullFolder.__qualname__}")
        yield request.param


@pytest.fixture
def notebook(owner: Any) -> Notebook:
    return Notebook.objects.create(owner=owner, name="Pictures")


def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
