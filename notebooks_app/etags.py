"""Entity tags of notebooks and cells, and the conditions that requests make with them (RFC 9110, section 13). Pure.

A tag is `"<number>-<digest>"`: the number is what edits are guarded by (a cell's version, a notebook's revision), the
digest covers the rest of the answer. `If-None-Match` compares whole tags; `If-Match` the number alone, so that output
which arrived meanwhile does not stand in the way of an edit. `"<number>"` alone is understood as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

ANY = "*"
DIGEST_LENGTH = 24

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|\Z)')


def make(number: int, content: Any) -> str:
    """The tag of an answer with this guarding number, that changes when `content` (JSON) does."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f'"{number}-{hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]}"'


def parse(header: str) -> list[tuple[bool, str]]:
    """The tags of a condition that is not for any: (is weak, text without quotes). Raises ValueError."""
    found, position = [], 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            raise ValueError('must be * or tags in double quotes, such as "4"')
        found.append((match[1] is not None, match[2]))
        position = match.end()
    if not found:
        raise ValueError('must be * or tags in double quotes, such as "4"')
    return found


def is_fresh(header: str, tag: str) -> bool:
    """Whether `If-None-Match` names what the reader would get again (weakly). A broken header names nothing."""
    try:
        return header.strip() == ANY or any(text == tag.strip('"') for _, text in parse(header))
    except ValueError:
        return False


def matches(header: str, number: int) -> bool:
    """Whether `If-Match` allows an edit of what is at `number` (strong comparison: weak tags never match)."""
    if header.strip() == ANY:
        return True
    return any(not weak and text.partition("-")[0] == str(number) for weak, text in parse(header))
