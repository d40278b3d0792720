"""Kernels for the tests of what runs inside them: one shared by a file, or a fresh one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import KernelUnderTest


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelUnderTest]:
    """One kernel for a file's tests; each plan's cells have ids of their own."""
    kernel = KernelUnderTest()
    yield kernel
    kernel.close()


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Iterator[KernelUnderTest]:
    """A kernel of the test's own, with the environment of its `environment` marker."""
    marker = request.node.get_closest_marker("environment")
    kernel = KernelUnderTest(**(marker.kwargs if marker else {}))
    yield kernel
    kernel.close()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "environment(**variables): environment of the `fresh` kernel")
