"""Tests of notebooks_app/file_collector.py and the two commands: what goes, what stays, and what is said."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from notebooks_app import files
from notebooks_app.models import Cell, HeldPart, Notebook, Output, OutputFile, StreamChunk
from notebooks_app.output_folder import OutputFolder
from tests.storage.conftest import BUCKET, Use

pytestmark = [pytest.mark.database, pytest.mark.django_db]

NOWHERE = "http://127.0.0.1:9"


def keep(notebook: Notebook, data: bytes, *, hours: float = 100) -> OutputFile:
    """A file kept so many hours ago."""
    row = files.keep_bytes(notebook.id, "image/png", data)
    then = timezone.now() - timedelta(hours=hours)
    OutputFile.objects.filter(pk=row.pk).update(created_at=then)
    return row


def show(row: OutputFile) -> Output:
    """An output that refers to the file."""
    cell = Cell.objects.create(notebook=row.notebook, position=Cell.objects.count() + 1)
    output = Output.objects.create(cell=cell, index=0, kind="display_data")
    OutputFile.objects.filter(pk=row.pk).update(output=output)
    return output


def collect(*arguments: str) -> str:
    said = io.StringIO()
    call_command("collect_outputs", *arguments, stdout=said, stderr=said)
    return said.getvalue()


def is_stored(row: OutputFile) -> bool:
    return storages["outputs"].exists(row.key)


@pytest.fixture(params=["folder", "bucket"])
def stored(request: pytest.FixtureRequest, use_folder: Use, use_bucket: Use) -> str:
    if request.param == "bucket":
        request.getfixturevalue("s3")
        use_bucket(request.getfixturevalue("s3_url"))
    else:
        use_folder()
    return request.param


def test_a_file_goes_with_the_output_that_showed_it(stored: str, notebook: Notebook):
    gone, shown, young = keep(notebook, b"gone"), keep(notebook, b"shown"), keep(notebook, b"young", hours=2)
    output = show(gone)
    show(shown)
    assert "0 rows and 0 stored files" in collect()
    output.cell.delete()
    assert f"{gone.key}: 1 row, object would be removed" in collect("--dry-run") and is_stored(gone)
    assert "1 rows and 1 stored files removed" in collect()
    assert not is_stored(gone) and is_stored(shown) and is_stored(young)
    assert set(OutputFile.objects.all()) == {shown, young}
    assert "0 rows and 0 stored files" in collect()
    collect("--grace", "1")
    assert not is_stored(young) and is_stored(shown)


def test_bytes_that_another_output_shows_stay(stored: str, notebook: Notebook):
    first, second = keep(notebook, b"same"), keep(notebook, b"same")
    show(second)
    assert f"{first.key}: 1 row removed" in collect()
    assert is_stored(second) and list(OutputFile.objects.all()) == [second]


def test_what_a_running_cell_shows_stays_however_long_it_runs(use_folder: Use, notebook: Notebook):
    use_folder()
    row, other = keep(notebook, b"shown by chunks"), keep(notebook, b"other")
    cell = Cell.objects.create(notebook=notebook, position=1)
    item = {"kind": "display_data", "files": {"image/png": row.as_json()}}
    ops = [{"op": "clear"}, {"op": "item", "item": 0, "output": item}]
    StreamChunk.objects.create(cell=cell, attempt=uuid.uuid4(), ops=ops)
    collect()
    assert is_stored(row) and not is_stored(other) and list(OutputFile.objects.all()) == [row]


def test_a_deleted_notebooks_files_go_when_their_time_is_over(use_folder: Use, notebook: Notebook, tmp_path: Path):
    use_folder()
    row = keep(notebook, b"of a notebook that is gone")
    path = tmp_path / "outputs" / row.key
    notebook.delete()
    assert "1 files without a row are too young" in collect() and path.exists()
    _age(path)
    assert f"{row.key}: object without a row would be removed" in collect("--dry-run") and path.exists()
    assert "1 files without a row)" in collect()
    assert not path.exists() and not path.parent.exists()


def test_objects_in_a_bucket_without_rows_are_told(use_bucket: Use, s3: Any, s3_url: str, notebook: Notebook):
    use_bucket(s3_url)
    keep(notebook, b"of a notebook that is gone")
    s3.put_object(Bucket=BUCKET, Key="somebody/elses.csv", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="readme.txt", Body=b"1")
    notebook.delete()
    said = collect()
    assert "readme.txt: not one of ours; left alone" in said and "somebody/: not one of ours" in said
    assert "1 files without a row are too young, 2 are not ours, 0 failed." in said
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 3


def test_a_killed_servers_half_written_files_go(use_folder: Use, notebook: Notebook, tmp_path: Path):
    use_folder()
    row = keep(notebook, b"whole", hours=0)
    folder = tmp_path / "outputs" / str(notebook.id)
    half = folder / f"{row.sha256}.a1b2c3d4.part"
    half.write_bytes(b"who")
    _age(half, folder / row.sha256)
    collect()
    assert not half.exists() and is_stored(row)


def test_held_bytes_go_with_their_row(use_bucket: Use, use_folder: Use, notebook: Notebook):
    use_bucket(NOWHERE)
    keep(notebook, b"held")
    use_folder()
    collect()
    assert not HeldPart.objects.exists() and not OutputFile.objects.exists()


# --- Beside running servers --------------------------------------------------------------------------------------


class Meanwhile(OutputFolder):
    """A folder where something happens just before an object is deleted."""

    happens: list[Callable[[], Any]] = []

    def delete(self, name: str) -> None:
        while self.happens:
            self.happens.pop()()
        super().delete(name)


@pytest.fixture
def meanwhile(use_folder: Use) -> list[Callable[[], Any]]:
    use_folder(f"{Meanwhile.__module__}.{Meanwhile.__qualname__}")
    return Meanwhile.happens


@pytest.mark.parametrize("has_row", [True, False])
def test_bytes_that_are_kept_again_just_as_they_are_removed_are_not_lost(
    has_row: bool, meanwhile: list[Callable[[], Any]], notebook: Notebook, tmp_path: Path
):
    row = keep(notebook, b"same")
    if not has_row:
        row.delete()
        _age(tmp_path / "outputs" / row.key)
    kept: list[OutputFile] = []
    meanwhile.append(lambda: kept.append(files.keep_bytes(notebook.id, "image/png", b"same")))
    collect()
    again = files.servable(notebook.id, kept[0].pk)
    assert again is not None and files.open_file(again).read(0, 100) == b"same"
    if not again.is_ready:
        assert files.move_held(again.pk) and is_stored(again)


def test_two_collectors_and_a_run_lose_nothing(meanwhile: list[Callable[[], Any]], notebook: Notebook):
    keep(notebook, b"same")
    kept: list[OutputFile] = []
    meanwhile += [lambda: kept.append(files.keep_bytes(notebook.id, "image/png", b"same")), collect]
    collect()
    again = files.servable(notebook.id, kept[0].pk)
    assert again is not None and files.open_file(again).read(0, 100) == b"same"


def test_a_collector_that_was_killed_is_finished_by_the_next(use_folder: Use, notebook: Notebook):
    use_folder()
    row = keep(notebook, b"marked")
    OutputFile.objects.filter(pk=row.pk).update(mime_type=files.COLLECTING, is_ready=False)
    assert files.servable(notebook.id, row.pk) is None
    collect()
    assert not is_stored(row) and not OutputFile.objects.exists()


# --- What goes wrong ---------------------------------------------------------------------------------------------


def test_a_storage_that_does_not_answer_fails_the_command(use_folder: Use, use_bucket: Use, notebook: Notebook):
    with pytest.raises(CommandError, match="Nothing was removed"):
        use_bucket(NOWHERE)
        collect()


@pytest.mark.parametrize("grace", ["0", "0.5", "-3", "nan", "inf"])
def test_a_grace_too_short_for_a_run_is_refused(grace: str, use_folder: Use):
    use_folder()
    with pytest.raises(CommandError, match="--grace"):
        collect("--grace", grace)


def spill() -> str:
    said = io.StringIO()
    call_command("spill_outputs", stdout=said, stderr=said)
    return said.getvalue()


def test_spill_outputs_moves_what_is_held_and_says_so(use_folder: Use, use_bucket: Use, notebook: Notebook):
    use_bucket(NOWHERE)
    rows = [keep(notebook, b"one"), keep(notebook, b"two")]
    with pytest.raises(CommandError, match="None of the held files could be moved"):
        spill()
    use_folder()
    said = spill()
    assert f"[1/2] {rows[0].pk}, 3 B: moved" in said and "2 moved (6 B), 0 failed." in said
    assert all(is_stored(row) for row in rows) and not HeldPart.objects.exists()
    assert "0 moved (0 B), 0 failed." in spill()


def test_spill_outputs_goes_on_after_a_file_that_is_damaged(use_folder: Use, use_bucket: Use, notebook: Notebook):
    use_bucket(NOWHERE)
    bad, good = keep(notebook, b"bad", hours=2), keep(notebook, b"good", hours=1)
    HeldPart.objects.filter(file=bad).update(data=b"worse")
    use_folder()
    said = spill()
    assert "do not add up" in said and "1 moved (4 B), 1 failed." in said
    assert is_stored(good) and not is_stored(bad)


def test_the_storage_may_be_empty(use_folder: Use):
    use_folder()
    assert "0 rows and 0 stored files" in collect() and "0 moved" in spill()


def test_a_file_that_was_never_stored_can_be_collected(use_folder: Use, notebook: Notebook):
    use_folder()
    row = keep(notebook, b"lost")
    storages["outputs"].delete(row.key)
    collect()
    assert not OutputFile.objects.exists()


def _age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (1_600_000_000, 1_600_000_000))
