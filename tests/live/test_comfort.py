"""Small things of the page that one notices when they are wrong, on a real server in a real browser."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.live.test_main_path import RUN_S
from tests.live.test_structure import open_page, put_caret
from tests.servers import LiveServer


def notebook(live_server: LiveServer, *sources: str, run: bool = False) -> str:
    """The path of a new notebook of these cells."""
    api = live_server.api()
    path = f"notebooks/{api('POST', 'notebooks/', {'name': 'Comfort'})[1]['id']}/"
    for source in sources:
        assert api("POST", f"{path}cells/", {"type": "python", "source": source})[0] == 201
    if run:
        assert api("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] in ("ok", "error")
    return path


def test_an_empty_notebook_says_how_to_begin_and_begins(browser_page: Any, live_server: LiveServer):
    page = browser_page
    open_page(page, live_server, notebook(live_server))
    page.get_by_role("heading", name="This notebook is empty").wait_for(timeout=RUN_S)
    page.get_by_role("button", name="Python").click()
    page.locator("section.cell .cm-content:focus").wait_for(timeout=RUN_S)
    assert page.get_by_role("heading", name="This notebook is empty").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.type("dd")
    page.get_by_role("heading", name="This notebook is empty").wait_for(timeout=RUN_S)


def test_a_long_first_line_takes_one_row_of_the_outline_with_its_state_in_sight(
    browser_page: Any, live_server: LiveServer
):
    page = browser_page
    open_page(page, live_server, notebook(live_server, "print('" + "w" * 300 + "')\nraise ValueError", run=True))
    row = page.locator(".outline a", has_text="print")
    row.wait_for(timeout=RUN_S)
    assert row.bounding_box()["height"] < 32
    mark = row.locator(".state").bounding_box()
    panel = page.locator(".panel").bounding_box()
    assert mark["x"] + mark["width"] <= panel["x"] + panel["width"]


def test_a_window_that_gets_narrow_is_not_covered_by_the_panel(browser_page: Any, live_server: LiveServer):
    page = browser_page
    open_page(page, live_server, notebook(live_server, "a = 1"))
    page.locator(".panel").wait_for(timeout=RUN_S)
    page.set_viewport_size({"width": 700, "height": 900})
    page.locator(".panel").wait_for(state="hidden", timeout=RUN_S)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator(".panel").wait_for(timeout=RUN_S)


def test_paging_by_keyboard_goes_on_to_the_last_page(browser_page: Any, live_server: LiveServer):
    page = browser_page
    rows = "import pandas as pd\npd.DataFrame({'n': range(60)})"
    open_page(page, live_server, notebook(live_server, rows, run=True))
    page.get_by_role("button", name="Next page").focus()
    last = page.locator(".pages").inner_text().rsplit(" ", 1)[-1]
    for number in range(2, int(last) + 1):
        page.keyboard.press("Enter")
        page.locator(".pages", has_text=f"Page {number} of {last}").wait_for(timeout=RUN_S)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Next page"
    assert page.get_by_role("button", name="Next page").get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="n", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator('th[aria-sort="ascending"]').wait_for(timeout=RUN_S)
    assert page.evaluate("document.activeElement.className") == "table-sort"


def test_an_editor_that_is_left_shows_no_bracket(browser_page: Any, live_server: LiveServer):
    page = browser_page
    open_page(page, live_server, notebook(live_server, "f(1)", "b = 1"))
    put_caret(page, 1, ["Control+End"])
    box = page.locator(".cm-matchingBracket").first
    box.wait_for(timeout=RUN_S)
    outline = "bracket => getComputedStyle(bracket).outlineStyle"
    assert box.evaluate(outline) == "solid"
    put_caret(page, 2, [])
    assert [one.evaluate(outline) for one in page.locator(".cm-matchingBracket").all()] in ([], ["none"] * 2)


def test_a_very_long_line_says_that_there_is_more_and_wraps(browser_page: Any, live_server: LiveServer):
    page = browser_page
    open_page(page, live_server, notebook(live_server, "print('word ' * 1000)", run=True))
    text = page.locator(".output-text")
    before = text.bounding_box()["height"]
    page.get_by_role("button", name="Wrap long lines").click()
    assert text.bounding_box()["height"] > 5 * before
    assert text.evaluate("box => box.scrollWidth <= box.clientWidth")
    page.get_by_role("button", name="Do not wrap lines").click()
    assert text.bounding_box()["height"] == before


def test_without_javascript_nothing_that_needs_it_is_offered(
    chromium: Any, live_server: LiveServer, browser_page: Any
):
    path = notebook(live_server, "a = 1\nprint('seen')", run=True)
    cookies = browser_page.context.cookies()
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{live_server.url}/{path}")
    assert page.evaluate("matchMedia('(scripting: none)').matches") is True
    assert page.locator(".output-text", has_text="seen").is_visible()
    seen = [one.inner_text() or one.get_attribute("aria-label") for one in page.get_by_role("button").all()]
    assert seen == ["Comfort", "Python"]
    context.close()


@pytest.mark.parametrize(("option", "left"), [("Match case", "Rate"), ("Whole word", "rates")])
def test_replacing_spares_what_the_options_leave_out(
    browser_page: Any, live_server: LiveServer, option: str, left: str
):
    page = browser_page
    path = notebook(live_server, f"rate = 1\n{left} = 2")
    open_page(page, live_server, path)
    page.locator('section.cell[data-number="1"]').focus()
    page.keyboard.press("Control+Shift+F")
    page.get_by_role("textbox", name="Find in all cells").fill("rate")
    page.get_by_text("2 places").wait_for(timeout=RUN_S)
    page.get_by_role("button", name=option).click()
    page.get_by_text("1 place", exact=True).wait_for(timeout=RUN_S)
    page.get_by_role("textbox", name="Replace with").fill("speed")
    page.get_by_role("button", name="Replace all").click()
    page.locator(".source", has_text="speed").wait_for(timeout=RUN_S)
    wanted = [f"speed = 1\n{left} = 2"]
    until = time.monotonic() + RUN_S / 1000
    while [cell["source"] for cell in live_server.api()("GET", path)[1]["cells"]] != wanted:
        assert time.monotonic() < until
        page.wait_for_timeout(50)
