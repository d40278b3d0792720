"""A long notebook in a real browser: cells far from the window come when somebody needs them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_main_path import RUN_S, cell
from tests.servers import LiveServer

COUNT = 300


@pytest.fixture(scope="module")
def long(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a notebook of 300 cells."""
    sources = [f"value_{n} = {n}\nneedle_{n} = value_{n}" for n in range(1, COUNT + 1)]
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for source in sources
    ]
    path: Path = tmp_path_factory.mktemp("files") / "long.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    printed = live_server.manage("import_notebooks", str(path))
    return printed[printed.index("/notebooks/") :].split()[0].rstrip(".,")


def source_of(live_server: LiveServer, long: str, number: int) -> str:
    status, body = live_server.api()("GET", long.lstrip("/"))
    assert status == 200
    return str(body["cells"][number - 1]["source"])


def open_long(page: Any, live_server: LiveServer, long: str) -> None:
    page.goto(live_server.url + long)
    page.locator("html[data-ui-ready]").wait_for(timeout=RUN_S)
    page.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(timeout=RUN_S)


def test_the_page_is_light_until_one_goes_there(browser_page: Any, live_server: LiveServer, long: str):
    page = browser_page
    open_long(page, live_server, long)
    assert page.locator("section.cell.is-far").count() > COUNT - 60
    assert page.locator("main *").count() < 3_000
    cell(page, 250).evaluate("element => element.scrollIntoView()")
    cell(page, 250).locator('[data-part="source"]', has_text="needle_250").wait_for(timeout=RUN_S)
    assert cell(page, 250).locator(".tok-number").first.inner_text() == "250"
    assert page.locator("section.cell.is-far").count() > COUNT / 2


def test_the_last_cell_is_reached_and_edited_by_keys(browser_page: Any, live_server: LiveServer, long: str):
    page = browser_page
    open_long(page, live_server, long)
    page.evaluate("document.querySelector('section.cell[data-number=\"299\"]').focus()")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    cell(page, COUNT).locator(".cm-content:focus").wait_for(timeout=RUN_S)
    page.keyboard.press("Control+End")
    page.keyboard.type("\nprint('the end')")
    page.keyboard.press("Control+Enter")
    cell(page, COUNT).locator('[data-part="output"]', has_text="the end").wait_for(timeout=RUN_S)
    assert source_of(live_server, long, COUNT).endswith("needle_300 = value_300\nprint('the end')")


def test_find_and_replace_reaches_all_cells(browser_page: Any, live_server: LiveServer, long: str):
    page = browser_page
    open_long(page, live_server, long)
    page.keyboard.press("Control+Shift+F")
    page.get_by_label("Find in all cells").fill("needle_21")
    status = page.locator(".find-bar [role=status]")
    status.get_by_text("11 places", exact=True).wait_for(timeout=RUN_S)
    page.get_by_label("Replace with").fill("thread_21")
    page.get_by_role("button", name="Replace all").click()
    status.get_by_text("Replaced 11 places in 11 cells").wait_for(timeout=RUN_S)
    until = time.monotonic() + 20
    while source_of(live_server, long, 219) != "value_219 = 219\nthread_219 = value_219":
        assert time.monotonic() < until
        page.wait_for_timeout(100)
    assert source_of(live_server, long, 215) == "value_215 = 215\nthread_215 = value_215"


def test_a_far_cell_that_another_window_changes_is_right_when_it_comes_near(
    browser_page: Any, live_server: LiveServer, long: str
):
    page, other = browser_page, browser_page.context.new_page()
    open_long(page, live_server, long)
    open_long(other, live_server, long)
    cell(other, 150).evaluate("element => element.scrollIntoView()")
    cell(other, 150).locator(".source", has_text="value_150").click()
    other.keyboard.press("Control+Home")
    other.keyboard.type("first = 1\n")
    other.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(timeout=RUN_S)
    cell(page, 150).evaluate("element => element.scrollIntoView()")
    cell(page, 150).locator('[data-part="source"]', has_text="first = 1").wait_for(timeout=RUN_S)
    cell(page, 150).locator(".source").click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("zeroth = 0\n")
    cell(other, 150).locator('[data-part="source"]', has_text="zeroth = 0").wait_for(timeout=RUN_S)
