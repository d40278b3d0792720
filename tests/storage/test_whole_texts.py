"""Tests of kernels_app/whole_texts.py: a text is whole, or says that it is not."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from kernels_app.whole_texts import WholeTexts


@pytest.fixture
def texts() -> Iterator[WholeTexts]:
    made = WholeTexts(1024**2)
    yield made
    made.clear()


def content(texts: WholeTexts, item: int = 0) -> str:
    file = texts.files[item]
    file.seek(0)
    return file.read().decode()


def test_parts_are_put_together_by_item(texts: WholeTexts):
    for item, part in ((0, "one "), (2, "other"), (0, "text ✓")):
        texts.write(item, part)
    assert content(texts, 0) == "one text ✓" and content(texts, 2) == "other"
    texts.clear()
    assert texts.files == {}


def test_a_text_over_the_limit_ends_where_it_says_so(texts: WholeTexts):
    texts.write(0, "é" * (1024**2 // 2 - 1) + "x")  # one byte is left: no room for half a letter
    texts.write(0, "éé")
    texts.write(0, "small")
    found = content(texts)
    assert found.endswith("éx\n… The rest is not kept: this text is longer than 1 MiB.\n") and "small" not in found


def test_a_full_disk_leaves_a_text_that_says_so(texts: WholeTexts):
    texts.write(0, "x" * 50_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        texts.write(0, "y" * 50_000)
        texts.write(0, "z" * 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = content(texts)
    assert found.startswith("x" * 50_000) and "z" not in found
    assert found.endswith("\n… The rest is not kept: the server had no room for it.\n")
