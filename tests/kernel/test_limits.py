"""Tests of kernels_app/limits.py: what a kernel uses, and how often that is counted exactly."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels_app import limits, nameless, sockets
from kernels_app.limits import MemoryWatch, Usage
from kernels_app.sockets import Sockets

GIB = 1024**3
FORKED = 250


class Machine:
    """Processes whose memory is shared in equal parts, and a clock. `counted`: how often one was counted exactly."""

    def __init__(self, exact_bytes: int) -> None:
        self.exact_bytes, self.counted, self.now = exact_bytes, 0, 0.0

    def proportional(self, pid: int) -> tuple[int, int]:
        self.counted += 1
        self.now += 0.01
        return self.exact_bytes // FORKED, 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(3 * GIB // 2)
    monkeypatch.setattr(limits, "_proportional", made.proportional)
    monkeypatch.setattr(limits.time, "monotonic", lambda: made.now)
    return made


FORKS = Usage(FORKED * GIB, FORKED, FORKED, tuple(range(FORKED)))


def test_what_processes_share_is_counted_now_and_then_and_not_at_each_look(machine: Machine):
    watch = MemoryWatch()
    assert not any(watch.is_over(FORKS, 0, 2 * GIB) for _ in range(20))
    assert machine.counted == FORKED
    machine.now += 60
    machine.exact_bytes = 400 * GIB  # each wrote to what it had shared
    assert watch.is_over(FORKS, 0, 2 * GIB)
    assert machine.counted < FORKED + 5, "what is over the limit is over it, whatever comes"


def test_what_comes_beside_what_is_shared_is_counted_at_once(machine: Machine):
    watch = MemoryWatch()
    watch.is_over(FORKS, 0, 2 * GIB)
    machine.exact_bytes += GIB
    more = Usage(FORKS.memory_bytes + GIB, FORKED, FORKED, FORKS.pids)
    assert watch.is_over(more, 0, 2 * GIB)


def test_nothing_is_counted_exactly_while_all_that_is_resident_is_within_the_limit(machine: Machine):
    assert not MemoryWatch().is_over(Usage(GIB, 1, 1, (1,)), GIB // 2, 2 * GIB)
    assert machine.counted == 0


def test_threads_are_counted():
    before, end = limits.usage(os.getpid()).threads, threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert limits.usage(os.getpid()).threads >= before + 5
    end.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def pairs() -> Iterator[list[socket.socket]]:
    made = [end for _ in range(20) for end in socket.socketpair()]
    yield made
    for end in made:
        end.close()


def test_sockets_and_pipes_beyond_the_first_few_are_reckoned_as_full(
    monkeypatch: pytest.MonkeyPatch, pairs: list[socket.socket]
):
    monkeypatch.setattr(nameless, "BUFFERS_FREE", 0)
    many = nameless.Watch().look([os.getpid(), os.getpid()]).memory_bytes
    for end in pairs[:30]:
        end.close()
    read, write = os.pipe()
    fewer = nameless.Watch().look([os.getpid()]).memory_bytes
    os.close(read)
    os.close(write)
    assert many - fewer == 30 * nameless.SOCKET_BYTES - nameless.PIPE_BYTES
    monkeypatch.setattr(nameless, "BUFFERS_FREE", 500)
    assert nameless.Watch().look([os.getpid()]).memory_bytes < nameless.SOCKET_BYTES


def test_sockets_are_those_of_the_whole_namespace_and_lists_are_read_only_where_there_are_any(tmp_path: Path):
    net = tmp_path / "net"
    net.mkdir()
    assert sockets.held(str(tmp_path)) is None
    (net / "sockstat").write_text("sockets: used 222\nTCP: inuse 2 orphan 1 tw 0 alloc 4 mem 9\nUDP: inuse 0 mem 0\n")
    (net / "sockstat6").write_text("TCP6: inuse 0\nUDP6: inuse 1\n")
    names = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n"
    line = "   0: 0100007F:9DF1 0100007F:B724 01 {}:{} 00:00000000 00000000     0        0 0 1 0000 20 8 0 10 -1\n"
    (net / "tcp").write_text(names + line.format("00000010", "0001F3E5") + line.format("00000000", "00000001"))
    (net / "udp6").write_text(names + line.format("00000000", "00000100"))
    (net / "udp").write_text(names + line.format("0000FFFF", "0000FFFF"))
    assert sockets.held(str(tmp_path)) == Sockets(222, 0x10 + 0x1F3E5 + 1 + 0x100)
