"""Starts and ends the process of one kernel, behind the best walls the machine has.

A provisioner of jupyter_client, registered without an installed package, so that Kubernetes and others plug
in at the same place. Transport is IPC in a private folder; the environment is an allow-list; the walls are
sandbox.py's. What is said to a kernel is kernel.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from kernels_app import bubblewrap, cgroups, limits, nameless, recipes, sandbox, trees, uids
from kernels_app.cgroups import Group
from kernels_app.interpreters import Interpreter, interpreter
from kernels_app.recipes import Room
from kernels_app.sandbox import Rung
from kernels_app.uids import Uid

NAME = "rillbook-local"
NICE = 10
TAIL_BYTES = 16 * 1024
SUPERVISOR_ENDS_S = 3.0
GROUP_OVERHEAD_BYTES = 64 * 1024**2  # of bubblewrap, the page tables, the journal
INSIDE = sandbox.INSIDE_CODE


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that is the same for all kernels of one pool."""

    sandbox: str = "auto"  # auto | bubblewrap | landlock | none
    python: str = ""  # the server's own
    network: bool = False
    memory_bytes: int = 2 * 1024**3
    cpus: float = 0.0  # 0: as many as there are. Bound by a control group, where one can be made
    cpu_s: int = 0  # processor time of one process; 0: without end
    processes: int = 256
    files: int = 4096  # open at once in one process
    file_bytes: int = 8 * 1024**3  # of one file
    disk_bytes: int = 8 * 1024**3  # of all files in the work folder
    disk_entries: int = 200_000
    tmp_bytes: int = bubblewrap.TMP_BYTES
    run_s: int = 0  # of one cell; 0: without end
    idle_s: int = 0  # without use, until the kernel is stopped; 0: never
    output_bytes: int = 128 * 1024**2  # of one run of a cell
    output_rate_bytes: int = 0  # a second, for long; 0: as fast as it comes
    use_cgroups: bool = True
    readonly: Mapping[str, Path] = field(default_factory=dict)  # path inside -> folder or file of ours
    env: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[str] = ()  # files of GPUs, beside what every kernel has
    argv: Sequence[str] = ()  # after the interpreter; empty: our boot module
    start_timeout_s: float = 30.0

    @property
    def rung(self) -> Rung:
        return sandbox.available(self.sandbox, self.python)

    @property
    def address_bytes(self) -> int:
        """The limit of address space; 0: none, for drivers of GPUs map many times the memory that they use. What is
        resident is watched all the same."""
        return 0 if self.devices else self.memory_bytes

    @property
    def shm_bytes(self) -> int:
        """What the kernel's own /dev/shm holds; 0: it has none."""
        return bubblewrap.SHM_BYTES if self.rung is Rung.BUBBLEWRAP else 0


@dataclass(frozen=True, slots=True)
class Launch:
    """One start: a profile and the folders of this kernel."""

    profile: Profile
    work: Path
    run: Path  # private folder of connection file and sockets; its path is short

    @property
    def interpreter(self) -> Interpreter:
        return interpreter(self.profile.python)

    def argv(self) -> list[str]:
        """The command line as the kernel sees it."""
        rung = self.profile.rung
        folder = bubblewrap.INSIDE if rung is Rung.BUBBLEWRAP else str(INSIDE)
        rest = self.profile.argv or (f"{folder}/boot.py", "-f", "{connection_file}")
        return [sandbox.python_inside(self.interpreter, rung), *rest]

    def environment(self) -> dict[str, str]:
        """The kernel's whole environment."""
        rung = self.profile.rung
        own = {
            "KERNEL_WORK": bubblewrap.WORK if rung is Rung.BUBBLEWRAP else str(self.work),
            "KERNEL_MEMORY_BYTES": str(self.profile.address_bytes or ""),
            "KERNEL_PROCESSES": str(self.profile.processes),
            "KERNEL_FILE_BYTES": str(self.profile.file_bytes),
            "KERNEL_FILES": str(self.profile.files),
            "KERNEL_CPU_S": str(self.profile.cpu_s or ""),
            "KERNEL_SANDBOX": rung.value,
            # The memory limit counts address space, used or not: an arena of glibc's takes 64 MiB, and there are many;
            # Arrow's allocator takes 1 GiB at once where it may say how much (in KiB).
            "MALLOC_ARENA_MAX": "2",
            "MIMALLOC_ARENA_RESERVE": "65536",
        }
        if rung is Rung.NONE:
            own["KERNEL_PARENT_PID"] = str(os.getpid())
        return sandbox.environment(
            rung, self.interpreter, {**self.profile.env, **own}, private=self.run.parent
        )

    def room(self, argv: Sequence[str], *, uid: int | None, group: Group | None) -> Room:
        """This kernel's place behind its walls."""
        profile = self.profile
        is_counted_alone = uid is not None and profile.rung is Rung.LANDLOCK
        return Room(
            argv=argv,
            env=self.environment(),
            python=self.interpreter,
            inside=INSIDE,
            work=self.work,
            run=self.run,
            readonly=profile.readonly,
            devices=profile.devices,
            network=profile.network,
            tmp_bytes=profile.tmp_bytes,
            limits=recipes.limits(
                address_bytes=profile.address_bytes,
                file_bytes=min(profile.file_bytes, profile.disk_bytes),
                files=profile.files,
                cpu_s=profile.cpu_s,
                processes=profile.processes if is_counted_alone else None,
            ),
            uid=uid,
            cgroups=group.files if group else (),
            is_counted=group is not None and group.counts_memory,
        )


class Manager(AsyncKernelManager):
    """jupyter_client's manager for a kernel that no kernelspec on disk describes."""

    launch: Launch

    @classmethod
    def of(cls, launch: Launch, context: Any) -> Manager:
        """A manager for one start; `context` is the process's zmq context."""
        manager = cls(
            context=context,
            transport="ipc",
            ip=str(launch.run / "c"),
            connection_file=str(launch.run / "connection.json"),
        )
        manager.session.key = secrets.token_hex(32).encode()
        manager.launch = launch
        manager._kernel_spec = KernelSpec(
            argv=launch.argv(),
            display_name="Python",
            language="python",
            interrupt_mode="message",
            metadata={"kernel_provisioner": {"provisioner_name": NAME, "config": {}}},
        )
        return manager


class Provisioner(LocalProvisioner):
    """Starts a kernel in its sandbox and ends it with everything that it started."""

    errors: ErrorTail | None = None
    uid: Uid | None = None
    group: Group | None = None
    _info: int | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        launch = self._launch
        kwargs["env"] = launch.environment()
        kwargs = await super().pre_launch(**kwargs)
        kwargs["env"] = launch.environment()  # without what jupyter_client added
        kwargs["cwd"] = str(launch.work)
        if launch.profile.rung is not Rung.NONE:
            kwargs["recipe"] = await asyncio.to_thread(self._prepare, kwargs["cmd"])
        return kwargs

    def _prepare(self, argv: Sequence[str]) -> Mapping[str, object]:
        """A uid and a control group for this kernel where there are any, its folders, and what it is told. Blocks."""
        launch, profile = self._launch, self._launch.profile
        self.uid = uids.take() if uids.can_give() else None
        self.group = Group.make(
            cgroups.tree() if profile.use_cgroups else None,
            memory_bytes=profile.memory_bytes + GROUP_OVERHEAD_BYTES,
            processes=profile.processes + limits.TASKS_BESIDE,
            cpus=profile.cpus,
        )
        number = self.uid.number if self.uid else None
        room = launch.room(argv, uid=number, group=self.group)
        sandbox.make_folders(room, number)
        if number:
            for file in launch.run.iterdir():  # the connection file and the journal
                uids.give(file, number)
        return sandbox.recipe(profile.rung, room)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the process from a thread that lives as long as the server: kernels die with it."""
        recipe = kwargs.get("recipe")
        reading, writing = os.pipe()
        try:
            start = partial(_enter, recipe) if recipe else partial(_popen, cmd, kwargs["env"], kwargs["cwd"])
            process = await asyncio.get_running_loop().run_in_executor(launcher(), start, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        self.errors = ErrorTail(reading)
        return self.connection_info

    @property
    def _launch(self) -> Launch:
        assert isinstance(self.parent, Manager)
        return self.parent.launch

    async def wait(self) -> int | None:
        """Wait for the end of the process, without polling where the system can say it; its return code."""
        process = self.process
        if process is None:
            return None
        if hasattr(os, "pidfd_open"):
            await _ended(process.pid)
        while process.poll() is None:
            await asyncio.sleep(0.05)
        return process.returncode

    async def send_signal(self, signum: int) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signum)

    async def terminate(self, restart: bool = False) -> None:
        """Ask the kernel's own process to end: SIGTERM."""
        pid = self.kernel_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    async def kill(self, restart: bool = False) -> None:
        """SIGKILL to the sandbox and all in it. Without one: to every descendant that can be found."""
        if self.process is None or self.process.poll() is not None:
            return
        if self._launch.profile.rung is Rung.LANDLOCK and await self._supervisor_ends():
            return
        if self._launch.profile.rung is not Rung.BUBBLEWRAP:
            for pid in await asyncio.to_thread(limits.tree, self.process.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        await self.send_signal(signal.SIGKILL)

    async def _supervisor_ends(self) -> bool:
        """Have the kernel's parent end everything below it (launch/supervise.py); whether it did in time."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SUPERVISOR_ENDS_S):
                await self.wait()
                return True
        return False

    async def cleanup(self, restart: bool = False) -> None:
        """Give back what the kernel had: its pipe, its control group, its uid. Harmless when repeated."""
        if self.errors:
            self.errors.close()
        group, self.group = self.group, None
        if group:
            await asyncio.to_thread(group.kill)
            await asyncio.to_thread(group.remove)
        if self.uid:
            await asyncio.to_thread(self.uid.release)

    @property
    def depth(self) -> int:
        """How many processes of ours come before the kernel's own in its tree."""
        return _DEPTHS[self._launch.profile.rung]

    def watch(self) -> nameless.Watch:
        """Who looks for what the kernel holds without a name. Behind walls no program is another user's (sudo is)."""
        rung = self._launch.profile.rung
        shared = self.uid.number if self.uid and rung is Rung.LANDLOCK else None
        has_namespaces = rung is Rung.BUBBLEWRAP
        has_network = has_namespaces and not self._launch.profile.network
        return nameless.Watch(
            shared, may_hide=rung is Rung.NONE, has_namespaces=has_namespaces, has_network=has_network
        )

    def kernel_pid(self) -> int | None:
        """The kernel's own process as the host numbers it: below what keeps it. None if it is not there."""
        if self.process is None or self.process.poll() is not None:
            return None
        pids = limits.tree(self.process.pid, most=self.depth + 2)
        return pids[self.depth] if len(pids) > self.depth else None

    def root_pid(self) -> int | None:
        """The process whose tree is the kernel and all that it started."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None


class ErrorTail:
    """The last of what a kernel wrote on its real stdout and stderr, read without letting it hurry us."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(descriptor, self._read)

    @property
    def text(self) -> str:
        """At most TAIL_BYTES, decoded with replacement."""
        if self._descriptor is not None and not self._pause:
            self._read()
        return self._kept.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Stop reading. The text stays."""
        descriptor, self._descriptor = self._descriptor, None
        if self._pause:
            self._pause.cancel()
        if descriptor is not None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _read(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._kept = (self._kept + data)[-TAIL_BYTES:]
        if len(data) > 4096:  # a flood: take it slowly, the writer waits
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(0.05, self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._descriptor is not None:
            self._loop.add_reader(self._descriptor, self._read)


def register() -> None:
    """Make jupyter_client know our provisioner: it looks for installed packages only. May be repeated."""
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(
        name=NAME, value=f"{__name__}:Provisioner", group=KernelProvisionerFactory.GROUP_NAME
    )


def run_folder() -> Path:
    """A new private folder with a short path: a socket's path has at most 107 bytes."""
    base = _run_base()
    folder = Path(tempfile.mkdtemp(prefix=f"rb-{os.getpid()}-", dir=base))
    (folder / "k").mkdir(mode=0o700)
    return folder / "k"


def remove_run_folder(run: Path) -> None:
    """Delete what `run_folder` made, whatever the kernel left in it."""
    trees.remove(run.parent)


def remove_stale_run_folders() -> None:
    """Delete the run folders of this user's server processes that were killed."""
    for folder in _run_base().glob("rb-*-*"):
        pid = folder.name.split("-")[1]
        with contextlib.suppress(OSError):
            if pid.isdigit() and folder.lstat().st_uid == os.getuid() and not _exists(int(pid)):
                trees.remove(folder)


def _run_base() -> Path:
    return Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_launcher: ThreadPoolExecutor | None = None


def launcher() -> ThreadPoolExecutor:
    """The one thread that starts kernels: bubblewrap ends its child when the *thread* that made it ends."""
    global _launcher
    if _launcher is None:
        _launcher = ThreadPoolExecutor(1, thread_name_prefix="kernel-launcher", initializer=_be_modest)
    return _launcher


def _be_modest() -> None:
    """Lower this thread's claim on the processor; kernels inherit it, and so never starve the server."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


_DEPTHS = {Rung.BUBBLEWRAP: 2, Rung.LANDLOCK: 1, Rung.NONE: 0}  # of the kernel below the process that we start


def _enter(recipe: Mapping[str, object], writing: int) -> subprocess.Popen[bytes]:
    """Start the program that turns itself into the kernel. Nothing of our environment goes in."""
    descriptor = sandbox.recipe_descriptor(recipe)
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    try:
        return _popen(recipes.command(descriptor), libraries, "/", writing, pass_fds=[descriptor])
    finally:
        os.close(descriptor)


def _popen(
    cmd: list[str], env: dict[str, str], cwd: str, writing: int, *, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        cmd,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        start_new_session=True,
        close_fds=True,
        pass_fds=pass_fds,
    )


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _ended(pid: int) -> None:
    """Return when the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(descriptor, _resolve, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
