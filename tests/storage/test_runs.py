"""Large outputs of a real kernel while their storage works, and while it does not: the run goes on, and they appear."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.core.files.storage import storages
from django.db.models import Max
from django.db.models.functions import Length
from django.test import Client

from kernels_app.hosts import common
from notebooks_app import db, files
from notebooks_app.models import HeldPart, Output, OutputFile, StreamChunk
from tests.runtime.lab import Lab, Listener, close_lab, open_lab
from tests.storage.conftest import Use

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

MIB = 1024 * 1024
PICTURE = """import os, struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\\x00" + os.urandom(1600 * 3) for row in range(1100))
picture = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1600, 1100, 8, 2, 0, 0, 0))
picture += chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
from IPython.display import Image
Image(picture, format="png")"""
AFTER = "len(picture)"
# Beyond this nothing of a large output is in rows, sockets or pages: head and tail of a text are 64 KiB each.
SMALL_BYTES = 600_000


class Measuring(Listener):
    """Keeps how long each message was, not the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def send_text(self, text: str) -> None:
        self.sizes.append(len(text))

    def send_frames(self, texts: list[str]) -> None:
        self.sizes.extend(map(len, texts))


@pytest_asyncio.fixture
async def lab(transactional_db: None, settings: Any, tmp_path: Path) -> AsyncIterator[Lab]:
    settings.KERNEL_WORK_DIR = tmp_path / "work"
    settings.SAMPLE_DATABASE = tmp_path / "sample" / "sample.duckdb"
    user = await db.write(lambda: get_user_model().objects.create_user("ana"))
    opened = await open_lab(user)
    opened.listener = Measuring()
    yield opened
    await close_lab(opened)


async def large_items(lab: Lab) -> list[OutputFile]:
    return await db.read(lambda: list(OutputFile.objects.exclude(output=None).order_by("created_at")))


async def content(row: OutputFile) -> bytes:
    def read() -> bytes:
        reader, data = files.open_file(row), bytearray()
        while piece := reader.read(len(data), MIB):
            data += piece
        reader.close()
        return bytes(data)

    return await db.read(read)


async def assert_small(lab: Lab) -> None:
    """No row, no message and no page holds what is large."""

    def largest_row() -> int:
        sizes = [
            Output.objects.aggregate(size=Max(Length("data__text")))["size"],
            *(len(str(ops)) for ops in StreamChunk.objects.values_list("ops", flat=True)),
            *(len(str(data)) for data in Output.objects.values_list("data", flat=True)),
        ]
        return max(size or 0 for size in sizes)

    def page() -> bytes:
        client = Client()
        client.force_login(get_user_model().objects.get(pk=lab.notebook.owner_id))
        return client.get(f"/notebooks/{lab.notebook.id}/").content

    assert await db.read(largest_row) < SMALL_BYTES
    assert isinstance(lab.listener, Measuring)
    assert 0 < max(lab.listener.sizes) < SMALL_BYTES
    html = await db.read(page)
    assert len(html) < 2 * SMALL_BYTES and b"base64" not in html


async def test_a_picture_is_shown_and_the_run_goes_on_whatever_its_storage_does(
    lab: Lab, bad_storage: str, use_bucket: Use, s3: Any, s3_url: str
):
    await lab.listen()
    await lab.add(a=PICTURE, b=AFTER)
    assert await lab.run() == ["a", "b"]
    assert await lab.freshness() == {"a": "current", "b": "current"}
    (output,) = await lab.outputs("a")
    assert set(output["files"]) == {"image/png"} and "image/png" not in output["data"]
    assert await lab.text("b") == str(output["files"]["image/png"]["size_bytes"])
    (row,) = await large_items(lab)
    assert not row.is_ready and (await content(row)).startswith(b"\x89PNG")
    assert row.size_bytes > 5 * MIB and len(await content(row)) == row.size_bytes
    await assert_small(lab)

    use_bucket(s3_url)  # it is back
    assert await db.upload(lambda: files.try_to_move(row.pk))
    assert await lab.outputs("a") == [output]  # under the URL it always had
    assert await db.read(lambda: storages["outputs"].size(row.key)) == row.size_bytes
    assert not await db.read(HeldPart.objects.exists)


async def test_the_whole_of_a_long_text_is_kept_though_its_storage_answers_late(lab: Lab, bad_storage: str):
    await lab.listen()
    await lab.add(a="for _n in range(40_000): print(f'line {_n:06}')")
    await lab.run()
    output = await with_file(lab, "a")
    assert output["cut"]["omitted_lines"] > 1000
    (row,) = await large_items(lab)
    assert await content(row) == b"".join(b"line %06d\n" % number for number in range(40_000))
    assert output["files"]["text/plain"] == row.as_json()
    await assert_small(lab)


async def test_a_server_that_ends_keeps_the_texts_of_what_it_interrupts(lab: Lab, use_folder: Use):
    use_folder()
    await lab.add(a="for _n in range(40_000): print(f'line {_n:06}')\nimport time; time.sleep(600)")
    runtime = await lab.runtime()
    await runtime.run_all(by=lab.author)
    async with asyncio.timeout(30):
        while "line 039999" not in str(runtime.live_outputs(str(lab.cells["a"]))):
            await asyncio.sleep(0.05)
    await lab.host.stop(lab.notebook.id, "The server ends.")
    (output,) = [one for one in await lab.outputs("a") if one["kind"] == "stream"]
    (row,) = await large_items(lab)
    assert output["files"]["text/plain"] == row.as_json() and (await content(row)).endswith(b"line 039999\n")


async def test_what_no_cap_lets_be_held_leaves_a_note_and_the_run_goes_on(lab: Lab, use_bucket: Use, settings: Any):
    use_bucket("http://127.0.0.1:9")
    settings.OUTPUT_HELD_MAX_BYTES = MIB
    await lab.add(a=PICTURE, b=AFTER)
    assert await lab.run() == ["a", "b"]
    picture, note = await lab.outputs("a")
    assert picture["files"] == {} and "was not kept: the storage for large outputs" in note["text"]
    assert (await lab.freshness())["b"] == "current"
    assert not await db.read(OutputFile.objects.exists) and not await db.read(HeldPart.objects.exists)


async def test_the_server_moves_what_is_held_by_itself(
    lab: Lab, use_bucket: Use, use_folder: Use, monkeypatch: pytest.MonkeyPatch
):
    use_bucket("http://127.0.0.1:9")
    await lab.add(a=PICTURE)
    await lab.run()
    assert await db.read(HeldPart.objects.exists)
    use_folder()
    monkeypatch.setattr(common, "MOVE_HELD_S", 0.05)
    lab.host.keep(lab.host._move_held())
    async with asyncio.timeout(20):
        while await db.read(HeldPart.objects.exists):
            await asyncio.sleep(0.02)
    (row,) = await large_items(lab)
    assert row.is_ready and await db.read(lambda: storages["outputs"].size(row.key)) == row.size_bytes


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_text_of_100_mb_is_kept_whole_and_no_part_of_it_is_large(
    lab: Lab, is_down: bool, use_bucket: Use, use_folder: Use
):
    use_bucket("http://127.0.0.1:9") if is_down else use_folder()
    await lab.listen()
    await lab.add(warm="for _n in range(40_000): print(f'line {_n:06}')")
    await lab.run()
    await with_file(lab, "warm")
    before = _peak_bytes()
    await lab.add(a="line = 'x' * 999\nfor _n in range(100_000): print(line)", b="line[:3]")
    await lab.run("a", "b")
    output = await with_file(lab, "a")
    rows = await large_items(lab)
    assert rows[-1].size_bytes == 100_000_000 and rows[-1].is_ready is not is_down
    assert output["files"]["text/plain"] == rows[-1].as_json() and await lab.text("b") == "'xxx'"
    await assert_small(lab)
    if is_down:
        assert await db.read(lambda: HeldPart.objects.aggregate(n=Max(Length("data")))["n"]) <= MIB
        use_folder()
        assert await db.upload(lambda: files.move_held(rows[-1].pk))
    assert await db.read(lambda: storages["outputs"].size(rows[-1].key)) == 100_000_000
    assert _peak_bytes() - before < 100_000_000  # it was never whole in memory


async def with_file(lab: Lab, name: str) -> dict[str, Any]:
    """A cell's first output, once the whole of its text is where it is kept."""
    async with asyncio.timeout(60):
        while not (outputs := await lab.outputs(name)) or not outputs[0]["files"]:
            await asyncio.sleep(0.05)
    return outputs[0]


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
