"""A parameter one can drag: the literal in the source follows, and so does what depends on it, on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.test_main_path import RUN_S
from tests.live.test_structure import open_page, put_caret
from tests.servers import LiveServer

RATE = 'rate = 2  #@param {type:"slider", min:0, max:10, step:1}'


@pytest.fixture
def turned(live_server: LiveServer) -> str:
    """The path of a notebook with a slider and a cell that shows it, both run; Ana may run it."""
    live_server.session_cookies("ana")
    api = live_server.api()
    path = f"notebooks/{api('POST', 'notebooks/', {'name': 'Turn'})[1]['id']}/"
    for source in (RATE, "print('ten times', rate * 10)"):
        api("POST", f"{path}cells/", {"type": "python", "source": source})
    assert api("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] == "ok"
    return path


@pytest.fixture
def anas_page(chromium: Any, live_server: LiveServer) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 360, "height": 800})
    cookies = live_server.session_cookies("ana").items()
    context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies])
    yield context.new_page()
    context.close()


def shows(page: Any, text: str) -> None:
    page.locator('section.cell[data-number="2"] [data-part="output"]', has_text=text).wait_for(timeout=RUN_S)


def stored(live_server: LiveServer, path: str, source: str) -> None:
    until = time.monotonic() + RUN_S / 1000
    while live_server.api()("GET", path)[1]["cells"][0]["source"] != source:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_turning_by_keyboard_and_by_pointer_edits_the_source_and_runs_what_follows(
    browser_page: Any, live_server: LiveServer, turned: str
):
    page, other = browser_page, browser_page.context.new_page()
    for window in (page, other):
        open_page(window, live_server, turned)
    slider = page.get_by_role("slider", name="rate")
    slider.focus()
    page.keyboard.press("ArrowRight")
    shows(page, "ten times 30")
    page.keyboard.press("End")
    shows(page, "ten times 100")
    stored(live_server, turned, RATE.replace("2", "10", 1))
    other.locator(".control-value", has_text="10").wait_for(timeout=RUN_S)
    assert other.get_by_role("slider", name="rate").input_value() == "10"
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    for part in (0.9, 0.7, 0.5):
        page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
    shows(page, "ten times 50")
    page.mouse.up()
    stored(live_server, turned, RATE.replace("2", "5", 1))
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "rate"


def test_typing_makes_moves_and_takes_away_a_slider(browser_page: Any, live_server: LiveServer, turned: str):
    page = browser_page
    open_page(page, live_server, turned)
    put_caret(page, 1, ["Control+Home"])
    for _ in range(len("rate = ")):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    page.keyboard.type("7")
    page.locator(".control-value", has_text="7").wait_for(timeout=RUN_S)
    assert page.get_by_role("slider", name="rate").input_value() == "7"
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.get_by_role("slider", name="rate").wait_for(state="detached", timeout=RUN_S)


@pytest.mark.parametrize("role", ["runner", "viewer"])
def test_who_may_run_may_turn_it_and_who_may_read_sees_it(
    anas_page: Any, live_server: LiveServer, turned: str, role: str
):
    page = anas_page
    assert live_server.api()("POST", f"{turned}members/", {"user": "ana", "role": role})[0] == 201
    open_page(page, live_server, turned)
    slider = page.get_by_role("slider", name="rate")
    assert slider.is_disabled() == (role == "viewer")
    if role == "runner":
        slider.focus()
        page.keyboard.press("Home")
        shows(page, "ten times 0")
        stored(live_server, turned, RATE.replace("2", "0", 1))
