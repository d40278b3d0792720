"""Which Origin a socket's handshake may have: the page's own to the letter, or one that an operator names."""

from __future__ import annotations

from typing import Any

import pytest

from kernels_app.origin import is_allowed

HOST = "notebooks.example.com"


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.SOCKET_ORIGINS = [HOST], ["https://other.example.com:8443"]


def allows(origin: str | None, host: str = HOST, scheme: str = "wss") -> bool:
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin is not None else [])
    return is_allowed({"headers": headers, "scheme": scheme})


@pytest.mark.parametrize(
    "origin", [f"https://{HOST}", f"https://{HOST}:443", f"HTTPS://{HOST.upper()}", "https://other.example.com:8443"]
)
def test_the_pages_own_origin_and_a_named_one_are_let_in(origin: str):
    assert allows(origin)


@pytest.mark.parametrize(
    "origin",
    [
        None, "", "null", "about:blank", "file://", f"http://{HOST}", f"https://{HOST}:8443", f"https://{HOST}:80",
        f"wss://{HOST}", f"ftp://{HOST}", f"//{HOST}", HOST, f"https://evil.{HOST}", f"https://{HOST}.evil.example",
        f"https://{HOST}.", f"https://user@{HOST}", f"https://{HOST}@evil.example", f"https://evil.example#{HOST}",
        f"https://{HOST}/", f"https://{HOST}?x", f"https://{HOST}\\@evil.example", f"https://{HOST}%00.evil.example",
        f"https://{HOST}:99999", "https://[", f"https://{HOST} https://evil.example", "https://other.example.com",
        f"https://{HOST}?", f"https://{HOST}#", f"https://{HOST}/?", f"https://{HOST}:", f"https://{HOST}:0443",
        f"https://{HOST}:0", f"https://@{HOST}", f"https://{HOST}\t", f" https://{HOST}", f"https://{HOST}\n",
        "https://xn--notebooks-example-com", "https://notebooks。example.com",
    ],
)  # fmt: skip
def test_every_other_origin_is_not(origin: str | None):
    assert not allows(origin)


@pytest.mark.parametrize("host", ["[::1]:8443", "[FD12::7]:8443"])
def test_an_ipv6_address_is_a_host_as_well(host: str, settings: Any):
    settings.ALLOWED_HOSTS = ["*"]
    assert allows(f"https://{host.lower()}", host=host)
    assert not allows(f"https://{host.lower()}?", host=host)


def test_two_origins_or_hosts_and_a_strange_host_are_refused():
    good = (b"origin", f"https://{HOST}".encode())
    host = (b"host", HOST.encode())
    assert not is_allowed({"headers": [host, good, (b"origin", b"https://evil.example")], "scheme": "wss"})
    assert not is_allowed({"headers": [host, (b"host", b"evil.example"), good], "scheme": "wss"})
    assert not allows("https://evil.example", host="evil.example")
    assert not allows(f"https://{HOST}", scheme="ws")
