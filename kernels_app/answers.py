"""Questions to a live kernel for editors and panels, and its answers made safe: user code may have forged them.

Browsers count UTF-16 units, the kernel code points.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kernels_app.kernel import Kernel
from notebooks_app.output_ops import utf16_length, utf16_prefix
from notebooks_app.outputs import clean_json, clean_text

type Json = dict[str, Any]

MAX_MATCHES = 500
MAX_LENGTH = 20_000
MAX_VARIABLES = 2_000
TABLE_S = 30.0


async def complete(kernel: Kernel, source: str, cursor: int) -> Json:
    """{"matches": [{"text", "type"}], "from", "to"} in UTF-16 units."""
    reply = await kernel.complete(source, len(utf16_prefix(source, cursor)))
    start, end = _whole(reply.get("cursor_start")), _whole(reply.get("cursor_end"))
    metadata = reply.get("metadata")
    types = metadata.get("_jupyter_types_experimental") if isinstance(metadata, dict) else None
    kinds = {str(item.get("text")): str(item.get("type", "")) for item in _list(types) if isinstance(item, dict)}
    matches = [match for match in _list(reply.get("matches")) if isinstance(match, str)][:MAX_MATCHES]
    return {
        "matches": [{"text": _text(match), "type": _text(kinds.get(match, ""))} for match in matches],
        "from": utf16_length(source[:start]),
        "to": utf16_length(source[:end]),
    }


async def inspect(kernel: Kernel, source: str, cursor: int) -> Json:
    """A MIME bundle of text about what is at the cursor; empty if nothing is known."""
    reply = await kernel.inspect(source, len(utf16_prefix(source, cursor)))
    data = reply.get("data") if reply.get("found") else None
    if not isinstance(data, dict):
        return {}
    return {mime: _text(value) for mime, value in data.items() if mime in ("text/plain",) and isinstance(value, str)}


async def table(kernel: Kernel, request: Json) -> Json | None:
    """A page of a table."""
    reply = await kernel.call("table", timeout_s=TABLE_S, **request)
    page, _ = await asyncio.to_thread(clean_json, reply.get("table"))
    return page if isinstance(page, dict) else None


async def variables(kernel: Kernel) -> list[Json]:
    """The names in the kernel: name, type, preview, shape, size_bytes, cell."""
    reply = await kernel.call("variables")
    found, _ = await asyncio.to_thread(clean_json, reply.get("variables"))
    return [item for item in found or [] if isinstance(item, dict)][:MAX_VARIABLES] if isinstance(found, list) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: str) -> str:
    return clean_text(value[:MAX_LENGTH])


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
