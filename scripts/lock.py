"""Pins requirements.txt, -ray.txt and -dev.txt to the newest versions that the .in files allow (`make lock`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# What only another system needs: it is pinned all the same, so that every machine gets the same versions.
ELSEWHERE = {"appnope": 'sys_platform == "darwin"'}  # ipykernel on macOS


def frozen(*files: str) -> list[str]:
    """Everything that installing these files brings, as name==version lines; no hashes, no addresses."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        requirements = [argument for file in files for argument in ("-r", file)]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements, *ELSEWHERE], check=True)
        text = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    return [with_marker(line) for line in text.splitlines() if "==" in line]


def with_marker(line: str) -> str:
    marker = ELSEWHERE.get(line.split("==")[0])
    return f"{line} ; {marker}" if marker else line


def main() -> None:
    base = frozen("requirements.in")
    head = "# Everything the server and its kernels need, pinned; made from requirements.in (make lock).\n"
    Path("requirements.txt").write_text(head + "\n".join(base) + "\n", encoding="utf-8")
    ray = [line for line in frozen("requirements.txt", "requirements-ray.in") if line not in base]
    head = "# What a cluster needs besides, pinned; made from requirements-ray.in (make lock).\n-r requirements.txt\n"
    Path("requirements-ray.txt").write_text(head + "\n".join(ray) + "\n", encoding="utf-8")
    extra = [line for line in frozen("requirements-ray.txt", "requirements-dev.in") if line not in base + ray]
    head = "# What tests and checks need besides; made from requirements-dev.in (make lock).\n-r requirements-ray.txt\n"
    Path("requirements-dev.txt").write_text(head + "\n".join(extra) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
