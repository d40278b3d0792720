"""A page with the renderer on it, served as the product serves it, and a Chromium to look at it with."""

import mimetypes
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import Browser, ConsoleMessage, Page

from notebooks_app import rendering

ROOT = Path(__file__).resolve().parents[2]
# The page's policy in settings.py, with a fixed nonce
POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-n0'; style-src 'self' 'nonce-n0'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; object-src 'none'"
)
SHEETS = ("tokens", "base", "button", "control", "cell", "source", "output", "table", "chart")
BENCH = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bench</title>
<link rel="icon" href="/static/mark.svg">{sheets}</head><body>
<main class="notebook"><section class="cell" data-state="current"><div class="cell-gutter"></div>
<div class="cell-body"><div class="output" id="output"></div></div></section></main>
<script type="module" nonce="n0">
import * as outputs from "/static/js/outputs/index.js";
import * as items from "/static/js/outputs/items.js";
import * as markdown from "/static/js/outputs/markdown.js";
Object.assign(window, {{ outputs, items, markdown, isReady: true }});
</script></body></html>"""


class Server(ThreadingHTTPServer):
    """Static files, the frame document, the bench page, and pages that a test puts in `pages`."""

    pages: dict[str, str]
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str) -> tuple[bytes, str, str] | None:
        """Body, type and content policy of a path; None for what is not there."""
        if path.startswith("/static/"):
            file = (ROOT / path.lstrip("/")).resolve()
            if not file.is_relative_to(ROOT / "static") or not file.is_file():
                return None
            kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0]
            return file.read_bytes(), kind or "application/octet-stream", POLICY
        if path == "/frame/":
            return render_to_string("frame.html").encode(), "text/html", rendering.frame_csp(self.url)
        html = self.pages.get(path)
        return (html.encode(), "text/html; charset=utf-8", POLICY) if html is not None else None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.answer(self.path.split("?")[0])
        if found is None:
            return self.send_error(404)
        body, kind, policy = found
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture(scope="session")
def page_server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    sheets = "".join(f'<link rel="stylesheet" href="/static/css/{name}.css">' for name in SHEETS)
    server.pages = {"/": BENCH.format(sheets=sheets)}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join(5)


def wait_until(page: Page, condition: str, timeout_s: float = 40) -> None:
    """Waits for a JavaScript condition. Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(f"() => Boolean({condition})"):
        assert time.monotonic() < end, f"not so after {timeout_s} s: {condition}"
        page.wait_for_timeout(20)


def _is_problem(line: ConsoleMessage) -> bool:
    """Errors of our script. What the policy stops and pictures that are not there are no fault of it."""
    expected = ("Content Security Policy", "Failed to load resource")
    return line.type == "error" and not any(words in line.text for words in expected)


@pytest.fixture(scope="module")
def still_bench(chromium: Browser, page_server: Server) -> Iterator[Page]:
    """A bench page that many tests share: for those that only compute and leave nothing behind."""
    page = chromium.new_page()
    page.goto(page_server.url)
    wait_until(page, "window.isReady")
    yield page
    page.close()


@pytest.fixture
def bench(chromium: Browser, page_server: Server) -> Iterator[Page]:
    """The bench page; at the end no script error and no breach of the page's policy may have been seen."""
    page = chromium.new_page(viewport={"width": 1200, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if _is_problem(line) else None)
    page.goto(page_server.url)
    wait_until(page, "window.isReady")
    yield page
    hurt = page.evaluate("window.hurt")
    page.close()
    assert hurt is None
    assert problems == []
