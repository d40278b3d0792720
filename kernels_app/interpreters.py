"""The Python that kernels run: the server's own or another environment's (KERNEL_PYTHON), and the folders it needs.

A virtual environment is shown to kernels wherever it lives; no home is ever shown whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROBE_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python for kernels: its executable, and the folders it needs to run."""

    executable: str
    prefix: str
    base_prefix: str
    paths: tuple[str, ...]  # real folders besides `prefix`: base interpreter and standard library

    @property
    def is_venv(self) -> bool:
        return self.prefix != self.base_prefix


@lru_cache(maxsize=8)
def interpreter(python: str = "") -> Interpreter:
    """What this Python ("": the server's) needs to run. Raises ValueError if it cannot be shown safely, OSError or
    subprocess.SubprocessError if it does not run."""
    if not python or Path(python) == Path(sys.executable):
        facts = {
            "executable": sys.executable,
            "prefix": sys.prefix,
            "base": sys.base_prefix,
            "std": os.__file__,
        }
    else:
        code = (
            "import json,os,sys;print(json.dumps({'executable':sys.executable,'prefix':sys.prefix,"
            "'base':sys.base_prefix,'std':os.__file__}))"
        )
        run = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        facts = json.loads(run.stdout)
    needed = {facts["base"], os.path.realpath(facts["base"]), os.path.dirname(os.path.realpath(facts["std"]))}
    real = os.path.realpath(facts["executable"])
    needed.add(os.path.dirname(os.path.dirname(real)))
    paths = tuple(sorted(path for path in needed if not is_system(path)))
    for path in (*paths, facts["prefix"]):
        refuse_homes(path)
    return Interpreter(facts["executable"], facts["prefix"], facts["base"], paths)


def is_system(path: str) -> bool:
    """Whether every kernel sees this path anyway."""
    return path == "/usr" or path.startswith("/usr/")


def refuse_homes(path: str) -> None:
    """Raise ValueError for what holds more than an interpreter: a home, the root, a top-level folder."""
    found = Path(path).resolve()
    homes = {Path.home().resolve(), Path("/root"), Path("/home")}
    if is_system(str(found)) or is_system(path):
        return
    if found in homes or len(found.parts) < 3 or found.parent == Path("/home"):
        raise ValueError(f"The interpreter's folder {path} holds more than an interpreter; kernels are not given it.")
