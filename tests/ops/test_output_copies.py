"""backup_outputs, restore_outputs, verify_outputs: what is new is copied, what is damaged is named and mended."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from notebooks_app import files, output_backup
from notebooks_app.models import Cell, HeldPart, Notebook, Output, OutputFile
from tests.storage.conftest import Use, s3, s3_url, use_bucket, use_folder

__all__ = ["s3", "s3_url", "use_bucket", "use_folder"]
pytestmark = pytest.mark.django_db


def asked(command: str, *arguments: object) -> tuple[str, str]:
    """What a command that succeeds says, and "" ; what one that fails says of its failures."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(command, *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), f"{err.getvalue()}{error}"
    return out.getvalue(), ""


@pytest.fixture(params=["folder", "S3"])
def notebook(request: pytest.FixtureRequest, owner: object, use_folder: Use, use_bucket: Use) -> Notebook:
    if request.param == "S3":
        request.getfixturevalue("s3")
        use_bucket(request.getfixturevalue("s3_url"))
    else:
        use_folder()
    return Notebook.objects.create(owner=owner, name="n")  # type: ignore[misc]


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def kept(notebook: Notebook, content: bytes) -> OutputFile:
    return files.keep_bytes(notebook.pk, "text/html", content)


def test_copies_are_made_once_and_given_back_to_an_empty_storage(notebook: Notebook, copies: Path):
    rows = [kept(notebook, content) for content in (b"first", b"second" * 300_000, b"")]
    assert "3 copied" in asked("backup_outputs", copies)[0]
    rows.append(kept(notebook, b"later"))
    assert "1 copied" in asked("backup_outputs", copies)[0]
    assert {path.name for path in copies.glob("*/*")} == {row.sha256 for row in rows}
    for row in rows:
        storages["outputs"].delete(row.key)
    assert "4 given to the storage" in asked("restore_outputs", copies)[0]
    assert "0 given to the storage" in asked("restore_outputs", copies)[0]
    said, failed = asked("verify_outputs")
    assert "4 found whole" in said and not failed


@pytest.mark.parametrize("damage", ["gone", "cut", "other bytes"])
def test_damage_is_named_and_mended_from_the_copies(notebook: Notebook, copies: Path, damage: str):
    row, _ = kept(notebook, b"of value"), kept(notebook, b"whole")
    asked("backup_outputs", copies)
    storage = storages["outputs"]
    storage.delete(row.key)
    if damage != "gone":
        storage.save(row.key, ContentFile(b"of" if damage == "cut" else b"no value"))
    words = {"gone": "is not in the storage", "cut": "has 2 bytes and not 8", "other bytes": "holds other bytes"}
    said, failed = asked("verify_outputs")
    assert f"{row.key}: {words[damage]}" in failed and "1 failed, of 2" in said
    quick = asked("verify_outputs", "--quick")[1]
    assert bool(quick) == (damage != "other bytes")
    assert asked("backup_outputs", copies)[1] == ""  # the copy that is there stays
    if damage == "other bytes":
        storage.delete(row.key)
    assert asked("restore_outputs", copies)[1] == ""
    assert asked("verify_outputs")[1] == ""


def test_a_damaged_copy_or_none_is_not_given_to_the_storage(notebook: Notebook, copies: Path):
    cut, gone = kept(notebook, b"of value"), kept(notebook, b"more")
    asked("backup_outputs", copies)
    (copies / cut.key).write_bytes(b"no value")
    (copies / gone.key).unlink()
    for row in (cut, gone):
        storages["outputs"].delete(row.key)
    failed = asked("restore_outputs", copies)[1]
    assert f"{cut.key}: holds other bytes" in failed
    assert f"{gone.key}: is neither in the storage nor in the folder" in failed
    assert not storages["outputs"].exists(cut.key)


def test_a_damaged_object_leaves_no_copy(notebook: Notebook, copies: Path):
    row = kept(notebook, b"of value")
    storages["outputs"].delete(row.key)
    storages["outputs"].save(row.key, ContentFile(b"no value"))
    assert f"{row.key}: holds other bytes" in asked("backup_outputs", copies)[1]
    assert not list(copies.glob("*/*"))


def test_what_the_database_holds_is_verified_too(notebook: Notebook):
    row = OutputFile.objects.create(notebook=notebook, sha256="0" * 64, mime_type="text/html", size_bytes=3)
    HeldPart.objects.create(file=row, index=0, data=b"abc")
    assert "what the database holds of it" in asked("verify_outputs")[1]


def test_a_file_that_was_never_kept_whole_is_told_where_an_output_shows_it(notebook: Notebook):
    cell = Cell.objects.create(notebook=notebook, position=1, source="x")
    output = Output.objects.create(cell=cell, index=0, kind="display_data")
    row = OutputFile.objects.create(
        notebook=notebook, output=output, sha256="0" * 64, mime_type="text/html", size_bytes=3
    )
    assert f"{row.key}: was never kept whole" in asked("verify_outputs")[1]
    OutputFile.objects.update(output=None)  # an upload under way
    assert asked("verify_outputs")[1] == ""


def test_a_cell_that_runs_again_meanwhile_is_no_damage(notebook: Notebook, monkeypatch: pytest.MonkeyPatch):
    gone = output_backup.Stored(notebook.pk, "0" * 64, 3)
    monkeypatch.setattr(output_backup, "_named", lambda: iter([gone]))
    assert asked("verify_outputs")[1] == ""


def test_folders_that_cannot_be_used_are_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in asked("backup_outputs", tmp_path / "file")[1]
    assert "is no folder" in asked("restore_outputs", tmp_path / "nowhere")[1]
