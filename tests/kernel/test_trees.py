"""Tests of kernels_app/trees.py and uids.py: folders that untrusted code has filled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernels_app import shared_memory, trees, uids


def dig(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than a path may be long."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_links_are_counted_and_not_followed_and_hard_links_count_once(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "big").write_bytes(bytes([1]) * 10**6)
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "file").write_bytes(bytes([1]) * 200_000)
    os.link(inside / "file", inside / "sub" / "again")
    os.mkfifo(inside / "pipe")
    held = trees.measure([inside], most=100)
    assert held.entries == 5 and 200_000 <= held.bytes < 300_000


def test_a_hole_takes_no_room_and_counting_stops(tmp_path: Path):
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(1 << 40)
    assert trees.measure([tmp_path], most=10).bytes < 100_000
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert trees.measure([tmp_path], most=10).entries == 11


def test_depth_without_end_costs_few_descriptors_and_is_removed(tmp_path: Path):
    deep = tmp_path / "deep"
    deep.mkdir()
    dig(deep, 500)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    most = 0
    with pytest.raises(trees.TooDeep):
        for _ in trees.walk(deep):
            most = max(most, len(os.listdir("/proc/self/fd")) - before) if before else 0
    assert most <= 2 * trees.MOST_DEPTH + 2
    assert trees.measure([deep], most=10_000).is_too_deep
    trees.remove(deep)
    assert not deep.exists()


def test_what_is_gone_or_no_folder_is_empty(tmp_path: Path):
    (tmp_path / "file").touch()
    assert trees.measure([tmp_path / "gone", tmp_path / "file"], most=10) == trees.Held(0, 0)
    (tmp_path / "link").symlink_to(tmp_path)
    assert trees.measure([tmp_path / "link"], most=10) == trees.Held(0, 0)
    trees.remove(tmp_path / "gone")


def test_giving_a_folder_away_gives_nothing_that_is_elsewhere_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Links themselves are given, never what they lead to; a file of ours with another name stays ours."""
    given: dict[str, tuple[int, bool]] = {}
    monkeypatch.setattr(
        uids.os, "chown", lambda name, uid, gid, dir_fd, follow_symlinks: given.update({name: (uid, follow_symlinks)})
    )
    (tmp_path / "server").write_text("secret")
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "file").touch()
    (work / "link").symlink_to(tmp_path / "server")
    os.link(tmp_path / "server", work / "hard")
    uids.give_tree(work, 60_700)
    assert given == {"sub": (60_700, False), "file": (60_700, False), "link": (60_700, False)}


def test_a_uid_is_one_kernels_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uids, "_folder", lambda: tmp_path)
    monkeypatch.setattr(shared_memory, "FOLDER", tmp_path / "shm")
    first, second = uids.take(60_600, 60_601), uids.take(60_600, 60_601)
    assert {first.number, second.number} == {60_600, 60_601}
    with pytest.raises(uids.NoUid, match="All 2 uids"):
        uids.take(60_600, 60_601)
    first.release()
    first.release()
    assert uids.take(60_600, 60_601).number == first.number


def test_a_uid_is_taken_and_given_back_without_anything_in_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also what its kernel left when the server was killed, and nothing that its links lead to."""
    shared, outside, mine = tmp_path / "shm", tmp_path / "outside", os.geteuid()
    monkeypatch.setattr(uids, "_folder", lambda: tmp_path)
    monkeypatch.setattr(shared_memory, "FOLDER", shared)

    def leave() -> None:
        (shared / "folder" / "below").mkdir(parents=True)
        for path in (shared / "file", shared / "folder" / "below" / "file"):
            path.write_text("left")
        (shared / "link").symlink_to(outside)
        (shared / "folder" / "link").symlink_to(outside)
        (shared / "folder" / "below").chmod(0)

    outside.mkdir()
    (outside / "file").write_text("kept")
    leave()
    assert shared_memory.held_bytes(mine) == 6 * shared_memory.ENTRY_BYTES
    uid = uids.take(mine, mine)
    assert os.listdir(shared) == []
    shared.rmdir()
    leave()
    uid.release()
    assert os.listdir(shared) == [] and (outside / "file").read_text() == "kept"
    dig(shared, trees.MOST_DEPTH + 50)
    assert shared_memory.held_bytes(mine) > 1 << 50  # nothing hides below
    uids.take(mine, mine).release()
    assert os.listdir(shared) == []
