"""Work folders as attackers leave them: more files than can be named at once, and folders closed to their owner."""

from __future__ import annotations

import asyncio
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels_app import deaths, spool, trees
from kernels_app import kernel as kernel_module
from kernels_app.folders import Folders
from kernels_app.pool import FolderFull
from kernels_app.trees import Held
from notebooks_app import binning, notebooks
from notebooks_app.models import Notebook
from tests.ordinary import USER, as_ordinary_user
from tests.readable import readable_folder
from tests.security.conftest import StartKernel
from tests.security.test_hostile_kernel import ATTACK_S, answers, death_of, landlock_in_soak

NOTEBOOK = "3f2c9d0a-0000-4000-8000-000000000001"
MIB = 1024**2
MANY = 40_000
FULL = "import time\nprint('full', flush=True)\ntime.sleep(60)"


@pytest.fixture
def owned() -> Iterator[Path]:
    """A folder of a server that is an ordinary user."""
    with readable_folder() as folder:
        if os.geteuid() == 0:
            os.chown(folder, USER, USER)
        yield folder


def fill(folder: Path, count: int) -> None:
    """Empty files with names as long as they may be."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"{number:0>250}", os.O_WRONLY | os.O_CREAT, dir_fd=held))
    os.close(held)


def test_folders_of_many_files_are_measured_handed_over_and_removed_without_holding_their_names(tmp_path: Path):
    folders = Folders(tmp_path / "work")
    folders.prepare()
    fill(folders.notebook(NOTEBOOK), MANY)
    fill(folders.notebook(NOTEBOOK) / spool.SPOOL, 2_000)
    tracemalloc.start()
    try:
        assert trees.measure([folders.notebook(NOTEBOOK)], most=10**6).entries == MANY + 2_001
        work = folders.claim(folders.new_slot(), NOTEBOOK)
        assert trees.measure([work], most=10**6).entries == MANY
        trees.remove(work)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not work.exists()
    assert held < 2 * MIB  # the names alone are 12


def test_folders_that_are_closed_to_their_owner_are_measured_handed_over_whole_and_removed(owned: Path):
    def attack() -> None:
        folders = Folders(owned / "work")
        folders.prepare()
        first = folders.claim(folders.new_slot(), NOTEBOOK)
        for name, mode in {"shut": 0o000, "blind": 0o400, "kept": 0o555, "deaf": 0o100}.items():
            (first / name / "below").mkdir(parents=True)
            (first / name / "below" / "file").write_bytes(bytes([1]) * MIB)
            (first / name / "below").chmod(mode)
            (first / name).chmod(mode)
        first.chmod(0o000)
        held = trees.measure([first], most=100)
        assert held.entries == 12 and held.bytes >= 4 * MIB, held
        first.chmod(0o000)
        again = folders.claim(folders.new_slot(), NOTEBOOK)
        assert sorted(os.listdir(again)) == ["blind", "deaf", "kept", "shut"]
        assert (again / "kept").stat().st_mode & 0o777 == 0o555  # as it was
        for name in ("shut", "blind", "kept", "deaf"):
            (again / name / "below").chmod(0o000)
            (again / name).chmod(0o000)
        trees.remove(again)
        assert not again.exists()

    as_ordinary_user(attack)


def test_opening_a_folder_that_was_closed_changes_nothing_by_a_link(owned: Path):
    def attack() -> None:
        outside = owned / "outside"
        outside.mkdir(mode=0o500)
        (owned / "work").mkdir()
        (owned / "work" / "link").symlink_to(outside)
        assert trees.make_writable("link", os.open(owned / "work", os.O_RDONLY)) is None
        assert trees.make_writable(owned / "work" / "link", None) is None
        trees.measure([owned / "work"], most=10)
        trees.remove(owned / "work")
        assert outside.stat().st_mode & 0o777 == 0o500

    as_ordinary_user(attack)


def test_a_folder_over_its_bounds_may_stay_and_not_grow_and_not_for_ever():
    bound, most = 100 * MIB, 500
    over = Held(300 * MIB, 2_000)
    assert not deaths.over_disk(over, over, bound=bound, most=most)
    assert not deaths.far_over_disk(over, bound=bound, most=most)
    more = Held(over.bytes + 20 * MIB, over.entries)
    assert "more than 0.0977 GiB" in deaths.over_disk(more, over, bound=bound, most=most)
    assert "500 files" in deaths.over_disk(Held(0, 2_200), over, bound=bound, most=most)
    assert deaths.far_over_disk(Held(9 * 1024**3, 1), bound=bound, most=most)
    assert deaths.far_over_disk(Held(0, 1_000_501), bound=bound, most=most)


def test_a_nearly_full_disk_is_for_those_who_do_not_fill_it():
    assert deaths.free_wanted(10**13) == deaths.FREE_BYTES and deaths.free_wanted(96 * MIB) < 5 * MIB
    roomy = Held(300 * MIB, 10)
    assert not deaths.over_free(Held(310 * MIB, 50), roomy)
    assert "disk is nearly full" in deaths.over_free(Held(320 * MIB, 10), roomy)
    left = deaths.most_left(8 * 1024 * MIB, 500, is_short=True)
    assert left.bytes == (8 * 1024 - 16) * MIB
    assert deaths.most_left(8 * 1024 * MIB, 500, is_short=False).bytes == left.bytes + deaths.OVER_BYTES


def test_what_came_last_is_removed_until_there_is_room_and_nothing_older_or_behind_links(tmp_path: Path):
    folder, outside = tmp_path / "work", tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    for name in ("old", "below/old"):
        (folder / name).write_bytes(bytes([1]) * MIB)
    seen = trees.measure([folder], most=100)
    while outside.exists() is False or outside.stat().st_ctime_ns <= seen.newest_ns:
        outside.write_bytes(bytes([1]) * MIB)
    (folder / "link").symlink_to(outside)
    for number in range(8):
        (folder / "below" / f"new{number}").write_bytes(bytes([1]) * MIB)
        os.utime(folder / "below" / f"new{number}", (0, 0))
    held = trees.measure([folder], most=100)

    def remove(most: Held) -> int:
        held = trees.measure([folder], most=100)
        return trees.remove_newer(folder, held, than_ns=seen.newest_ns, most=most, within_s=60)

    assert remove(held) == 0
    assert remove(Held(seen.bytes + 5 * MIB + MIB // 2, 100)) == 3  # folders have blocks, too
    assert remove(Held(0, 9)) == 5
    assert sorted(os.listdir(folder)) == ["below", "link", "old"] and os.listdir(folder / "below") == ["old"]
    assert outside.stat().st_size == MIB


def test_the_large_file_goes_that_filled_the_disk_and_small_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "LARGE_BYTES", MIB)
    for name, size in (("a", 4096), ("b", 4096), ("large", 4 * MIB), ("z", 4096)):
        (tmp_path / name).write_bytes(bytes([1]) * size)
    held = trees.measure([tmp_path], most=100)
    assert trees.remove_newer(tmp_path, held, than_ns=0, most=Held(MIB, 100), within_s=60) == 1
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "z"]


@landlock_in_soak
@pytest.mark.asyncio
async def test_what_a_kernel_wrote_last_leaves_room_for_the_next_one_and_what_was_there_stays(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    monkeypatch.setattr(deaths, "OVER_BYTES", 0)
    first = await start("bad", disk_bytes=50 * MIB)
    await first.run("open('kept', 'wb').write(bytes([1]) * 2_000_000)")
    async with asyncio.timeout(ATTACK_S):
        while (first.kernel._within_ns or 0) < (first.kernel.work / "kept").stat().st_ctime_ns:
            await asyncio.sleep(0.05)
    fill = "for n in range(40): open(f'f{n}', 'wb').write(bytes([1]) * 10_000_000)\nimport time\ntime.sleep(60)"
    died = await death_of(first, fill)
    assert died.death.kind == "disk" and "What it wrote last was deleted" in died.death.reason
    again = await start("bad", disk_bytes=50 * MIB)
    await again.run("import os\nprint(os.path.getsize('kept'))")
    assert again.text() == "2000000\n"


@landlock_in_soak
@pytest.mark.asyncio
async def test_a_disk_that_gets_nearly_full_ends_the_kernel_that_fills_it_at_once_and_no_other(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    is_short = threading.Event()
    monkeypatch.setattr(kernel_module, "_is_nearly_full", lambda folder: is_short.is_set())
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 3_600)
    attacker, neighbour = await start("bad"), await start("good")
    running = asyncio.ensure_future(death_of(attacker, f"open('f', 'wb').write(bytes(30 << 20))\n{FULL}"))
    await attacker.wait_for("stream")
    is_short.set()
    died = await running
    assert died.death.kind == "disk" and "The server's disk is nearly full" in died.death.reason
    assert (attacker.kernel.work / "f").stat().st_size == 30 * MIB
    await neighbour.run("open('small', 'wb').write(bytes(1 << 20))\nimport time\ntime.sleep(2)")
    await answers(neighbour)


@landlock_in_soak
@pytest.mark.asyncio
async def test_files_without_number_can_be_deleted_by_the_next_kernel_and_far_too_many_start_none(
    start: StartKernel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_module, "DISK_WATCH_S", 0.2)
    attacker, neighbour = await start("bad", disk_entries=500), await start("good")
    await death_of(attacker, "import time\nfor n in range(3000): open(f'f{n}', 'w').close()\ntime.sleep(60)")
    again = await start("bad", disk_entries=500)
    mend = "import os, time\ntime.sleep(1.5)\nfor name in os.listdir(): os.path.isdir(name) or os.unlink(name)"
    await again.run(mend, timeout_s=ATTACK_S)
    assert again.kernel.is_alive
    assert [name for name in os.listdir(again.kernel.work) if name != spool.SPOOL] == []
    fill(again.kernel.work, 700)
    await again.kernel.shutdown()
    monkeypatch.setattr(deaths, "OVER_ENTRIES", 100)
    with pytest.raises(FolderFull, match="more than 600 files, and no kernel starts there"):
        await start("bad", disk_entries=500)
    await answers(neighbour)


@pytest.mark.django_db
def test_a_notebook_that_is_deleted_for_ever_leaves_no_files(
    settings, owner, tmp_path: Path, django_capture_on_commit_callbacks
):
    settings.KERNEL_WORK_DIR = tmp_path / "work"
    folders = Folders(settings.KERNEL_WORK_DIR)
    gone, kept = (Notebook.objects.create(owner=owner, name=name) for name in ("gone", "kept"))
    for notebook in (gone, kept):
        fill(folders.notebook(str(notebook.pk)), 3)
    before = set(threading.enumerate())
    with django_capture_on_commit_callbacks(execute=True):
        notebooks.delete_notebook(gone)
        assert folders.notebook(str(gone.pk)).exists()  # the bin gives back all of it
        binning.delete_for_ever(owner, gone.pk)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert not folders.notebook(str(gone.pk)).exists()
    assert len(os.listdir(folders.notebook(str(kept.pk)))) == 3
