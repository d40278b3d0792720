"""What outputs may cost the server: files of a cell and of a notebook, ended cells, a kernel that prints fast."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from kernels_app import attempts, kernel
from kernels_app.attempts import CLAIM_BYTES, CLAIMS_MAX, REPEATED_BYTES, SPOOLED_SHARE, AttemptBook
from kernels_app.greeting import encode
from kernels_app.throttle import AHEAD_S, BURST_S, Throttle
from notebooks_app import db, files
from notebooks_app.models import OutputFile
from notebooks_app.outputs import MAX_SAME_DISPLAY
from tests.runtime.conftest import data_dir, lab  # noqa: F401  fixtures
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

PAGES = """import IPython.display as _display
for _number in range({count}):
    _display.display(_display.HTML(f'<p>{{_number}}' + 'x' * 500_000))
"""
SPOOLED = "import os as _os\nprint(len(_os.listdir('.spool')))"


async def kept(lab: Lab) -> tuple[int, int]:  # noqa: F811
    rows = await db.read(lambda: list(OutputFile.objects.filter(notebook_id=lab.notebook.id)))
    return len(rows), sum(row.size_bytes for row in rows)


async def test_the_files_of_one_run_of_a_cell_are_bounded_and_the_cell_says_so(lab: Lab):  # noqa: F811
    pool = lab.host._pool
    assert pool is not None
    pool.profile = replace(pool.profile, output_bytes=2_000_000)
    await lab.add(a=PAGES.format(count=30), left=SPOOLED)
    await lab.run()
    assert await kept(lab) == (4, pytest.approx(2_000_000, abs=100))
    assert "More large outputs were not kept" in str(await lab.outputs("a"))
    await lab.run("left")
    assert await lab.text("left") == "0\n"  # nothing stays in the kernel's folder either


async def test_the_files_of_a_notebook_are_bounded_and_those_replaced_make_room(lab: Lab, settings: Any):  # noqa: F811
    settings.OUTPUT_NOTEBOOK_MAX_BYTES = 2_100_000
    await lab.add(a=PAGES.format(count=3), b=PAGES.format(count=3).replace("<p>", "<b>"))
    await lab.run()
    assert await kept(lab) == (4, pytest.approx(2_000_000, abs=100))
    assert "the large outputs of a notebook may hold 2 MiB" in str(await lab.outputs("b"))
    await lab.edit("a", "1")
    await lab.run("a")
    await db.write(lambda: OutputFile.objects.update(created_at=timezone.now() - timedelta(hours=1)))
    await lab.run("b")
    shown = [output for output in await lab.outputs("b") if output["files"]]
    assert len(shown) == 3
    assert (await kept(lab))[1] <= settings.OUTPUT_NOTEBOOK_MAX_BYTES


async def test_the_same_bytes_count_once(lab: Lab, settings: Any):  # noqa: F811
    settings.OUTPUT_NOTEBOOK_MAX_BYTES = 1_000_000
    same = await db.write(lambda: [files.keep_bytes(lab.notebook.id, "text/html", b"x" * 600_000) for _ in range(3)])
    assert len({row.sha256 for row in same}) == 1
    await db.write(lambda: files.make_room(lab.notebook.id, same[0].sha256, 600_000))
    with pytest.raises(files.NotKept, match="may hold 1 MiB"):
        await db.write(lambda: files.make_room(lab.notebook.id, "0" * 64, 600_000))


async def test_what_is_imported_is_kept_whole_however_much_it_is(lab: Lab, settings: Any):  # noqa: F811
    settings.OUTPUT_NOTEBOOK_MAX_BYTES = 1_000_000
    for letter in (b"a", b"b", b"c"):
        await db.write(lambda letter=letter: files.keep_bytes(lab.notebook.id, "text/html", letter * 600_000))
    assert await kept(lab) == (3, 1_800_000)


async def test_what_ended_cells_showed_is_forgotten_once_it_is_saved_and_much(
    lab: Lab, monkeypatch: pytest.MonkeyPatch  # noqa: F811
):
    monkeypatch.setattr(attempts, "ENDED_SIZE", 500_000)
    monkeypatch.setattr(attempts, "TIDY_EVERY_S", 0.0)
    large = {f"c{number}": f"print('{number} ' + 'x' * 100_000)" for number in range(20)}
    await lab.add(small="print('small')", **large)
    await lab.run()
    await lab.host.saver.flush()
    await lab.run("c0")
    runtime = await lab.runtime()
    book = runtime._book
    assert sum(log.inline_size for log in book._logs.values()) < 1_000_000
    assert str(lab.cells["small"]) in book._cells.values()
    assert not set(book._texts) - set(book._logs)
    for name in ("small", *large):  # the database has them all
        assert len(await lab.text(name)) > 5
    await lab.runtime()
    assert (await lab.states())["c3"]["outcome"] == "ok"


async def test_a_kernel_that_prints_too_fast_is_slowed_down_and_says_so(lab: Lab):  # noqa: F811
    pool = lab.host._pool
    assert pool is not None
    pool.profile = replace(pool.profile, output_rate_bytes=100_000)
    await lab.add(a="for _i in range(10_000):\n    print('x' * 99)", b="print('after')")
    await lab.run()
    said = "This cell prints and shows more than 0.0954 MiB a second for long, so it is slowed down to that."
    assert (await lab.states())["a"]["warnings"] == [said]
    assert await lab.text("b") == "after\n"


async def test_a_throttle_lets_a_burst_through_and_then_waits() -> None:
    told: list[int] = []
    throttle = Throttle(1000, lambda: told.append(1))
    assert throttle.after(1000 * BURST_S) is None
    waiting = throttle.after(1000 * BURST_S + 5000)
    assert waiting is not None and told == [1]
    waiting.close()  # type: ignore[attr-defined]
    assert Throttle(0, lambda: told.append(2)).after(10**12) is None


async def test_a_stopped_cell_is_read_ahead_no_further_than_the_next_run_can_wait_for() -> None:
    throttle = Throttle(1000, lambda: None)
    throttle.let_go()
    assert throttle.after(1000 * (BURST_S + AHEAD_S)) is None
    waiting = throttle.after(1000 * (BURST_S + AHEAD_S) + 500)
    assert waiting is not None, "a flood is one also after Stop"
    waiting.close()  # type: ignore[attr-defined]
    assert AHEAD_S + 0.5 < kernel.LAST_FRAMES_S


class Counting(Throttle):
    """Counts what is charged."""

    def __init__(self) -> None:
        super().__init__(0, lambda: None)
        self.charged = 0

    def charge(self, size_bytes: int) -> None:
        self.charged += size_bytes


def book_of(attempts: list[str]) -> tuple[AttemptBook, Counting]:
    """A notebook's book in which these attempts run."""
    book = AttemptBook(uuid.uuid4(), lambda events: None, lambda: None, lambda keep: keep())
    book.throttle = throttle = Counting()
    for attempt in attempts:
        book.expect(attempt, f"cell of {attempt}")
    return book, throttle


def shown(text: str, name: str = "d", kind: str = "display") -> dict[str, Any]:
    """An entry that shows a text in a display, or updates it."""
    return {"t": kind, "display_id": name, "data": {"text/plain": text}, "metadata": {}, "result": False, "files": {}}


@pytest.mark.parametrize("where", ["its own cell", "another cell"])
async def test_an_update_is_copied_into_a_bounded_number_of_displays_and_counts_for_each(where: str) -> None:
    attempts = [f"a{number}" for number in range(40)]
    book, throttle = book_of([*attempts, "other"])
    for attempt in attempts:
        for _ in range(60):
            book.put(attempt, shown("x"))
    book.flush()
    book.put("a39" if where == "its own cell" else "other", shown("y" * 60_000, kind="update"))
    told = book.flush()
    assert {event["attempt"] for event in told} == {"a39"}, "the latest"
    copies = sum(len(event["ops"]) for event in told)
    assert copies > 1 and (copies - 1) * 60_000 <= throttle.charged
    assert len(encode(told)) < REPEATED_BYTES + 100_000
    book.put("other", shown("z", kind="update"))
    assert sum(len(event["ops"]) for event in book.flush()) == MAX_SAME_DISPLAY


async def test_the_updates_of_one_frame_are_bounded_together_and_each_reaches_its_latest_display() -> None:
    book, _ = book_of(["a"])
    names = [f"d{number}" for number in range(60)]
    for name in names * 10:
        book.put("a", shown("x", name))
    book.flush()
    for name in names:
        book.put("a", shown("y" * 20_000, name, "update"))
    told = book.flush()
    assert len(encode(told)) < REPEATED_BYTES + 60 * 20_000 + 100_000
    assert {op["item"] for event in told for op in event["ops"]} >= set(range(540, 600))


async def test_the_files_that_a_kernel_names_count_for_its_rate_also_where_they_are_not_kept(
    transactional_db: None, data_dir: Path, settings: Any  # noqa: F811
) -> None:
    settings.OUTPUT_NOTEBOOK_MAX_BYTES = 1_000
    book, throttle = book_of(["a"])
    book.output_bytes = size = 400_000
    spool = data_dir / "kernel" / ".spool"
    spool.mkdir(parents=True)
    told: list[dict[str, Any]] = []
    for name in ("one", "two"):
        (spool / name).write_bytes(b"x" * size)
        entry = shown("", kind="update") | {"attempt": "a", "data": {}, "spool": {"image/png": {"file": name}}}
        book.later([entry], spool.parent, told.extend)
        await book.drained()
    assert throttle.charged == size // SPOOLED_SHARE + CLAIM_BYTES, "the second was not even copied"
    assert "of a notebook may hold" in str(told[0]) and "of one run of a cell may hold" in str(told[1])
    assert not list(spool.iterdir())


def claimed(files: dict[str, str], kind: str = "display") -> dict[str, Any]:
    """An entry that shows these files of the kernel, by MIME type."""
    spool = {mime: {"file": name, "size_bytes": 1} for mime, name in files.items()}
    return shown("", kind=kind) | {"attempt": "a", "data": {}, "spool": spool}


def thirty_claims() -> dict[str, Any]:
    return claimed({f"a/b{number}": "not there" for number in range(30)})


@pytest.mark.parametrize("kind", ["display", "update"])
async def test_a_file_counts_for_a_large_one_however_small_it_is_and_also_where_it_is_not_there(
    lab: Lab, data_dir: Path, kind: str  # noqa: F811
) -> None:
    book, throttle = book_of(["a"])
    book._notebook_id = lab.notebook.id
    book.output_bytes = 4 * CLAIM_BYTES
    spool = data_dir / "kernel" / ".spool"
    spool.mkdir(parents=True)
    for number in range(10):
        (spool / f"tiny{number}").write_bytes(b"%d" % number)
    names = ["not there", *(f"tiny{number}" for number in range(10))]
    told: list[dict[str, Any]] = []
    book.later([claimed({"text/plain": name}, kind) for name in names], spool.parent, told.extend)
    await book.drained()
    assert (await kept(lab))[0] == 3
    assert throttle.charged == len(names) * CLAIM_BYTES
    assert str(told).count("of one run of a cell may hold") == len(names) - 4


async def test_of_a_frame_so_many_files_are_looked_for_and_the_rest_is_said(data_dir: Path) -> None:  # noqa: F811
    book, throttle = book_of(["a"])
    told: list[dict[str, Any]] = []
    book.later([thirty_claims() for _ in range(2 * CLAIMS_MAX // 30)], data_dir, told.extend)
    await book.drained()
    assert throttle.charged == CLAIMS_MAX * CLAIM_BYTES
    said = f"More than {CLAIMS_MAX} large outputs came at once: those after them were not kept."
    assert [entry["data"]["text/plain"] for entry in told if entry["t"] == "display"][10:] == [said] * 10


class Slow(Counting):
    """Lets nobody through but who is let go."""

    def wait(self) -> Any:
        return self._open.wait()


async def test_files_of_a_kernel_that_is_gone_are_looked_for_a_while_and_no_longer(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(attempts, "LAST_FILES_S", 0.1)
    book, _ = book_of(["a"])
    book.throttle = throttle = Slow()
    told: list[dict[str, Any]] = []
    for _ in range(3):
        book.later([thirty_claims(), thirty_claims()], data_dir, told.extend)
    async with asyncio.timeout(30):
        await book.kernel_ended()
    assert throttle.charged == CLAIM_BYTES, "one was on its way"
    assert len([entry for entry in told if entry["t"] == "display"]) == 6
    assert str(told[-1]).count("The kernel is gone") == 1 and not book.waiting()
