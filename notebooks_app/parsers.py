"""JSON as we accept it: no NaN or Infinity, no numbers beyond a double, no name twice, bounded nesting, UTF-8 alone."""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from notebooks_app.text import shown

NESTING_MAX = 64
WHOLE_MAX_DIGITS = 300  # as many as the largest double has


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a number")
    return value


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError in plain words for anything JSON, or our limits, do not allow."""
    try:
        value = json.loads(
            text, parse_constant=_refuse, parse_float=_number, parse_int=_whole, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _bound_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that is there twice, readers differ in which value they take."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} is given twice")
        found[name] = value
    return found


def _whole(text: str) -> int:
    if len(text) > WHOLE_MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)


def _bound_depth(value: Any) -> None:
    """Raises ValueError for more than NESTING_MAX containers in each other."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(NESTING_MAX):
        if not level:
            return
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
    if level:
        raise ValueError(f"nested more than {NESTING_MAX} deep")


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        charset = _charset(media_type or "")
        if charset not in ("", "utf-8", "utf8"):
            raise UnsupportedMediaType(media_type or "", "The body must be UTF-8, as JSON is.")
        try:
            return parse(stream.read().decode("utf-8"))
        except UnicodeDecodeError:
            raise ParseError("The body is not UTF-8.") from None
        except ValueError as error:
            raise ParseError(f"The body is not valid JSON: {error}.") from None


def _charset(media_type: str) -> str:
    message = Message()
    message["Content-Type"] = media_type
    return str(message.get_param("charset", "")).lower()
