"""What one reads stays where it is while others edit and run: layout shifts, as the browser itself counts them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.test_main_path import RUN_S
from tests.live.test_structure import open_page
from tests.servers import LiveServer

SOURCES = [
    "rate = 1",
    "twice = rate * 2\nprint('twice', twice)",
    "import pandas as pd\nrows = pd.DataFrame({'n': range(4), 'x': [rate * k for k in range(4)]})\nrows",
    "SELECT n, x FROM rows WHERE n < 3",
    "print('the end', twice)",
]
# Every shift since the page is still, as the elements that moved; those after a press of this page's own count too.
WATCH = """() => {
  window.shifts = [];
  const say = ({ node, previousRect, currentRect }) =>
    [node?.className || node?.parentElement?.className, previousRect.x, previousRect.y, currentRect.x, currentRect.y];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifts.push([entry.value, ...entry.sources.map(say)]);
  }).observe({ type: "layout-shift" });
}"""


@pytest.fixture
def chain(live_server: LiveServer) -> tuple[str, str]:
    """The path of a notebook whose cells depend on the first, and the path of that cell; all of it has run."""
    api = live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Chain"})
    path = f"notebooks/{made['id']}/"
    assert api("PATCH", path, {"run_mode": "lazy"})[0] == 200
    for source in SOURCES:
        kind = "sql" if source.startswith("SELECT") else "python"
        assert api("POST", f"{path}cells/", {"type": kind, "source": source})[0] == 201
    assert api("POST", f"{path}runs/", {"all": True, "wait": True})[1]["run"]["outcome"] == "ok"
    return path, f"{path}cells/{api('GET', path)[1]['cells'][0]['id']}/"


def states(page: Any, *wanted: str) -> None:
    script = """(wanted) => {
      const states = [...document.querySelectorAll("section.cell")].map((cell) => cell.dataset.state);
      return JSON.stringify(states) === JSON.stringify(wanted);
    }"""
    page.wait_for_function(script, arg=list(wanted), timeout=RUN_S)


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_an_edit_above_and_the_runs_that_follow_move_nothing(
    browser_page: Any, live_server: LiveServer, chain: tuple[str, str], width: int
):
    page, api = browser_page, live_server.api()
    path, first = chain
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, live_server, path)
    states(page, *["current"] * 5)
    page.evaluate("() => document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
    page.evaluate(WATCH)
    version = api("GET", path)[1]["cells"][0]["version"]
    assert api("PATCH", first, {"source": "rate = 3", "version": version})[0] == 200
    states(page, *["stale"] * 5)
    page.wait_for_timeout(100)
    assert page.evaluate("shifts") == []
    assert api("POST", f"{path}runs/", {"stale": True, "wait": True})[1]["run"]["outcome"] == "ok"
    states(page, *["current"] * 5)
    page.wait_for_timeout(100)
    assert page.evaluate("shifts") == []


def test_a_stopped_cell_says_so_and_keeps_its_traceback_folded(browser_page: Any, live_server: LiveServer):
    page, api = browser_page, live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Slow"})
    path = f"notebooks/{made['id']}/"
    api("POST", f"{path}cells/", {"type": "python", "source": "import time\ngone = 1\nprint('on')\ntime.sleep(600)"})
    api("POST", f"{path}cells/", {"type": "python", "source": "print(gone)"})
    open_page(page, live_server, path)
    cell = page.locator('section.cell[data-number="1"]')
    cell.locator('[data-part="run"]').click()
    cell.locator('[data-part="output"]', has_text="on").wait_for(timeout=RUN_S)
    cell.locator('[data-action="stop"]').click()
    for _ in ("live", "from the server"):  # which saves it a moment after it was shown
        page.locator('section.cell[data-number="1"][data-state="stopped"]').wait_for(timeout=RUN_S)
        cell.locator('[data-part="word"]', has_text="Stopped").wait_for(timeout=RUN_S)
        assert cell.locator('[data-part="word"]').inner_text() == "Stopped"
        assert "Stopped before its end." in cell.locator('[data-part="notes"]').inner_text()
        assert "KeyboardInterrupt" not in cell.locator('[data-part="output"]').inner_text()
        assert "line 4" in cell.locator(".error-title").inner_text()
        page.reload()


def test_a_note_names_what_is_not_defined_any_more(browser_page: Any, live_server: LiveServer, chain: tuple[str, str]):
    path, first = chain
    open_page(browser_page, live_server, path)
    assert live_server.api()("DELETE", first)[0] in (200, 204)
    note = browser_page.locator('section.cell[data-number="1"] [data-part="notes"]')
    note.get_by_text("rate is not defined any more.").wait_for(timeout=RUN_S)
    browser_page.reload()
    note.get_by_text("rate is not defined any more.").wait_for(timeout=RUN_S)
