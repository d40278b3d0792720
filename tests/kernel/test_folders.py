"""Tests of kernels_app/folders.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernels_app.folders import Folders

NOTEBOOK = "3f2c9d0a-0000-4000-8000-000000000001"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "work")
    made.prepare()
    return made


def leftovers(folders: Folders) -> list[Path]:
    """Slots that are still there, of whatever process."""
    return list((folders.root / "slots").glob("*/*"))


def test_the_first_claim_makes_the_slot_the_notebooks_folder(folders: Folders):
    slot = folders.new_slot()
    inode = slot.stat().st_ino
    assert folders.claim(slot, NOTEBOOK).stat().st_ino == inode
    assert not slot.exists()


def test_a_later_claim_brings_the_notebooks_files_into_the_bound_folder(folders: Folders):
    first = folders.claim(folders.new_slot(), NOTEBOOK)
    (first / "data.csv").write_text("kept")
    (first / "sub").mkdir()
    (first / "sub" / "deep.txt").write_text("kept too")
    (first / "link").symlink_to("/etc/passwd")
    (first / ".spool").mkdir()
    (first / ".spool" / "old").write_text("left behind")
    slot = folders.new_slot()
    inode = slot.stat().st_ino
    work = folders.claim(slot, NOTEBOOK)
    assert work == first and work.stat().st_ino == inode
    assert (work / "data.csv").read_text() == "kept" and (work / "sub" / "deep.txt").read_text() == "kept too"
    assert os.readlink(work / "link") == "/etc/passwd" and not (work / ".spool" / "old").exists()
    assert leftovers(folders) == []


def test_a_claim_that_a_crash_interrupted_is_finished_at_the_next_start(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    first = folders.claim(folders.new_slot(), NOTEBOOK)
    (first / "a.txt").write_text("a")
    (first / "b.txt").write_text("b")
    real, calls = os.rename, []

    def crash_at_the_second(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "rename", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        folders.claim(folders.new_slot(), NOTEBOOK)
    monkeypatch.undo()
    folders._lock = os.close(folders._lock)  # the process is gone
    Folders(folders.root).prepare()
    assert sorted(os.listdir(first)) == ["a.txt", "b.txt"]
    assert leftovers(folders) == []


def test_slots_of_kernels_that_are_gone_are_removed_at_the_start(folders: Folders):
    (folders.new_slot() / "x").write_text("x")
    folders._lock = os.close(folders._lock)  # the process is gone
    Folders(folders.root).prepare()
    assert leftovers(folders) == []


def test_slots_of_a_process_that_lives_are_left_alone(folders: Folders):
    slot = folders.new_slot()
    Folders(folders.root).prepare()
    assert slot.exists()
    folders.close()
    assert not slot.exists()


@pytest.mark.parametrize("bad", ["", "..", "a/b", ".hidden", "x" * 65, "a\x00b", "nb.for.other"])
def test_an_id_that_is_not_flat_is_refused(folders: Folders, bad: str):
    with pytest.raises(ValueError, match="Not a notebook id"):
        folders.notebook(bad)


def test_swapping_without_the_systems_help_gives_the_same_folders(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    first = folders.claim(folders.new_slot(), NOTEBOOK)
    (first / "a.txt").write_text("a")
    monkeypatch.setattr("kernels_app.folders.ctypes.CDLL", lambda *args, **options: object())
    slot = folders.new_slot()
    inode = slot.stat().st_ino
    work = folders.claim(slot, NOTEBOOK)
    assert work.stat().st_ino == inode and (work / "a.txt").read_text() == "a"
    assert leftovers(folders) == []
