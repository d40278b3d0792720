"""Tests of notebooks_app/storage_line.py: a storage that hangs holds up only what waits for it, and not for long."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

import pytest
from django.core.files.storage import storages

from notebooks_app.output_folder import OutputFolder
from notebooks_app.storage_line import AT_ONCE, StorageFailed, line
from tests.storage.conftest import Use


class Hanging(OutputFolder):
    """A folder in which keys that begin with `hang` hang until they are let go."""

    let_go = threading.Event()
    hangs = threading.Semaphore(0)

    def _save(self, name: str, content: Any) -> str:
        if name.startswith("hang"):
            Hanging.hangs.release()
            Hanging.let_go.wait(30)
        return super()._save(name, content)


@pytest.fixture
def hanging(use_folder: Use) -> None:
    Hanging.let_go.clear()
    use_folder(f"{Hanging.__module__}.{Hanging.__qualname__}")


def put(key: str, data: bytes = b"bytes") -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        line().put(key, file, len(data))


def is_stored(key: str) -> bool:
    return storages["outputs"].exists(key)


def test_an_upload_that_hangs_holds_no_other_up(hanging: None, settings: Any):
    settings.OUTPUTS_TIMEOUT_S = 30
    thread = threading.Thread(target=put, args=("hang/1",))
    thread.start()
    assert Hanging.hangs.acquire(timeout=10)
    put("other/1")
    assert is_stored("other/1") and not is_stored("hang/1")
    Hanging.let_go.set()
    thread.join(10)
    assert is_stored("hang/1")


def test_an_upload_left_behind_reads_a_file_of_its_own(hanging: None, settings: Any):
    settings.OUTPUTS_TIMEOUT_S = 1
    with tempfile.TemporaryFile() as file:
        file.write(b"whole")
        file.flush()
        with pytest.raises(StorageFailed, match="no answer within 1 s"):
            line().put("hang/1", file, 5)
        file.seek(3)
    assert Hanging.hangs.acquire(timeout=10) and not line().is_open
    left = next(thread for thread in threading.enumerate() if thread.name == "output upload")
    Hanging.let_go.set()
    left.join(10)
    with storages["outputs"].open("hang/1") as stored:
        assert stored.read() == b"whole"


def test_no_more_than_so_many_uploads_hang_at_once(hanging: None, settings: Any):
    settings.OUTPUTS_TIMEOUT_S = 1
    failed: list[str] = []

    def try_put(key: str) -> None:
        try:
            put(key)
        except StorageFailed as error:
            failed.append(str(error))

    threads = [threading.Thread(target=try_put, args=(f"hang/{number}",)) for number in range(AT_ONCE + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    uploads = [thread for thread in threading.enumerate() if thread.name == "output upload"]
    assert len(uploads) == AT_ONCE and failed == ["no answer within 1 s"] * (AT_ONCE + 4)
    Hanging.let_go.set()
    for thread in uploads:
        thread.join(10)
    put("other/1")
    assert is_stored("other/1") and line().is_open
    assert all(Hanging.hangs.acquire(timeout=1) for _ in range(AT_ONCE))


def test_an_error_tells_the_servers_code_and_nothing_of_the_request(use_bucket: Use):
    from tests.storage.far_sides import denying_server

    with denying_server() as url:
        use_bucket(url)
        with pytest.raises(StorageFailed, match=r"\A\w+: AccessDenied\Z"):
            put("some/key")
