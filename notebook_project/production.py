"""What a server for many people must not be started with, and what to set instead. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

SAMPLE_KEYS = ("django-insecure", "changeme", "change-me", "change_me", "secret", "example", "sample", "your-", "test")
KEY_MIN_LENGTH = 32
KEY_MIN_BITS = 96  # of the distribution of its characters: rules out "aaaa…" and words repeated
MAKE_A_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"


def refusals(
    *,
    debug: bool,
    secret_key: str,
    allowed_hosts: Iterable[str],
    origins: dict[str, list[str]],
    https: bool,
    fallbacks: Iterable[str] = (),
) -> list[str]:
    """Why multi mode does not start with these settings, each with what to set; none: it may."""
    found = []
    if debug:
        found.append("DEBUG shows settings and values to everybody: unset DEBUG.")
    if why := weakness_of(secret_key):
        found.append(f"SECRET_KEY {why}: make one with {MAKE_A_KEY}")
    for key in fallbacks:
        if why := weakness_of(key):
            found.append(f"SECRET_KEY_FALLBACKS holds a key that {why}: what it signs is believed, so leave it out.")
    if any(host.strip() in ("*", ".") for host in allowed_hosts):
        found.append("ALLOWED_HOSTS is open to every name: set it to the server's own, as in notebooks.example.com.")
    for name, values in origins.items():
        for origin in values:
            if "*" in origin:
                found.append(f"{name} holds a wildcard ({origin}): name each origin, as in https://notebooks.example.com.")
            elif https and not origin.startswith("https://"):
                found.append(f"{name} holds {origin}: with HTTPS on, origins begin with https://.")
    return found


def weakness_of(key: str) -> str:
    """What is wrong with a secret key; nothing for one that cannot be guessed."""
    if key.lower().startswith(SAMPLE_KEYS):
        return "is a sample"
    if len(key) < KEY_MIN_LENGTH:
        return f"is shorter than {KEY_MIN_LENGTH} characters"
    counts = Counter(key)
    bits = -sum(n * math.log2(n / len(key)) for n in counts.values())
    return "repeats itself" if bits < KEY_MIN_BITS else ""
