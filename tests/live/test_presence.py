"""Several people in one cell, in real browsers on a real server: each sees where the others are in the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.test_main_path import RUN_S
from tests.live.test_structure import open_page, put_caret
from tests.servers import LiveServer

# Where the caret of a window stands, as the number of characters before it on its line, and its line from 1.
PLACES = """() => [...document.querySelectorAll(".cm-other-caret")].map((caret) => {
  const { left, top, height } = caret.getBoundingClientRect();
  const lines = [...caret.closest(".cm-editor").querySelectorAll(".cm-line")];
  const at = lines.findIndex((line) => line.getBoundingClientRect().bottom > top + height / 2);
  const range = document.createRange();
  range.selectNodeContents(lines[at]);
  const box = range.getBoundingClientRect();
  const unit = lines[at].textContent ? box.width / lines[at].textContent.length : 1;
  return [caret.textContent, at + 1, Math.round((left - box.left) / unit)];
}).sort()"""


@pytest.fixture
def shared(live_server: LiveServer) -> str:
    """The path of a notebook that Ana edits too."""
    live_server.session_cookies("ana")
    api = live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Shared"})
    path = f"notebooks/{made['id']}/"
    api("POST", f"{path}cells/", {"type": "python", "source": "first = 1\nsecond = 2"})
    assert api("POST", f"{path}members/", {"user": "ana", "role": "editor"})[0] == 201
    return path


@pytest.fixture
def anas_page(chromium: Any, live_server: LiveServer) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
    cookies = live_server.session_cookies("ana").items()
    context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies])
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def shows_carets(page: Any, places: list[list[Any]]) -> None:
    page.wait_for_function(
        f"(wanted) => JSON.stringify(({PLACES})()) === JSON.stringify(wanted)", arg=places, timeout=RUN_S
    )


def test_each_sees_the_others_caret_and_it_moves_with_the_text(
    browser_page: Any, anas_page: Any, live_server: LiveServer, shared: str
):
    for page in (browser_page, anas_page):
        open_page(page, live_server, shared)
    put_caret(browser_page, 1, ["Control+Home", "ArrowRight", "ArrowRight"])
    shows_carets(anas_page, [["me", 1, 2]])
    put_caret(anas_page, 1, ["Control+End"])
    shows_carets(browser_page, [["ana", 2, 10]])
    browser_page.keyboard.type("zzz")
    shows_carets(anas_page, [["me", 1, 5]])
    browser_page.keyboard.press("Home")
    browser_page.keyboard.press("Enter")
    shows_carets(anas_page, [["me", 2, 0]])
    shows_carets(browser_page, [["ana", 3, 10]])
    anas_page.keyboard.type("45")
    shows_carets(browser_page, [["ana", 3, 12]])
    assert "in cell 1" in anas_page.locator(".people").get_by_label("me, in cell 1").get_attribute("aria-label")


def test_a_selection_is_drawn_and_who_goes_away_takes_it_along(
    browser_page: Any, anas_page: Any, live_server: LiveServer, shared: str
):
    for page in (browser_page, anas_page):
        open_page(page, live_server, shared)
    put_caret(anas_page, 1, ["Control+Home", "Shift+Control+End"])
    browser_page.locator(".cm-other-selection").first.wait_for(timeout=RUN_S)
    colour = browser_page.locator(".cm-other-caret > span").evaluate("flag => getComputedStyle(flag).backgroundColor")
    assert colour not in ("rgba(0, 0, 0, 0)", "")
    anas_page.keyboard.press("ArrowLeft")
    browser_page.locator(".cm-other-selection").first.wait_for(state="detached", timeout=RUN_S)
    shows_carets(browser_page, [["ana", 1, 0]])
    anas_page.keyboard.press("Escape")
    shows_carets(browser_page, [])
    put_caret(anas_page, 1, ["Control+End"])
    shows_carets(browser_page, [["ana", 2, 10]])
    anas_page.goto("about:blank")
    shows_carets(browser_page, [])


def test_two_windows_of_one_person_see_each_other_and_typing_at_once_keeps_them_right(
    browser_page: Any, live_server: LiveServer, shared: str
):
    page, other = browser_page, browser_page.context.new_page()
    for window in (page, other):
        open_page(window, live_server, shared)
    put_caret(page, 1, ["Control+Home"])
    put_caret(other, 1, ["Control+End"])
    shows_carets(page, [["You", 2, 10]])
    shows_carets(other, [["You", 1, 0]])
    for letter in "abcdef":
        page.keyboard.type(letter)
        other.keyboard.type(letter)
    shows_carets(page, [["You", 2, 16]])
    shows_carets(other, [["You", 1, 6]])
    assert page.locator(".people .person").count() == 1
