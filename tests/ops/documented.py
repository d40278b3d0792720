"""What docs/operations.md shows, so that tests can carry it out word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MANAGE = '#!/bin/sh\ncd "{root}" && exec "{python}" manage.py "$@"\n'


def section(heading: str, page: str = PAGE) -> str:
    """The text below a heading, to the next one of the same or a higher level."""
    level = heading.split(" ")[0]
    after = re.split(rf"^{re.escape(heading)}$", page, flags=re.MULTILINE)[1]
    return re.split(rf"^#{{2,{len(level)}}} ", after, flags=re.MULTILINE)[0]


def commands(heading: str) -> str:
    """The indented lines below a heading."""
    lines = section(heading).splitlines()
    found = [line[4:] for line in lines if line.startswith("    ")]
    assert found, f"no command below {heading}"
    return "\n".join(found)


def run(script: str, environment: dict[str, str], programs: Path) -> subprocess.CompletedProcess[str]:
    """The lines as an operator types them; `manage.py` is this repository's."""
    manage = programs / "manage.py"
    if not manage.exists():
        programs.mkdir(parents=True, exist_ok=True)
        manage.write_text(MANAGE.format(root=ROOT, python=sys.executable), encoding="utf-8")
        manage.chmod(0o755)
    path = f"{programs}:{os.path.dirname(sys.executable)}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment | {"PATH": path}, cwd=programs, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
