"""Where connections may lead: which addresses are refused, resolved once, on the real path through the broker."""

from __future__ import annotations

import ipaddress
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from django.conf import settings as connection_settings
from django.core.exceptions import ImproperlyConfigured

from kernels_app.broker import Broker, ConnectionRefused, addresses, postgres
from notebook_project.env import env_database, env_targets
from notebooks_app import targets
from notebooks_app.connections import parse_dsn
from notebooks_app.targets import Targets, parse_allowed
from scripts.with_postgres import temporary_postgres
from tests.security.certificates import Authority

NOTHING = Targets()

LOOPBACK = ["127.0.0.1", "127.255.0.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0:0", "64:ff9b::7f00:1"]
LINK_LOCAL = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]
METADATA = ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16"]
OTHERS = [
    "224.0.0.1", "239.1.2.3", "255.255.255.255", "240.0.0.1", "0.1.2.3", "ff02::1", "ff0e::1", "fec0::1", "100::1",
    "2002:7f00:1::", "2002:c000:0204::1", "2001:0:4136:e378::1", "64:ff9b:1::7f00:1", "::127.0.0.1", "::192.0.2.4",
    "2001:db8::5efe:127.0.0.1", "fd00::200:5efe:a9fe:a9fe",
]  # fmt: skip
ORDINARY = [
    "10.1.2.3",
    "192.168.7.7",
    "172.31.0.9",
    "52.0.0.1",
    "2600:1f18::1",
    "fd12:3456::7",
    "64:ff9b::3400:1",
    "::ffff:10.1.2.3",
]


def own(monkeypatch: pytest.MonkeyPatch, **database: str) -> None:
    """The server's own database is this one; none of it is connected to."""
    monkeypatch.setitem(connection_settings.DATABASES, "default", database)


@pytest.mark.parametrize("text", LOOPBACK + LINK_LOCAL + METADATA + OTHERS)
def test_these_addresses_are_refused_in_every_form(text):
    assert NOTHING.refusal("db", ipaddress.ip_address(text), 5432, here=False, own=False)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_and_private_addresses_are_reached(text):
    assert not NOTHING.refusal("db", ipaddress.ip_address(text), 5432, here=False, own=False)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "here", "allowed"),
    [
        ("127.0.0.0/8", "x", "127.0.0.1", 5432, True, True),
        ("127.0.0.1", "x", "::ffff:127.0.0.1", 5432, True, True),
        ("::ffff:127.0.0.1", "x", "::ffff:127.0.0.1", 5432, True, True),
        ("[64:ff9b::7f00:1]:5433", "x", "64:ff9b::7f00:1", 5433, True, True),
        ("[64:ff9b::7f00:1]:5433", "x", "127.0.0.1", 5433, True, False),
        ("127.0.0.1:5433", "x", "127.0.0.1", 5433, True, True),
        ("127.0.0.1:5433", "x", "127.0.0.1", 5432, True, False),
        ("::1", "x", "127.0.0.1", 5432, True, False),
        ("[::1]:5432", "x", "::1", 5432, True, True),
        ("loopback", "x", "10.9.9.9", 5432, True, True),
        ("loopback", "x", "169.254.169.254", 80, False, False),
        ("DB.internal", "db.INTERNAL.", "127.0.0.1", 5432, True, True),
        ("db.internal", "db.internal.evil.example", "127.0.0.1", 5432, True, False),
        ("169.254.7.0/24", "x", "169.254.7.9", 5432, False, True),
        ("169.254.7.0/24", "x", "169.254.8.9", 5432, False, False),
    ],
)  # fmt: skip
def test_an_operator_allows_what_an_entry_covers_and_nothing_else(entry, host, address, port, here, allowed):
    made = Targets(allow=(entry,))
    refusal = made.refusal(host, ipaddress.ip_address(address), port, here=here, own=False)
    assert (refusal == "") is allowed


def test_the_servers_own_database_is_allowed_only_by_an_entry_that_names_its_port():
    address = ipaddress.ip_address("10.0.0.5")
    for entry in ("10.0.0.0/8", "loopback", "db.internal"):
        assert Targets(allow=(entry,)).refusal("db.internal", address, 5432, here=True, own=True) == targets.OWN
    assert not Targets(allow=("10.0.0.5:5432",)).refusal("db.internal", address, 5432, here=True, own=True)


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.0/99", "http://x", "a b", "x:0", "x:70000", "1.2.3.4:x", "[::1", "*", "a,b", "-x"]
)
def test_a_malformed_entry_stops_the_start(entry, monkeypatch):
    with pytest.raises(ValueError):
        parse_allowed(entry)
    if entry and "," not in entry:
        monkeypatch.setenv("CONNECTION_ALLOW", f"loopback,{entry}")
        with pytest.raises(Exception, match="CONNECTION_ALLOW"):
            env_targets("CONNECTION_ALLOW", [])


def test_the_servers_own_services_are_read_from_its_settings(settings, monkeypatch):
    own(monkeypatch, ENGINE="django.db.backends.postgresql", HOST="/run/pg,DB2.", PORT="6000,6001")
    settings.REDIS_URL = "rediss://:pw@cache.internal:7000/0"
    assert targets.from_settings().own == (("", 6000), ("db2", 6001), ("cache.internal", 7000))
    own(monkeypatch, ENGINE="django.db.backends.postgresql", HOST="", PORT="")
    settings.REDIS_URL = ""
    assert targets.from_settings().own == (("", 5432),)
    assert Targets.from_json(targets.from_settings().as_json()) == targets.from_settings()


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("/rillbook?host=10.0.0.5&port=6432", (("10.0.0.5", 6432),)),
        ("/rillbook?host=10.0.0.5", (("10.0.0.5", 5432),)),
        ("/rillbook?hostaddr=10.0.0.5&port=6432", (("10.0.0.5", 6432),)),
        ("db.internal:6432/rillbook?hostaddr=10.0.0.5", (("db.internal", 6432), ("10.0.0.5", 6432))),
        ("/rillbook?host=/var/run/postgresql&port=6432", (("", 6432),)),
        ("/rillbook?port=6432", (("", 6432),)),
        ("/rillbook?host=a,b&port=6000,6001", (("a", 6000), ("b", 6001))),
        ("/rillbook?host=a,b&port=6000", (("a", 6000), ("b", 6000))),
        ("/rillbook?host=a,b&port=,6001", (("a", 5432), ("b", 6001))),
        (
            "/rillbook?host=a,b&hostaddr=10.0.0.5,fd12::7&port=1,2",
            (("a", 1), ("b", 2), ("10.0.0.5", 1), ("fd12::7", 2)),
        ),
        ("db.internal/rillbook?host=unused&port=6432", (("db.internal", 6432),)),
    ],
)
def test_the_servers_own_database_is_known_where_the_urls_query_says_where_it_is(settings, monkeypatch, url, known):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://rill:pw@{url}")
    own(monkeypatch, **env_database("DATABASE_URL", Path("none")))  # type: ignore[arg-type]
    settings.REDIS_URL, settings.CONNECTION_OWN = "", []
    made = targets.from_settings()
    assert made.own == known
    if known[0][0] == "10.0.0.5":
        assert addresses.judge("10.0.0.5", ipaddress.ip_address("10.0.0.5"), known[0][1], made) == targets.OWN


@pytest.mark.parametrize(("query", "words"), [("service=main", "host and port"), ("port=main", "has a port")])
def test_a_query_that_does_not_say_where_the_database_is_stops_the_start(monkeypatch, query, words):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://rill:pw@/rillbook?{query}")
    with pytest.raises(ImproperlyConfigured, match=words):
        env_database("DATABASE_URL", Path("none"))


# --- Resolving ---


def answers(monkeypatch: pytest.MonkeyPatch, **names: list[list[str]]) -> list[str]:
    """A resolver whose names answer otherwise each time; the names that were asked for."""
    asked: list[str] = []

    def look_up(host: str, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        turns = names[host.replace(".", "_")]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        six = [address for address in found if ":" in address]
        return [(socket.AF_INET6 if a in six else socket.AF_INET, 1, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_judged(monkeypatch):
    asked = answers(monkeypatch, rebind_example=[["203.0.113.9"], ["127.0.0.1"]])
    seen: dict[str, Any] = {}

    def connect(**options: Any) -> Any:
        seen.update(options)
        raise psycopg.OperationalError("no answer")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(ConnectionRefused):
        postgres._connect(parse_dsn("postgresql://a:b@rebind.example/d"), NOTHING)
    assert asked == ["rebind.example"]
    assert (seen["host"], seen["hostaddr"]) == ("rebind.example", "203.0.113.9")


def test_of_several_addresses_only_those_allowed_are_used(monkeypatch):
    answers(monkeypatch, mixed_example=[["127.0.0.1", "203.0.113.9", "::1", "2600:1f18::1", "::ffff:169.254.169.254"]])
    assert addresses.resolve("mixed.example", 5432, NOTHING, what="d") == ["203.0.113.9", "2600:1f18::1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:7f00:1", "2002:7f00:1::"])
def test_a_name_that_leads_to_a_refused_address_is_refused_with_a_reason(monkeypatch, address):
    answers(monkeypatch, inner_example=[[address]])
    with pytest.raises(ConnectionRefused, match="An operator can allow it"):
        addresses.resolve("inner.example", 5432, NOTHING, what="d on inner.example")


def test_the_servers_own_database_is_known_by_its_address_whatever_the_name(monkeypatch):
    asked = answers(monkeypatch, db_internal=[["10.0.0.5", "10.0.0.6"]], other_name=[["::ffff:10.0.0.6"]])
    own = Targets(own=(("db.internal", 5432),))
    with pytest.raises(ConnectionRefused, match="the server's own database"):
        addresses.resolve("other.name", 5432, own, what="d")
    assert addresses.resolve("other.name", 5433, own, what="d") == ["::ffff:10.0.0.6"]
    assert "db.internal" in asked


@pytest.mark.parametrize("form", ["::ffff:10.9.8.7", "64:ff9b::10.9.8.7", "64:ff9b::a09:807"])
def test_the_servers_own_database_is_known_in_the_ipv6_forms_of_its_address(form):
    own = Targets(own=(("10.9.8.7", 5432),))
    assert addresses.judge(f"[{form}]", ipaddress.ip_address(form), 5432, own) == targets.OWN
    assert addresses.judge(f"[{form}]", ipaddress.ip_address(form), 5433, own) == ""
    six = Targets(own=((form, 5432),))  # the other way about
    assert addresses.judge("10.9.8.7", ipaddress.ip_address("10.9.8.7"), 5432, six) == targets.OWN


def test_a_database_behind_a_pooler_is_the_servers_own_where_settings_say_so(settings, monkeypatch):
    own(monkeypatch, ENGINE="django.db.backends.postgresql", HOST="pooler", PORT="6432")
    settings.REDIS_URL = ""
    settings.CONNECTION_OWN = ["10.9.8.7", "DB.internal:5433", "[fd12::7]:5434", "loopback"]
    made = targets.from_settings()
    assert made.own == (("pooler", 6432), ("10.9.8.7", 5432), ("db.internal", 5433), ("fd12::7", 5434), ("", 5432))
    assert addresses.judge("10.9.8.7", ipaddress.ip_address("10.9.8.7"), 5432, made) == targets.OWN


def test_every_address_of_this_machine_counts_as_loopback():
    outward = _outward_address()
    for form in (outward, f"::ffff:{outward}", f"64:ff9b::{outward}"):
        assert addresses.is_here(ipaddress.ip_address(form), 5432)
    assert not addresses.is_here(ipaddress.ip_address("203.0.113.77"), 5432)
    with pytest.raises(ConnectionRefused, match="on this machine"):
        addresses.resolve(outward, 5432, NOTHING, what="d")


def _outward_address() -> str:
    """An address of this machine that is not a loopback one, if it has any network; else 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


# --- Through the broker ---


@pytest_asyncio.fixture
async def broker():
    made = Broker()
    yield made
    await made.close()


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgres")


@pytest.fixture
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port of this machine, on every address, and who connected to it."""
    came: list[Any] = []
    line = socket.create_server(("", 0))

    def take() -> None:
        while True:
            try:
                came.append(line.accept()[1])
            except OSError:
                return

    threading.Thread(target=take, daemon=True).start()
    yield line.getsockname()[1], came
    line.shutdown(socket.SHUT_RDWR)
    line.close()


@pytest.mark.asyncio
async def test_no_spelling_of_this_machine_is_connected_to_in_multi_mode(broker, settings, listener, tmp_path):
    settings.CONNECTION_ALLOW = []
    port, came = listener
    spellings = [
        "localhost", "LOCALHOST.", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::]", socket.gethostname(), _outward_address(),
    ]  # fmt: skip
    for host in spellings:
        with pytest.raises(ConnectionRefused) as caught:
            await broker.run_query(f"postgresql://a:b@{host}:{port}/d", "SELECT 1", [], out_path=str(tmp_path / "x"))
        assert "where connections may not lead" in str(caught.value) or "no host" in str(caught.value), host
        with pytest.raises(ConnectionRefused):
            await broker.schema(f"postgresql://a:b@{host}:{port}/d")
    assert came == []


@pytest.mark.asyncio
async def test_single_mode_reaches_this_machine_but_not_its_own_database(
    broker, settings, monkeypatch, postgres_url, tmp_path
):
    parts = psycopg.conninfo.conninfo_to_dict(postgres_url)
    there = f"postgresql://rillbook:x@127.0.0.1:{parts['port']}/postgres"
    settings.CONNECTION_ALLOW = ["loopback"]
    assert (await broker.run_query(there, "SELECT 1", [], out_path=str(tmp_path / "a"))).rows == 1
    own(monkeypatch, ENGINE="django.db.backends.postgresql", HOST="/var/run/postgresql", PORT=str(parts["port"]))
    with pytest.raises(ConnectionRefused, match="the server's own database"):
        await broker.run_query(there, "SELECT 1", [], out_path=str(tmp_path / "b"))
    settings.CONNECTION_ALLOW = [f"127.0.0.1:{parts['port']}"]
    assert (await broker.run_query(there, "SELECT 1", [], out_path=str(tmp_path / "c"))).rows == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [os.symlink, os.link])
async def test_the_servers_own_sqlite_file_is_not_read_by_any_name(broker, monkeypatch, tmp_path, make):
    file, alias = tmp_path / "own.sqlite3", tmp_path / "alias.db"
    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE person (password text)")
    made.close()
    make(file, alias)
    own(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=str(file))
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    for path in (
        file,
        alias,
        f"{tmp_path}/none/../own.sqlite3",
        f"{tmp_path}/elsewhere/own.sqlite3",
        f"/proc/self/root{file}",
    ):
        with pytest.raises(ConnectionRefused, match="the server's own database"):
            await broker.run_query(f"sqlite:///{path}", "SELECT * FROM person", [], out_path=str(tmp_path / "x"))


# --- TLS keeps the name ---


def test_the_address_that_was_judged_answers_for_the_name_in_tls(monkeypatch, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("db.rillbook.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with temporary_postgres("-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}") as url:
        port = int(psycopg.conninfo.conninfo_to_dict(url)["port"])
        answers(monkeypatch, db_rillbook_test=[["127.0.0.1"]], wrong_rillbook_test=[["127.0.0.1"]])
        allowed = Targets(allow=("loopback",))
        dsn = "postgresql://rillbook:x@{}.rillbook.test:{}/postgres?sslmode=verify-full"
        with postgres._connect(parse_dsn(dsn.format("db", port)), allowed) as session:
            assert session.pgconn.ssl_in_use and session.info.hostaddr == "127.0.0.1"
        with pytest.raises(ConnectionRefused, match="does not match host name"):
            postgres._connect(parse_dsn(dsn.format("wrong", port)), allowed)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ConnectionRefused, match="certificate"):
            postgres._connect(parse_dsn(dsn.format("db", port)), allowed)
