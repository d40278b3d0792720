"""KERNEL_NETWORK=true opens the network and nothing else; and where that cannot be had, it is refused."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

import pytest

from kernels_app import checks, sandbox, uids
from kernels_app.sandbox import Rung, Verdict
from tests.security.test_hostile_walls import attack
from tests.walls import Inside


def test_an_open_network_opens_no_socket_of_another_kernel_and_no_file(inside: Inside, readable: Path):
    """A port is reached; the sockets of others are not, by file or by name, nor what only root may do to a network."""
    inside.change(network=True)
    private = readable / "private"
    private.mkdir(mode=0o700)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        name = f"rillbook-open-{os.getpid()}"
        abstract.bind(f"\0{name}")
        file.bind(str(private / "socket"))
        datagrams.bind(str(private / "datagrams"))
        for each in (private / "socket", private / "datagrams"):
            each.chmod(0o777)  # the folder above is what keeps others out: a kernel's is like that
        abstract.listen()
        file.listen()
        (reached,) = attack(inside, f"socket.create_connection(('127.0.0.1', {tcp.getsockname()[1]}), 5) and 'reached'")
        assert reached == "reached"
        works = [
            f"socket.socket(socket.AF_UNIX).connect({str(private / 'socket')!r})",
            f"socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', {str(private / 'datagrams')!r})",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
            "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "socket.socket(40, socket.SOCK_STREAM)",
            "open('/etc/shadow').read()",
            "os.listdir('/var/log')",
        ]
        if inside.rung is Rung.LANDLOCK:  # a network that is shared has its abstract names, too: Landlock scopes them
            works.append(f"socket.socket(socket.AF_UNIX).connect('\\0{name}')")
        found = attack(inside, *works)
        assert all(isinstance(answer, str) for answer in found), found
        assert not select.select([abstract, file, datagrams], [], [], 0.2)[0]


@pytest.fixture
def one_uid(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    """A server of many people whose kernels are behind Landlock alone, under its own uid."""
    monkeypatch.setattr(uids, "can_give", lambda: False)
    monkeypatch.setattr(sandbox, "verdict", lambda wanted="auto", python="": Verdict(Rung.LANDLOCK, "No bubblewrap."))
    settings.RILLBOOK_MODE = "multi"
    settings.RILLBOOK_ALLOW_UNSANDBOXED = False
    settings.KERNEL_NETWORK = True


def test_an_open_network_behind_landlock_under_one_uid_is_refused_in_multi_mode(one_uid: None, settings):
    assert checks.refusal() == checks.OPEN_SOCKETS
    assert [each.id for each in checks.many_users_need_a_sandbox(None)] == ["rillbook.E010"]
    settings.KERNEL_NETWORK = False
    assert checks.refusal() == ""


def test_who_may_have_it_is_told_that_it_is_not_closed(one_uid: None, settings, monkeypatch: pytest.MonkeyPatch):
    settings.RILLBOOK_MODE = "single"
    assert checks.refusal() == ""
    assert any(line.startswith("Not closed: the network") for line in checks.weak_points())
    settings.RILLBOOK_MODE = "multi"
    monkeypatch.setattr(uids, "can_give", lambda: True)  # a server that is root: a uid for each kernel
    assert checks.refusal() == ""
