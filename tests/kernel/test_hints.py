"""Tests of kernels_app/hints.py: pure."""

from __future__ import annotations

import pytest

from kernels_app.hints import hint
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
