"""Where connections may lead: which addresses are refused, and what an operator allows in CONNECTION_ALLOW.

Pure but for `from_settings`. An address is judged after its name was resolved, in the process that connects, and the
connection goes to the address that was judged (kernels_app/broker/addresses.py): a name that leads elsewhere a moment
later gains nothing. What a DSN may say is connections.py's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

THIS_MACHINE = "loopback"  # the entry that allows every address of this machine
HERE = "on this machine"
LINK_LOCAL = "link-local, as the metadata services of clouds are"
METADATA = "a cloud's metadata service"
MULTICAST = "a multicast address"
RESERVED = "reserved"
DISGUISED = "an IPv6 form of another address"
OWN = "the server's own database"

# Outside link-local: AWS over IPv6, Google over IPv6, Oracle, Alibaba, Azure.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "192.0.0.192", "100.100.100.200", "168.63.129.16"))
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the IPv4 address is its end
_FORMS = tuple(  # 6to4, Teredo, NAT64 of one's own: the IPv4 address is hidden in them, and nobody needs them here
    map(ipaddress.ip_network, ("2002::/16", "2001::/32", "64:ff9b:1::/48", "::/96"))
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, the upper half of the interface id
_POSTGRES_PORT = 5432
_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of CONNECTION_ALLOW: a network, a name, or this machine; one port of it, or all."""

    network: Network | None
    name: str
    port: int | None

    def covers(self, host: str, address: Address, port: int, *, here: bool) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return here if self.name == THIS_MACHINE else self.name == plain_name(host)


@dataclass(frozen=True, slots=True)
class Targets:
    """What may be reached. `own` are host and port of the server's databases and Redis ("" is this machine),
    `own_files` its SQLite file."""

    allow: tuple[str, ...] = ()
    own: tuple[tuple[str, int], ...] = ()
    own_files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"allow": self.allow, "own": self.own, "own_files": self.own_files}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Targets:
        own = tuple((str(host), int(port)) for host, port in value["own"])
        return cls(tuple(value["allow"]), own, tuple(value["own_files"]))

    def refusal(self, host: str, address: Address, port: int, *, here: bool, own: bool) -> str:
        """What is wrong with the address, in words that follow "it is"; "" if it may be reached.

        `here`: the address is this machine's. `own`: at that port the server's own database listens; only an entry that
        names the port allows that.
        """
        given, address = address, unmapped(address)
        entries = [
            entry
            for entry in map(parse_allowed, self.allow)
            if any(entry.covers(host, form, port, here=here) for form in (given, address))
        ]
        if own:
            return "" if any(entry.port for entry in entries) else OWN
        return "" if entries else wrong_with(address) or (HERE if here else "")


def parse_allowed(text: str) -> Allowed:
    """`10.0.0.0/8`, `192.0.2.7:5432`, `[::1]:5432`, `db.internal`, `loopback`. Raises ValueError."""
    text = text.strip()
    network = _network(text)
    if network is not None:
        return Allowed(network, "", None)
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no address, network or host name.")
    host, port = found["host"], int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535.")
    network = _network(host.strip("[]"))
    if network is None and not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is no address, network or host name.")
    return Allowed(network, "" if network else plain_name(host), port)


def parse_own(text: str) -> tuple[str, int]:
    """Host and port of one entry of CONNECTION_OWN: `db.internal`, `10.0.0.7:5433`. Raises ValueError."""
    entry = parse_allowed(text)
    if entry.network is None:
        return "" if entry.name == THIS_MACHINE else entry.name, entry.port or _POSTGRES_PORT
    if entry.network.num_addresses > 1:
        raise ValueError(f"{text!r} is a network: name the host.")
    return str(entry.network.network_address), entry.port or _POSTGRES_PORT


def wrong_with(address: Address) -> str:
    """Why this address, which is `unmapped`, is refused wherever it leads from here; "" if it is an ordinary one."""
    if address in _METADATA:
        return METADATA
    if address.is_link_local:
        return LINK_LOCAL
    if address.is_loopback or address.is_unspecified:
        return HERE
    if address.is_multicast:
        return MULTICAST
    if isinstance(address, ipaddress.IPv6Address):
        return _wrong_with_six(address)
    return RESERVED if address.is_reserved or address in _THIS_NETWORK else ""


def unmapped(address: Address) -> Address:
    """The IPv4 address that is reached by `::ffff:a.b.c.d`, as the system connects, and by `64:ff9b::a.b.c.d`, as NAT64
    does; any other as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return address.ipv4_mapped or (_last_four(address) if address in _NAT64 else address)


def plain_name(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def from_settings() -> Targets:
    """The targets of this server, of its settings as they are now."""
    from django.conf import settings

    database: dict[str, Any] = settings.DATABASES["default"]
    own: list[tuple[str, int]] = []
    files: list[str] = []
    if database["ENGINE"].endswith("sqlite3"):
        files.append(str(database["NAME"]))
    else:
        own += _own_database(database)
    own += map(parse_own, settings.CONNECTION_OWN)
    if settings.REDIS_URL:
        parts = urlsplit(settings.REDIS_URL)
        own += _own(parts.hostname or "", str(parts.port or ""), 6379)
    return Targets(tuple(settings.CONNECTION_ALLOW), tuple(own), tuple(files))


def _own_database(database: Mapping[str, Any]) -> list[tuple[str, int]]:
    """HOST and PORT come before what the URL's query names, as Django has it; libpq finds a host at `hostaddr`."""
    given = database.get("OPTIONS", {})
    ports = str(database.get("PORT") or given.get("port", ""))
    hosts = [str(name) for name in (database.get("HOST") or given.get("host"), given.get("hostaddr")) if name]
    return [entry for names in hosts or [""] for entry in _own(names, ports, _POSTGRES_PORT)]


def _own(hosts: str, ports: str, default: int) -> list[tuple[str, int]]:
    """libpq takes lists of hosts and ports; a path is a socket of this machine."""
    names, numbers = hosts.split(","), [int(port or default) for port in ports.split(",")]
    return [
        ("" if name.startswith(("/", "@")) else plain_name(name), numbers[min(at, len(numbers) - 1)])
        for at, name in enumerate(names)
    ]


def _wrong_with_six(address: ipaddress.IPv6Address) -> str:
    if any(address in form for form in _FORMS):
        return DISGUISED
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP and wrong_with(_last_four(address)):
        return DISGUISED
    return RESERVED if address.is_reserved or address.is_site_local else ""


def _last_four(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
