"""Outputs cut short for an answer of the API. Pure.

The shape stays that of docs/architecture.md, section 2; what was shortened or left out says so in `truncated`.
"""

from __future__ import annotations

import json
from typing import Any

type Document = dict[str, Any]

TEXT_AT_MOST = 2_000  # characters of one item
ITEMS_AT_MOST = 20  # of one cell


def previews(outputs: list[Document]) -> list[Document]:
    """The first items of a cell, each short; a last one says how many were left out."""
    shown = [_preview(output) for output in outputs[:ITEMS_AT_MOST]]
    if len(outputs) > ITEMS_AT_MOST:
        shown[-1]["truncated"] = True
    return shown


def _preview(output: Document) -> Document:
    if output["kind"] == "stream":
        text, is_cut = _head(output["text"])
        return {**output, "text": text, "truncated": is_cut or bool(output.get("cut"))}
    if output["kind"] == "error":
        evalue, is_cut = _head(output["evalue"])
        traceback = _tail(output["traceback"])
        is_cut = is_cut or traceback != output["traceback"]
        return {**output, "evalue": evalue, "traceback": traceback, "truncated": is_cut}
    data = {mime: short for mime, value in output["data"].items() if (short := _short(mime, value)) is not None}
    return {**output, "data": data, "truncated": data != output["data"] or bool(output["files"])}


def _short(mime: str, value: Any) -> Any:
    """Text is cut; an image or a JSON value is whole or left out, for half of one is nothing."""
    if isinstance(value, str) and mime.startswith("text/"):
        return _head(value)[0]
    size = len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
    return value if size <= TEXT_AT_MOST else None


def _head(text: str) -> tuple[str, bool]:
    return text[:TEXT_AT_MOST], len(text) > TEXT_AT_MOST


def _tail(lines: list[str]) -> list[str]:
    """The last lines that fit: the end of a traceback says what happened."""
    kept: list[str] = []
    room = TEXT_AT_MOST
    for line in reversed(lines):
        if len(line) > room:
            break
        room -= len(line)
        kept.append(line)
    return kept[::-1] or [line[-TEXT_AT_MOST:] for line in lines[-1:]]
