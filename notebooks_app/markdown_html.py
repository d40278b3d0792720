"""Markdown to HTML that cannot hurt: markdown-it, then an allowlist.

The browser renders live text with the same rules (static/js/outputs/markdown.js: markdown-it and DOMPurify
with this allowlist). Maths stays as text in `.math` elements: KaTeX sets it in the browser.
"""

from __future__ import annotations

import re

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from mdit_py_plugins.dollarmath import dollarmath_plugin

from notebooks_app.bounded_cache import cached_by_size

# What a text may cost to be rendered here, by its marks and lines: some seconds at most, and an ordinary text of some
# hundred KB. Above it, it is shown as it is written.
COST_AT_MOST = 30_000
_MARKS = re.compile(r"[\n!<*_~`$\\&|(]")
_TAGS = """a abbr b blockquote br code dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6
    hr i img kbd li mark ol p pre s small span strong sub summary sup table tbody td th thead tr u ul"""
TAGS = set(_TAGS.split())
ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "details": {"open"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
CLASSES = {
    "div": {"math", "block"},
    "span": {"math", "inline"},
    "td": {"is-number", "is-center"},
    "th": {"is-number", "is-center"},
}
SCHEMES = {"http", "https", "mailto", "data"}
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);", re.IGNORECASE)
_ALIGN = {"text-align:right": "is-number", "text-align:center": "is-center"}


def _classes_for_alignment(state: StateCore) -> None:
    """A table's alignment as a class: the page's content policy forbids style attributes."""
    for token in state.tokens:
        style = token.attrs.pop("style", None)
        if style in _ALIGN:
            token.attrSet("class", _ALIGN[str(style)])


def _parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": True, "linkify": False, "typographer": False})
    parser.use(dollarmath_plugin, allow_labels=False, allow_space=False, double_inline=True)
    parser.core.ruler.push("alignment_classes", _classes_for_alignment)
    return parser


_PARSER = _parser()


@cached_by_size(8_000_000, of_one=1_000_000)
def markdown_html(text: str) -> SafeString:
    """Markdown as HTML of allowed tags, attributes and addresses only; one that would take too long as plain text."""
    if _cost(text) > COST_AT_MOST:
        return format_html('<pre>{}</pre>', text)
    clean = nh3.clean(
        _PARSER.render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        allowed_classes=CLASSES,
        url_schemes=SCHEMES,
        attribute_filter=_keep,
        link_rel="noopener noreferrer",
        strip_comments=True,
    )
    return mark_safe(clean)  # noqa: S308 - nh3 is the sanitiser


def _cost(text: str) -> int:
    return 5 * text.count("[") + sum(1 for _ in _MARKS.finditer(text))


def _keep(tag: str, attribute: str, value: str) -> str | None:
    """data: addresses only as pictures."""
    is_data = value.strip().lower().startswith("data:")
    if attribute in ("href", "src") and is_data:
        return value if tag == "img" and _IMAGE.match(value.strip()) else None
    return value
