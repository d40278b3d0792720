"""What text we keep, and the rules for what is refused or replaced. Pure."""

from __future__ import annotations

import re

from notebooks_app.errors import BadRequest, TooLarge

SHOWN_LENGTH = 40

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def clean_source(source: object, *, max_bytes: int) -> str:
    r"""A cell's source as it is kept: `\r\n` and `\r` become `\n`, lone surrogates U+FFFD.

    Raises BadRequest for text with NUL and for what is not text, TooLarge above `max_bytes` of UTF-8.
    """
    if not isinstance(source, str):
        raise BadRequest("source: must be text.")
    if "\x00" in source:
        raise BadRequest(f"source: holds a NUL character in line {source[: source.index(chr(0))].count(chr(10)) + 1}.")
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    source = replace_surrogates(source)
    size = len(source.encode())
    if size > max_bytes:
        raise TooLarge(f"source: {size:,} bytes are more than the {max_bytes:,} that a cell may have.")
    return source


def replace_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def shown(name: str) -> str:
    """The beginning of a name that was sent, for a refusal of it: NUL and lone surrogates, which no answer may hold, as
    U+FFFD.
    """
    return replace_surrogates(name[:SHOWN_LENGTH].replace("\x00", "\ufffd"))


def clean_name(name: object, *, max_length: int) -> str:
    """A notebook's name: one line, trimmed, not empty; controls become spaces. Raises BadRequest, for NUL too."""
    if not isinstance(name, str):
        raise BadRequest("name: must be text.")
    if "\x00" in name:
        raise BadRequest("name: holds a NUL character.")
    name = replace_surrogates(_CONTROLS.sub(" ", name)).strip()
    if not name:
        raise BadRequest("name: must not be empty.")
    if len(name) > max_length:
        raise BadRequest(f"name: {len(name)} characters are more than the {max_length} that are allowed.")
    return name
