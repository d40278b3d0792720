"""The metadata that nbformat 4.5's schema knows: what a strict reader would refuse is left out at export. Pure.

All other metadata is anybody's and stays as it is. Source: nbformat.v4.5.schema.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from notebooks_app.formats.base import Json

type Check = Callable[[Any], bool]

_NAME = re.compile(r"^.+$")
_TAG = re.compile(r"^[^,]+$")
_JSON_MIME = re.compile(r"application/(.*\+)?json\Z")


def notebook_metadata(metadata: Mapping[str, Any]) -> Json:
    """Without known keys whose values are not what the schema says, and without what it says never to write."""
    return _fit(metadata, _NOTEBOOK)


def cell_metadata(metadata: Mapping[str, Any], cell_type: str) -> Json:
    return _fit(metadata, _CELL | (_CODE if cell_type == "code" else _RAW if cell_type == "raw" else {}))


def attachments(found: Any) -> Json:
    """The attachments of a text cell that are MIME bundles."""
    return {name: bundle for name, bundle in found.items() if _is_bundle(bundle)} if isinstance(found, dict) else {}


def _fit(metadata: Mapping[str, Any], checks: Mapping[str, Check]) -> Json:
    return {key: value for key, value in metadata.items() if key not in checks or checks[key](value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_kernelspec(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("name")) and _is_text(value.get("display_name"))


def _is_language(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_text(value.get("name")):
        return False
    texts = [value.get(key, "") for key in ("file_extension", "mimetype", "pygments_lexer")]
    return all(map(_is_text, texts)) and isinstance(value.get("codemirror_mode", ""), str | dict)


def _are_tags(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(tag, str) and _TAG.search(tag) for tag in value):
        return False
    return len(set(value)) == len(value)


def _is_bundle(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return all(_JSON_MIME.match(mime) or _is_text(item) or _is_lines(item) for mime, item in value.items())


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_NOTEBOOK: dict[str, Check] = {
    "kernelspec": _is_kernelspec,
    "language_info": _is_language,
    "orig_nbformat": lambda value: False,
    "title": _is_text,
    "authors": lambda value: isinstance(value, list),
}
_CELL: dict[str, Check] = {
    "name": lambda value: _is_text(value) and _NAME.search(value) is not None,
    "tags": _are_tags,
}
_RAW: dict[str, Check] = {"format": _is_text}
_CODE: dict[str, Check] = {
    "execution": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "collapsed": lambda value: isinstance(value, bool),
    "scrolled": lambda value: isinstance(value, bool) or value == "auto",
}
