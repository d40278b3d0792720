"""Code that tries to leave its sandbox, on both rungs: each attack is made for real, and fails."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels_app.sandbox import Rung
from tests.walls import Inside, behind

SECRET = "canary-7d1f"
PRELUDE = """
import ctypes, errno, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(*work):
    "The name of the error, or what came back."
    found = []
    for each in work:
        try: found.append(each())
        except OSError as error: found.append(errno.errorcode.get(error.errno, str(error)))
        except Exception as error: found.append(type(error).__name__)
    print(json.dumps(found))
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), 'refused')
    return 'done'
"""


def attack(inside: Inside, *works: str) -> list[object]:
    """Run expressions inside; each one's error (by name) or result."""
    return list(inside.run(PRELUDE + f"attempt({', '.join(f'lambda: {work}' for work in works)})"))


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's with a secret in its environment."""
    process = subprocess.Popen(["sleep", "300"], env={"SECRET_KEY": SECRET})
    yield process
    assert process.poll() is None, "the attack ended another process"
    process.kill()
    process.wait()


# --- Files -----------------------------------------------------------------------------------------------------------


def test_the_servers_files_cannot_be_read(inside: Inside, readable: Path):
    other = readable / "notebooks" / "other"
    ssh = readable / "home" / ".ssh"
    for folder in (other, ssh, readable / "run"):
        folder.mkdir(parents=True)
    kept = [other / "theirs.csv", readable / "rillbook.sqlite3", readable / "secret_key", ssh / "id_ed25519"]
    for path in kept:
        path.write_text(SECRET)
        path.chmod(0o644)  # as open as a careless operator leaves it: the sandbox must not lean on it
    hidden = [*kept, other, readable, Path.home() / ".ssh", Path.home() / ".bashrc", "/etc/shadow", "/var/log", "/boot"]
    places = [repr(str(path)) for path in (*hidden, "/var/run/docker.sock", "/proc/kcore", "/sys/kernel")]
    found = attack(inside, *(f"os.listdir({at}) if os.path.isdir({at}) else open({at}).read()" for at in places))
    assert set(map(str, found)) <= {"ENOENT", "EACCES", "EPERM", "ENXIO"}, found
    assert SECRET not in str(found)


def test_what_a_kernel_puts_into_shared_memory_no_other_reads(inside: Inside, rung: Rung, python: str, readable: Path):
    path = f"/dev/shm/rillbook-test-{os.getpid()}"
    attack(inside, f"open({path!r}, 'w').write({SECRET!r})")
    with behind(rung, readable / "other", python) as other:
        assert attack(other, f"open({path!r}).read()")[0] in ("ENOENT", "EACCES")


def test_nothing_outside_the_work_folder_can_be_written(inside: Inside, readable: Path):
    (readable / "open").mkdir()
    (readable / "open").chmod(0o777)
    (readable / "open" / "file").write_text("")
    (readable / "open" / "file").chmod(0o666)
    targets = ["/usr", "/etc", "/opt", "/run", "/", "/dev", "/proc/sys/kernel", "/var", "/tmp/.."]
    targets.append(str(readable / "open"))
    found = attack(
        inside,
        *(f"open({folder + '/planted'!r}, 'w').close()" for folder in targets),
        "open(os.__file__, 'a')",
        "open(sys.executable, 'ab')",
        f"open({str(readable / 'open' / 'file')!r}, 'a')",
        f"os.truncate({str(readable / 'open' / 'file')!r}, 0)",
        f"os.rename('x', {str(readable / 'open' / 'y')!r})",
    )
    assert None not in found, found
    assert os.listdir(readable / "open") == ["file"]


def test_links_and_magic_links_lead_nowhere(inside: Inside, readable: Path):
    secret = readable / "secret"
    secret.write_text(SECRET)
    found = attack(
        inside,
        f"os.symlink({str(secret)!r}, 'link')",
        "open('link').read()",
        f"os.link({str(secret)!r}, 'hard')",
        f"open('/proc/self/root' + {str(secret)!r}).read()",
        f"open('/proc/1/root' + {str(secret)!r}).read()",
        f"open('/proc/self/cwd/../../' + {secret.name!r}).read()",
        "open('../../secret').read()",
        "os.listdir('/proc/1/root/var/log')",
        "os.chroot('.')",
        "os.mknod('device', 0o020666, os.makedev(1, 1))",
    )
    assert found[0] is None and SECRET not in str(found)
    assert all(isinstance(answer, str) for answer in found[1:]), found


def test_devices_are_a_handful(inside: Inside):
    names = ["mem", "kmem", "kmsg", "port", "sda", "vda", "nvme0n1", "kvm", "fuse", "loop-control", "net/tun", "tty"]
    found = attack(inside, *(f"open('/dev/{name}', 'rb')" for name in names))
    assert set(map(str, found)) <= {"ENOENT", "EACCES", "EPERM", "ENXIO"}, found


def test_no_descriptor_of_the_server_is_inherited(inside: Inside, tmp_path: Path):
    """Not even one the server forgot to close at exec."""
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        code = (
            "found = []\n"
            "for number in range(3, 1000):\n"
            "    try: os.fstat(number); found.append(number)\n"
            "    except OSError: pass\n"
            "print(json.dumps(found))"
        )
        out, errors = inside.start(code, careless=True).communicate(timeout=60)
    finally:
        os.close(leaked)
    assert json.loads(out) == [], errors


# --- Other processes -------------------------------------------------------------------------------------------------


def test_another_processs_memory_environment_and_files_cannot_be_read(
    inside: Inside, victim: subprocess.Popen[bytes]
):
    parts = ("environ", "mem", "maps", "stack", "auxv", "syscall")
    places = [f"/proc/{pid}/{part}" for pid in (victim.pid, os.getpid()) for part in parts]
    links = [f"/proc/{pid}/{part}" for pid in (victim.pid, os.getpid()) for part in ("cwd", "root", "exe")]
    found = attack(
        inside, *(f"open({place!r}, 'rb').read()[:1] and 'read'" for place in places),
        *(f"os.readlink({link!r})" for link in links), f"os.listdir('/proc/{victim.pid}/fd')",
    )  # fmt: skip
    assert set(map(str, found)) <= {"ENOENT", "EACCES", "EPERM"}, found


def test_no_other_process_can_be_signalled_traced_or_changed(inside: Inside, victim: subprocess.Popen[bytes]):
    pid = victim.pid
    found = attack(
        inside,
        f"os.kill({pid}, 9)",
        f"os.kill({os.getpid()}, 9)",
        f"os.killpg(os.getpgid({pid}), 9)",
        f"__import__('signal').pidfd_send_signal(os.pidfd_open({pid}), 9)",
        f"call(101 if os.uname().machine == 'x86_64' else 117, 16, {pid}, 0, 0)",  # ptrace attach
        f"call(310 if os.uname().machine == 'x86_64' else 270, {pid}, 0, 0, 0, 0, 0)",  # process_vm_readv
        f"call(311 if os.uname().machine == 'x86_64' else 271, {pid}, 0, 0, 0, 0, 0)",
        f"__import__('resource').prlimit({pid}, __import__('resource').RLIMIT_NOFILE, (1, 1))",
        f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
        f"os.sched_setaffinity({pid}, {{0}})",
        f"os.write(os.open('/proc/{pid}/oom_score_adj', os.O_WRONLY), b'1000')",
    )
    assert all(isinstance(answer, str) for answer in found), found


def test_a_signal_to_everybody_reaches_nobody_else(inside: Inside, victim: subprocess.Popen[bytes]):
    process = inside.start("import signal\nos.kill(-1, signal.SIGKILL)\nprint(json.dumps('sent'))")
    process.communicate(timeout=60)
    assert victim.poll() is None


# --- The network -----------------------------------------------------------------------------------------------------


def test_nothing_listens_that_can_be_reached(inside: Inside, readable: Path):
    """A port of this machine, one by UDP, an abstract socket, a socket file open to all, the cloud's metadata."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        udp.bind(("127.0.0.1", 0))
        name = f"rillbook-{os.getpid()}"
        abstract.bind(f"\0{name}")
        file.bind(str(readable / "socket"))
        datagrams.bind(str(readable / "datagrams"))
        for path in ("socket", "datagrams"):
            (readable / path).chmod(0o777)
        abstract.listen()
        file.listen()
        connect = "socket.create_connection(({!r}, {}), 2)"
        port = udp.getsockname()[1]
        found = attack(
            inside,
            connect.format("127.0.0.1", tcp.getsockname()[1]),
            connect.format("169.254.169.254", 80),
            f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
            f"socket.socket(socket.AF_UNIX).connect('\\0{name}')",
            f"socket.socket(socket.AF_UNIX).connect({str(readable / 'socket')!r})",
            f"socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', {str(readable / 'datagrams')!r})",
        )
        assert not select.select([tcp, udp, abstract, file, datagrams], [], [], 0.2)[0]
    assert all(isinstance(answer, str) for place, answer in enumerate(found) if place != 2), found


def test_odd_kinds_of_sockets_are_refused(inside: Inside):
    kinds = [(40, 1, 0), (38, 5, 0), (17, 3, 0), (2, 3, 1), (31, 3, 0), (15, 3, 2)]  # vsock, crypto, packets, raw …
    datagrams = [(1, 2, 0), (1, 3, 0)]  # of Unix; the second is called raw
    made = [f"socket.socket{kind} and 'made'" for kind in kinds + datagrams]
    found = attack(inside, *made, *(f"socket.socketpair{kind} and 'made'" for kind in datagrams))
    assert set(map(str, found)) <= {"EACCES", "EPERM", "EAFNOSUPPORT"}, found


# --- The system ------------------------------------------------------------------------------------------------------

# x86_64 and aarch64, with arguments that the system would take from root.
CALLS = {
    "keyctl": (250, 219, "0, -3, 1"),
    "add_key": (248, 217, "b'user', b'x', b'y', 1, -3"),
    "request_key": (249, 218, "b'user', b'x', 0, -3"),
    "bpf": (321, 280, "0, 0, 0"),
    "perf_event_open": (298, 241, "0, 0, -1, -1, 0"),
    "userfaultfd": (323, 282, "0"),
    "io_setup": (206, 0, "65000, ctypes.byref(ctypes.c_ulong())"),
    "io_uring_setup": (425, 425, "1, ctypes.create_string_buffer(120)"),
    "open_by_handle_at": (304, 265, "-100, ctypes.create_string_buffer(64), 0"),
    "mount": (165, 40, "b'tmpfs', b'/tmp', b'tmpfs', 0, 0"),
    "umount": (166, 39, "b'/tmp', 0"),
    "pivot_root": (155, 41, "b'.', b'.'"),
    "unshare": (272, 97, "0x10000000"),
    "unshare mounts": (272, 97, "0x20000"),
    "clone with a user namespace": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "open_tree": (428, 428, "-100, b'/', 1"),
    "fsopen": (430, 430, "b'tmpfs', 0"),
    "init_module": (175, 105, "b'', 0, b''"),
    "finit_module": (313, 273, "0, b'', 0"),
    "kexec_load": (246, 104, "0, 0, 0, 0"),
    "reboot": (169, 142, "0xfee1dead, 672274793, 0, 0"),
    "ptrace": (101, 117, "0, 0, 0, 0"),
    "swapon": (167, 224, "b'x', 0"),
    "settimeofday": (164, 170, "ctypes.create_string_buffer(16), 0"),
    "sethostname": (170, 161, "b'x', 1"),
    "syslog": (103, 116, "3, ctypes.create_string_buffer(64), 64"),
    "quotactl": (179, 60, "0, b'/', 0, 0"),
    "pidfd_getfd": (438, 438, "0, 0, 0"),
    "fanotify_init": (300, 262, "0, 0"),
}


def test_system_calls_that_open_the_system_are_refused(inside: Inside):
    column = 0 if os.uname().machine == "x86_64" else 1
    found = attack(inside, *(f"call({numbers[column]}, {numbers[2]})" for numbers in CALLS.values()))
    answers = dict(zip(CALLS, found, strict=True))
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}


def test_typing_into_a_terminal_is_refused(inside: Inside):
    (answer,) = attack(inside, "__import__('fcntl').ioctl(0, 0x5412, b'x')")
    assert answer == "EPERM"


def test_no_privilege_is_held_and_none_is_gained_by_a_setuid_program(inside: Inside):
    code = "print(json.dumps(dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)))"
    status = {name: value.strip() for name, value in inside.run(code).items()}
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0, 0, 0, 0]
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split() and status["Groups"].split() in ([], ["65534"], [status["Gid"].split()[0]])
    found = attack(
        inside,
        "subprocess.run(['/usr/bin/su', '-c', 'id -u', 'root'], capture_output=True, text=True, stdin=-3).stdout",
        "os.setuid(0)",
        "os.setgroups([0])",
    )
    assert found[0] in ("", "ENOENT", "EACCES") and set(found[1:]) <= {"EPERM", "EINVAL"}


def test_limits_cannot_be_raised_again(inside: Inside):
    code = (
        "import resource\n"
        "names = ['RLIMIT_AS', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_CORE']\n"
        "found = []\n"
        "for name in names:\n"
        "    kind = getattr(resource, name)\n"
        "    soft, hard = resource.getrlimit(kind)\n"
        "    try: resource.setrlimit(kind, (hard + 1, hard + 1)); found.append(name)\n"
        "    except (ValueError, OSError): pass\n"
        "try: os.nice(-5); found.append('nice')\n"
        "except OSError: pass\n"
        "try: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000'); found.append('oom')\n"
        "except OSError: pass\n"
        "print(json.dumps([found, resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read()]))"
    )
    raised, core, oom = inside.run(code)
    assert raised == [] and core == [0, 0] and int(oom) == 800


def test_control_groups_cannot_be_seen_or_left(inside: Inside):
    found = attack(inside, "os.listdir('/sys/fs/cgroup')", "open('/sys/fs/cgroup/cgroup.procs', 'w')")
    assert set(map(str, found)) <= {"ENOENT", "EACCES", "EPERM"}, found


def test_daemons_end_with_the_process_that_started_them(inside: Inside):
    """Two forks, a session of its own, every signal ignored: it is gone when its parent is."""
    code = (
        "import signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "        while True: open('beat', 'a').write('x'); time.sleep(0.02)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "while not os.path.exists('beat'): time.sleep(0.01)\n"
        "print(json.dumps('started'))"
    )
    assert inside.run(code) == "started"
    beat = inside.room.work / "beat"
    before = beat.stat().st_size
    time.sleep(0.3)
    assert beat.stat().st_size == before


def test_a_killed_server_leaves_no_daemon_behind(inside: Inside):
    code = (
        "import time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        while True: open('beat', 'a').write('x'); time.sleep(0.02)\n"
        "    os._exit(0)\n"
        "print(json.dumps('started'), flush=True)\n"
        "time.sleep(300)"
    )
    process = inside.start(code)
    process.stdout.readline()
    beat = inside.room.work / "beat"
    until = time.monotonic() + 20
    while not beat.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM if inside.rung is Rung.LANDLOCK else signal.SIGKILL)
    process.communicate(timeout=30)
    time.sleep(0.1)
    before = beat.stat().st_size
    time.sleep(0.3)
    assert beat.stat().st_size == before > 0


def test_a_processs_own_walls_are_told_by_the_system_alone(inside: Inside):
    """prctl cannot take no_new_privs or the filter back."""
    found = attack(
        inside,
        "call(157 if os.uname().machine == 'x86_64' else 167, 38, 0, 0, 0, 0)",  # PR_SET_NO_NEW_PRIVS 0
        "call(157 if os.uname().machine == 'x86_64' else 167, 22, 0, 0, 0, 0)",  # PR_SET_SECCOMP off
        "call(157 if os.uname().machine == 'x86_64' else 167, 4, 1, 0, 0, 0)",  # dumpable: allowed, of itself only
    )
    assert found[:2] == ["EINVAL", "EINVAL"]
