"""Template tags of the pages: icons, the view of a cell, outputs.

Display only; the words are in cell_words.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.forms import BoundField
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notebooks_app import cell_words, list_words, rendering
from notebooks_app.sliders import sliders_html, sliders_of

register = template.Library()

BLANK_STATE: dict[str, Any] = {
    "status": "idle",
    "freshness": "new",
    "loaded": False,
    "errors": [],
    "blocked_by": [],
    "disabled_by": [],
    "warnings": [],
}


@register.simple_tag
@lru_cache(maxsize=256)
def icon(name: str, css: str = "") -> SafeString:
    """One icon of static/icons.svg, hidden from screen readers: the label is the button's."""
    css = f"icon {css}".strip()
    sprite = cell_words.sprite()
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#icon-{}"></use></svg>', css, sprite, name
    )


@register.simple_tag
def numbers_of(cells: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return cell_words.numbers_of(cells)


@register.simple_tag
def definers_of(cells: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return cell_words.definers_of(cells)


@register.simple_tag
def cell_view(
    cell: Mapping[str, Any], numbers: Mapping[str, int], definers: Mapping[str, str]
) -> cell_words.CellView:
    return cell_words.view_of(cell, numbers or {}, definers or {})


@register.simple_tag
def blank_cell() -> dict[str, Any]:
    """The cell that <template id="cell-template"> is drawn from."""
    return {
        "id": "",
        "number": "",
        "type": "python",
        "source": "",
        "version": 1,
        "definitions": [],
        "references": [],
        "state": BLANK_STATE,
        "outputs": [],
        "source_html": rendering.highlight("", "python"),
    }


@register.simple_tag
def source(cell: Mapping[str, Any]) -> SafeString:
    """A cell's highlighted source, with the line that failed marked."""
    line = _failed_line(cell)
    return rendering.mark_line(cell["source_html"], line) if line else cell["source_html"]


def _failed_line(cell: Mapping[str, Any]) -> int | None:
    state = cell["state"]
    lines = [error["line"] for error in state.get("errors") or () if error.get("line")]
    if state["freshness"] == "failed" and cell.get("number"):
        errors = [output for output in cell.get("outputs") or () if output["kind"] == "error"]
        lines += [line for error in errors if (line := rendering.error_line(error, cell["number"]))]
    return lines[0] if lines else None


@register.simple_tag
def sliders(cell: Mapping[str, Any]) -> SafeString:
    """The sliders of a Python cell's source."""
    return sliders_html(sliders_of(cell["source"] or "") if cell["type"] == "python" else ())


@register.simple_tag
def outputs(cell: Mapping[str, Any]) -> SafeString:
    """A cell's saved outputs as HTML that needs no JavaScript."""
    return rendering.outputs_html(str(cell["id"]), cell.get("outputs") or ())


@register.simple_tag
def input(field: BoundField) -> SafeString:  # noqa: A001 - the tag is called so
    """A form's field in our look, tied to its errors for screen readers."""
    attrs: dict[str, str | bool] = {"class": "input"}
    if field.errors:
        attrs |= {"aria-invalid": "true", "aria-describedby": f"{field.auto_id}_error"}
    return field.as_widget(attrs=attrs)


@register.simple_tag
def list_state(notebook: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """State, icon, words of a notebook in the list: what needs somebody first."""
    return list_words.counts_view(notebook.get("state_counts") or {})


@register.filter
def ago(when: datetime) -> str:
    """How long ago, as short as one says it: now, 5 min ago, 3 h ago, yesterday, 4 days ago, 12 Feb 2026."""
    return list_words.ago_words(when, timezone.now())
