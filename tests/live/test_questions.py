"""`input()` in real browsers: after a reload, in two windows, and while one types somewhere else."""

from __future__ import annotations

from typing import Any

from tests.live.test_main_path import RUN_S
from tests.live.test_structure import open_page, put_caret
from tests.servers import LiveServer


def test_a_question_is_there_after_a_reload_in_every_window_and_takes_no_keys(
    browser_page: Any, live_server: LiveServer
):
    page, other = browser_page, browser_page.context.new_page()
    api = live_server.api()
    path = f"notebooks/{api('POST', 'notebooks/', {'name': 'Asks'})[1]['id']}/"
    cells = []
    for source in ("print('Hello', input('Who?'))", "b = 1"):
        cells.append(api("POST", f"{path}cells/", {"type": "python", "source": source})[1]["id"])
    for window in (page, other):
        open_page(window, live_server, path)
    put_caret(other, 2, ["Control+End"])
    other.keyboard.type("2")
    assert api("POST", f"{path}runs/", {"cells": [cells[0]]})[0] == 202
    page.get_by_label("Who?").wait_for(timeout=RUN_S)
    other.get_by_label("Who?").wait_for(timeout=RUN_S)
    other.keyboard.type("3")
    other.locator('section.cell[data-number="2"] .cm-line', has_text="b = 123").wait_for(timeout=RUN_S)
    page.reload()
    page.get_by_label("Who?").fill("Maya")
    page.keyboard.press("Enter")
    for window in (page, other):
        window.locator(".output-text", has_text="Hello Maya").wait_for(timeout=RUN_S)
        window.get_by_label("Who?").wait_for(state="detached", timeout=RUN_S)
