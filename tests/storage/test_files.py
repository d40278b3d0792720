"""Tests of notebooks_app/files.py: bytes reach the storage, or the database holds them until they can."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from notebooks_app import files
from notebooks_app.models import HeldPart, Notebook, OutputFile
from tests.storage.conftest import BUCKET, Use
from tests.storage.far_sides import MuteServer

pytestmark = [pytest.mark.database, pytest.mark.django_db]

PICTURE = random.Random(7).randbytes(5 * 1024 * 1024 + 123)
KEY = hashlib.sha256(PICTURE).hexdigest()


def keep(notebook: Notebook, data: bytes = PICTURE) -> OutputFile:
    row = files.keep_bytes(notebook.id, "image/png", data)
    return OutputFile.objects.get(pk=row.pk)


def content(row: OutputFile) -> bytes:
    reader, data = files.open_file(row), b""
    while piece := reader.read(len(data), 10**9):
        assert not reader.uses_database or len(piece) <= files.HELD_PART_BYTES
        data += piece
    reader.close()
    return data


def test_a_picture_is_kept_in_the_folder_under_its_notebook_and_hash(
    notebook: Notebook, use_folder: Use, tmp_path: Path
):
    use_folder()
    row = keep(notebook)
    assert row.is_ready and row.size_bytes == len(PICTURE)
    assert (tmp_path / "outputs" / str(notebook.id) / KEY).read_bytes() == PICTURE
    assert not HeldPart.objects.exists()


def test_a_picture_is_kept_in_the_bucket_under_its_notebook_and_hash(
    notebook: Notebook, use_bucket: Use, s3_url: str, s3: Any
):
    use_bucket(s3_url)
    row = keep(notebook)
    assert row.is_ready
    assert s3.get_object(Bucket=BUCKET, Key=f"{notebook.id}/{KEY}")["Body"].read() == PICTURE


def test_keeping_the_same_bytes_twice_stores_one_file(notebook: Notebook, use_folder: Use, tmp_path: Path):
    use_folder()
    assert keep(notebook).pk != keep(notebook).pk
    assert [path.name for path in (tmp_path / "outputs" / str(notebook.id)).iterdir()] == [KEY]


def test_a_storage_that_does_not_overwrite_is_served_too(notebook: Notebook, use_folder: Use, tmp_path: Path):
    use_folder("django.core.files.storage.FileSystemStorage")
    assert keep(notebook).is_ready and keep(notebook).is_ready
    assert [path.name for path in (tmp_path / "outputs" / str(notebook.id)).iterdir()] == [KEY]


def test_what_a_bad_storage_does_not_take_is_held_and_read_in_pieces(
    notebook: Notebook, bad_storage: str, tmp_path: Path
):
    row = keep(notebook)
    assert not row.is_ready and files.servable(notebook.id, row.pk) == row
    assert sorted(HeldPart.objects.values_list("index", flat=True)) == [0, 1, 2, 3, 4, 5]
    assert content(row) == PICTURE
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # nor is a part of it left behind


def test_held_files_move_once_the_storage_is_back(
    notebook: Notebook, bad_storage: str, use_bucket: Use, s3_url: str, s3: Any
):
    row = keep(notebook)
    with pytest.raises(files.StorageFailed):
        files.move_held(row.pk)
    assert content(row) == PICTURE
    use_bucket(s3_url)
    assert files.held_ids() == [row.pk]
    assert files.try_to_move(row.pk)
    row.refresh_from_db()
    assert row.is_ready and not HeldPart.objects.exists()
    assert s3.get_object(Bucket=BUCKET, Key=row.key)["Body"].read() == PICTURE == content(row)
    assert not files.move_held(row.pk) and not files.held_ids()


def test_after_a_failure_the_storage_is_left_alone_for_a_while(notebook: Notebook, use_bucket: Use, settings: Any):
    mute = MuteServer()
    use_bucket(mute.url, timeout_s=1)
    settings.OUTPUTS_TIMEOUT_S = 20
    keep(notebook, b"one")
    asked = len(mute.accepted)
    row = keep(notebook, b"two")
    assert asked >= 1 and len(mute.accepted) == asked
    assert not files.try_to_move(row.pk) and content(row) == b"two"
    mute.close()


def test_more_than_the_cap_of_a_notebook_is_not_held(notebook: Notebook, use_bucket: Use, settings: Any):
    use_bucket("http://127.0.0.1:9")
    settings.OUTPUT_HELD_MAX_BYTES = 6 * 1024 * 1024
    keep(notebook)
    other = Notebook.objects.create(owner=notebook.owner, name="Other")
    with pytest.raises(files.NotKept, match=r"5\.0 MiB was not kept.*may hold 6 MiB"):
        keep(notebook)
    assert OutputFile.objects.count() == 1
    assert keep(other).pk and keep(notebook, b"small").pk


def test_a_reader_goes_on_in_the_storage_where_the_file_is_moved_meanwhile(
    notebook: Notebook, use_bucket: Use, use_folder: Use
):
    use_bucket("http://127.0.0.1:9")
    row = keep(notebook)
    reader = files.open_file(row)
    data = reader.read(0, 10**9)
    use_folder()
    assert files.move_held(row.pk)
    while piece := reader.read(len(data), 10**9):
        data += piece
    reader.close()
    assert data == PICTURE


def test_damaged_parts_are_not_moved(notebook: Notebook, use_bucket: Use, use_folder: Use, tmp_path: Path):
    use_bucket("http://127.0.0.1:9")
    row = keep(notebook)
    HeldPart.objects.filter(file=row, index=3).update(data=b"other")
    use_folder()
    with pytest.raises(files.HeldDamaged):
        files.move_held(row.pk)
    assert not storages["outputs"].exists(row.key) and HeldPart.objects.count() == 6


def test_a_file_that_is_not_held_whole_is_not_served(notebook: Notebook):
    row = OutputFile.objects.create(notebook=notebook, sha256=KEY, mime_type="image/png", size_bytes=2**21)
    HeldPart.objects.create(file=row, index=1, data=bytes(2**20))
    assert files.servable(notebook.id, row.pk) is None and not files.held_ids()
