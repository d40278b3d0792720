"""The Share dialog, a reader's page, and a role that changes while the page is open: in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers import LiveServer

WAIT_MS = 60_000


@pytest.fixture
def notebook(live_server: LiveServer) -> str:
    api = live_server.api()
    live_server.session_cookies("ana")
    _, made = api("POST", "notebooks/", {"name": "Revenue"})
    api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": "print('seven')"})
    api("POST", f"notebooks/{made['id']}/runs/", {"all": True, "wait": True})
    return made["id"]


def open_share(page: Any, url: str) -> Any:
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.wait_for_selector("html[data-ui-ready]")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Share …").click()
    dialog = page.get_by_role("dialog", name="Share")
    dialog.get_by_text("Owner").wait_for()
    return dialog


def test_people_and_links_are_managed_in_the_dialog(browser_page, chromium, live_server, notebook):
    url = f"{live_server.url}/notebooks/{notebook}/"
    dialog = open_share(browser_page, url)
    dialog.get_by_placeholder("Username or e-mail address").fill("nobody at all")
    dialog.get_by_role("button", name="Add").click()
    dialog.get_by_text("There is no such person here").wait_for()
    dialog.get_by_placeholder("Username or e-mail address").fill("ana")
    dialog.get_by_role("button", name="Add").click()
    role = dialog.get_by_label("Role of ana")
    role.select_option("editor")
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.get_by_label("The new link").input_value()
    assert "/share/" in link

    context = chromium.new_context(viewport={"width": 320, "height": 700})
    guest = context.new_page()
    guest.set_default_timeout(WAIT_MS)
    guest.goto(link)
    guest.wait_for_selector("html[data-ui-ready]")
    assert guest.url == url
    guest.locator(".output-text", has_text="seven").wait_for()
    assert not guest.locator(".source").first.is_visible()
    assert guest.get_by_text("by me").is_visible()
    guest.get_by_role("button", name="Show code").click()
    assert guest.locator(".source").first.is_visible()
    assert guest.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dialog.get_by_role("button", name="Revoke").click()
    guest.get_by_text("This notebook is no longer open to you").wait_for()
    context.close()

    dialog.get_by_role("button", name="Remove ana").click()
    role.wait_for(state="detached")
    members = live_server.api()("GET", f"notebooks/{notebook}/members/")[1]
    assert members["members"] == []


def test_a_demoted_editors_page_says_so_and_becomes_read_only_by_itself(chromium, live_server, notebook):
    api = live_server.api()
    _, member = api("POST", f"notebooks/{notebook}/members/", {"user": "ana", "role": "editor"})
    context = chromium.new_context()
    ((name, value),) = live_server.session_cookies("ana").items()
    context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{live_server.url}/notebooks/{notebook}/")
    page.wait_for_selector("html[data-ui-ready]")
    page.evaluate("window.isTheSamePage = true")
    page.get_by_text("Saved, online").wait_for(state="attached")
    page.locator(".source").first.click()
    page.wait_for_selector(".cm-content[contenteditable=true]")
    api("PATCH", f"notebooks/{notebook}/members/{member['user']}/", {"role": "runner"})
    page.get_by_text("You are a runner here now").wait_for()
    page.wait_for_selector(".cm-content[contenteditable=true]", state="detached")
    assert page.get_by_role("button", name="Run all").is_visible()
    api("PATCH", f"notebooks/{notebook}/members/{member['user']}/", {"role": "viewer"})
    page.get_by_text("You are a viewer here now").wait_for()
    assert not page.get_by_role("button", name="Run all").is_visible()
    assert not page.locator(".source").first.is_visible()
    assert page.evaluate("window.isTheSamePage")
    context.close()
