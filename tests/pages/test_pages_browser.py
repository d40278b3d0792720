"""The pages in a browser: readable without script, within the policy, on any screen, by everyone."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.template.loader import render_to_string
from django.test import RequestFactory, override_settings
from playwright.sync_api import Browser, Page

from notebooks_app import rendering
from tests.pages.conftest import Server
from tests.pages.samples import KEY_ERROR, STATIC_OUTPUTS, TABLE, TABLE_MIME, png, result, stream

pytestmark = pytest.mark.browser

IDS = [str(uuid.UUID(int=number)) for number in range(1, 12)]
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PROSE = "# Spring\n\nWith $x^2$ and a [link](https://example.org).\n\n|a|b|\n|-|-:|\n|1|2|\n\n> said"
LONG = "value = " + " + ".join(f"first_long_name_{number}" for number in range(30))


class Reader:
    """The person who is signed in."""

    is_authenticated = is_staff = True

    def __str__(self) -> str:
        return "maya"


def state(freshness: str = "current", status: str = "idle", **more: Any) -> dict[str, Any]:
    known = {"status": status, "freshness": freshness, "loaded": True, "duration_ms": 420, "errors": []}
    return known | {"finished_at": "2026-03-09T14:02:11+00:00", "outcome": "ok"} | more


def cell(
    number: int, source: str, of: dict[str, Any], outputs: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    known = {
        "id": IDS[number - 1],
        "number": number,
        "type": "python",
        "source": source,
        "version": 1,
        "state": of,
    }
    made = known | {"definitions": [], "references": [], "outputs": outputs, "far": False} | more
    made["source_html"] = rendering.highlight(source, made["type"])
    if made["type"] == "markdown":
        made["markdown_html"] = rendering.markdown_html(source)
    return made


def cells() -> list[dict[str, Any]]:
    changed = {"kind": "changed", "cell": IDS[1], "name": "rate", "by": "Ana"}
    blocked_by = [{"cell": IDS[4], "name": "gap"}]
    duplicate = {
        "kind": "duplicate",
        "message": "x is also defined by",
        "cells": [IDS[1]],
        "names": ["x"],
        "line": 1,
    }
    return [
        cell(1, PROSE, state(), [], type="markdown"),
        cell(2, "rate = 0.15", state(), [], definitions=["rate"]),
        cell(3, LONG, state(reason=changed), [result({TABLE_MIME: TABLE})], references=["rate"]),
        cell(4, "SELECT {rate}", state("stale"), [stream("wide " * 80)], type="sql", result_name="segments"),
        cell(5, "gap = 1", state("failed", outcome="error"), [KEY_ERROR], definitions=["gap"]),
        cell(6, "gap.plot()", state("blocked", blocked_by=blocked_by), []),
        cell(7, "slow()", state("new", "running"), [result({"image/png": png(1200, 300)})]),
        cell(8, "next()", state("new", "queued", place=1), []),
        cell(
            9,
            "x = 1",
            state("failed", errors=[duplicate]),
            [STATIC_OUTPUTS["plotly"], STATIC_OUTPUTS["json"]],
        ),
        cell(10, "off()", state("new"), [], disabled=True),
        cell(11, "far = 1\nrest = 2", state(), [], far=True, head="far = 1"),
    ]


def context(**more: Any) -> dict[str, Any]:
    request = RequestFactory().get("/")
    request.user = Reader()  # type: ignore[assignment]
    return {"request": request, "csp_nonce": "n0", "signup_open": True} | more


def notebook_page() -> str:
    book = {"id": "1", "name": "Spring pricing review", "run_mode": "auto", "demo_update_available": True}
    person = {"id": 1, "name": "Ana Lima", "initials": "AL", "color": 3}
    kernel = {"state": "running", "detail": "Running cell 7"}
    more = {
        "notebook": book,
        "cells": cells(),
        "people": [person],
        "kernel": kernel,
        "page_data": {"cells": []},
    }
    return render_to_string("notebooks/notebook.html", context(**more))


def list_page() -> str:
    row = {"id": "1", "name": "Spring pricing review", "kind": "demo", "cell_count": 3, "owner": "Ana Lima"}
    row |= {"updated_at": datetime(2026, 1, 2, tzinfo=UTC), "state_counts": {"failed": 1, "stale": 3}}
    row |= {"may_rename": True, "may_delete": True}
    return render_to_string("notebooks/list.html", context(notebooks=[row], q=""))


@pytest.fixture(scope="module")
def pages(page_server: Server) -> Iterator[Server]:
    with override_settings(ROOT_URLCONF="tests.pages.page_urls"):
        page_server.pages |= {
            "/notebook": notebook_page().replace("/static/js/notebook.js", "/static/theme.js"),
            "/list": list_page(),
            "/404": render_to_string("404.html", context()),
            "/500": render_to_string("500.html"),
        }
        yield page_server


@pytest.fixture
def look(chromium: Browser, pages: Server) -> Iterator[Any]:
    """Opens a page in a context of its own; no breach of the policy may have been seen at the end."""
    contexts = []
    breaches: list[str] = []

    def open_page(path: str, **options: Any) -> Page:
        made = chromium.new_context(**options)
        contexts.append(made)
        page = made.new_page()
        page.on(
            "console", lambda line: breaches.append(line.text) if "Security Policy" in line.text else None
        )
        page.goto(pages.url + path)
        return page

    yield open_page
    for made in contexts:
        made.close()
    assert breaches == []


def test_the_notebook_reads_without_javascript(look: Any) -> None:
    text = look("/notebook", java_script_enabled=False).locator("body").inner_text()
    for words in (
        "Ran because rate changed in cell 2 · Ana",
        "Waits for gap from cell 5.",
        "KeyError: 'target'",
        "48,210 rows × 5 columns",
        "This output is a chart: it needs JavaScript.",
        "1st in line",
        "This page is for reading",
    ):
        assert words in text


def test_a_far_cell_has_its_first_line_only(look: Any) -> None:
    text = look("/notebook", java_script_enabled=False).locator(".cell.is-far").text_content()
    assert "far = 1" in text
    assert "rest = 2" not in text


@pytest.mark.parametrize("path", ["/notebook", "/list", "/404", "/500"])
@pytest.mark.parametrize("width", [320, 760, 1440])
def test_no_page_scrolls_sideways(look: Any, path: str, width: int) -> None:
    page = look(path, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("path", ["/notebook", "/list", "/404"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_pass_axe(look: Any, path: str, scheme: str) -> None:
    page = look(path, color_scheme=scheme, viewport={"width": 1440, "height": 900})
    # Browsers make what scrolls focusable by themselves; a tab stop at each short output would be in the way
    wanted = {"runOnly": LEVELS, "rules": {"scrollable-region-focusable": {"enabled": False}}}
    found = Axe().run(page, options=wanted).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in found] == []


def test_pages_have_no_style_attributes_or_inline_script(pages: Server) -> None:
    for path in ("/notebook", "/list", "/404", "/500"):
        html = pages.pages[path]
        assert not re.search(r"<[^>]* (style|on\w+)=", html)
        assert not re.findall(r"<script(?![^>]* src=)(?![^>]*application/json)", html)


def test_paper_is_light_and_without_tools(look: Any) -> None:
    page = look("/notebook", color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    for part in (".topbar", ".side", ".cell-gutter", ".insert"):
        assert not page.locator(part).first.is_visible()
    assert page.locator(".cell-note").first.is_visible()


def test_the_theme_button_is_kept_in_a_cookie(look: Any) -> None:
    page = look("/list")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.cookie") == "theme=dark"


def test_a_notebook_is_renamed_and_deleted_without_javascript(look: Any) -> None:
    page = look("/list", java_script_enabled=False)
    page.locator(".row-menu > summary").click()
    assert page.get_by_role("textbox", name="New name of Spring pricing review").is_visible()
    assert page.get_by_role("button", name="Delete “Spring pricing review”").is_visible()
