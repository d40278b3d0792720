"""A release while somebody types in a real browser: what is on the page is what is saved, and it says nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.conftest import Team
from tests.faults.test_processes import until
from tests.live.test_structure import put_caret

SHOWN_MS = 60_000


@pytest.mark.soak
def test_a_page_types_through_the_restart_of_every_process(chromium: Any, team: Team) -> None:
    notebook, cells = team.notebook("typed = ''")
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    name, value = team.cookie().split("=", 1)
    context.add_cookies([{"name": name, "value": value, "url": team.cluster.origin}])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(f"{team.cluster.url}/notebooks/{notebook}/")
        page.locator(".cell .source").first.click()
        page.locator(".cm-editor").first.wait_for(timeout=SHOWN_MS)
        put_caret(page, 1, ["Control+End"])
        written = ""
        for web in team.cluster.webs:
            for word in ("before", "stopped", "back"):
                text = f" #{word}{web.port}"
                page.keyboard.type(text, delay=20)
                written += text
                if word == "before":
                    web.stop()
                if word == "stopped":
                    web.start()
        api = team.api(0)
        at = f"notebooks/{notebook}/cells/{cells[0]}/"
        until(lambda: api("GET", at)[1]["source"] == f"typed = ''{written}", 60)
        assert page.locator(".cm-content").first.inner_text().rstrip("\n") == f"typed = ''{written}"
    finally:
        context.close()
    assert errors == []
