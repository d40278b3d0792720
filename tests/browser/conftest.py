"""The notebook page in Chromium, by the product's templates and policy, with a far side that tests play."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import RequestFactory, override_settings
from playwright.sync_api import Browser, Page

from tests.browser.far_side import Cell, FarSide, drawn
from tests.pages.conftest import Server, page_server, wait_until

__all__ = ["page_server"]

type Opened = tuple[Page, FarSide]
HIDDEN = {"source_html", "markdown_html", "number", "far"}


class Nobody:
    is_authenticated = is_staff = False


def notebook_html(notebook_id: str, cells: list[Cell], role: str) -> str:
    shown = [drawn(number, one) for number, one in enumerate(cells, start=1)]
    notebook = {"id": notebook_id, "name": "Spring pricing", "run_mode": "auto", "kind": "normal"}
    kernel = {"state": "stopped", "detail": "Stopped"}
    data = {
        "notebook": notebook,
        "seq": 0,
        "cells": [{key: value for key, value in one.items() if key not in HIDDEN} for one in shown],
        "kernel": kernel,
        "user": {"id": 1, "name": "Maya Kern", "role": role},
        "connections": [],
        "urls": {
            "socket": f"/ws/notebooks/{notebook_id}/",
            "frame": "/frame/",
            "api": f"/api/v1/notebooks/{notebook_id}/",
        },
        "settings": {"wide": False},
    }
    request = RequestFactory().get("/")
    request.user = Nobody()  # type: ignore[assignment]
    context: dict[str, Any] = {
        "notebook": notebook,
        "cells": shown,
        "kernel": kernel,
        "people": [],
        "page_data": data,
    }
    with override_settings(ROOT_URLCONF="tests.pages.page_urls"):
        html = render_to_string("notebooks/notebook.html", context | {"csp_nonce": "n0"}, request=request)
    return html


@pytest.fixture
def open_notebook(chromium: Browser, page_server: Server) -> Iterator[Callable[..., Opened]]:
    """Opens a page of cells. At the end no script may have failed."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    problems: list[str] = []

    def opener(cells: list[Cell], role: str = "owner") -> Opened:
        notebook_id = str(uuid.uuid4())
        page_server.pages[f"/{notebook_id}"] = notebook_html(notebook_id, cells, role)
        return reopen(
            context.new_page(), FarSide([dict(one) for one in cells]), f"{page_server.url}/{notebook_id}"
        )

    def reopen(page: Page, far: FarSide, url: str) -> Opened:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.route_web_socket("**/ws/**", far.connect)
        page.goto(url)
        wait_until(page, "document.querySelector('[data-part=saved-words]').textContent === 'Saved, online'")
        return page, far

    yield opener
    context.close()
    assert problems == []
