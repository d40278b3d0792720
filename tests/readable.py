"""A Python environment and folders that every uid of the machine can reach, for kernels under uids of their own.

Where tests run as root, the interpreter often lives in root's own home: its files are linked (or copied) to /tmp once
for each test process. As another user, everything is reachable anyway and nothing is copied.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

LIBRARIES = ("ipykernel", "numpy")  # and what they need
LEFT_OUT = ("site-packages", "test", "idlelib", "include", "share", "ensurepip", "turtledemo")


@contextmanager
def readable_folder() -> Iterator[Path]:
    """A new folder that any uid may walk through; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"rillbook-readable-{os.getpid()}-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_reachable(path: str | Path) -> bool:
    """Whether a foreign uid can walk to a folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (Path(path), *Path(path).parents))


def make_environment(folder: Path) -> str:
    """Another environment than the tests', with the same libraries and a base of its own; its interpreter's path."""
    base, packages = folder / "base", Path(sysconfig.get_paths()["purelib"])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for part in ("bin", "lib"):
        _link([Path(sys.base_prefix, part)], base)
    _find_library_beside(base / "bin" / version)
    environment = folder / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(base / "bin" / version)
    (environment / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\nversion = {sys.version.split()[0]}\n")
    wanted = sorted(packages / name for name in _top_names(LIBRARIES))
    _link([path for path in wanted if path.exists()], environment / "lib" / version / "site-packages")
    return str(environment / "bin" / "python")


def _top_names(distributions: Iterable[str]) -> set[str]:
    """Files and folders in site-packages of these distributions and of those they need."""
    found: dict[str, set[str]] = {}
    waiting = list(distributions)
    while waiting:
        name = re.split(r"[^A-Za-z0-9_.-]", waiting.pop())[0]
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system
            continue
        found[name] = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        waiting += [line for line in distribution.requires or () if "extra ==" not in line]
    return set().union(*found.values())


def _find_library_beside(executable: Path) -> None:
    """Have a copied interpreter load its own library: the path of the original's may be written into it."""
    program, place = executable.read_bytes(), f"{sys.base_prefix}/lib".encode()
    executable.unlink()
    executable.write_bytes(program.replace(place + b"\0", b"$ORIGIN/../lib".ljust(len(place), b"\0") + b"\0"))
    executable.chmod(0o755)


def _link(sources: Sequence[Path], target: Path) -> None:
    """Copy files and folders into a folder, by hard links where the file systems are one."""
    target.mkdir(parents=True, exist_ok=True)
    for source in sources:
        is_near = source.stat().st_dev == target.stat().st_dev
        if source.is_dir():
            copy = os.link if is_near else shutil.copy2
            ignored = shutil.ignore_patterns(*LEFT_OUT)
            shutil.copytree(source, target / source.name, symlinks=True, copy_function=copy, ignore=ignored)
        else:
            shutil.copy2(source, target / source.name)
