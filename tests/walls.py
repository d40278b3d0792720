"""Code behind the real walls of a rung, as a kernel is: for tests of what it can and cannot reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from kernels_app import provisioner, recipes, sandbox, uids
from kernels_app.interpreters import interpreter
from kernels_app.provisioner import run_folder
from kernels_app.recipes import Room
from kernels_app.sandbox import Rung
from tests.readable import is_reachable, make_environment, readable_folder

LIMITS = recipes.limits(address_bytes=2 * 1024**3, file_bytes=1024**3, files=512)


@dataclass
class Inside:
    """Runs Python behind the walls and returns what it prints as JSON."""

    rung: Rung
    room: Room

    def start(self, code: str, *, careless: bool = False) -> subprocess.Popen[str]:
        """`careless`: a server that lets all its inheritable descriptors through."""
        argv = [sandbox.python_inside(self.room.python, self.rung), "-c", f"import json, os\n{code}"]
        descriptor = sandbox.recipe_descriptor(sandbox.recipe(self.rung, replace(self.room, argv=argv)))
        try:
            os.set_inheritable(descriptor, True)
            return subprocess.Popen(
                recipes.command(descriptor), env={}, pass_fds=[] if careless else [descriptor], close_fds=not careless,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(descriptor)

    def run(self, code: str) -> Any:
        process = self.start(code)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return json.loads(out)

    def can_read(self, path: Path | str) -> bool:
        return bool(
            self.run(
                f"path = {str(path)!r}\n"
                "try: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1)\n"
                "except OSError: print('false')\n"
                "else: print('true')"
            )
        )

    def change(self, **fields: Any) -> None:
        self.room = replace(self.room, **fields)


@contextmanager
def behind(rung: Rung, folder: Path, python: str = "") -> Iterator[Inside]:
    """A place behind a rung, with a work folder `folder`/notebooks/mine. As root, with a uid of its own."""
    work, run = folder / "notebooks" / "mine", run_folder()
    work.mkdir(parents=True)
    found = interpreter(python)
    env = sandbox.environment(rung, found, {"EXTRA": "given"}, private=run.parent)
    uid = uids.take() if uids.can_give() else None
    room = Room([], env, found, sandbox.INSIDE_CODE, work, run, limits=LIMITS, uid=uid.number if uid else None)
    sandbox.make_folders(room, room.uid)
    try:
        yield Inside(rung, room)
    finally:
        if uid:
            uid.release()
        subprocess.run(["rm", "-rf", str(run.parent)], check=True)


@contextmanager
def python_for(rung: Rung) -> Iterator[str]:
    """An interpreter that kernels of a rung can run: "" is the tests' own, else it is another environment's.

    Our code for kernels is put within reach too.
    """
    if rung is not Rung.LANDLOCK or not uids.can_give() or all(map(is_reachable, _needed())):
        yield ""
        return
    with readable_folder() as folder:
        code = folder / "inside"
        shutil.copytree(sandbox.INSIDE_CODE, code)
        with mock.patch.object(sandbox, "INSIDE_CODE", code), mock.patch.object(provisioner, "INSIDE", code):
            yield make_environment(folder)


def _needed() -> list[str]:
    found = interpreter()
    return [*found.paths, found.prefix, str(sandbox.INSIDE_CODE)]
