"""The walls around a kernel: which the machine offers, and the command line that puts a kernel behind them.

The ladder is bubblewrap (own view of files, processes and network), then an own uid with Landlock (not
built yet, so never chosen), then none. Starting the process is provisioner.py's work, folders are
pool.py's, limits on memory and processes are set inside by inside/boot.py and watched by limits.py.

What a kernel behind bubblewrap sees: /usr, a little of /etc, its interpreter, our code for it, its work
folder at /work, the folder of its own sockets, and what the caller binds read-only. No other file of the
server, no other process, no network. A virtual environment is bound at /opt/venv wherever it lives; no home
is ever bound whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

WORK = "/work"
VENV = "/opt/venv"
INSIDE = "/opt/rillbook/inside"
HOME = "/home/kernel"
TMP_BYTES = 512 * 1024 * 1024
SHM_BYTES = 256 * 1024 * 1024
HOME_BYTES = 64 * 1024 * 1024
PROBE_TIMEOUT_S = 20

_ETC = (
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
_ETC_NETWORK = ("resolv.conf", "services", "protocols", "gai.conf")
_FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nkernel:x:1000:1000:kernel:/home/kernel:/bin/sh\n",
    "group": "root:x:0:\nkernel:x:1000:\n",
    "hosts": "127.0.0.1 localhost kernel\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")


class Rung(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rung in use and, where a higher one is not, why."""

    rung: Rung
    why: str = ""


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


def available(wanted: str = "auto") -> Rung:
    """The best rung that works and that `wanted` (auto | bubblewrap | none) allows. Tried once, then kept."""
    return verdict(wanted).rung


def describe(wanted: str = "auto") -> str:
    """One plain sentence on how kernels are isolated, for pages, `make run` and system checks."""
    found = verdict(wanted)
    if found.rung is Rung.BUBBLEWRAP:
        return "Kernels run in a bubblewrap sandbox: own files, own processes, no network unless opened."
    if wanted == "none":
        return "Kernels run without a sandbox (KERNEL_SANDBOX=none): code can do all that the server can."
    return f"Kernels run without a sandbox: code can do all that the server can. {found.why}"


@lru_cache(maxsize=8)
def verdict(wanted: str = "auto") -> Verdict:
    """As `available`, with the reason. Blocks for some 100 ms the first time."""
    if wanted == "none":
        return Verdict(Rung.NONE)
    if sys.platform != "linux":
        return Verdict(Rung.NONE, "bubblewrap exists on Linux only.")
    if not shutil.which("bwrap"):
        return Verdict(Rung.NONE, "bubblewrap is not installed (Debian: apt-get install bubblewrap).")
    problem = _try_bubblewrap()
    if problem:
        return Verdict(Rung.NONE, f"bubblewrap is installed but does not work here: {problem}")
    return Verdict(Rung.BUBBLEWRAP)


@lru_cache(maxsize=8)
def interpreter(python: str = "") -> Interpreter:
    """What this Python ("": the server's) needs to run. Raises ValueError if it cannot be bound safely."""
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
    paths = tuple(sorted(path for path in needed if not _is_system(path)))
    for path in (*paths, facts["prefix"]):
        _refuse_homes(path)
    return Interpreter(facts["executable"], facts["prefix"], facts["base"], paths)


def python_inside(python: Interpreter, rung: Rung) -> str:
    """The path by which the interpreter is called behind this rung."""
    if rung is Rung.BUBBLEWRAP and python.is_venv:
        return f"{VENV}/bin/{os.path.basename(python.executable)}"
    return python.executable


def environment(rung: Rung, python: Interpreter, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a kernel: an allow-list, never the server's own."""
    inside = rung is Rung.BUBBLEWRAP
    programs = os.path.dirname(python_inside(python, rung))
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environ.setdefault("LANG", "C.UTF-8")
    environ |= {
        "PATH": os.pathsep.join([programs, "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": HOME if inside else os.path.expanduser("~"),
        "PYTHONNOUSERSITE": "1",
        "USER": "kernel",
    }
    if inside:
        environ["TMPDIR"] = "/tmp"
    return environ | dict(extra or {})


def command(
    argv: Sequence[str],
    *,
    work: Path,
    run: Path,
    python: Interpreter,
    inside: Path,
    readonly: Mapping[str, Path] | None = None,
    network: bool = False,
    tmp_bytes: int = TMP_BYTES,
) -> list[str]:
    """The bubblewrap command line that runs `argv` (paths as inside).

    `work` becomes /work, `run` (the private folder of sockets and connection file) keeps its path,
    `readonly` maps paths inside to folders or files of ours. Writes a synthetic /etc below `run`'s parent.
    """
    words = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "kernel"]
    words += ["--share-net"] if network else []
    words += ["--proc", "/proc", "--dev", "/dev", *_tmpfs("/dev/shm", SHM_BYTES)]
    words += [
        *_tmpfs("/tmp", tmp_bytes),
        *_tmpfs(HOME, HOME_BYTES),
        "--dir",
        "/run",
        "--symlink",
        "/tmp",
        "/var/tmp",
    ]
    words += _system() + _etc(run.parent / "etc", network)
    for path in python.paths:
        words += ["--ro-bind", path, path]
    if python.is_venv:
        words += ["--ro-bind", python.prefix, VENV]
    words += ["--ro-bind", str(inside), INSIDE]
    for target, source in (readonly or {}).items():
        words += ["--ro-bind", str(source), target]
    words += ["--bind", str(run), str(run), "--bind", str(work), WORK, "--chdir", WORK]
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


def _etc(folder: Path, network: bool) -> list[str]:
    folder.mkdir(mode=0o700, exist_ok=True)
    words: list[str] = []
    for name, text in _FILES.items():
        file = folder / name
        if not file.exists():
            partial = folder / f".{name}.{os.getpid()}"
            partial.write_text(text, encoding="ascii")
            partial.rename(file)
        words += ["--ro-bind", str(file), f"/etc/{name}"]
    for name in _ETC + (_ETC_NETWORK if network else ()):
        path = Path("/etc", name)
        if path.exists():
            words += ["--ro-bind", os.path.realpath(path), str(path)]
    return words


def _is_system(path: str) -> bool:
    """Whether the sandbox shows this path anyway."""
    return path == "/usr" or path.startswith("/usr/")


def _refuse_homes(path: str) -> None:
    """Refuse to bind what holds more than an interpreter: a home, the root, a top-level folder."""
    found = Path(path).resolve()
    homes = {Path.home().resolve(), Path("/root"), Path("/home")}
    if _is_system(str(found)) or _is_system(path):
        return
    if found in homes or len(found.parts) < 3 or found.parent == Path("/home"):
        raise ValueError(
            f"The interpreter's folder {path} holds more than an interpreter; kernels are not given it."
        )


def _try_bubblewrap() -> str:
    """Run a Python behind the real command line; return what went wrong, or ""."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix=f"rb-{os.getpid()}-") as folder:
        run, work = Path(folder, "run"), Path(folder, "work")
        run.mkdir()
        work.mkdir()
        try:
            python = interpreter()
            argv = [python_inside(python, Rung.BUBBLEWRAP), "-I", "-c", "print('works')"]
            words = command(argv, work=work, run=run, python=python, inside=Path(__file__).parent / "inside")
            done = subprocess.run(
                words,
                env=environment(Rung.BUBBLEWRAP, python),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PROBE_TIMEOUT_S,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return str(error)
        if done.returncode == 0 and done.stdout == "works\n":
            return ""
        return done.stderr.strip()[-500:] or f"it ended with code {done.returncode}."
