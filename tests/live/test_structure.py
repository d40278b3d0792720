"""Inserting, deleting, undoing and pasting cells in a real browser on a real server, seen by another window too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.test_main_path import RUN_S
from tests.servers import LiveServer


@pytest.fixture
def letters(live_server: LiveServer) -> str:
    """The path of a notebook of four cells."""
    api = live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Letters"})
    for letter in "abcd":
        status, _ = api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": f"{letter} = 1"})
        assert status == 201
    return f"notebooks/{made['id']}/"


def open_page(page: Any, live_server: LiveServer, path: str) -> None:
    page.goto(f"{live_server.url}/{path}")
    page.locator("html[data-ui-ready]").wait_for(timeout=RUN_S)
    page.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(state="attached", timeout=RUN_S)


def shows(page: Any, sources: list[str]) -> None:
    """Wait until the page shows these sources, in this order and numbered from 1."""
    page.wait_for_function(
        """(wanted) => {
          const cells = [...document.querySelectorAll("section.cell")];
          const sources = cells.map((cell) => cell.querySelector('[data-part="source"]').innerText.trim());
          const numbers = cells.map((cell) => Number(cell.dataset.number));
          const given = cells.map((cell, at) => sources[at].includes("Python code") ? "" : sources[at]);
          return JSON.stringify(given) === JSON.stringify(wanted) && numbers.every((number, at) => number === at + 1);
        }""",
        arg=sources,
        timeout=RUN_S,
    )


def test_deleting_undoing_copying_and_duplicating_are_seen_in_every_window(
    browser_page: Any, live_server: LiveServer, letters: str
):
    page, other = browser_page, browser_page.context.new_page()
    for window in (page, other):
        open_page(window, live_server, letters)
        shows(window, ["a = 1", "b = 1", "c = 1", "d = 1"])
    page.locator('section.cell[data-number="2"]').focus()
    page.keyboard.type("dd")
    for window in (page, other):
        shows(window, ["a = 1", "c = 1", "d = 1"])
    page.keyboard.type("z")
    for window in (page, other):
        shows(window, ["a = 1", "b = 1", "c = 1", "d = 1"])
    page.locator('section.cell[data-number="1"]').focus()
    page.keyboard.type("cv")
    for window in (page, other):
        shows(window, ["a = 1", "a = 1", "b = 1", "c = 1", "d = 1"])
    page.keyboard.type("z")
    for window in (page, other):
        shows(window, ["a = 1", "b = 1", "c = 1", "d = 1"])
    page.keyboard.press("Shift+Z")
    for window in (page, other):
        shows(window, ["a = 1", "a = 1", "b = 1", "c = 1", "d = 1"])


def test_a_cell_that_a_program_adds_is_whole_and_runs(browser_page: Any, live_server: LiveServer, letters: str):
    page = browser_page
    open_page(page, live_server, letters)
    first = live_server.api()("GET", letters)[1]["cells"][0]["id"]
    added = {"type": "python", "source": "added = a + 1\nadded", "after": first}
    assert live_server.api()("POST", f"{letters}cells/", added)[0] == 201
    shows(page, ["a = 1", "added = a + 1\nadded", "b = 1", "c = 1", "d = 1"])
    page.locator('section.cell[data-number="2"] [data-part="run"]').click()
    page.locator('section.cell[data-number="2"] [data-part="output"]', has_text="2").wait_for(timeout=RUN_S)


def put_caret(page: Any, number: int, keys: list[str]) -> None:
    page.locator(f'section.cell[data-number="{number}"] .source').click()
    page.locator(f'section.cell[data-number="{number}"] .cm-content:focus').wait_for(timeout=RUN_S)
    for key in keys:
        page.keyboard.press(key)


def test_undoing_a_split_and_a_merge_gives_the_text_back(browser_page: Any, live_server: LiveServer, letters: str):
    page, other = browser_page, browser_page.context.new_page()
    for window in (page, other):
        open_page(window, live_server, letters)
    put_caret(page, 1, ["Control+End"])
    page.keyboard.type("\ntail = 2")
    page.keyboard.press("Home")
    page.keyboard.press("Control+Shift+-")
    for window in (page, other):
        shows(window, ["a = 1", "tail = 2", "b = 1", "c = 1", "d = 1"])
    page.keyboard.press("Escape")
    page.keyboard.type("z")
    for window in (page, other):
        shows(window, ["a = 1\ntail = 2", "b = 1", "c = 1", "d = 1"])
    page.locator('section.cell[data-number="2"]').focus()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+M")
    for window in (page, other):
        shows(window, ["a = 1\ntail = 2", "b = 1\nc = 1", "d = 1"])
    page.keyboard.type("z")
    for window in (page, other):
        shows(window, ["a = 1\ntail = 2", "b = 1", "c = 1", "d = 1"])


def test_typing_goes_nowhere_when_somebody_else_deletes_the_cell(
    browser_page: Any, live_server: LiveServer, letters: str
):
    page = browser_page
    open_page(page, live_server, letters)
    cells = live_server.api()("GET", letters)[1]["cells"]
    put_caret(page, 2, ["Control+End"])
    page.keyboard.type(" # an")
    assert live_server.api()("DELETE", f"{letters}cells/{cells[1]['id']}/")[0] in (200, 204)
    shows(page, ["a = 1", "c = 1", "d = 1"])
    page.keyboard.type("xa b dd y c v text")
    page.wait_for_timeout(300)
    shows(page, ["a = 1", "c = 1", "d = 1"])
    page.keyboard.press("ArrowDown")
    page.keyboard.type("dd")
    page.wait_for_function("() => document.querySelectorAll('section.cell').length === 2", timeout=RUN_S)


def test_long_output_scrolls_in_a_box_of_its_own(browser_page: Any, live_server: LiveServer, letters: str):
    page = browser_page
    open_page(page, live_server, letters)
    source = "for _i in range(5000):\n    print('line', _i)"
    live_server.api()("POST", f"{letters}cells/", {"type": "python", "source": source})
    item = page.locator('section.cell[data-number="5"] .output-item')
    page.locator('section.cell[data-number="5"] [data-part="run"]').click()
    item.get_by_text("line 4999").wait_for(timeout=RUN_S)
    assert item.bounding_box()["height"] < 800
    assert item.evaluate("element => element.scrollTop + element.clientHeight >= element.scrollHeight - 30")
    page.get_by_role("button", name="Show in full height").click()
    assert item.bounding_box()["height"] > 20_000


def test_what_is_pressed_before_the_scripts_are_up_is_done_when_they_are(
    browser_page: Any, live_server: LiveServer, letters: str
):
    page = browser_page
    held: list[Any] = []
    page.route("**/js/notebook.js", lambda route: held.append(route))
    page.goto(f"{live_server.url}/{letters}", wait_until="commit")
    page.locator('[data-action="run_all"]').click()
    assert page.locator('[data-action="run_all"].is-pending').count() == 1
    assert page.locator('section.cell[data-state="new"]').count() == 4
    held[0].continue_()
    page.locator('section.cell[data-number="4"][data-state="current"]').wait_for(timeout=RUN_S)
    assert page.locator(".is-pending").count() == 0


def test_a_dead_kernel_and_a_restart_are_said_where_one_looks(browser_page: Any, live_server: LiveServer, letters: str):
    page = browser_page
    for number in range(12):
        source = "import os\nos._exit(3)" if number == 11 else f"filler_{number} = {number}\n" + "# line\n" * 20
        live_server.api()("POST", f"{letters}cells/", {"type": "python", "source": source})
    open_page(page, live_server, letters)
    last = page.locator('section.cell[data-number="16"]')
    last.scroll_into_view_if_needed()
    last.locator('[data-part="run"]').click()
    notice = page.locator('[data-ui-notice="kernel"]')
    notice.wait_for(timeout=RUN_S)
    assert "cell 16" in notice.inner_text()
    assert page.evaluate("scrollY") > 500
    assert 0 < notice.bounding_box()["y"] < 300
    page.locator('section.cell[data-number="1"]').focus()
    page.keyboard.press("Control+Enter")
    page.locator('section.cell[data-number="1"][data-state="current"]').wait_for(timeout=RUN_S)
    page.locator('section.cell[data-number="1"]').focus()
    page.keyboard.type("00")
    page.locator(".toast", has_text="Variables are gone").get_by_role("button", name="Run all").wait_for(timeout=RUN_S)
