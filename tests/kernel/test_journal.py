"""Tests of kernels_app/journal.py: what a kernel's last words may be, and what they may try."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from kernels_app.inside.journal import BEGUN, HALF, HEAD, NAME, open_beside
from kernels_app.inside.journal import Journal as Writer
from kernels_app.journal import Journal
from kernels_app.throttle import VALUE_BYTES


@pytest.fixture
def journal(tmp_path: Path):
    made = Journal.make(tmp_path)
    yield made
    made.close()


@pytest.fixture
def writer(journal: Journal, tmp_path: Path) -> Writer:
    opened = open_beside(str(tmp_path / "connection.json"))
    assert opened is not None
    return opened


def entry(number: int, size: int = 0) -> bytes:
    return json.dumps({"number": number, "text": "x" * size}).encode()


def numbers(journal: Journal, start: int = 0) -> list[int | None]:
    """Of the entries that were not read before; None for one that was left out."""
    return [record.entry and record.entry["number"] for record in journal.more(start)]


def test_a_new_journal_says_nothing_and_has_its_blocks(journal: Journal, tmp_path: Path):
    assert journal.more(0) == []
    found = (tmp_path / NAME).stat()
    assert found.st_size == 2 * HALF and found.st_blocks * 512 >= 2 * HALF and found.st_mode & 0o777 == 0o600


def test_entries_come_back_in_order_from_the_frame_that_is_asked_for(journal: Journal, writer: Writer):
    for number in range(10):
        writer.add(number // 2, entry(number))
    assert numbers(journal, 3) == [6, 7, 8, 9]
    assert numbers(journal) == []


def test_each_entry_is_read_once_whenever_it_is_asked_for(journal: Journal, writer: Writer):
    shuffled, found = random.Random(2), []
    for number in range(3000):
        writer.add(number // 7, entry(number, shuffled.randrange(3000)))
        if shuffled.random() < 0.02:
            found += numbers(journal)
    assert found + numbers(journal) == list(range(3000))


def test_the_last_half_is_always_there_however_much_was_written(journal: Journal, writer: Writer):
    shuffled = random.Random(1)
    for number in range(3000):
        writer.add(number, entry(number, shuffled.randrange(5000)))
    gap, first, *found = numbers(journal)
    assert gap is None and found == list(range(first + 1, 3000))
    assert 3000 - first >= HALF // 5100
    assert numbers(journal) == []


def test_what_a_record_costs_counts_its_values_and_not_the_commas_of_its_text(journal: Journal, writer: Writer):
    texts = [json.dumps({"number": 1, "text": text}).encode() for text in ("x" * 1000, "," * 1000)]
    for data in (*texts, json.dumps({"number": [[1]] * 100}).encode()):
        writer.add(0, data)
    plain, commas, lists = journal.more(0)
    assert plain.size == commas.size and lists.size > 200 * VALUE_BYTES


def test_an_entry_that_no_half_takes_is_a_gap_between_those_around_it(journal: Journal, writer: Writer):
    writer.add(0, entry(1))
    writer.add(0, entry(2, 2 * HALF))
    writer.add(0, entry(3))
    assert numbers(journal) == [1, None, 3]


def test_an_entry_made_while_another_is_being_added_does_no_harm(journal: Journal, writer: Writer):
    class Nested(bytes):
        def __len__(self) -> int:
            writer.add(0, entry(2))
            return super().__len__()

    writer.add(0, Nested(entry(1)))
    writer.add(0, entry(3))
    assert numbers(journal) == [1, 3]


def test_a_record_that_was_not_finished_is_not_there(journal: Journal, writer: Writer, tmp_path: Path):
    writer.add(0, entry(1))
    end = BEGUN.size + HEAD.size + len(entry(1))
    with open(tmp_path / NAME, "r+b") as file:  # all but the length, which is written last
        file.seek(end)
        file.write(HEAD.pack(0, 0) + entry(2))
    assert numbers(journal) == [1]


def records(*entries: tuple[int, bytes]) -> bytes:
    return b"".join(HEAD.pack(len(body), frame) + body for frame, body in entries)


FORGED: dict[str, tuple[bytes, list[Any]]] = {
    "nothing": (b"", []),
    "noise": (b"\xff" * 5000, []),
    "a length past the end": (HEAD.pack(2**32 - 1, 1) + b"{}", []),
    "no json": (records((1, b"{"), (1, b"\xff\xfe"), (1, b'{"a": 1}')), [None, {"a": 1}]),
    "nested without end": (records((1, b"[" * 100_000), (1, b'{"a": 2}')), [None, {"a": 2}]),
    "a number without end": (records((1, b'{"a": ' + b"1" * 100_000 + b"}"), (1, b'{"a": 3}')), [None, {"a": 3}]),
    "frames far away": (records((2**64 - 1, b"{}"), (50_001, b"{}"), (0, b'{"a": 5}')), [None, {"a": 5}]),
    "things that are no entries": (records((0, b"null"), (0, b'"text"'), (0, b"7"), (0, b"[]")), [None, None]),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_damaged_or_forged_journal_is_read_as_far_as_it_makes_sense(journal: Journal, tmp_path: Path, case: str):
    data, expected = FORGED[case]
    with open(tmp_path / NAME, "r+b") as file:
        file.write(BEGUN.pack(7) + data)
    assert [record.entry for record in journal.more(0)] == expected


@pytest.mark.parametrize("size", [0, 1, 7, 8, HALF, HALF + 3, 10**12])
def test_a_journal_of_another_size_is_read_within_bounds(journal: Journal, writer: Writer, tmp_path: Path, size: int):
    writer.add(0, entry(1))
    os.truncate(tmp_path / NAME, size)
    assert numbers(journal) == ([1] if size >= HALF else [])


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "other file", "gone"])
def test_what_stands_under_its_name_is_never_opened(journal: Journal, writer: Writer, tmp_path: Path, kind: str):
    writer.add(0, entry(1))
    name, secret = tmp_path / NAME, tmp_path / "secret"
    secret.write_bytes(BEGUN.pack(1) + records((0, b'{"number": 9}')))
    name.unlink()
    if kind == "link":
        name.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(name)
    elif kind == "folder":
        name.mkdir()
    elif kind == "other file":
        secret.rename(name)
    assert numbers(journal) == [1]


def test_a_kernel_without_a_journal_of_the_right_size_writes_none(tmp_path: Path):
    assert open_beside(str(tmp_path / "connection.json")) is None
    (tmp_path / NAME).write_bytes(b"short")
    assert open_beside(str(tmp_path / "connection.json")) is None


def test_without_room_on_the_disk_there_is_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = Journal.make(tmp_path)
    assert journal.more(0) == [] and not (tmp_path / NAME).exists()
    journal.close()
