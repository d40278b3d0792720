"""Sliders of a Python cell: `rate = 0.15  #@param {type:"slider", min:0, max:1, step:0.01}`, as Colab's forms write it.

Pure: finds them in a source, and puts another number in place of the literal. static/js/sliders.js does the same for
what is typed; what is drawn is one element, here as HTML.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LINE = re.compile(rf"^(?P<name>[^\W\d]\w*)\s*=\s*(?P<value>{NUMBER})\s*#\s*@param\s*\{{(?P<fields>[^{{}}]*)\}}\s*$")
_FIELD = re.compile(rf"""(?<!\w)["']?(?P<key>\w+)["']?\s*:\s*(?:["'](?P<text>\w*)["']|(?P<number>{NUMBER}))""")
MARK = "@param"

SLIDER = (
    '<div class="control" data-slider="{0}"><span class="control-label"><code>{0}</code></span>'
    '<span class="control-range"><span aria-hidden="true">{1}</span>'
    '<input class="slider" type="range" aria-label="{0}" min="{1}" max="{2}" step="{3}" value="{4}" disabled>'
    '<span aria-hidden="true">{2}</span></span><output class="control-value">{4}</output></div>'
)


@dataclass(frozen=True, slots=True)
class Slider:
    name: str
    value: str  # numbers as they are written
    min: str
    max: str
    step: str
    start: int  # of the literal in the source, in characters
    end: int


def sliders_of(source: str) -> list[Slider]:
    """The sliders of a source, in its order; none in a source that does not parse, or in a string of it."""
    if MARK not in source:
        return []
    statements = _assignments(source)
    found, start = [], 0
    for number, line in enumerate(source.split("\n"), start=1):
        match = _LINE.match(line)
        slider = _slider(match, start) if match and number in statements else None
        if slider:
            found.append(slider)
        start += len(line) + 1
    return found


def with_value(source: str, name: str, value: str) -> str | None:
    """The source with another number for a slider; None if it has no such slider or the number is outside it."""
    slider = next((one for one in sliders_of(source) if one.name == name), None)
    if slider is None or len(value) > 40 or not re.fullmatch(NUMBER, value):
        return None
    if not float(slider.min) <= float(value) <= float(slider.max):
        return None
    turned = source[: slider.start] + value + source[slider.end :]
    # Digits that Python does not take, as 007: the source would be broken, by who may not write it.
    return turned if any(one.name == name for one in sliders_of(turned)) else None


def sliders_html(sliders: Iterable[Slider]) -> SafeString:
    """Disabled until the page's script knows who may turn them."""
    rows = ((one.name, one.min, one.max, one.step, one.value) for one in sliders)
    return format_html_join("", "{}", ((format_html(SLIDER, *row),) for row in rows))


def _assignments(source: str) -> set[int]:
    """The lines of a cell that begin an assignment."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {node.lineno for node in body if isinstance(node, ast.Assign)}


def _slider(match: re.Match[str], start: int) -> Slider | None:
    fields = {field["key"]: field["text"] or field["number"] for field in _FIELD.finditer(match["fields"])}
    low, high, step = (fields.get(key) or default for key, default in (("min", "0"), ("max", "100"), ("step", "1")))
    if fields.get("type") != "slider" or not all(re.fullmatch(NUMBER, one) for one in (low, high, step)):
        return None
    if not (float(low) < float(high) and float(step) > 0):
        return None
    place = start + match.start("value")
    return Slider(match["name"], match["value"], low, high, step, place, place + len(match["value"]))
