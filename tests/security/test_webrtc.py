"""An output's frame and WebRTC, which sends packets past every Content-Security-Policy: a listener hears nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.security import xss
from tests.servers import LiveServer

ATTEMPTS_MS = 2500
# Draws HTML in a frame as the page does; what the frame says comes back.
DRAW = """([html, forMs]) => new Promise((resolve) => {
  const said = [], frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.src = "/frame/";
  addEventListener("message", ({ data }) => {
    said.push(data.type ?? String(data));
    if (data.type !== "ready") return;
    const theme = { scheme: "light", tokens: {} };
    frame.contentWindow.postMessage({ type: "render", mime: "text/html", value: html, theme }, "*");
    setTimeout(() => resolve(said), forMs);
  });
  document.body.append(frame);
})"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(0.2)
        yield made


@pytest.fixture
def page(chromium: Any, live_server: LiveServer) -> Iterator[Any]:
    context = chromium.new_context()
    cookies = live_server.session_cookies().items()
    context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies])
    made = context.new_page()
    made.goto(f"{live_server.url}/")
    yield made
    context.close()


def packets(listener: socket.socket) -> int:
    count = 0
    with suppress(TimeoutError):
        while True:
            listener.recvfrom(2048)
            count += 1
    return count


def test_the_listener_hears_a_page_that_may(page: Any, listener: socket.socket):
    page.evaluate(xss.dials(listener.getsockname()[1]))
    page.wait_for_timeout(ATTEMPTS_MS)
    assert packets(listener) > 0


@pytest.mark.parametrize("way", ["script", "frame inside"])
def test_an_output_sends_no_packet(page: Any, listener: socket.socket, way: str):
    from playwright.sync_api import Error

    script = f"<script>{xss.dials(listener.getsockname()[1])};parent.postMessage('tried', '*')</script>"
    inside = json.dumps(script).replace("</", "<\\/")
    making = f"const f = document.createElement('iframe'); f.srcdoc = {inside}; document.body.append(f);"
    framed = f"<script>{making}</script>"
    try:
        said = page.evaluate(DRAW, [script if way == "script" else framed, ATTEMPTS_MS])
        assert "height" in said
        assert ("tried" in said) == (way == "script")  # the frame inside tells the frame, not the page
    except Error as error:  # Chromium ends a document inside that tries it
        assert way != "script" and "crashed" in str(error)
    assert packets(listener) == 0
