"""JSON as we accept it: no NaN or Infinity, no numbers beyond a double, no name twice, UTF-8 alone; nesting and the
number of values are bounded.
"""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import Any

from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from notebooks_app.errors import TooLarge
from notebooks_app.text import shown

NESTING_MAX = 64
VALUES_MAX = 1_000_000  # each takes up to some 200 bytes of memory; a change set of so many lines has as many
WHOLE_MAX_DIGITS = 300  # as many as the largest double has


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a number")
    return value


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError in plain words for anything JSON, or our limits, do not allow, and
    TooLarge for one of more than VALUES_MAX values, before any of them is made."""
    _bound_values(text)
    try:
        value = json.loads(
            text, parse_constant=_refuse, parse_float=_number, parse_int=_whole, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _bound_depth(value)
    return value


# What stands between two texts, and the second one (to the end, where it has none): one pass, whatever they hold.
_PART = re.compile(r'([^"]*+)(?:"(?:[^"\\]++|\\.)*+"?)?', re.DOTALL)


def _bound_values(text: str) -> None:
    if _marks(text) <= VALUES_MAX:  # most texts: no need to know which marks are within texts
        return
    values = 0
    for number, part in enumerate(_PART.finditer(text)):
        values += _marks(part[1])
        if max(values, number // 2) > VALUES_MAX:  # of one mark there are two texts at most, a name and a value
            raise TooLarge(f"The JSON holds more than the {VALUES_MAX:,} values that are read at once.")


def _marks(text: str) -> int:
    """How many values begin: with a list, an object, or after a comma."""
    return text.count("[") + text.count("{") + text.count(",")


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
