"""Tests of kernels_app/deaths.py: pure."""

from __future__ import annotations

import pytest

from kernels_app.deaths import GIB, explain


@pytest.mark.parametrize(
    ("code", "oom", "kind", "words"),
    [
        (0, False, "exit", "The kernel ended itself."),
        (3, False, "exit", "exit code 3"),
        (255, False, "exit", "exit code 255"),
        (139, False, "signal", "segmentation fault"),
        (-11, False, "signal", "segmentation fault"),
        (137, False, "signal", "killed (SIGKILL)"),
        (137, True, "memory", "may use 2 GiB"),
        (-9, True, "memory", "may use 2 GiB"),
        (143, False, "signal", "SIGTERM"),
        (1, True, "exit", "exit code 1"),
    ],
)
def test_a_return_code_is_a_reason_in_plain_words(code: int, oom: bool, kind: str, words: str):
    death = explain(code, 2 * GIB, oom=oom)
    assert death.kind == kind and words in death.reason
