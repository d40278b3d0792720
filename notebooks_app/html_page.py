"""A notebook as one HTML file to read, mail and print: nothing in it runs and nothing of it is loaded.

Its policy, the first thing in its head, allows neither script nor network, whoever serves the file and from whichever
disk it is opened. HTML that a cell showed stands in a frame without an origin, where script does not run either; what
script would draw is there by its picture or its text. How outputs are drawn otherwise is output_html.py's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.highlighting import highlight
from notebooks_app.markdown_html import markdown_html
from notebooks_app.output_html import FRAME_MIMES, IMAGE_MIMES, item_html, mime_of, size_words

type Json = Mapping[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
STYLES = ("tokens", "base", "source", "output", "table", "page")
MOST_TEXT = 200_000  # characters of one text: a browser has to lay out all of them
FRAME = (
    '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{}"><meta name="color-scheme" '
    'content="light dark"><style>body {{ margin: 0; font: 0.875rem system-ui, sans-serif; }}</style>'
)
_BLOCKS = re.compile(r"<(?:tr|p|li|br|div|h[1-6]|pre|hr)\b", re.IGNORECASE)
FRAME_LINES = (3, 24)  # the lowest and the highest frame: without script nobody can measure what is in it


def write(notebook: ImportedNotebook) -> str:
    """The whole page. The same notebook gives the same text."""
    return render_to_string(
        "notebooks/page.html",
        {
            "notebook": notebook,
            "policy": POLICY,
            "styles": _styles(),
            "cells": [_cell(number, cell) for number, cell in enumerate(notebook.cells, start=1)],
        },
    )


def _cell(number: int, cell: ImportedCell) -> dict[str, Any]:
    is_text = cell.type == "markdown"
    return {
        "number": number,
        "hidden": cell.code_hidden,
        "prose": markdown_html(cell.source) if is_text else "",
        "source": "" if is_text or not cell.source else highlight(cell.source, cell.type),
        "output": mark_safe("".join(_item(output) for output in cell.outputs)),  # noqa: S308 - _item escapes
    }


def _item(output: Json) -> SafeString:
    mime = "" if output["kind"] in ("stream", "error") else mime_of(output)
    if mime not in FRAME_MIMES:
        return item_html(_shortened(output))
    data: Json = output["data"]
    if mime == "text/html":
        return _as_item(output, _frame(data[mime]))
    picture = next((name for name in (*IMAGE_MIMES, "image/svg+xml") if name in data), None)
    if picture is not None:
        return item_html({**output, "data": {picture: data[picture], "text/plain": data.get("text/plain", "")}})
    what = "script" if mime == "application/javascript" else "a chart that script draws"
    return _as_item(output, format_html('<p class="cell-note">Here is {}: the notebook itself shows it.</p>', what))


def _as_item(output: Json, body: SafeString) -> SafeString:
    return format_html('<div class="output-item" data-kind="{}">{}</div>', output["kind"], body)


def _frame(value: Any) -> SafeString:
    html = value if isinstance(value, str) else "".join(value)
    least, most = FRAME_LINES
    lines = max(least, min(most, 1 + len(_BLOCKS.findall(html, 0, MOST_TEXT))))
    return format_html(
        '<iframe class="page-frame" sandbox title="HTML that the cell showed" loading="lazy" height="{}" srcdoc="{}">'
        "</iframe>",
        lines * 26,
        FRAME.format(POLICY) + html,
    )


def _shortened(output: Json) -> Json:
    """Texts of which a browser could not lay out all: their beginning and end, and how much is between."""
    if output["kind"] == "stream":
        return {**output, "text": _short(output["text"])}
    plain = (output.get("data") or {}).get("text/plain")
    if not isinstance(plain, str):
        return output
    return {**output, "data": {**output["data"], "text/plain": _short(plain)}}


def _short(text: str) -> str:
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    left_out = size_words(len(text[half:-half].encode()))
    return f"{text[:half]}\n[{left_out} left out; the notebook has them]\n{text[-half:]}"


@functools.cache
def _styles() -> SafeString:
    """The style sheets of our own pages, in the file itself."""
    found = [finders.find(f"css/{name}.css") for name in STYLES]
    sheets = [Path(path).read_text(encoding="utf-8") for path in found if path]
    return mark_safe("\n".join(sheets).replace("</", "<\\/"))  # noqa: S308 - our own files
