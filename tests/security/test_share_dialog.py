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


def set_password(live_server: LiveServer, name: str, password: str) -> None:
    change = f"u = User.objects.get(username={name!r}); u.set_password({password!r}); u.save()"
    live_server.manage("shell", "-c", f"from django.contrib.auth.models import User; {change}")


def open_notebook(context: Any, url: str) -> Any:
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.wait_for_selector("html[data-ui-ready]")
    page.get_by_text("Saved, online").wait_for(state="attached")
    page.evaluate("window.isTheSamePage = true")
    return page


def sign_in(context: Any, live_server: LiveServer, name: str, password: str) -> None:
    page = context.new_page()
    page.goto(f"{live_server.url}/accounts/login/")
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(f"{live_server.url}/")
    page.close()


def test_a_page_stays_open_when_its_person_changes_the_password_on_another_tab(chromium, live_server):
    live_server.session_cookies("ana")
    set_password(live_server, "ana", "an old password")
    _, made = live_server.api("ana")("POST", "notebooks/", {"name": "Kept"})
    context = chromium.new_context()
    sign_in(context, live_server, "ana", "an old password")
    page = open_notebook(context, f"{live_server.url}/notebooks/{made['id']}/")
    other = context.new_page()
    other.goto(f"{live_server.url}/accounts/password/change/")
    other.locator("input[name=oldpassword]").fill("an old password")
    for field in ("password1", "password2"):
        other.locator(f"input[name={field}]").fill("Another-77-password")
    with page.expect_websocket(lambda socket: "/ws/" in socket.url, timeout=WAIT_MS):
        other.locator("input[name=password2]").press("Enter")
    page.locator("[data-part=saved]:not(.is-warning)").get_by_text("Saved, online").wait_for(state="attached")
    assert page.evaluate("window.isTheSamePage")
    assert not page.get_by_text("no longer open to you").is_visible()
    context.close()


def test_a_guests_page_is_the_owners_once_they_sign_in_on_another_tab(chromium, live_server):
    live_server.session_cookies("ana")
    set_password(live_server, "ana", "a long password")
    api = live_server.api("ana")
    _, made = api("POST", "notebooks/", {"name": "Seen"})
    slider = 'rate = 1  #@param {type:"slider", min:0, max:9, step:1}'
    api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": slider})
    _, link = api("POST", f"notebooks/{made['id']}/links/", {"role": "viewer", "allows_guests": True})
    context = chromium.new_context()
    page = open_notebook(context, link["url"])
    assert page.get_by_role("slider", name="rate").is_disabled()
    sign_in(context, live_server, "ana", "a long password")
    page.get_by_text("You are an owner here now").wait_for()
    assert page.get_by_role("slider", name="rate").is_enabled()
    call = "async (url) => (await import('/static/js/rest.js')).callApi('POST', url, {name: 'By REST'})"
    named = page.evaluate(call, f"/api/v1/notebooks/{made['id']}/versions/")
    assert named["name"] == "By REST"
    assert page.evaluate("window.isTheSamePage")
    context.close()
