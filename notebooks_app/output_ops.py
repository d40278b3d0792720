"""Operations by which an output grows (docs/architecture.md, section 3): applying, merging, and their UTF-16 offsets.

Pure. What makes them is outputs.py; the browser applies them in static/js/outputs/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

type Json = dict[str, Any]


def apply(outputs: list[Json], ops: Iterable[Mapping[str, Any]]) -> list[Json]:
    """The outputs after operations, as every browser does it: docs/architecture.md, section 3."""
    outputs = list(outputs)
    for op in ops:
        if op["op"] == "clear":
            outputs = []
            continue
        index = op["item"]
        if op["op"] == "item":
            outputs[index : index + 1] = [dict(op["output"])]
        elif op["op"] == "text":
            is_known = index < len(outputs) and outputs[index]["kind"] == "stream"
            old = outputs[index] if is_known else _empty(op)
            text = utf16_prefix(old["text"], op["from"]) + op["text"]
            outputs[index : index + 1] = [{**old, "index": index, "text": text}]
        elif op["op"] == "cut" and index < len(outputs):
            outputs[index] = {**outputs[index], "cut": _cut(outputs[index].get("cut"), op)}
    return outputs


def _cut(old: Mapping[str, Any] | None, op: Mapping[str, Any]) -> Json:
    """The tail moves on to `start`; what it had up to `from` stays, the operation's text follows."""
    start = op["start"]
    kept = ""
    if old is not None and "start" in old:  # what was imported has none, and nothing is added to it
        kept = utf16_from(utf16_prefix(old["tail"], op["from"] - old["start"]), start - old["start"])
    counts = {key: op[key] for key in ("omitted_bytes", "omitted_lines")}
    return {**counts, "start": start, "tail": kept + op["tail"]}


def merge_ops(ops: Iterable[Json]) -> list[Json]:
    """Fewer operations with the same result, for a reader who gets several batches at once."""
    merged: list[Json] = []
    last: dict[int, int] = {}  # item -> where its last operation is
    for op in ops:
        if op["op"] == "clear":
            merged, last = [op], {}
            continue
        at = last.get(op["item"])
        one = _merge(merged[at], op) if at is not None else None
        if at is not None and one is not None:
            merged[at] = one
        else:
            last[op["item"]] = len(merged)
            merged.append(op)
    return merged


def _merge(first: Json, then: Json) -> Json | None:
    """One operation that does what two of the same item do, or None."""
    if then["op"] == "item":
        return then
    if first["op"] == then["op"] == "cut":
        return _merge_cuts(first, then)
    if not first["op"] == then["op"] == "text":
        return None
    if then["from"] < first["from"]:
        return then
    return {**first, "text": utf16_prefix(first["text"], then["from"] - first["from"]) + then["text"]}


def _merge_cuts(first: Json, then: Json) -> Json:
    start = max(first["from"], then["start"])  # before it, the tail that the reader has is right
    if then["from"] <= start:
        return then
    new = utf16_prefix(first["tail"], then["from"] - first["from"])
    return {**then, "from": start, "tail": utf16_from(new, start - first["from"]) + then["tail"]}


def utf16_length(text: str) -> int:
    """How many UTF-16 units the text has: the length JavaScript sees."""
    return len(text) if text.isascii() else len(text) + sum(character > "\uffff" for character in text)


def utf16_prefix(text: str, units: int) -> str:
    """The first `units` UTF-16 units of a text."""
    units = max(units, 0)
    if text.isascii():
        return text[:units]
    return text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore")


def utf16_from(text: str, units: int) -> str:
    """The text without its first `units` UTF-16 units."""
    units = max(units, 0)
    if text.isascii():
        return text[units:]
    return text.encode("utf-16-le")[2 * units :].decode("utf-16-le", "ignore")


def common_prefix(first: str, second: str) -> int:
    """How many characters two texts have in common at their start."""
    if second.startswith(first):
        return len(first)
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _empty(op: Mapping[str, Any]) -> Json:
    return {"index": op["item"], "kind": "stream", "name": op["name"], "text": "", "cut": None, "files": {}}
