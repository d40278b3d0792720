"""Tests of kernels_app/hints.py: pure."""

from __future__ import annotations

import pytest

from kernels_app.hints import MIB, hint
from kernels_app.provisioner import Profile

MEMORY = "This kernel may use 2 GiB of memory."


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("MemoryError", "", MEMORY),
        ("_ArrayMemoryError", "Unable to allocate 3 GiB", MEMORY),
        ("ArrowMemoryError", "malloc of size 3221225472 failed", MEMORY),
        ("OutOfMemoryException", "Out of Memory Error: Failed to allocate block", MEMORY),
        ("OutOfMemoryError", "CUDA out of memory", None),
        ("ValueError", "no", None),
    ],
)
def test_an_error_at_a_limit_names_it(name: str, words: str, said: str | None):
    assert hint({"t": "error", "ename": name, "evalue": words}, Profile(sandbox="none")) == said


def test_a_folder_that_is_full_is_one_in_memory_only_where_there_are_such():
    entry = {"t": "error", "ename": "OSError", "evalue": "[Errno 28] No space left on device"}
    said = hint(entry, Profile(sandbox="bubblewrap", tmp_bytes=32 * MIB))
    assert said and "/tmp holds at most 32 MiB, /dev/shm 256 MiB and the home folder 64 MiB" in said
    assert hint(entry, Profile(sandbox="none")) == "The server's disk, or its /dev/shm, is full."
