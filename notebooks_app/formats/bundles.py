"""Values of MIME bundles as bytes, and back: JSON types as JSON, images decoded, all else as UTF-8. Pure.

kernels_app/inside/ and outputs.py write files of large items in the same way, so that what is kept as a file comes back
as the value it was.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from notebooks_app.outputs import is_json_mime


def is_base64(mime: str) -> bool:
    """Whether values of this type are base64 text: all images but SVG."""
    return mime.startswith("image/") and mime.split(";")[0] != "image/svg+xml"


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
