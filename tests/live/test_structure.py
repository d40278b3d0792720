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
    page.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(timeout=RUN_S)


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
