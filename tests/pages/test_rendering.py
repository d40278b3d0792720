"""What the server draws of sources, text, terminal colours and outputs, and what it does not let through."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebooks_app import cell_words, list_words, table_html
from notebooks_app.ansi import ansi_html, ansi_text, nearest
from notebooks_app.error_html import error_line
from notebooks_app.output_html import item_html, mime_of, png_size, size_words
from notebooks_app.rendering import frame_csp, highlight, mark_line, markdown_html, outputs_html
from notebooks_app.table_html import cell_text, number_style, number_text
from tests.pages.samples import (
    ANSI,
    HOSTILE,
    KEY_ERROR,
    MARKDOWN,
    STATIC_OUTPUTS,
    TABLE,
    TABLE_MIME,
    png,
    result,
)

# --- Sources ---


def test_source_becomes_lines_in_the_editors_classes() -> None:
    html = highlight("def f(x):\n    return sum(x)", "python")
    assert html.count('<span class="line">') == 2
    assert '<span class="tok-keyword">def</span> <span class="tok-definition">f</span>' in html
    assert '<span class="tok-function">sum</span>' in html


def test_a_bound_value_in_sql_is_a_parameter_and_aliases_are_plain() -> None:
    html = highlight("SELECT count(*), c.name FROM t WHERE a > {rate}", "sql")
    assert '<span class="tok-parameter">{rate}</span>' in html
    assert '<span class="tok-function">count</span>' in html
    assert "</span> c<span" in html and ">name<" not in html


# Stored sources hold "\n" only, and no byte order mark
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff"), max_size=200),
    st.sampled_from(["python", "sql", "markdown"]),
)
def test_highlighting_keeps_the_text_and_escapes_it(source: str, cell_type: str) -> None:
    drawn = highlight(source, cell_type)
    text = unescape(re.sub(r"</?span[^>]*>", "", drawn))
    assert text.rstrip("\n") == source.rstrip("\n")
    assert "<script" not in drawn.lower()


def test_the_failed_line_is_marked() -> None:
    marked = mark_line(highlight("a = 1\nb = <x\nc", "python"), 2)
    assert re.findall(r'<span class="(line[^"]*)">', marked) == ["line", "line is-error", "line"]
    assert mark_line(highlight("a", "python"), 9) == highlight("a", "python")
    assert error_line(KEY_ERROR, 9) == 3
    assert error_line(KEY_ERROR, 8) is None


# --- Markdown ---


def test_markdown_keeps_its_maths_and_its_structure() -> None:
    html = markdown_html(MARKDOWN)
    assert '<span class="math inline">a_b^2 &lt; c</span>' in html
    assert 'class="math block"' in html
    assert '<th class="is-number">right</th>' in html
    assert "Costs $5 and $6" in html


@pytest.mark.parametrize(
    "text",
    [
        MARKDOWN,
        HOSTILE,
        "<svg onload=alert(1)>",
        "[x](javascript:alert(1))",
        "<a href='jav\tascript:alert(1)'>x</a>",
        "<img src='data:text/html,x'>",
        "<form action=/x><input></form>",
        "<math><mtext><style><img src=x onerror=alert(1)>",
        "<p style='position:fixed' id='page-data' onclick=x>",
        '<a href="&#106;avascript:alert(1)">x</a>',
    ],
)
def test_markdown_lets_no_script_style_or_form_through(text: str) -> None:
    html = markdown_html(text).lower()
    for word in (
        "<script",
        "<svg",
        "<iframe",
        "<form",
        "<input",
        "<style",
        " onerror=",
        " onclick=",
        " style=",
        " id=",
    ):
        assert word not in html
    assert 'href="java' not in html and 'href="data:' not in html and 'src="data:text' not in html


# --- Terminal colours ---


def test_colours_become_classes() -> None:
    assert ansi_html("a\x1b[1;31mb\x1b[0mc") == 'a<span class="ansi-red ansi-bold">b</span>c'
    assert ansi_html("\x1b[7mx") == '<span class="ansi-inverse ansi-on-inverse">x</span>'


def test_colours_of_the_256_become_the_nearest_of_the_16() -> None:
    assert ansi_html("\x1b[38;5;28mx") == '<span class="ansi-green">x</span>'
    assert nearest(250, 100, 100) == "bright-red"
    assert nearest(128, 128, 128) == "bright-black"


@given(st.text(st.sampled_from("\x1b[]0123456789;:mKJ<>&\"'ab\x07\x9b\n"), max_size=80))
def test_any_sequence_ends_as_balanced_escaped_text(text: str) -> None:
    drawn = ansi_html(text)
    assert drawn.count("<span") == drawn.count("</span>")
    assert "\x1b" not in drawn and "<a" not in drawn and "<b" not in drawn
    assert "\x1b" not in ansi_text(text)


def test_text_without_its_colours_is_what_is_copied() -> None:
    assert ansi_text(ANSI).startswith("plain bold red green on inverse both grey gone link")


# --- Outputs ---


def test_the_richest_type_is_drawn() -> None:
    assert mime_of(result({"text/plain": "x", "text/html": "y", TABLE_MIME: TABLE})) == TABLE_MIME
    assert (
        mime_of(result({"text/plain": "x"}, files={"image/png": {"url": "/", "size_bytes": 1}}))
        == "image/png"
    )
    assert mime_of(result({})) == ""


def test_a_table_says_how_many_rows_there_are_and_marks_what_is_missing() -> None:
    html = item_html(result({TABLE_MIME: TABLE}))
    assert "48,210 rows × 5 columns, 1 to 4 shown" in html
    assert '<span class="is-missing">missing</span>' in html
    assert 'aria-sort="descending"' in html
    assert html.count("<tr>") == 5


@pytest.mark.parametrize("name", STATIC_OUTPUTS)
def test_no_output_is_taken_for_markup(name: str) -> None:
    html = str(outputs_html("c1", [STATIC_OUTPUTS[name]]))
    assert "<script" not in html
    assert " style=" not in html
    assert "window.hurt=1</script>" not in html
    assert "<img src=x onerror" not in html.replace('"', "")


def test_an_error_leads_to_its_line_and_folds_the_library() -> None:
    html = item_html(KEY_ERROR)
    assert "<b>KeyError: &#x27;target&#x27;</b>" in html
    assert 'data-goto-number="9" data-goto-line="3">cell 9, line 3</a>' in html
    assert "<summary>2 library frames</summary>" in html
    assert "Traceback (most" not in html


def test_an_error_that_was_cut_leads_to_the_file_that_has_the_whole() -> None:
    assert '<a class="text-button" href="/outputs/1/2/">' in item_html(STATIC_OUTPUTS["error with file"])


def test_a_chart_without_script_is_its_picture_or_a_word_about_it() -> None:
    assert "needs JavaScript" in item_html(STATIC_OUTPUTS["plotly"])
    assert "<img" in item_html(STATIC_OUTPUTS["vega with picture"])


def test_the_size_of_a_picture_is_read_from_its_header() -> None:
    assert png_size(png(640, 480)) == (640, 480)
    assert png_size("AAAA") is None
    assert png_size("not base64!") is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (12_345, "12 KB"), (2_100_000, "2.1 MB")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert size_words(size) == words


def test_numbers_of_a_column_share_their_decimals() -> None:
    decimals = number_style([489.0, 2650.5, None, 3])
    assert [cell_text(value, decimals) for value in (489.0, 2650.5, 3)] == ["489.0", "2650.5", "3.0"]
    assert number_style([1.5e-7, 2.0]) is None
    assert cell_text(-0.015625, 4) == "-0.0156"
    assert cell_text(0.03125, 4) == "0.0313"


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.0, "12"), (1e-5, "0.00001"), (1e-7, "1e-7"), (1e21, "1e+21"), (1e20, "1" + "0" * 20)],
)
def test_numbers_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    assert number_text(value) == text


# --- Words and policy ---


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(None, ""), (420, "0.42 s"), (12_400, "12.4 s"), (72_000, "1 min 12 s"), (7_500_000, "2 h 5 min")],
)
def test_durations_in_words(milliseconds: int | None, words: str) -> None:
    assert cell_words.duration_words(milliseconds) == words


def test_names_and_people_in_notes_are_escaped() -> None:
    state = {
        "status": "idle",
        "freshness": "current",
        "reason": {"kind": "changed", "cell": "a", "name": HOSTILE, "by": HOSTILE},
    }
    cell = {
        "id": "b",
        "type": "python",
        "number": 2,
        "definitions": [HOSTILE],
        "references": [],
        "state": state,
    }
    view = cell_words.view_of(cell, {"a": 1, "b": 2}, {})
    for html in (view.notes, view.definitions):
        assert "<script" not in html and "<img" not in html
    assert "Ran because" in view.notes


def test_of_many_names_a_cell_shows_the_first_and_counts_the_others() -> None:
    cell = {"id": "b", "type": "python", "number": 2, "references": [], "state": {"status": "idle", "freshness": "new"}}
    few, many = (
        cell_words.view_of(cell | {"definitions": [f"n{i}" for i in range(count)]}, {"b": 2}, {}).definitions
        for count in (cell_words.NAMES_SHOWN, cell_words.NAMES_SHOWN + 2)
    )
    assert few.count("<a ") == many.count("<a ") == cell_words.NAMES_SHOWN
    assert "<button" not in few and '"2 more names">+2</button>' in many


def test_the_frames_policy_names_our_origin_and_lets_nothing_out() -> None:
    policy = frame_csp("https://books.example.org")
    assert "sandbox allow-scripts;" in policy and "allow-same-origin" not in policy
    assert "connect-src 'none'" in policy and "form-action 'none'" in policy
    assert "script-src 'unsafe-inline' 'unsafe-eval' blob: https://books.example.org/static/" in policy


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"failed": 1, "stale": 3, "current": 9}, ("failed", "failed", "1 failed, 3 stale")),
        ({"running": 1, "queued": 4, "stale": 2}, ("running", "running", "1 running, 4 queued")),
        ({"stale": 2}, ("stale", "stale", "All stale")),
        ({"stale": 2, "disabled": 1, "current": 1}, ("stale", "stale", "2 stale")),
        ({"current": 2, "new": 1}, ("new", "new", "1 not run")),
        ({"current": 2, "disabled": 1}, ("current", "check", "All current")),
        ({"new": 2}, ("new", "new", "Never run")),
        ({}, None),
    ],
)
def test_the_list_says_first_what_needs_somebody(
    counts: dict[str, int], words: tuple[str, ...] | None
) -> None:
    assert list_words.counts_view(counts) == words


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0, "now"), (0.1, "6 min ago"), (3, "3 h ago"), (30, "yesterday"), (24 * 40, "30 Jan")],
)
def test_how_long_ago_in_words(hours: float, words: str) -> None:
    now = datetime(2026, 3, 11, 12, tzinfo=UTC)
    assert list_words.ago_words(now - timedelta(hours=hours), now) == words


def test_numbers_of_a_column_have_as_many_decimals_as_they_need_and_no_noise() -> None:
    assert table_html.number_style([17.5, 23.400000000000002, 2650.0]) == 1
    assert table_html.number_style([0.1 + 0.2, 102086.40000000001]) == 1
    assert table_html.number_style([31.25, 7]) == 2
    assert table_html.number_style([1 / 3, 2650.0]) == 6
    assert table_html.number_style([1e-5]) is None


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (22, "22nd")]
)
def test_places_in_the_queue(number: int, words: str) -> None:
    assert cell_words.ordinal(number) == words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"freshness": "stale", "stale_because": {"kind": "edited"}}, "Older than the code"),
        ({"freshness": "stale", "stale_because": {"kind": "upstream", "cell": "a", "name": "x"}}, "cell 1"),
        ({"freshness": "stale", "stale_because": {"kind": "interrupted"}}, "was stopped"),
        ({"freshness": "failed", "outcome": "interrupted"}, "Stopped before its end"),
        ({"freshness": "stale", "stale_because": {"kind": "upstream", "cell": None, "name": "x"}}, "not defined any"),
        ({"freshness": "blocked", "blocked_by": [{"cell": "a", "name": "x"}]}, "Waits for"),
        ({"freshness": "failed", "outcome": "died"}, "The kernel ended"),
        ({"freshness": "new", "disabled_by": ["a"]}, "which is disabled"),
        ({"status": "running", "reason": {"kind": "needed", "cell": "a", "name": "x", "by": "Ana"}}, "needs"),
    ],
)
def test_a_note_says_why(more: dict[str, Any], words: str) -> None:
    cell = {
        "id": "b",
        "type": "python",
        "number": 2,
        "state": {"status": "idle", "freshness": "current"} | more,
    }
    assert words in cell_words.notes_html(cell, {"a": 1, "b": 2})
