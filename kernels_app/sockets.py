"""What the sockets of a network namespace hold: also those without a descriptor, as connections that nobody accepted.

Reads /proc only (proc(5), Documentation/networking/proc_net_tcp.rst). Whose namespace it is, is nameless.py's to know.
It blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

_LISTS = {"TCP": "tcp", "TCP6": "tcp6", "UDP": "udp", "UDP6": "udp6"}  # as sockstat and as files are named


@dataclass(frozen=True, slots=True)
class Sockets:
    number: int  # of all families
    queued_bytes: int  # written and not read, of TCP and UDP


def held(face: str) -> Sockets | None:
    """Of the network that a process is in, which /proc describes at `face`; None if it has ended."""
    counted = _counts(f"{face}/net/sockstat")
    if "sockets" not in counted:
        return None
    counted |= _counts(f"{face}/net/sockstat6")
    lists = [name for kind, name in _LISTS.items() if counted.get(kind)]  # each walks a table of the whole machine
    return Sockets(counted["sockets"], sum(_queued_bytes(f"{face}/net/{name}") for name in lists))


def _counts(path: str) -> dict[str, int]:
    """How many there are of each protocol, and of all `sockets`."""
    counted: dict[str, int] = {}
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        for kind, _, number, *_ in map(str.split, file):
            counted[kind.removesuffix(":")] = int(number)
    return counted


def _queued_bytes(path: str) -> int:
    queued = 0
    with contextlib.suppress(OSError), open(path, "rb") as file:
        next(file, None)  # the names of the columns
        for line in file:
            sent, _, received = line.split(None, 5)[4].partition(b":")
            queued += int(sent, 16) + int(received, 16)
    return queued
