"""Tests of kernels_app/seccomp.py: the program is carried out here, instruction by instruction, for both processors."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest

from kernels_app import seccomp

ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED = "allowed", "killed"


def carry_out(program: bytes, number: int, arguments: Sequence[int] = (), arch: int = ARCHES["x86_64"]) -> str | int:
    """What the system would answer: ALLOWED, KILLED, or the error's number."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *[*arguments, *[0] * 6][:6])
    steps = list(struct.iter_unpack("=HBBI", program))
    held, place = 0, 0
    while True:
        code, then, otherwise, k = steps[place]
        place += 1
        if code == 0x20:
            held = struct.unpack_from("=I", data, k)[0]
        elif code == 0x54:
            held &= k
        elif code in (0x15, 0x35, 0x45):
            met = {0x15: held == k, 0x35: held >= k, 0x45: bool(held & k)}[code]
            place += then if met else otherwise
        else:
            assert code == 0x06
            return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}.get(k, k & 0xFFFF)


@pytest.mark.parametrize("machine", ARCHES)
def test_what_is_denied_is_denied_and_what_programs_need_is_not(machine: str):
    column = list(ARCHES).index(machine)
    program = seccomp.program(machine)
    for name, numbers in seccomp.DENIED.items():
        if numbers[column]:
            assert carry_out(program, numbers[column], arch=ARCHES[machine]) == errno.EPERM, name
    for name, numbers in seccomp.UNWRITTEN.items():
        assert carry_out(program, numbers[column], arch=ARCHES[machine]) == errno.EOPNOTSUPP, name
    denied = {numbers[column] for numbers in (seccomp.DENIED | seccomp.UNWRITTEN).values()}
    clone3, io_setup = 435, (206, 0)[column]
    assert carry_out(program, io_setup, arch=ARCHES[machine]) == errno.EPERM
    others = {clone3, io_setup, *((41, 53) if machine == "x86_64" else (198, 199))}
    for number in set(range(470)) - denied - others:
        assert carry_out(program, number, arch=ARCHES[machine]) == ALLOWED, number


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (56, [0x11], ALLOWED),  # clone: a plain fork
        (56, [0x003D0F00], ALLOWED),  # a thread
        (56, [0x003D0B00], errno.EPERM),  # with descriptors of its own, that nobody sees
        (56, [0x10000000 | 0x11], errno.EPERM),  # with a new user namespace
        (435, [0], errno.ENOSYS),  # clone3: its flags cannot be seen
        (16, [0, 0x5412], errno.EPERM),  # TIOCSTI
        (16, [0, 0x541C], errno.EPERM),
        (16, [0, 0x5401], ALLOWED),
        (72, [3, 1024, 1], errno.EPERM),  # F_SETLEASE
        (72, [3, 1026], errno.EPERM),  # F_NOTIFY
        (72, [3, 1030], ALLOWED),  # F_DUPFD_CLOEXEC
        (16, [0, 0xFFFFFFFF_00005412], errno.EPERM),  # the system looks at the lower half as well
        (135, [0xFFFFFFFF], ALLOWED),  # personality: only asked
        (135, [0x0040000], errno.EPERM),  # without address randomisation
        (16, [3, 0x40305828], errno.EOPNOTSUPP), (16, [3, 0x4030582A], errno.EOPNOTSUPP),  # room without writing
        (16, [3, 0x40305839], errno.EOPNOTSUPP), (16, [3, 0x401C5820], errno.EOPNOTSUPP),
        (41, [1, 1], ALLOWED), (41, [2, 2], ALLOWED), (41, [16, 3], ALLOWED), (41, [1, 5], ALLOWED),
        (41, [1, 2], errno.EACCES), (41, [1, 0o2000002], errno.EACCES), (53, [1, 2], errno.EACCES),  # Unix datagrams
        (41, [1, 3], errno.EACCES), (41, [1, 0o2004003], errno.EACCES), (53, [1, 3], errno.EACCES),  # called raw
        (53, [1, 1], ALLOWED), (53, [1, 0o2000005], ALLOWED),
        (41, [40, 1], errno.EACCES),  # the virtual machine's host
        (41, [38, 5], errno.EACCES),  # the system's cryptography
        (41, [17, 3], errno.EACCES),  # raw packets
    ],
)  # fmt: skip
def test_arguments_decide_where_a_call_is_both_needed_and_dangerous(
    number: int, arguments: list[int], answer: str | int
):
    assert carry_out(seccomp.program("x86_64"), number, arguments) == answer


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (41, [1, 1], ALLOWED), (41, [1, 0o2000001], ALLOWED), (41, [1, 2], errno.EACCES), (41, [2, 1], errno.EACCES),
        (41, [10, 2], errno.EACCES), (53, [1, 1], ALLOWED), (42, [3], errno.EACCES), (49, [3], ALLOWED),
        (302, [0, 7], ALLOWED), (302, [1234, 7], errno.EPERM), (203, [0], ALLOWED), (203, [77], errno.EPERM),
        (141, [0, 0, 5], ALLOWED), (141, [0, 9, 5], errno.EPERM), (141, [2, 0, 5], errno.EPERM),
        (251, [1, 0], ALLOWED), (251, [3, 0], errno.EPERM), (29, [], errno.EPERM), (240, [], errno.EPERM),
    ],
)  # fmt: skip
def test_without_namespaces_no_connection_and_no_other_process_can_be_named(
    number: int, arguments: list[int], answer: str | int
):
    assert carry_out(seccomp.program("x86_64", has_namespaces=False), number, arguments) == answer


@pytest.mark.parametrize("machine", ARCHES)
def test_a_kernel_of_the_servers_uid_changes_what_describes_no_file(machine: str):
    column = list(ARCHES).index(machine)
    own = seccomp.program(machine, has_namespaces=False)
    shared = seccomp.program(machine, has_namespaces=False, has_uid=False)
    for table, answer in ((seccomp._OF_FILES, 0), (seccomp._OF_FILES_TOO, errno.EOPNOTSUPP)):
        for number in filter(None, (numbers[column] for numbers in table.values())):
            assert carry_out(shared, number, arch=ARCHES[machine]) == answer
            assert carry_out(own, number, arch=ARCHES[machine]) == ALLOWED
    for program in (own, shared):
        assert carry_out(program, (254, 27)[column], arch=ARCHES[machine]) == errno.EACCES


def test_an_open_network_opens_connections_and_no_more():
    program = seccomp.program("x86_64", has_namespaces=False, has_network=True)
    assert carry_out(program, 42, [3]) == carry_out(program, 41, [2, 2]) == ALLOWED
    assert carry_out(program, 302, [1234]) == errno.EPERM


def test_a_call_by_another_architectures_number_ends_the_process_or_is_refused():
    program = seccomp.program("x86_64")
    assert carry_out(program, 0, arch=0x40000003) == KILLED  # i386
    assert carry_out(program, 0x40000000 + 101) == errno.EPERM  # x32


def test_a_processor_without_a_table_has_no_filter():
    assert not seccomp.is_known("riscv64")
    with pytest.raises(seccomp.UnknownMachine):
        seccomp.program("riscv64")


@pytest.mark.parametrize("machine", ARCHES)
def test_memory_of_system_v_is_refused_where_no_control_group_counts_it(machine: str):
    column = list(ARCHES).index(machine)
    for number in ((29, 194), (64, 190), (68, 186)):  # shmget, semget, msgget
        arguments = {"number": number[column], "arch": ARCHES[machine]}
        assert carry_out(seccomp.program(machine, is_counted=False), **arguments) == errno.EPERM
        assert carry_out(seccomp.program(machine), **arguments) == ALLOWED
