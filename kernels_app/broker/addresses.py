"""From a host name to the addresses that may be connected to: resolved once, judged, and handed on as addresses.

Runs in the broker's child. Which addresses are refused is notebooks_app/targets.py's.
"""

from __future__ import annotations

import ipaddress
import socket

from notebooks_app.targets import Address, Targets, plain_name, unmapped

from .errors import ConnectionRefused

ADDRESSES_TRIED = 4


def resolve(host: str, port: int, targets: Targets, *, what: str) -> list[str]:
    """The addresses of `host` that may be reached, as text, at most ADDRESSES_TRIED.

    `what` names the database in messages. Raises ConnectionRefused if there is none, or none that is allowed.
    """
    found = _look_up(host, port)
    if not found:
        raise ConnectionRefused(f"Cannot connect to {what}: there is no host of this name.")
    refusals: list[str] = []
    good: list[str] = []
    for address in found:
        refusal = judge(host, address, port, targets)
        if refusal:
            refusals.append(refusal)
        else:
            good.append(str(address))
    if not good:
        raise ConnectionRefused(
            f"Cannot connect to {what}: its address is {refusals[0]}, where connections may not lead. "
            "An operator can allow it (CONNECTION_ALLOW)."
        )
    return good[:ADDRESSES_TRIED]


def judge(host: str, address: Address, port: int, targets: Targets) -> str:
    """What is wrong with this address of the host; "" if it may be reached."""
    here = is_here(address, port)
    return targets.refusal(host, address, port, here=here, own=_is_own(host, address, port, targets, here=here))


def is_here(address: Address, port: int) -> bool:
    """Whether the address is one of this machine's: packets to those have it as their source, too.

    Sends nothing: connecting a datagram socket only chooses a route.
    """
    plain = unmapped(address)
    if plain.is_loopback or plain.is_unspecified:
        return True
    family = socket.AF_INET if plain.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(plain), port))
            return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == plain
    except OSError:
        return False


def _is_own(host: str, address: Address, port: int, targets: Targets, *, here: bool) -> bool:
    for name, own_port in targets.own:
        if own_port != port:
            continue
        if name == plain_name(host) or (here and not name):
            return True
        for known in _look_up(name, own_port) if name else ():
            if unmapped(known) == unmapped(address) or (here and is_here(known, own_port)):
                return True
    return False


def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(ipaddress.ip_address(place[4][0]) for place in found))
