"""Tests of kernels_app/deaths.py: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernels_app.deaths import explain
from kernels_app.provisioner import Profile

PROFILE = Profile(sandbox="none", cpu_s=3600)


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
        (134, False, "signal", "(abort), as native libraries do when memory runs out: it may use 2 GiB."),
        (152, False, "signal", "a process of it may use 3,600 seconds of processor time"),
    ],
)
def test_a_return_code_is_a_reason_in_plain_words(code: int, oom: bool, kind: str, words: str):
    death = explain(code, PROFILE, oom=oom)
    assert death.kind == kind and words in death.reason


def test_without_a_limit_of_address_space_an_abort_says_nothing_of_memory():
    assert explain(134, replace(PROFILE, devices=["/dev/gpu"]), oom=False).reason.endswith("native code (abort).")


def test_a_bus_error_names_the_private_shared_memory_where_there_is_one():
    death = explain(135, replace(PROFILE, sandbox="bubblewrap"), oom=False)
    assert death.reason.endswith("(bus error), or /dev/shm, which holds at most 256 MiB, was full.")
    assert explain(135, PROFILE, oom=False).reason.endswith("(bus error).")
