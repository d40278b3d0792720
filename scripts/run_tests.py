"""Runs pytest; the few tests that fail are run once more, one after the other, and are told either way.

scripts/run_tests.py [ARGUMENT…] of pytest

Thousands of tests start thousands of real processes and browsers: a machine that is busy with something else fails one
now and then. What fails alone as well has failed. Nothing is hidden: the first report is printed whole, and who passes
only the second time is named at the end, as a fault to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FAILED = 1  # pytest.ExitCode.TESTS_FAILED; all others (interrupted, internal error, usage) stand
FEW = 5


def main(arguments: list[str]) -> int:
    """pytest's exit code: of the second run where there was one."""
    with tempfile.TemporaryDirectory(prefix="rillbook-tests-") as cache:
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
        code = subprocess.run(command, check=False).returncode
        failed = list_failed(Path(cache))
        if code != FAILED or not 0 < len(failed) <= FEW:
            return code
        print(f"\n{len(failed)} failed. Once more, alone:", *failed, sep="\n  ", flush=True)
        code = subprocess.run([*command, "--last-failed", "--last-failed-no-failures", "none", "-n", "1"]).returncode
        if not code:
            print("PASSED ONLY THE SECOND TIME (mend the test, or what it tests):", *failed, sep="\n  ", flush=True)
        return code


def list_failed(cache: Path) -> list[str]:
    """The tests that failed last, by their node ids, sorted."""
    try:
        return sorted(json.loads((cache / "v/cache/lastfailed").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
