"""Builds the image of a Dockerfile without a container engine: its steps, in order, in a root of their own.

bubblewrap gives each stage its root: what the steps write lies in a folder; /usr is this machine's, and this
interpreter stands at /usr/local as in the python image. Packages are not installed (`apt-get`): they must be here.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHELL = ["/bin/sh", "-c"]
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
# What of this machine's /etc programs need to run.
ETC = (
    "passwd", "group", "shadow", "gshadow", "login.defs", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "hosts",
    "resolv.conf", "ssl",
)  # fmt: skip


@dataclass
class Instruction:
    name: str
    words: str

    @property
    def flags(self) -> dict[str, str]:
        return dict(re.findall(r"--([a-z-]+)=(\S+)", self.words))

    @property
    def plain(self) -> str:
        """The words after the flags."""
        return re.sub(r"^(--[a-z-]+=\S+\s+)+", "", self.words)

    @property
    def command(self) -> list[str]:
        """The exec form as it is; the shell form behind a shell."""
        return json.loads(self.plain) if self.plain.startswith("[") else [*SHELL, self.plain]


def parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), words.strip()) for name, words in found]


@dataclass
class Stage:
    """One stage while it is built, and the container of the last one."""

    root: Path
    python: str
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    settings: dict[str, Instruction] = field(default_factory=dict)
    binds: list[tuple[Path, str]] = field(default_factory=list)

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def wrapped(self, command: Sequence[str], *, as_user: bool = False, **more: str) -> list[str]:
        """The command line that runs `command` inside; `as_user` as a container of compose.yaml: as the image's user,
        without any capability, on a root that is read-only but for its volumes and /tmp."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp"} | self.environment | more
        walls = ["bwrap", "--die-with-parent", "--clearenv", *self._mounted(is_container=as_user)]
        walls += ["--ro-bind", "/usr", "/usr"]
        # /proc without the covers that Docker, or bubblewrap itself, puts over parts of it: systempaths=unconfined.
        walls += ["--ro-bind", self.python, "/usr/local", "--bind", "/proc", "/proc", "--dev", "/dev"]
        for here, inside in self.binds:
            walls += ["--ro-bind", str(here), inside]
        for name, value in environment.items():
            walls += ["--setenv", name, value]
        return [*walls, "--chdir", self.folder, "--", *(self._demoted() if as_user else []), *command]

    def _mounted(self, *, is_container: bool) -> list[str]:
        if not is_container:
            return ["--bind", str(self.root), "/"]
        walls = ["--ro-bind", str(self.root), "/", "--perms", "1777", "--tmpfs", "/tmp"]
        for volume in json.loads(self.settings["VOLUME"].plain):
            walls += ["--bind", str(self.path(volume)), volume]
        return walls

    def _demoted(self) -> list[str]:
        if os.getuid() != 0:
            return []  # nobody special already
        ids = self.ids()
        walls = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return ["setpriv", f"--reuid={ids}", f"--regid={ids}", *walls]

    def ids(self) -> str:
        entries = (line.split(":") for line in self.path("/etc/passwd").read_text().splitlines())
        return next(entry[2] for entry in entries if entry[0] == self.user)


class Builder:
    """`build()` returns the last stage. `site_packages`: stands in for what pip would fetch."""

    def __init__(self, dockerfile: Path, folder: Path, site_packages: Path | None) -> None:
        self.context = dockerfile.parent
        self.instructions = parse(dockerfile.read_text(encoding="utf-8"))
        self.ignored = (self.context / ".dockerignore").read_text(encoding="utf-8").splitlines()
        self.folder, self.site_packages = folder, site_packages
        self.stages: dict[str, Stage] = {}
        self.ran: list[str] = []

    def build(self) -> Stage:
        stage = None
        for step in self.instructions:
            if step.name == "ARG" and stage is None:
                continue
            if step.name == "FROM":
                stage = self._start(step)
                continue
            assert stage is not None, f"{step.name} before FROM"
            self._apply(stage, step)
        assert stage is not None
        return stage

    def _start(self, step: Instruction) -> Stage:
        base, *alias = re.split(r"\s+AS\s+", step.words, flags=re.IGNORECASE)
        assert base == "python:${PYTHON}-slim", f"not the python image: {base}"
        name = alias[0] if alias else "last"
        root = self.folder / name
        (root / "etc").mkdir(parents=True)
        for entry in ETC:
            here = Path("/etc") / entry
            if here.is_dir():
                shutil.copytree(here, root / "etc" / entry, symlinks=True, ignore=shutil.ignore_patterns("private"))
            elif here.exists() and os.access(here, os.R_OK):
                shutil.copy(here, root / "etc" / entry)
        for made in ("tmp", "home", "var"):
            (root / made).mkdir()
        for linked in ("bin", "sbin", "lib", "lib64"):
            (root / linked).symlink_to(f"usr/{linked}")
        (root / "tmp").chmod(0o1777)
        stage = self.stages[name] = Stage(root, sys.base_prefix)
        # The interpreter's library is found in /usr/local/lib, as in the python image.
        subprocess.run(stage.wrapped(["/sbin/ldconfig"]), check=True, timeout=60)
        return stage

    def _apply(self, stage: Stage, step: Instruction) -> None:
        if step.name == "RUN":
            self._run(stage, step)
        elif step.name == "COPY":
            self._copy(stage, step)
        elif step.name == "WORKDIR":
            stage.folder = step.words
            stage.path(step.words).mkdir(parents=True, exist_ok=True)
        elif step.name == "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(step.words))
        elif step.name == "USER":
            stage.user = step.words
        else:
            assert step.name in ("VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"), step.name
            stage.settings[step.name] = step

    def _run(self, stage: Stage, step: Instruction) -> None:
        assert stage.user == "root", "steps after USER are not expected"
        if "apt-get install" in step.plain or (self.site_packages and "compileall" in step.plain):
            return
        if "useradd" in step.plain and os.getuid() != 0:
            stage.path("/data").mkdir()  # only root makes users; then the builder's own is the container's
            return
        offline = {"PIP_NO_INDEX": "1"} if self.site_packages else {}
        done = subprocess.run(
            stage.wrapped(step.command, **offline), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"RUN {step.plain}\n{done.stdout}\n{done.stderr}"
        self.ran.append(step.plain)
        if self.site_packages and "-m venv" in step.plain:
            stage.binds.append((self.site_packages, f"/opt/venv/{SITE}"))

    def _copy(self, stage: Stage, step: Instruction) -> None:
        *sources, target = step.plain.split()
        target = str(Path(stage.folder) / target)
        if "from" in step.flags:
            other = self.stages[step.flags["from"]]
            shutil.copytree(other.path(sources[0]), stage.path(target), symlinks=True)
            stage.binds += other.binds
            return
        for source in sources:
            for path in self.sent():
                if source == "." or path == Path(source):
                    into = stage.path(target) / path
                    into.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(self.context / path, into, follow_symlinks=False)

    def sent(self) -> list[Path]:
        """The files of the repository that .dockerignore lets into the build: the last line that matches decides."""
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=self.context, capture_output=True, text=True, check=True).stdout.splitlines()
        return [Path(name) for name in names if (self.context / name).is_file() and not self._is_ignored(name)]

    def _is_ignored(self, name: str) -> bool:
        ignored = False
        for line in self.ignored:
            pattern = line.strip().removeprefix("!")
            if not pattern or pattern.startswith("#"):
                continue
            parents = [name, *(str(parent) for parent in Path(name).parents)][:-1]
            if any(_matches(each, pattern) for each in parents):
                ignored = not line.startswith("!")
        return ignored


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(Path(name).name, pattern.removeprefix("**/"))
    return name.count("/") == pattern.count("/") and fnmatch.fnmatch(name, pattern)
