"""Tests of output files over HTTP: who gets what, as which type, from where."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.storage import storages
from django.test import AsyncClient, Client

from notebook_project import outputs
from notebooks_app import db, file_answers, files
from notebooks_app.models import Membership, Notebook, OutputFile
from tests.storage.conftest import Use

PICTURE = b"\x89PNG" + bytes(range(256)) * 5_000
NOWHERE = "http://127.0.0.1:9"


def keep(notebook: Notebook, mime: str = "image/png", data: bytes = PICTURE) -> OutputFile:
    return files.keep_bytes(notebook.id, mime, data)


def get(person: Any, row: OutputFile, **headers: str) -> Any:
    client = Client(headers=headers)
    client.force_login(person)
    return client.get(row.as_json()["url"])


def body(answer: Any) -> bytes:
    return b"".join(answer)  # which closes it


@pytest.fixture(params=["folder", "held"])
def ours(request: pytest.FixtureRequest, use_folder: Use, use_bucket: Use) -> str:
    """The two ways in which the server itself sends bytes."""
    use_folder() if request.param == "folder" else use_bucket(NOWHERE)
    return request.param


@pytest.mark.database
def test_the_server_sends_the_bytes_as_what_they_are(ours: str, notebook: Notebook, owner: Any):
    answer = get(owner, keep(notebook))
    assert answer.status_code == 200 and body(answer) == PICTURE
    assert answer["Content-Type"] == "image/png" and answer["Content-Length"] == str(len(PICTURE))
    assert answer["Content-Disposition"].startswith("inline;")
    assert answer["Cache-Control"] == "private, no-cache" and answer["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer["Content-Security-Policy"] and "sandbox" in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("mime", "kind", "suffix"),
    [
        ("text/html", "application/octet-stream", ".bin"),
        ("application/javascript", "application/octet-stream", ".bin"),
        ("image/x-unknown", "application/octet-stream", ".bin"),
        ("text/plain", "text/plain; charset=utf-8", ".txt"),
    ],
)
def test_what_is_no_picture_is_never_shown_as_a_page(
    mime: str, kind: str, suffix: str, ours: str, notebook: Notebook, owner: Any
):
    answer = get(owner, keep(notebook, mime))
    assert answer["Content-Type"] == kind
    how = answer["Content-Disposition"]
    assert how.startswith("attachment;") and how.endswith(f'{suffix}"')
    body(answer)


def test_a_browser_that_keeps_a_file_may_show_it_for_as_long_as_its_person_may_see_it(
    ours: str, notebook: Notebook, owner: Any, stranger: Any
):
    row = keep(notebook)
    member = Membership.objects.create(notebook=notebook, user=stranger, role="viewer")
    kept = {"If-None-Match": get(stranger, row)["ETag"]}
    assert get(stranger, row, **kept).status_code == 304
    member.delete()
    assert get(stranger, row, **kept).status_code == 404


def test_a_stranger_and_another_notebook_find_no_file(ours: str, notebook: Notebook, owner: Any, stranger: Any):
    row = keep(notebook)
    assert get(stranger, row).status_code == 404
    row.notebook = Notebook.objects.create(owner=owner, name="Other")
    assert get(owner, row).status_code == 404
    assert Client().get(row.as_json()["url"]).status_code == 302  # to the sign-in page


def test_a_browser_that_has_the_bytes_is_told_so(ours: str, notebook: Notebook, owner: Any):
    row = keep(notebook)
    answer = get(owner, row)
    body(answer)
    again = get(owner, row, if_none_match=answer["ETag"])
    assert again.status_code == 304 and again["ETag"] == answer["ETag"]


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=1048570-1048600", 1048570, 1048601),
        ("bytes=1280000-", 1280000, None),
        ("bytes=-7", -7, None),
    ],
)
def test_a_part_can_be_asked_for(asked: str, first: int, end: int | None, ours: str, notebook: Notebook, owner: Any):
    answer = get(owner, keep(notebook), range=asked)
    assert answer.status_code == 206 and body(answer) == PICTURE[first:end]
    start = first if first >= 0 else len(PICTURE) + first
    assert answer["Content-Range"] == f"bytes {start}-{(end or len(PICTURE)) - 1}/{len(PICTURE)}"


@pytest.mark.parametrize(
    ("asked", "status"), [("bytes=99999999-", 416), ("bytes=5-2", 200), ("lines=1-2", 200), ("bytes=-", 200)]
)
def test_a_part_that_makes_no_sense_is_refused_or_ignored(
    asked: str, status: int, ours: str, notebook: Notebook, owner: Any
):
    answer = get(owner, keep(notebook), range=asked)
    assert answer.status_code == status
    body(answer)


def test_a_file_that_is_gone_is_not_found(use_folder: Use, notebook: Notebook, owner: Any):
    use_folder()
    row = keep(notebook)
    storages["outputs"].delete(row.key)
    assert get(owner, row).status_code == 404


def test_a_folder_that_cannot_be_read_is_said_to_be_unavailable(
    use_folder: Use, notebook: Notebook, owner: Any, tmp_path: Path
):
    use_folder()
    row = keep(notebook)
    path = tmp_path / "outputs" / row.key
    path.unlink()
    path.mkdir()  # what is there cannot be opened as a file
    assert get(owner, row).status_code == 503


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("held", [False, True])
async def test_the_server_never_has_a_whole_file_in_memory(
    held: bool, use_folder: Use, use_bucket: Use, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    use_folder() if not held else use_bucket(NOWHERE)
    owner, row = await db.write(_someones_file)
    client = AsyncClient()
    await client.aforce_login(owner)
    read: list[int] = []
    piece_of = file_answers._Pieces.read
    monkeypatch.setattr(file_answers._Pieces, "read", lambda self: read.append(1) or piece_of(self))
    answer: Any = await client.get(row.as_json()["url"])
    assert read == []  # nothing before it is sent
    pieces = [len(piece) async for piece in answer]
    assert sum(pieces) == len(PICTURE) and max(pieces) <= file_answers.CHUNK_BYTES and len(read) > 4


def _someones_file() -> tuple[Any, OutputFile]:
    from django.contrib.auth import get_user_model

    owner = get_user_model().objects.create_user("ana")
    return owner, keep(Notebook.objects.create(owner=owner, name="Pictures"))


# --- S3 ----------------------------------------------------------------------------------------------------------


def test_a_bucket_is_read_by_a_signed_url_of_five_minutes_at_most(
    use_bucket: Use, s3: Any, s3_url: str, notebook: Notebook, owner: Any, stranger: Any, settings: Any
):
    use_bucket(s3_url)
    settings.OUTPUTS_URL_SECONDS = 86_400
    row = keep(notebook)
    assert get(stranger, row).status_code == 404
    answer = get(owner, row)
    assert answer.status_code == 302 and answer["Cache-Control"] == "private, max-age=150"
    url = urlsplit(answer["Location"])
    assert parse_qs(url.query)["X-Amz-Expires"] == ["300"]
    with urllib.request.urlopen(answer["Location"], timeout=10) as got:
        assert got.read() == PICTURE
        assert got.headers["Content-Type"] == "image/png"
        assert got.headers["Content-Disposition"].startswith("inline;")


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml"])
def test_what_could_run_script_is_only_saved_from_a_bucket(
    mime: str, use_bucket: Use, s3: Any, s3_url: str, notebook: Notebook, owner: Any
):
    use_bucket(s3_url)
    location = get(owner, keep(notebook, mime))["Location"]
    with urllib.request.urlopen(location, timeout=10) as got:
        assert got.headers["Content-Disposition"].startswith("attachment;")
        assert got.headers["Content-Type"] == ("image/svg+xml" if "svg" in mime else "application/octet-stream")


@pytest.mark.parametrize(
    ("bucket", "endpoint", "region", "addressing"),
    [
        ("outputs", "", "us-east-1", "virtual"),
        ("outputs", "", "eu-central-1", "virtual"),
        ("out.puts", "", "eu-central-1", "path"),
        ("outputs", "http://127.0.0.1:9000", "us-east-1", "path"),
        ("outputs", "https://minio.example:9000", "us-east-1", "virtual"),
    ],
)
def test_the_page_may_reach_just_where_signed_urls_lead(
    bucket: str,
    endpoint: str,
    region: str,
    addressing: str,
    use_bucket: Use,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
):
    use_bucket(NOWHERE)
    for name, value in {"BUCKET": bucket, "ENDPOINT_URL": endpoint, "REGION": region, "ADDRESSING": addressing}.items():
        monkeypatch.setattr(outputs, name, value)
    settings.STORAGES = settings.STORAGES | {"outputs": outputs.storage(Path("unused"))}
    parts = urlsplit(storages["outputs"].url("a/b"))
    assert outputs.origins() == [f"{parts.scheme}://{parts.netloc}"]
