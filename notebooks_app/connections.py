"""What a connection's DSN may say: drivers, hosts and options that are allowed, and how it is shown to
people.

Pure but for encryption, which crypto.py does. The broker (kernels_app/broker/) parses with this module too,
so that nothing reaches a database driver that was not allowed here. Rows are models/connection.py's.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, unquote

from .crypto import decrypt, encrypt

__all__ = ["ParsedDsn", "decrypt", "encrypt", "mask", "parse_dsn", "validate_dsn"]

REFUSED = "refused"  # the driver of a connection that an import brought and whose DSN is not allowed here
DSN_LIMIT = 2_000
SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite"}
INSTALLED_BY = {"postgresql": "psycopg", "sqlite": "sqlite3"}
OPERATOR_DRIVERS = frozenset(
    {"sqlite"}
)  # a file of the server's disk: only those who own the server name one
FILE_DRIVERS_ELSEWHERE = frozenset({"duckdb"})
SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
# Nothing here names a file, a service or a command: libpq has options that read the server's disk (passfile,
# sslkey…).
OPTIONS: Mapping[str, frozenset[str]] = {
    "postgresql": frozenset(
        {"sslmode", "application_name", "connect_timeout", "channel_binding", "target_session_attrs"}
    ),
    "sqlite": frozenset(),
}  # fmt: skip
HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


@dataclass(frozen=True, slots=True)
class ParsedDsn:
    """A DSN that was found good. Its repr shows no password."""

    driver: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: int | None = None
    database: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        return mask(self)

    def text(self) -> str:
        """The DSN itself, with its password: for the broker's wire alone."""
        if self.driver == "sqlite":
            return f"sqlite:///{quote(self.database)}"
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        options = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.options.items())
        where = f"{self.host}:{self.port}" if self.port else self.host
        tail = f"?{options}" if options else ""
        user = quote(self.user, safe="")
        return f"{self.driver}://{user}{secret}@{where}/{quote(self.database, safe='')}{tail}"


def parse_dsn(text: str, *, operator: bool = False) -> ParsedDsn:
    """The parts of `driver://user:password@host:port/database?option=value`.

    Raises ValueError whose message starts with the part that is wrong ("host: …") and never holds the
    password. `operator` allows files of the server (SQLite), which people may not name.
    """
    text = text.strip()
    if len(text) > DSN_LIMIT:
        raise ValueError(f"dsn: longer than {DSN_LIMIT:,} characters.")
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError("dsn: holds a control character.")
    scheme, found, rest = text.partition("://")
    if not found:
        raise ValueError("dsn: write it as driver://user:password@host:port/database.")
    driver = _driver(scheme.lower(), operator)
    return _sqlite(rest) if driver == "sqlite" else _server(driver, rest)


def validate_dsn(text: str, *, operator: bool = False) -> None:
    """Raise ValueError, naming the part, if the DSN is not allowed."""
    parse_dsn(text, operator=operator)


def mask(dsn: str | ParsedDsn, *, operator: bool = True) -> str:
    """The DSN for people: `postgresql://user:…@host/db`. One that is refused shows its driver only."""
    if isinstance(dsn, ParsedDsn):
        return _masked(dsn)
    try:
        return _masked(parse_dsn(dsn, operator=operator))
    except ValueError:
        scheme = dsn.strip().partition("://")[0].lower()
        return f"{scheme}://…" if scheme in SCHEMES else "…"


def _masked(dsn: ParsedDsn) -> str:
    if dsn.driver == "sqlite":
        return f"sqlite:///{dsn.database}"
    secret = ":…" if dsn.password else ""
    where = f"{dsn.host}:{dsn.port}" if dsn.port else dsn.host
    return f"{dsn.driver}://{dsn.user}{secret}@{where}/{dsn.database}"


def _driver(scheme: str, operator: bool) -> str:
    base = scheme.partition("+")[0]
    if base in FILE_DRIVERS_ELSEWHERE:
        raise ValueError(
            "driver: DuckDB files are not opened by the server. "
            "Choose dataframes (DuckDB) for the cell and ATTACH the file there."
        )
    driver = SCHEMES.get(base)
    if driver is None or scheme != base or not importlib.util.find_spec(INSTALLED_BY[driver]):
        known = ", ".join(sorted(set(SCHEMES.values()) - (frozenset() if operator else OPERATOR_DRIVERS)))
        raise ValueError(f"driver: not one this server has. It has: {known}.")
    if driver in OPERATOR_DRIVERS and not operator:
        raise ValueError(
            f"driver: {driver} names a file of the server; only an operator can make this connection."
        )
    return driver


def _sqlite(rest: str) -> ParsedDsn:
    path, _, query = rest.partition("?")
    if query:
        raise ValueError("options: sqlite takes none; the file is always opened read-only.")
    path = unquote(path.removeprefix("/"))
    if not path.startswith("/"):
        raise ValueError("database: write the whole path, as in sqlite:////srv/data/shop.db.")
    return ParsedDsn(driver="sqlite", database=path)


def _server(driver: str, rest: str) -> ParsedDsn:
    before, _, query = rest.partition("?")
    authority, _, database = before.partition("/")
    credentials, found, where = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if not found or not user:
        raise ValueError("user: missing. Write it as driver://user:password@host:port/database.")
    if ":" in unquote(user):
        raise ValueError("user: holds a colon (%3A). Write a plain : between user and password.")
    host, port = _host(where)
    if not database or "/" in database:
        raise ValueError("database: name one, after the host: host:port/database.")
    return ParsedDsn(
        driver=driver,
        user=_part("user", user),
        password=_part("password", password),
        host=host,
        port=port,
        database=_part("database", database),
        options=MappingProxyType(_options(driver, query)),
    )


def _host(where: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", where)
    host, port = (match[1], match[2]) if match else ("", None)
    if not host:
        raise ValueError("host: missing. Sockets and files of the server cannot be used.")
    if not HOST.fullmatch(host):
        raise ValueError("host: one name or address; no list, path or percent sign.")
    if port is None or port == "":
        return host, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("port: a number from 1 to 65535.")
    return host, int(port)


def _part(name: str, text: str) -> str:
    """Percent-decoded. NUL would cut the value short in C, so it is refused."""
    value = unquote(text)
    if any(ord(letter) < 32 for letter in value) or "\ufffd" in value:
        raise ValueError(f"{name}: holds a control character or a bad percent code.")
    return value


def _options(driver: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS[driver]:
            allowed = ", ".join(sorted(OPTIONS[driver]))
            # The name is not repeated: an unescaped ? or & in a password would put part of it here.
            raise ValueError(
                f"options: only {allowed} may be given. (In a password, write ? as %3F, & as %26.)"
            )
        if name in options:
            raise ValueError(f"options: {name} is given twice.")
        options[name] = _part(f"options: {name}", value)
    if options.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"options: sslmode is one of {', '.join(sorted(SSL_MODES))}.")
    timeout = options.get("connect_timeout", "10")
    if not timeout.isascii() or not timeout.isdigit() or not 1 <= int(timeout) <= 60:
        raise ValueError("options: connect_timeout is a number of seconds from 1 to 60.")
    return options
