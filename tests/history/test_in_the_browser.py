"""Versions and the bin in real browsers: naming by keys, restoring in two windows, undo after a reload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.pages.conftest import wait_until
from tests.pages.test_pages_browser import LEVELS
from tests.servers import LiveServer

READY = "document.querySelector('[data-part=saved-words]')?.textContent === 'Saved, online'"
SOURCES = """() => [...document.querySelectorAll('section.cell')].map((cell) =>
    [...cell.querySelectorAll('.cm-line, .source .line')].map((line) => line.textContent).join('\\n').trim())"""


class Windows:
    """A notebook of the real server, and pages of its owner that look at it."""

    def __init__(self, server: LiveServer, page: Any) -> None:
        self.server, self.page = server, page
        self.api = server.api("me")
        status, made = self.api("POST", "notebooks/", {"name": "Sales"})
        assert status == 201, made
        self.id = made["id"]
        self.at = f"notebooks/{self.id}/"

    def add(self, source: str) -> str:
        status, made = self.api("POST", f"{self.at}cells/", {"source": source})
        assert status == 201, made
        return str(made["id"])

    def open(self, page: Any) -> Any:
        page.goto(f"{self.server.url}/notebooks/{self.id}/")
        wait_until(page, READY)
        return page

    def sources(self) -> list[str]:
        return [cell["source"] for cell in self.api("GET", f"{self.at}cells/?outputs=0")[1]["cells"]]


def shows(page: Any, sources: list[str]) -> None:
    """Wait until the page shows these cells, in this order."""
    wait_until(page, f"JSON.stringify(({SOURCES})()) === {json.dumps(json.dumps(sources, separators=(',', ':')))}")


def type_into(page: Any, number: int, text: str) -> None:
    page.locator("section.cell").nth(number - 1).locator(".source").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def name_version(page: Any, name: str) -> None:
    page.keyboard.press("Control+s")
    page.locator("[data-ui-dialog=naming] input").wait_for()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.locator("[data-ui-dialog=naming]").wait_for(state="detached")


@pytest.fixture
def windows(browser_page: Any, live_server: LiveServer) -> Iterator[Windows]:
    yield Windows(live_server, browser_page)


def test_a_version_is_named_by_keys_and_restored_in_both_windows(windows: Windows):
    for source in ("first = 1", "second = 2", "third = 3"):
        windows.add(source)
    page, other = windows.open(windows.page), windows.open(windows.page.context.new_page())
    type_into(page, 2, "second = 22")
    name_version(page, "Good numbers")
    assert windows.api("GET", f"{windows.at}versions/")[1]["results"][0]["cell_count"] == 3

    type_into(page, 1, "first = 99")
    page.keyboard.press("Escape")
    shows(other, ["first = 99", "second = 22", "third = 3"])
    other.locator("section.cell").nth(2).click()
    other.keyboard.press("Escape")
    other.keyboard.press("d")
    other.keyboard.press("d")
    shows(page, ["first = 99", "second = 22"])

    page.click("[data-panel=history]")
    page.locator(".history-row", has_text="Good numbers").click()
    page.locator("[data-ui-dialog=version] .diff .is-removed", has_text="first = 1").wait_for()
    page.get_by_role("button", name="Restore …").click()
    page.get_by_role("button", name="Restore", exact=True).click()

    for one in (page, other):
        shows(one, ["first = 1", "second = 22", "third = 3"])
    assert windows.sources() == ["first = 1", "second = 22", "third = 3"]
    page.locator(".history-row", has_text="Before restoring “Good numbers”").wait_for()
    page.locator(".toast button", has_text="Undo").click()
    for one in (page, other):
        shows(one, ["first = 99", "second = 22"])
    other.close()


def test_escape_names_nothing_and_gives_the_keys_back_to_the_cell(windows: Windows):
    windows.add("x = 1")
    page = windows.open(windows.page)
    type_into(page, 1, "x = 2")
    page.keyboard.press("Control+s")
    page.locator("[data-ui-dialog=naming]").wait_for()
    page.keyboard.press("Escape")
    page.locator("[data-ui-dialog=naming]").wait_for(state="hidden")
    page.locator(".cm-content:focus").wait_for()
    page.keyboard.type("0")
    shows(page, ["x = 20"])
    assert windows.api("GET", f"{windows.at}versions/")[1]["count"] == 0


# What a key right behind the end of a dialog would meet: whether the caret is in the editor that has the focus.
CARET_AT_ONCE = """() => {
  document.querySelector("dialog[open]").close();
  const { anchorNode } = getSelection();
  return [document.activeElement.className, document.querySelector(".cm-content").contains(anchorNode)];
}"""


def test_a_closed_dialog_gives_the_caret_back_in_the_same_moment(windows: Windows):
    windows.add("x = 1")
    page = windows.open(windows.page)
    type_into(page, 1, "x = 2")
    page.keyboard.press("Control+s")
    page.locator("[data-ui-dialog=naming] input").wait_for()
    assert page.evaluate(CARET_AT_ONCE) == ["cm-content", True]
    page.keyboard.type("0")
    shows(page, ["x = 20"])


# Esc and Ctrl+S within one frame: the closed dialog still has the focus, for what had it before is gone.
AT_ONCE = """() => {
  const dialog = document.querySelector("dialog[open]");
  const press = (key, more) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
  dialog.close();
  const hadFocus = dialog.contains(document.activeElement);
  press("s", { ctrlKey: true });
  return hadFocus;
}"""


def test_keys_right_behind_the_escape_of_a_dialog_are_the_pages(windows: Windows):
    windows.add("x = 1")
    page = windows.open(windows.page)
    page.evaluate("document.activeElement?.blur()")
    page.keyboard.press("Control+s")
    page.locator("[data-ui-dialog=naming] input").wait_for()
    assert page.evaluate(AT_ONCE), "the dialog gave the focus away at once: the test shows nothing"
    page.locator("[data-ui-dialog=naming][open] input").wait_for()
    for _ in range(5):  # and by real keys
        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
        page.locator("[data-ui-dialog=naming][open] input").wait_for()


def test_what_was_deleted_comes_back_by_undo_after_a_reload_and_from_the_panel(windows: Windows):
    for source in ("first = 1", "second = 2"):
        windows.add(source)
    page = windows.open(windows.page)
    page.locator("section.cell").nth(1).click()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.keyboard.press("d")
    shows(page, ["first = 1"])

    windows.open(page)
    page.locator("section.cell").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    shows(page, ["first = 1", "second = 2"])
    windows.open(page)
    page.locator("section.cell").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Z")
    shows(page, ["first = 1"])

    page.click("[data-panel=history]")
    page.locator(".history-fold summary", has_text="Bin (1 cell)").click()
    page.get_by_role("button", name="Restore second = 2").click()
    shows(page, ["first = 1", "second = 2"])


def test_a_cell_that_comes_back_shows_its_output(windows: Windows):
    windows.add("print('hello')")
    page = windows.open(windows.page)
    page.click('[data-action="run_all"]')
    page.locator(".output", has_text="hello").wait_for()
    page.locator("section.cell").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.locator("section.cell").wait_for(state="detached")
    page.keyboard.press("z")
    page.locator(".output", has_text="hello").wait_for()
    page.locator('section.cell[data-state="current"]').wait_for()


def test_the_history_panel_follows_what_others_do(windows: Windows):
    cell = windows.add("x = 1")
    page = windows.open(windows.page)
    page.click("[data-panel=history]")
    page.locator(".history-groups li", has_text="added cell 1").first.wait_for()
    windows.api("PATCH", f"{windows.at}cells/{cell}/", {"version": 1, "source": "x = 2"})
    page.locator(".history-groups li", has_text="edited cell 1").first.wait_for()
    windows.api("POST", f"{windows.at}versions/", {"name": "By a program"})
    page.locator(".history-row", has_text="By a program").wait_for()


def test_the_bin_of_notebooks_works_without_javascript(windows: Windows, chromium: Any):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(windows.server.login_url)
    page.goto(f"{windows.server.url}/?q=Sales")
    windows.api("DELETE", windows.at)
    page.goto(f"{windows.server.url}/notebooks/{windows.id}/")
    page.get_by_role("button", name="Restore").click()
    page.wait_for_url(f"**/notebooks/{windows.id}/")
    windows.api("DELETE", windows.at)
    page.goto(windows.server.url)
    page.get_by_role("link", name="Bin").click()
    page.get_by_role("button", name="Restore Sales").first.click()
    assert "is back" in page.content()
    assert windows.api("GET", windows.at)[0] == 200
    context.close()


def test_deleting_a_notebook_ends_its_kernel(windows: Windows):
    cell = windows.add("x = 1")
    status, run = windows.api("POST", f"{windows.at}runs/", {"cells": [cell], "wait": True})
    assert (status, run["run"]["outcome"]) == (200, "ok"), run
    assert windows.api("GET", f"{windows.at}kernel/")[1]["state"] == "idle"
    windows.api("DELETE", windows.at)
    windows.api("POST", f"bin/{windows.id}/restore/")
    assert windows.api("GET", f"{windows.at}kernel/")[1]["state"] == "stopped"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_history_and_bin_pass_axe_and_fit_a_phone(windows: Windows, scheme: str):
    line = "words = 'a rather long line that a phone has no room for, even when it is turned'"
    cell = windows.add(f"number = 1\n{line}\n")
    windows.api("POST", f"{windows.at}versions/", {"name": "A version with a rather long name that has to be broken"})
    windows.api("PATCH", f"{windows.at}cells/{cell}/", {"version": 1, "source": "number = 2\nanother = 3"})
    windows.api("DELETE", f"{windows.at}cells/{windows.add('gone = 1')}/")
    page = windows.page
    page.emulate_media(color_scheme=scheme)
    windows.open(page)
    page.click("[data-panel=history]")
    page.locator(".history-fold summary", has_text="Bin").click()
    page.locator(".history-groups li").first.wait_for()
    assert problems(page) == []
    page.locator(".history-row").first.click()
    page.locator("[data-ui-dialog=version] .diff").wait_for()
    assert problems(page) == []
    assert sideways(page) == 0
    page.keyboard.press("Escape")
    page.locator("[data-ui-dialog=version]").wait_for(state="hidden")
    page.keyboard.press("Control+s")
    page.locator("[data-ui-dialog=naming]").wait_for()
    assert problems(page) == []

    windows.api("DELETE", windows.at)
    for path in ("/bin/", f"/notebooks/{windows.id}/"):
        page.goto(windows.server.url + path)
        assert problems(page) == []
        assert sideways(page) == 0
    windows.api("DELETE", f"bin/{windows.id}/")


def problems(page: Any) -> list[Any]:
    wanted = {"runOnly": LEVELS, "rules": {"scrollable-region-focusable": {"enabled": False}}}
    found = Axe().run(page, options=wanted).response["violations"]
    return [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in found]


def sideways(page: Any) -> int:
    """By how much a page is wider than a phone."""
    before = page.viewport_size
    page.set_viewport_size({"width": 320, "height": 700})
    wider = page.evaluate("document.documentElement.scrollWidth") - 320
    page.set_viewport_size(before)
    return int(wider)
