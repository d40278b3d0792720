"""DSNs: what may be written, what is shown to people, and how secrets are sealed."""

import base64
import os

import pytest

from notebooks_app import crypto
from notebooks_app.connections import mask, parse_dsn, validate_dsn

CANARY = "c4nary-secret"
FIRST, SECOND = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))


def test_a_dsn_is_parsed_into_its_parts():
    parsed = parse_dsn("postgres://ana:p%40ss%2Fw@db.example:5433/shop?sslmode=require")
    assert (parsed.driver, parsed.user, parsed.password) == ("postgresql", "ana", "p@ss/w")
    assert (parsed.host, parsed.port, parsed.database) == ("db.example", 5433, "shop")
    assert parsed.options == {"sslmode": "require"} and parse_dsn(parsed.text()) == parsed
    assert parse_dsn("postgresql://a:b@[::1]/d").host == "[::1]"


@pytest.mark.parametrize(
    ("dsn", "part"),
    [
        ("shop", "dsn"),
        ("", "dsn"),
        ("postgresql://a:b@h/d\0", "dsn"),
        ("postgresql://" + "a" * 3000, "dsn"),
        ("oracle://a:b@h/d", "driver"),
        ("postgresql+psycopg://a:b@h/d", "driver"),
        ("duckdb:////srv/x.duckdb", "driver"),
        ("sqlite:////srv/x.db", "driver"),
        ("postgresql://h/d", "user"),
        ("postgresql://:b@h/d", "user"),
        ("postgresql://a%3Ab@h/d", "user"),
        ("postgresql://a:b@/d", "host"),
        ("postgresql://a:b@%2Fvar%2Frun/d", "host"),
        ("postgresql://a:b@h1,h2/d", "host"),
        ("postgresql://a:b@h:0/d", "port"),
        ("postgresql://a:b@h:x/d", "port"),
        ("postgresql://a:b@h:1,2/d", "port"),
        ("postgresql://a:b@h", "database"),
        ("postgresql://a:b@h/", "database"),
        ("postgresql://a:b@h/d/e", "database"),
        ("postgresql://a:b%00c@h/d", "password"),
        ("postgresql://a:b@h/d?passfile=/etc/x", "options"),
        ("postgresql://a:b@h/d?host=/var/run", "options"),
        ("postgresql://a:b@h/d?service=x", "options"),
        ("postgresql://a:b@h/d?options=-c%20x", "options"),
        ("postgresql://a:b@h/d?sslkey=/x", "options"),
        ("postgresql://a:b@h/d?sslmode=no", "options"),
        ("postgresql://a:b@h/d?connect_timeout=600", "options"),
        ("postgresql://a:b@h/d?sslmode=require&sslmode=disable", "options"),
    ],
)
def test_what_may_not_be_is_refused_by_its_name(dsn, part):
    with pytest.raises(ValueError, match=f"^{part}: "):
        validate_dsn(dsn)


@pytest.mark.parametrize(
    "dsn",
    [f"postgresql://a:{CANARY}@/d", f"postgresql://a:{CANARY}@h/d?{CANARY}=1", f"postgresql://a:{CANARY}%00@h/d",
     f"x://a:{CANARY}@h/d", f"postgresql://a:x/{CANARY}@h/d", f"postgresql://a:{CANARY}@h:{CANARY}/d",
     f"postgresql://a%3A{CANARY}@h/d", f"postgresql://a%3a{CANARY}:b@h/d", f"postgresql://a:?{CANARY}@h/d", f"postgresql://a:x#{CANARY}@h"],
)  # fmt: skip
def test_no_refusal_repeats_the_password(dsn):
    with pytest.raises(ValueError) as caught:
        parse_dsn(dsn)
    assert CANARY not in str(caught.value) and CANARY not in repr(caught.value.__context__)
    assert CANARY not in mask(dsn)


def test_operators_may_name_a_sqlite_file_by_its_whole_path():
    assert parse_dsn("sqlite:////srv/data/shop.db", operator=True).database == "/srv/data/shop.db"
    for wrong in ("sqlite:///shop.db", "sqlite:////srv/x.db?mode=rw", "sqlite://:memory:"):
        with pytest.raises(ValueError, match="^(database|options): "):
            parse_dsn(wrong, operator=True)


def test_people_see_no_password():
    dsn = f"postgresql://ana:{CANARY}@db:5433/shop?sslmode=require"
    assert mask(dsn) == str(parse_dsn(dsn)) == "postgresql://ana:…@db:5433/shop"
    assert CANARY not in repr(parse_dsn(dsn)) and mask(f"nonsense {CANARY}") == "…"


def test_a_secret_opens_for_its_own_row_only():
    sealed = crypto.encrypt("pässword", b"row 1", keys=[FIRST])
    assert crypto.decrypt(sealed, b"row 1", keys=[FIRST]) == "pässword"
    assert b"password" not in sealed and sealed != crypto.encrypt("pässword", b"row 1", keys=[FIRST])
    with pytest.raises(crypto.DecryptionError):
        crypto.decrypt(sealed, b"row 2", keys=[FIRST])


def test_keys_rotate():
    old = crypto.encrypt("secret", b"1", keys=[FIRST])
    assert crypto.decrypt(old, b"1", keys=[SECOND, FIRST]) == "secret"
    assert crypto.needs_rotation(old, keys=[SECOND, FIRST])
    new = crypto.encrypt("secret", b"1", keys=[SECOND, FIRST])
    assert crypto.decrypt(new, b"1", keys=[SECOND]) == "secret"
    with pytest.raises(crypto.DecryptionError):
        crypto.decrypt(old, b"1", keys=[SECOND])


@pytest.mark.parametrize("at", [0, 1, 5, 20, -1])
def test_a_changed_byte_is_noticed(at):
    sealed = bytearray(crypto.encrypt("secret", b"1", keys=[FIRST]))
    sealed[at] ^= 1
    with pytest.raises(crypto.DecryptionError):
        crypto.decrypt(bytes(sealed), b"1", keys=[FIRST])
    with pytest.raises(crypto.DecryptionError):
        crypto.decrypt(bytes(sealed[:10]), b"1", keys=[FIRST])


@pytest.mark.parametrize("key", ["short", "", base64.b64encode(b"x" * 31).decode()])
def test_a_malformed_key_is_said_without_repeating_it(key):
    with pytest.raises(ValueError, match="key 2 is not base64 of 32 bytes"):
        crypto.encrypt("secret", b"1", keys=[FIRST, key])
