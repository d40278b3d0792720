"""Tests of kernels_app/spool.py: what a kernel may leave, and what it may try."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from kernels_app.spool import SpoolError, copy_spooled, empty_spool, open_spooled

CAP = 1_000_000


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / ".spool").mkdir(parents=True)
    return tmp_path / "work"


def copied(work: Path, name: str) -> bytes:
    parts: list[bytes] = []
    copy_spooled(work, name, CAP, parts.append)
    return b"".join(parts)


def test_a_spooled_file_is_copied_hashed_and_deleted(work: Path):
    data = os.urandom(700_000)
    (work / ".spool" / "abc123").write_bytes(data)
    parts: list[bytes] = []
    found = copy_spooled(work, "abc123", CAP, parts.append)
    assert b"".join(parts) == data
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(data).hexdigest(), 700_000)
    assert not (work / ".spool" / "abc123").exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../outside", "/etc/passwd", "a/b", ".hidden", "x" * 200, "a\x00b", "a\n"]
)
def test_a_name_that_is_not_flat_is_refused(work: Path, name: str):
    (work / "outside").write_text("not the spool's")
    with pytest.raises(SpoolError, match="not a plain name"):
        copied(work, name)
    assert (work / "outside").exists()


def test_a_link_to_another_file_is_refused_and_the_other_file_stays(work: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("the server's")
    (work / ".spool" / "link").symlink_to(secret)
    with pytest.raises(SpoolError):
        copied(work, "link")
    assert secret.read_text() == "the server's"


def test_a_spool_that_is_a_link_is_refused(work: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("the server's")
    (work / ".spool").rmdir()
    (work / ".spool").symlink_to(elsewhere)
    with pytest.raises(SpoolError, match="no folder"):
        copied(work, "file")
    assert empty_spool(work) == 0 and (elsewhere / "file").exists()


def test_a_second_name_of_another_file_is_refused(work: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("the server's")
    os.link(secret, work / ".spool" / "hard")
    with pytest.raises(SpoolError, match="other names"):
        copied(work, "hard")


def test_a_pipe_does_not_hold_the_server_up(work: Path):
    os.mkfifo(work / ".spool" / "pipe")
    with pytest.raises(SpoolError, match="not a file"):
        copied(work, "pipe")


def test_a_socket_and_a_folder_are_refused(work: Path, monkeypatch: pytest.MonkeyPatch):
    (work / ".spool" / "folder").mkdir()
    monkeypatch.chdir(work / ".spool")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        for name in ("folder", "sock"):
            with pytest.raises(SpoolError):
                copied(work, name)


def test_a_file_over_the_cap_is_refused_unread(work: Path):
    with open(work / ".spool" / "sparse", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(SpoolError, match="over the limit"):
        copied(work, "sparse")


def test_a_file_that_grows_while_it_is_read_is_given_up(work: Path):
    path = work / ".spool" / "growing"
    path.write_bytes(b"x" * 500_000)

    def grow(chunk: bytes) -> None:
        with open(path, "ab") as file:
            file.write(chunk * 2)

    with pytest.raises(SpoolError, match="grew"):
        copy_spooled(work, "growing", CAP, grow)


def test_a_file_that_is_not_there_is_said(work: Path):
    with pytest.raises(SpoolError, match="not there"), open_spooled(work, "missing", CAP):
        pass


def test_emptying_the_spool_deletes_its_files(work: Path):
    (work / ".spool" / "one").write_text("1")
    (work / ".spool" / "two").symlink_to("/etc/passwd")
    assert empty_spool(work) == 2
    assert os.listdir(work / ".spool") == []
