"""What a server for many people must not be started with, and what to set instead. Pure."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

# Words that a key of chance holds less often than once in some millions: short ones count by themselves alone.
SAMPLE = re.compile(
    r"insecure|change[-_ ]?(?:me|it|this)|replace|secret[-_ ]?key|example|placeholder|do[-_ ]?not[-_ ]?use|production"
    r"|default|password|qwertyui|^(?:secret|sample|change)|^(?:your|test)[-_ ]|^<.*>$|^\$\{"
    r"|(?<![a-z0-9])(?:secret|sample|change)(?![a-z0-9])",
    re.IGNORECASE,
)
QUOTES = ("'", '"')
REPEATED = re.compile(r"(.{8,64})\1", re.DOTALL)
RUN_LENGTH = 8  # of characters that follow each other, as in abcdefgh or 87654321
KEY_MIN_LENGTH = 32
KEY_MIN_BITS = 96  # of the distribution of its characters: rules out "aaaa…" and words repeated
KEY_MIN_DISTINCT = 8
CONNECTION_KEY_MIN_DISTINCT = 16  # of the 32 bytes: those of chance have 30, give or take two
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
    if key[:1] in QUOTES or key[-1:] in QUOTES:
        return "has quotes around it, which files of variables keep"
    if SAMPLE.search(key):
        return "is a sample"
    if len(key) < KEY_MIN_LENGTH:
        return f"is shorter than {KEY_MIN_LENGTH} characters"
    counts = Counter(key)
    bits = -sum(n * math.log2(n / len(key)) for n in counts.values())
    if bits < KEY_MIN_BITS or len(counts) < KEY_MIN_DISTINCT or REPEATED.search(key):
        return "repeats itself"
    return "holds a row of characters that follow each other" if _has_run(key) else ""


def weakness_of_connection_key(text: str) -> str:
    """What is wrong with the key that encrypts; nothing for one that is no base64, which a check tells of."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return ""
    if all(32 <= byte < 127 for byte in key) and not _is_password_of_chance(key.decode()):
        return "is text"
    if len(set(key)) < min(CONNECTION_KEY_MIN_DISTINCT, len(key)):
        return "repeats itself"
    return "holds a row of bytes that follow each other" if _has_run(key.decode("latin-1")) else ""


def _is_password_of_chance(text: str) -> bool:
    """As terraform/modules/security has AWS make a key: letters of both cases and digits, and no words of samples."""
    kinds = (str.isupper, str.islower, str.isdigit)
    return text.isalnum() and all(any(map(is_kind, text)) for is_kind in kinds) and not weakness_of(text)


def _has_run(text: str) -> bool:
    steps = [ord(after) - ord(before) for before, after in pairwise(text)]
    return any(
        len(set(steps[at : at + RUN_LENGTH - 1])) == 1 and abs(steps[at]) == 1
        for at in range(len(steps) - RUN_LENGTH + 2)
    )
