"""The command line that puts a kernel behind bubblewrap.

What it sees: /usr, a little of /etc, its interpreter, our code for it, its work folder at /work, the folder of its own
sockets, and what the caller binds read-only. No other file of the server, no other process, no network. A virtual
environment is bound at /opt/venv wherever it lives. Which machine can do this is sandbox.py's question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kernels_app.interpreters import Interpreter

type Place = Callable[[str], str]  # where bubblewrap finds a folder of ours

WORK = "/work"
VENV = "/opt/venv"
INSIDE = "/opt/rillbook/inside"
HOME = "/home/kernel"
TMP_BYTES = 512 * 1024 * 1024
SHM_BYTES = 256 * 1024 * 1024
HOME_BYTES = 64 * 1024 * 1024

ETC = (
    "ld.so.cache",
    "localtime",
    "timezone",
    "mime.types",
    "alternatives",
    "fonts",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "ImageMagick-6",
)
ETC_NETWORK = ("resolv.conf", "services", "protocols", "gai.conf")
_FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nkernel:x:1000:1000:kernel:/home/kernel:/bin/sh\n",
    "group": "root:x:0:\nkernel:x:1000:\n",
    "hosts": "127.0.0.1 localhost kernel\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def command(
    argv: Sequence[str],
    *,
    work: Path,
    run: Path,
    python: Interpreter,
    inside: Path,
    readonly: Mapping[str, Path] | None = None,
    devices: Sequence[str] = (),
    network: bool = False,
    tmp_bytes: int = TMP_BYTES,
    seccomp: int | None = None,
    place: Place = str,
) -> list[str]:
    """The bubblewrap command line that runs `argv` (paths as inside).

    `work` becomes /work, `run` (the private folder of sockets and connection file) keeps its path, `devices` theirs,
    `readonly` maps paths inside to folders or files of ours. `seccomp` is the descriptor of a BPF program; the
    environment is the caller's (sandbox.py), who clears it. Writes a synthetic /etc below `run`'s parent.
    """
    words = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "kernel"]
    words += ["--share-net"] if network else []
    words += ["--seccomp", str(seccomp)] if seccomp is not None else []
    words += ["--proc", "/proc", "--dev", "/dev", *_tmpfs("/dev/shm", SHM_BYTES)]
    words += [*_tmpfs("/tmp", tmp_bytes), *_tmpfs(HOME, HOME_BYTES)]
    for device in devices:
        words += ["--dev-bind-try", device, device]
    words += ["--dir", "/run", "--symlink", "/tmp", "/var/tmp"]
    words += _system() + _etc(run.parent / "etc", network, place)
    for path in python.paths:
        words += ["--ro-bind", place(path), path]
    if python.is_venv:
        words += ["--ro-bind", place(python.prefix), VENV]
    words += ["--ro-bind", place(str(inside)), INSIDE]
    for target, source in (readonly or {}).items():
        words += ["--ro-bind", place(str(source)), target]
    words += ["--bind", place(str(run)), str(run), "--bind", place(str(work)), WORK, "--chdir", WORK]
    # What holds the mounts together is memory too, without a limit: nobody writes there.
    words += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*words, "--", *argv]


def _tmpfs(path: str, size_bytes: int) -> list[str]:
    return ["--size", str(size_bytes), "--tmpfs", path]


def _system() -> list[str]:
    """/usr, and the old top-level names as the machine has them: links into /usr, or folders."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    return words


def _etc(folder: Path, network: bool, place: Place) -> list[str]:
    folder.mkdir(mode=0o700, exist_ok=True)
    words: list[str] = []
    for name, text in _FILES.items():
        file = folder / name
        if not file.exists():
            partial = folder / f".{name}.{os.getpid()}"
            partial.write_text(text, encoding="ascii")
            partial.rename(file)
        words += ["--ro-bind", place(str(file)), f"/etc/{name}"]
    for name in ETC + (ETC_NETWORK if network else ()):
        path = Path("/etc", name)
        if path.exists():
            words += ["--ro-bind", os.path.realpath(path), str(path)]
    return words
