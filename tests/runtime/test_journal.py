"""A kernel's last words: what it had made and not sent when its process ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernels_app.journal import END, RECORD, last_frames
from tests.runtime.lab import Lab


def write(work: Path, data: bytes) -> None:
    (work / ".spool").mkdir(exist_ok=True)
    (work / ".spool" / "journal").write_bytes(data)


def records(*entries: tuple[int, bytes]) -> bytes:
    body = b"".join(RECORD.pack(frame, len(entry)) + entry for frame, entry in entries)
    return END.pack(END.size + len(body)) + body


def test_entries_are_read_by_frame_and_the_file_is_gone(tmp_path: Path):
    write(tmp_path, records((3, b'{"t": "a"}'), (3, b'{"t": "b"}'), (4, b'{"t": "c"}')) + b"\0" * 99)
    frames = last_frames(tmp_path)
    assert frames == [{"frame": 3, "entries": [{"t": "a"}, {"t": "b"}]}, {"frame": 4, "entries": [{"t": "c"}]}]
    assert last_frames(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        END.pack(2**63),
        END.pack(500) + b"\xff" * 400,
        END.pack(100) + RECORD.pack(1, 2**32 - 1),
        records((1, b"{")),
        records((1, b"[" * 100_000)),
        b"x" * (1 << 20),
    ],
)
def test_a_damaged_or_forged_file_says_nothing(tmp_path: Path, data: bytes):
    write(tmp_path, data)
    assert last_frames(tmp_path) == []


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_bytes(records((1, b'{"t": "x"}')))
    (tmp_path / ".spool").mkdir()
    os.symlink(tmp_path / "secret", tmp_path / ".spool" / "journal")
    assert last_frames(tmp_path) == []


ENDINGS = {
    "exit": "import os\nos._exit(3)",
    "kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes\nctypes.string_at(0)",
}


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_cell_that_ended_the_kernel_is_named_and_those_before_it_keep_their_output(lab: Lab, ending: str):
    await lab.add(
        a="a = 1\nprint('first', a)",
        b=f"b = a\nprint('before')\nimport time; time.sleep(0.1)\n{ENDINGS[ending]}",
        c="c = b",
        d="print('last')",
    )
    await lab.run()
    states = await lab.states()
    assert (states["a"]["freshness"], states["a"]["outcome"]) == ("current", "ok")
    assert await lab.text("a") == "first 1\n"
    assert states["b"]["outcome"] == "died"
    assert await lab.text("b") == "before\n"
    assert states["c"]["freshness"] in ("new", "blocked")
    runtime = await lab.runtime()
    assert "It ended while cell 2 ran." in runtime.kernel_document()["detail"]
