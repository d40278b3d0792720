"""The bench of tests/runtime, for tests of what goes wrong around it."""

from tests.runtime.conftest import data_dir, lab

__all__ = ["data_dir", "lab"]
