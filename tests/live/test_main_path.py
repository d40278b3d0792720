"""The main job in a real browser: import a notebook, open it, run it all, edit a cell in the middle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers import LiveServer

RUN_S = 60_000


def notebook_file(folder: Path) -> Path:
    sources = [
        "import pandas as pd\nfrom vega_datasets import data",
        "cars = data.cars()\ncars.head(20)",
        "limit = 100",
        "strong = cars[cars.Horsepower > limit]\nlen(strong)",
        "unrelated = 'not touched'\nunrelated",
        "average = strong.Miles_per_Gallon.mean()\nround(average, 1)",
    ]
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for source in sources
    ]
    cells.insert(0, {"cell_type": "markdown", "source": "# Cars\nwith $x^2$", "metadata": {}})
    path = folder / "cars.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    return path


def cell(page: Any, number: int) -> Any:
    return page.locator(f'section.cell[data-number="{number}"]')


def wait_state(page: Any, number: int, state: str) -> None:
    page.locator(f'section.cell[data-number="{number}"][data-state="{state}"]').wait_for(timeout=RUN_S)


@pytest.fixture(scope="module")
def imported(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of an imported notebook."""
    path = notebook_file(tmp_path_factory.mktemp("files"))
    printed = live_server.manage("import_notebooks", str(path))
    again = live_server.manage("import_notebooks", str(path))
    assert "1 imported" in printed
    assert "1 unchanged" in again
    found = re.search(r"/notebooks/[0-9a-f-]{36}/", printed)
    assert found is not None
    return found[0]


def test_an_edit_in_the_middle_runs_only_what_depends_on_it(browser_page: Any, live_server: LiveServer, imported: str):
    page = browser_page
    page.goto(live_server.url + imported)
    page.click('[data-action="run_all"]')
    for number in range(2, 8):
        wait_state(page, number, "current")
    before = cell(page, 6).locator('[data-part="times"]').inner_text()
    first = cell(page, 7).locator('[data-part="output"]').inner_text()

    cell(page, 4).locator(".source").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("limit = 150")
    wait_state(page, 7, "stale")
    assert cell(page, 6).get_attribute("data-state") == "current"
    page.keyboard.press("Control+Enter")
    wait_state(page, 7, "current")

    assert cell(page, 7).locator('[data-part="output"]').inner_text() != first
    assert "limit changed in cell 4" in cell(page, 5).locator('[data-part="notes"]').inner_text()
    assert cell(page, 6).locator('[data-part="times"]').inner_text() == before


def test_a_second_window_sees_what_is_typed_and_what_runs(browser_page: Any, live_server: LiveServer, imported: str):
    page, other = browser_page, browser_page.context.new_page()
    page.goto(live_server.url + imported)
    other.goto(live_server.url + imported)
    cell(page, 6).locator(".source").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("unrelated = 'seen by all'\nprint(unrelated)")
    page.keyboard.press("Control+Enter")
    wait_state(page, 6, "current")
    other.locator('section.cell[data-number="6"] [data-part="output"]', has_text="seen by all").wait_for(timeout=RUN_S)
    assert "seen by all" in cell(other, 6).locator('[data-part="source"]').inner_text()


def test_a_restarted_server_shows_all_that_was_there(browser_page: Any, live_server: LiveServer, imported: str):
    page = browser_page
    page.goto(live_server.url + imported)
    cell(page, 6).locator(".source").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("print('kept over a restart')\nunrelated = 1")
    page.keyboard.press("Control+Enter")
    page.locator('section.cell[data-number="6"] [data-part="output"]', has_text="kept over").wait_for(timeout=RUN_S)
    live_server.api("me")  # the run's end is saved before a later request is answered
    page.wait_for_timeout(500)
    live_server.kill()
    live_server.start()
    page.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(timeout=RUN_S)
    page.reload()
    assert "kept over a restart" in cell(page, 6).locator('[data-part="output"]').inner_text()
    cell(page, 7).locator('[data-part="run"]').click()
    wait_state(page, 7, "current")


def test_the_page_is_readable_without_javascript(chromium: Any, live_server: LiveServer, imported: str):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(live_server.login_url)
    page.goto(live_server.url + imported)
    assert "with" in cell(page, 1).inner_text()
    assert page.locator("section.cell table").count() >= 1
    assert page.locator("section.cell .tok-keyword").count() >= 2
    context.close()
