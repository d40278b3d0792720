"""Draws saved outputs as HTML that needs no JavaScript.

One function a kind. static/js/outputs/ draws the same elements live and adds tools to these; a test renders
the same outputs on both sides and compares the DOM, so a change here is a change there. What needs script
(HTML, charts) is a placeholder with its text. Nothing of an output is trusted: it is escaped, or sanitised
(Markdown), or a picture.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from notebooks_app.ansi import ansi_html
from notebooks_app.error_html import error_html
from notebooks_app.markdown_html import markdown_html
from notebooks_app.table_html import compact_json, number_text, table_html

Output = Mapping[str, Any]

TABLE_MIME = "application/vnd.rillbook.table+json"
PLOTLY_MIME = "application/vnd.plotly.v1+json"
VEGA_MIMES = tuple(
    f"application/vnd.{name}+json"
    for name in ("vegalite.v6", "vegalite.v5", "vegalite.v4", "vega.v6", "vega.v5")
)
IMAGE_MIMES = ("image/png", "image/jpeg", "image/gif", "image/webp")
FRAME_MIMES = (PLOTLY_MIME, *VEGA_MIMES, "text/html", "application/javascript")
# Richest first
ORDER = (
    TABLE_MIME,
    PLOTLY_MIME,
    *VEGA_MIMES,
    "text/html",
    "application/javascript",
    "text/markdown",
    "text/latex",
    "image/svg+xml",
    *IMAGE_MIMES,
    "application/json",
    "text/plain",
)
# A value that is not what its type promises (code forged it, or a file that was imported): its page opens all the same.
DAMAGED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
DAMAGED_WORDS = "This output cannot be drawn: it is not the {} that it says it is."
PLACEHOLDER_TEXT_MAX = 2000  # the text of a chart is its whole JSON: of no use to a reader
JSON_CLASSES = {
    str: "tok-string",
    int: "tok-number",
    float: "tok-number",
    bool: "tok-keyword",
    type(None): "tok-keyword",
}
JSON_MAX_ITEMS = 200
JSON_MAX_DEPTH = 8


def outputs_html(cell: str, outputs: Iterable[Output]) -> SafeString:
    """All items of a cell's output, in order."""
    return mark_safe("".join(item_html(output) for output in outputs))  # noqa: S308 - item_html escapes


def item_html(output: Output) -> SafeString:
    """One item in its `.output-item`, which says its index, kind and the MIME type that was drawn."""
    kind = output["kind"]
    mime = "" if kind in ("stream", "error") else mime_of(output)
    try:
        body = DRAW_KIND[kind](output) if kind in DRAW_KIND else _bundle(output, mime)
    except DAMAGED:
        body = format_html('<p class="cell-note">{}</p>', DAMAGED_WORDS.format(mime or kind))
    return format_html(
        '<div class="output-item" data-item="{}" data-kind="{}" data-mime="{}">{}</div>',
        output["index"],
        kind,
        mime,
        body,
    )


def mime_of(output: Output) -> str:
    """The richest MIME type of a bundle that we can draw; the first one there is otherwise."""
    there = [*(output.get("data") or {}), *(output.get("files") or {})]
    return next((mime for mime in ORDER if mime in there), there[0] if there else "")


def _bundle(output: Output, mime: str) -> SafeString | str:
    data, file = output.get("data") or {}, (output.get("files") or {}).get(mime)
    if mime in FRAME_MIMES:
        return _placeholder(output, mime)
    if mime in IMAGE_MIMES or mime == "image/svg+xml":
        return _image(output, mime, file["url"] if mime not in data and file else None)
    if mime not in data:
        return _file_link(mime, file) if file else ""
    draw = DRAW_MIME.get(mime)
    return draw(data[mime]) if draw else format_html('<div class="output-text">{}</div>', _text(data[mime]))


# --- Text ---


def _stream(output: Output) -> SafeString:
    css = "output-text is-stderr" if output["name"] == "stderr" else "output-text"
    head = _text_block(css, output["text"])
    cut = output.get("cut")
    if not cut:
        return head
    file = (output.get("files") or {}).get("text/plain")
    link = format_html(' <a class="text-button" href="{}">Show all</a>', file["url"]) if file else ""
    return format_html(
        '{}<p class="output-cut"><span>{}</span>{}</p>{}',
        head,
        cut_words(cut),
        link,
        _text_block(css, cut["tail"]),
    )


def _error(output: Output) -> SafeString:
    """The error; one of an import that was cut leads to the file that has the whole."""
    links = (_file_link(mime, file) for mime, file in (output.get("files") or {}).items())
    return mark_safe(error_html(output) + "".join(links))  # noqa: S308 - each part is escaped


def _text_block(css: str, text: str) -> SafeString:
    return format_html('<div class="{}">{}</div>', css, ansi_html(text))


def cut_words(cut: Mapping[str, Any]) -> str:
    """How much is left out: `41,287 lines, 2.1 MB left out`."""
    return f"{cut['omitted_lines']:,} lines, {size_words(cut['omitted_bytes'])} left out"


def size_words(size: int) -> str:
    """A size as a person says it: 512 B, 1.5 KB, 2.1 MB. Steps of 1,000; one decimal below 10."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            tenths = size * 10 // factor
            return f"{tenths // 10}.{tenths % 10} {unit}" if tenths < 100 else f"{tenths // 10} {unit}"
    return f"{size} B"


# --- Pictures, documents, values ---


def _image(output: Output, mime: str, url: str | None) -> SafeString:
    data, size = output.get("data") or {}, None
    if url is None:
        value = _text(data[mime])
        if mime == "image/svg+xml":
            value = base64.b64encode(value.encode()).decode()
        else:
            value = re.sub(r"\s", "", value)
            size = png_size(value) if mime == "image/png" else None
        url = f"data:{mime};base64,{value}"
    wanted = (output.get("metadata") or {}).get(mime) or {}
    width, height = wanted.get("width"), wanted.get("height")
    if not (isinstance(width, int) and isinstance(height, int)):
        width, height = size or (None, None)
    measures = format_html(' width="{}" height="{}"', width, height) if width and height else ""
    return format_html('<img class="output-image" src="{}" alt="{}"{}>', url, _alt(data, wanted), measures)


def _alt(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    alt = metadata.get("alt") or _text(data.get("text/plain", ""))
    return str(alt).strip()[:300] or "Picture"


def png_size(value: str) -> tuple[int, int] | None:
    """Width and height out of a PNG's header, in pixels: what keeps the page from jumping when it decodes."""
    try:
        header = base64.b64decode(value[:32], validate=True)
        return (
            struct.unpack(">II", header[16:24])
            if header.startswith(b"\x89PNG") and len(header) >= 24
            else None
        )
    except (binascii.Error, ValueError):
        return None


def _placeholder(output: Output, mime: str) -> SafeString:
    """What stands for an output that runs script, until script draws it: its picture or text."""
    data = output.get("data") or {}
    picture = next((name for name in IMAGE_MIMES if name in data), None)
    text = _text(data.get("text/plain", ""))
    shown: SafeString | str = ""
    if picture:
        shown = _image(output, picture, None)
    elif text and len(text) <= PLACEHOLDER_TEXT_MAX:
        shown = format_html('<div class="output-text">{}</div>', text)
    what = "HTML" if mime == "text/html" else "script" if mime == "application/javascript" else "a chart"
    css = "output-frame is-chart" if what == "a chart" else "output-frame"
    note = format_html(
        '<noscript><p class="cell-note">This output is {}: it needs JavaScript.</p></noscript>', what
    )
    return format_html('<div class="{}">{}{}</div>', css, shown, note)


def _file_link(mime: str, file: Mapping[str, Any]) -> SafeString:
    return format_html(
        '<p class="output-cut"><span>{}, {}</span> <a class="text-button" href="{}">Show all</a></p>',
        mime,
        size_words(file["size_bytes"]),
        file["url"],
    )


def _markdown(value: Any) -> SafeString:
    return format_html('<div class="prose">{}</div>', markdown_html(_text(value)))


def _latex(value: Any) -> SafeString:
    text = _text(value).strip()
    display = not (text.startswith("$") and not text.startswith("$$"))
    tag = ("div", "math block") if display else ("span", "math inline")
    return format_html(
        '<div class="prose"><{} class="{}">{}</{}></div>', tag[0], tag[1], text.strip("$").strip(), tag[0]
    )


def _text(value: Any) -> str:
    """A text value of a bundle; notebook files hold some as a list of lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return compact_json(value)


def _json(value: Any) -> SafeString:
    return format_html('<div class="output-json">{}</div>', _json_value(value, 0))


def _json_value(value: Any, depth: int) -> SafeString:
    if isinstance(value, dict | list) and value and depth < JSON_MAX_DEPTH:
        return _json_tree(value, depth)
    text = number_text(value) if isinstance(value, float) else compact_json(value)
    css = JSON_CLASSES.get(type(value), "tok-punctuation")
    return format_html('<span class="{}">{}</span>', css, text)


def _json_tree(value: dict[str, Any] | list[Any], depth: int) -> SafeString:
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    kind = "object, {} {}" if isinstance(value, dict) else "list, {} {}"
    words = kind.format(len(pairs), "entry" if len(pairs) == 1 else "entries")
    rows = format_html_join(
        "",
        "<li><b>{}</b>: {}</li>",
        ((key, _json_value(child, depth + 1)) for key, child in pairs[:JSON_MAX_ITEMS]),
    )
    more = (
        format_html("<li>and {} more</li>", len(pairs) - JSON_MAX_ITEMS)
        if len(pairs) > JSON_MAX_ITEMS
        else ""
    )
    is_open = mark_safe(" open") if depth == 0 else ""
    return format_html("<details{}><summary>{}</summary><ul>{}{}</ul></details>", is_open, words, rows, more)


DRAW_KIND: dict[str, Callable[[Output], SafeString]] = {"stream": _stream, "error": _error}
DRAW_MIME: dict[str, Callable[[Any], SafeString]] = {
    TABLE_MIME: table_html,
    "text/markdown": _markdown,
    "text/latex": _latex,
    "application/json": _json,
    "text/plain": lambda value: format_html('<div class="output-text">{}</div>', ansi_html(_text(value))),
}
