"""Draws a dataframe's saved page of rows as a real table.

The kernel sends the rows as JSON (docs/architecture.md section 5). static/js/outputs/table.js draws the same
elements and adds sorting, search and paging.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

TABLE = (
    '<div class="table-wrap">'
    '<div class="table-scroll" role="region" tabindex="0" aria-label="Table, {count} rows">'
    '<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    '<div class="table-foot"><span class="table-counts">{counts}</span></div></div>'
)


def table_html(table: Mapping[str, Any]) -> SafeString:
    """A real table of the page of rows that is saved, with how many rows and columns there are."""
    columns = [*table.get("index", ()), *table["columns"]]
    width = len(table.get("index", ()))
    rows = table["rows"]
    styles = [
        number_style([row[at] for row in rows]) if column["numeric"] else None
        for at, column in enumerate(columns)
    ]
    head = format_html_join(
        "", "{}", ((_table_head(column, at < width, table),) for at, column in enumerate(columns))
    )
    body = mark_safe("".join(_table_row(row, columns, width, styles) for row in rows))  # noqa: S308 - escaped
    return format_html(
        TABLE, count=f"{table['row_count']:,}", head=head, body=body, counts=table_counts(table)
    )


def table_counts(table: Mapping[str, Any]) -> str:
    """`48,210 rows × 7 columns`, and which of them are shown when not all are."""
    rows, columns, shown = table["row_count"], table["column_count"], len(table["rows"])
    words = f"{_count(rows, 'row')} × {_count(columns, 'column')}"
    if shown >= rows or not shown:
        return words
    first = table.get("offset", 0) + 1
    return f"{words}, {first:,} to {first + shown - 1:,} shown"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _table_head(column: Mapping[str, Any], is_index: bool, table: Mapping[str, Any]) -> SafeString:
    classes = " ".join(["is-index"] * is_index + ["is-number"] * bool(column["numeric"]))
    name = column["name"] or ""
    shown = (
        format_html(
            '<span class="table-name">{}</span><span class="table-type">{}</span>', name, column["type"]
        )
        if name or not is_index
        else mark_safe('<span class="visually-hidden">Row</span>')
    )
    sorted_by = next((s for s in table.get("sort") or () if s["column"] == name and not is_index), None)
    order = (
        format_html(' aria-sort="{}"', "descending" if sorted_by["descending"] else "ascending")
        if sorted_by
        else ""
    )
    css = format_html(' class="{}"', classes) if classes else ""
    return format_html('<th scope="col"{}{}>{}</th>', css, order, shown)


def _table_row(
    row: Sequence[Any], columns: Sequence[Mapping[str, Any]], width: int, styles: Sequence[Any]
) -> str:
    cells = []
    for at, value in enumerate(row):
        is_number = columns[at]["numeric"]
        text = (
            '<span class="is-missing">missing</span>'
            if value is None
            else escape(cell_text(value, styles[at]))
        )
        if at < width:
            css = "is-index is-number" if is_number else "is-index"
            cells.append(f'<th scope="row" class="{css}">{text}</th>')
        else:
            cells.append(f'<td class="is-number">{text}</td>' if is_number else f"<td>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def number_style(values: Iterable[Any]) -> int | None:
    """Decimals that all numbers of a column are shown with: as many as the longest needs, at most 6; None: in powers of
    ten. What binary fractions add at the 14th digit (23.400000000000002) does not count."""
    numbers = [abs(value) for value in values if is_number(value) and value]
    if any(value < 1e-4 or value >= 1e15 for value in numbers):
        return None
    fractions = [repr(float(f"{value:.13g}")).partition(".")[2] for value in numbers if value != int(value)]
    return min(6, max((len(digits) for digits in fractions if digits != "0"), default=0))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def cell_text(value: Any, decimals: int | None) -> str:
    """A table cell's value as text; numbers of one column with the same decimals."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if is_number(value):
        return number_text(value) if decimals is None else _rounded(value, decimals)
    return value if isinstance(value, str) else compact_json(value)


def _rounded(value: float, decimals: int) -> str:
    # as JavaScript's toFixed: halves go away from zero
    return format(Decimal(value).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP), "f")


def number_text(value: float) -> str:
    """The shortest text of a number, as JavaScript writes it: 12, 0.00001, 1e-7, 1e+21."""
    text = repr(value + 0)
    digits, _, exponent = text.partition("e")
    if -7 < int(exponent or 0) < 21:
        return format(Decimal(text), "f").removesuffix(".0")
    return f"{digits.removesuffix('.0')}e{int(exponent):+d}"


def compact_json(value: Any) -> str:
    """JSON without spaces, as JavaScript's JSON.stringify writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
