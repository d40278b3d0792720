"""The system calls a kernel may not make, and the BPF program that says so to the system.

Pure: `program` gives bytes for `bwrap --seccomp` or for seccomp(2); launch/enter.py hands them over. It is a list of
what is denied, not of what is allowed: libraries of data people use most of the rest. What is denied opens the
system's own inside (BPF, io_uring, keyrings, perf, modules, mounts, namespaces), other processes (ptrace and its kin),
what the sandbox does not contain (a virtual machine's sockets, a terminal's input), or takes room on the disk or in
memory that the server would see too late or not at all.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.18. Encoding:
linux/filter.h (classic BPF), linux/seccomp.h.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _GREATER_OR_EQUAL, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Flags of clone(2) that make a namespace. CLONE_NEWTIME shares its bit with the exit signal: unshare and clone3 only.
NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_KIND, _DATAGRAM, _RAW = 0xF, 2, 3

# name: (x86_64, aarch64); 0: not on that machine.
DENIED: dict[str, tuple[int, int]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "kcmp": (312, 272), "migrate_pages": (256, 238),
    # the system's inside
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18), "syslog": (103, 116), "vhangup": (153, 58), "acct": (163, 89),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, 0), "query_module": (178, 0),
    "get_kernel_syms": (177, 0), "uselib": (134, 0), "modify_ldt": (154, 0), "iopl": (172, 0), "ioperm": (173, 0),
    "_sysctl": (156, 0), "nfsservctl": (180, 42),
    # keyrings, which no namespace separates
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "unshare": (272, 97),
    "setns": (308, 268), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225),
    # the machine's clock and name
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162),
    # memory that no process and no file seems to hold: a page in a pipe keeps the huge page that it is of
    "vmsplice": (278, 75), "memfd_secret": (447, 447),
}  # fmt: skip
# Room on the disk without writing: gigabytes in a moment, where trees.py looks every few seconds. Of a file system that
# cannot do it libraries expect the answer EOPNOTSUPP (posix_fallocate writes then). On XFS a hint of the file does it.
UNWRITTEN: dict[str, tuple[int, int]] = {"fallocate": (285, 47), "file_setattr": (469, 469)}
_RESVSP, _RESVSP64, _ZERO_RANGE, _FSSETXATTR = 0x40305828, 0x4030582A, 0x40305839, 0x401C5820  # linux/falloc.h, fs.h

# Where kernels share the machine's tables with everybody (no namespaces of their own), or no control group counts them.
_SHARED: dict[str, tuple[int, int]] = {
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
# Of these, a first argument that is not 0 names another process. (sched_setscheduler and sched_setparam do so too, but
# ZeroMQ names its own threads with them, and ends the process if that is refused.)
_ABOUT_OTHERS: dict[str, tuple[int, int]] = {
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
}  # fmt: skip
# Landlock lets a process change these of any file that its uid owns, by name or by a descriptor to read from: they do
# nothing where that uid is the server's. (Refused, they would fail what copies files or unpacks them.)
_OF_FILES: dict[str, tuple[int, int]] = {
    "chmod": (90, 0), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, 0),
    "lchown": (94, 0), "fchown": (93, 55), "fchownat": (260, 54), "utime": (132, 0), "utimes": (235, 0),
    "futimesat": (261, 0), "utimensat": (280, 88),
}  # fmt: skip
_OF_FILES_TOO: dict[str, tuple[int, int]] = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
}  # fmt: skip
_WATCHED: dict[str, tuple[int, int]] = {"inotify_add_watch": (254, 27)}  # Landlock lets it see names in any folder
# A thread with a table of descriptors of its own: nobody would see what it has open (/proc/<pid>/fd is the first's).
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_CLONE, _CLONE3, _IOCTL, _PERSONALITY = (56, 220), (435, 435), (16, 29), (135, 92)
_FCNTL = (72, 25)
_IO_SETUP = (206, 0)  # not in DENIED: on aarch64 0 is its number
_SOCKET, _SOCKETPAIR, _CONNECT, _SETPRIORITY, _IOPRIO_SET = (41, 198), (53, 199), (42, 203), (141, 140), (251, 30)


class UnknownMachine(ValueError):
    """No table of system calls for this kind of processor."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction; jumps say how many steps they skip."""

    code: int
    k: int
    then: int = 0
    otherwise: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.then, self.otherwise, self.k)


def is_known(machine: str = "") -> bool:
    return (machine or platform.machine()) in _ARCHES


def program(
    machine: str = "", *, has_namespaces: bool = True, has_network: bool = False, has_uid: bool = True,
    is_counted: bool = True,
) -> bytes:
    """The filter for a kernel, as an array of struct sock_filter.

    Without namespaces of its own (the Landlock rung) a kernel may not touch tables it shares with the machine, and
    without a network it can make no connection: no socket but a Unix one, and no connect(2). Without a uid of its
    own there, it changes no file's mode, owner, times or attributes. `is_counted`: its control group counts memory;
    else it makes nothing of System V's, which holds memory that belongs to no process. Raises UnknownMachine.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        raise UnknownMachine(f"No seccomp filter for {machine}.")
    column = list(_ARCHES).index(machine)
    steps = [_load(_ARCH), _Step(_EQUAL, _ARCHES[machine], 1, 0), _answer(_KILL), _load(_NUMBER)]
    if machine == "x86_64":  # the numbers of x32 would pass by another name
        steps += [_Step(_GREATER_OR_EQUAL, _X32, 0, 1), _refuse()]
    steps += _refuse_numbers(DENIED, column)
    steps += _refuse_numbers(UNWRITTEN, column, errno.EOPNOTSUPP)
    # Contexts of asynchronous I/O: one number for the whole machine (fs.aio-max-nr), of which one call takes all.
    steps += _when(_IO_SETUP[column], [_refuse()])
    steps += _when(_CLONE[column], [*_any_of(0, NAMESPACES), *_has_one_without(0, _CLONE_THREAD, _CLONE_FILES)])
    steps += _when(_CLONE3[column], [_refuse(errno.ENOSYS)])  # its flags cannot be seen; libraries then use clone
    steps += _when(_IOCTL[column], _is_one_of(1, (_TIOCSTI, _TIOCLINUX)))
    room = (_RESVSP, _RESVSP64, _ZERO_RANGE, _FSSETXATTR)
    steps += _when(_IOCTL[column], _is_one_of(1, room, errno.EOPNOTSUPP))
    # A lease on a file that its uid owns, if only to read, holds up all who open that file: the server, too.
    steps += _when(_FCNTL[column], _is_one_of(1, (_F_SETLEASE, _F_NOTIFY)))
    steps += _when(_PERSONALITY[column], _is_none_of(0, (0, 0xFFFFFFFF), errno.EPERM))
    families = (_UNIX, _INET, _INET6, _NETLINK) if has_namespaces or has_network else (_UNIX,)
    for call in (_SOCKET, _SOCKETPAIR):
        steps += _when(call[column], _is_none_of(0, families, errno.EACCES))
        steps += _when(call[column], _is_unix_datagram())
    if not has_namespaces or not is_counted:
        steps += _refuse_numbers(_SHARED, column)
    if not has_namespaces:
        steps += _without_namespaces(column, has_network)
        steps += _refuse_numbers(_WATCHED, column, errno.EACCES)
        if not has_uid:
            steps += _refuse_numbers(_OF_FILES, column, 0)
            steps += _refuse_numbers(_OF_FILES_TOO, column, errno.EOPNOTSUPP)
    return b"".join(step.packed() for step in [*steps, _answer(_ALLOW)])


def _without_namespaces(column: int, has_network: bool) -> list[_Step]:
    steps: list[_Step] = []
    for numbers in _ABOUT_OTHERS.values():
        steps += _when(numbers[column], _is_none_of(0, (0,), errno.EPERM))
    steps += _when(_SETPRIORITY[column], [*_is_none_of(0, (0,), errno.EPERM), *_is_none_of(1, (0,), errno.EPERM)])
    steps += _when(_IOPRIO_SET[column], [*_is_none_of(0, (1,), errno.EPERM), *_is_none_of(1, (0,), errno.EPERM)])
    if not has_network:
        steps += _when(_CONNECT[column], [_refuse(errno.EACCES)])
    return steps


def _load(offset: int) -> _Step:
    return _Step(_LOAD, offset)


def _answer(action: int) -> _Step:
    return _Step(_RETURN, action)


def _refuse(code: int = errno.EPERM) -> _Step:
    return _answer(_ERRNO | code)


def _refuse_numbers(calls: dict[str, tuple[int, int]], column: int, code: int = errno.EPERM) -> list[_Step]:
    """Answer these with an error; with 0 they are said to be done, and are not."""
    steps: list[_Step] = []
    for numbers in calls.values():
        if numbers[column]:
            steps += [_Step(_EQUAL, numbers[column], 0, 1), _refuse(code)]
    return steps


def _when(number: int, body: list[_Step]) -> list[_Step]:
    """Do this for one system call; then its number is loaded again for what follows."""
    return [_Step(_EQUAL, number, 0, len(body) + 1), *body, _load(_NUMBER)]


def _any_of(argument: int, bits: int) -> list[_Step]:
    """Refuse if any of these bits is set in an argument (its lower half, where all flags are)."""
    return [_load(_ARGUMENTS + 8 * argument), _Step(_ANY_BIT, bits, 0, 1), _refuse()]


def _has_one_without(argument: int, bit: int, other: int) -> list[_Step]:
    """Refuse an argument in which the one bit is set and the other is not."""
    return [_load(_ARGUMENTS + 8 * argument), _Step(_AND, bit | other), _Step(_EQUAL, bit, 0, 1), _refuse()]


def _is_one_of(argument: int, values: Iterable[int], code: int = errno.EPERM) -> list[_Step]:
    steps = [_load(_ARGUMENTS + 8 * argument)]
    for value in values:
        steps += [_Step(_EQUAL, value, 0, 1), _refuse(code)]
    return steps


def _is_unix_datagram() -> list[_Step]:
    """Refuse a Unix socket of datagrams, which a raw one is (net/unix/af_unix.c): no wall stands before another's
    address, and one receiver holds what many sockets sent that are closed."""
    kind = [_load(_ARGUMENTS + 8), _Step(_AND, _KIND), _Step(_EQUAL, _DATAGRAM, 1, 0)]
    kind += [_Step(_EQUAL, _RAW, 0, 1), _refuse(errno.EACCES)]
    return [_load(_ARGUMENTS), _Step(_EQUAL, _UNIX, 0, len(kind)), *kind]


def _is_none_of(argument: int, values: tuple[int, ...], code: int) -> list[_Step]:
    """Refuse an argument (its lower half) that is none of these values."""
    steps = [_load(_ARGUMENTS + 8 * argument)]
    for place, value in enumerate(values):
        steps.append(_Step(_EQUAL, value, len(values) - place, 0))
    return [*steps, _refuse(code)]
