"""Values of MIME bundles as bytes, and back: JSON types as JSON, images decoded, all else as UTF-8. Pure.

kernels_app/inside/ and outputs.py write files of large items in the same way, so that what is kept as a file comes back
as the value it was.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import unquote

from notebooks_app.outputs import is_json_mime

SVG = "image/svg+xml"
_HEAD_AT_MOST = 200  # characters of a data: URL before its data


def is_base64(mime: str) -> bool:
    """Whether values of this type are base64 text: all images but SVG."""
    return mime.startswith("image/") and mime.split(";")[0] != SVG


def text_of(mime: str, text: str) -> str:
    """A value of text as ours: images in base64's one spelling, SVG as text, neither as a data: URL."""
    if mime.startswith("image/"):
        text = _without_url(mime, text)
    if is_base64(mime):
        return canonical_base64(text)
    return _plain_svg(text) if mime.split(";")[0] == SVG else text


def _without_url(mime: str, text: str) -> str:
    """What a `data:image/png;base64,…` holds; other text as it is."""
    start = text[:_HEAD_AT_MOST].lstrip()
    head, found, _ = start.partition(",")
    if not found or not head.lower().startswith("data:image/"):
        return text
    data = text.lstrip()[len(head) + 1 :]
    if head.lower().endswith(";base64"):
        return data
    return text if is_base64(mime) else unquote(data)


def _plain_svg(text: str) -> str:
    """SVG that came as base64 as text."""
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        return text
    try:
        plain = base64.b64decode("".join(text.split()), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError):
        return text
    return plain if plain.lstrip().startswith("<") else text


def canonical_base64(text: str) -> str:
    """Base64 in its one spelling: no blanks, padded. What is none of it stays as it is, without blanks."""
    text = "".join(text.split())
    try:
        return base64.b64encode(base64.b64decode(text + "=" * (-len(text) % 4), validate=True)).decode()
    except (binascii.Error, ValueError):
        return text


def to_bytes(mime: str, value: Any) -> bytes | None:
    """The value as a file holds it; None for what would not come back the same (an image that is not base64)."""
    if is_json_mime(mime):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if not isinstance(value, str):
        return None
    if not is_base64(mime):
        return value.encode()
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == value else None


def from_bytes(mime: str, data: bytes) -> Any:
    """The value of a file. Raises ValueError if it is none of this type."""
    if is_json_mime(mime):
        return json.loads(data)
    return base64.b64encode(data).decode() if is_base64(mime) else data.decode()


def size_of(value: Any) -> int:
    """About how many characters of JSON the value takes."""
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
