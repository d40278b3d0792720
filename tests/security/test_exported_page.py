"""A notebook exported as a page, opened from a disk: the corpus of xss.py runs nowhere in it and asks for nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from notebooks_app import html_page
from notebooks_app.formats import ImportedCell, ImportedNotebook, read_file
from tests.security import xss
from tests.security.test_output_xss import cells, notebook, shown

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Opened:
    """A page of a disk, and what happened in it."""

    def __init__(self, chromium: Any, file: Path) -> None:
        self.ran: list[str] = []
        self.asked: list[str] = []
        self.context = chromium.new_context(viewport={"width": 1100, "height": 900})
        self.context.expose_binding("hurt", lambda source, *_: self.ran.append(source["frame"].url))
        self.context.route(lambda url: not url.startswith("data:") and url != file.as_uri(), self._went_out)
        self.page = self.context.new_page()
        self.page.on("dialog", lambda dialog: (self.ran.append("dialog"), dialog.dismiss()))
        self.page.on("popup", lambda popup: self.ran.append(f"popup {popup.url}"))
        # Not until "load": with requests held up for `route`, Chromium at times never ends it (one page in 30).
        self.page.goto(file.as_uri(), wait_until="domcontentloaded")

    def _went_out(self, route: Any) -> None:
        self.asked.append(route.request.url)
        route.abort()

    def see_all(self) -> None:
        height = self.page.evaluate("() => document.documentElement.scrollHeight")
        for at in range(0, height, 800):
            self.page.evaluate(f"() => scrollTo(0, {at})")
            self.page.wait_for_timeout(15)
        self.page.wait_for_timeout(2000)


@pytest.fixture
def hostile() -> ImportedNotebook:
    made = read_file("hostile.ipynb", notebook("hostile", cells()).encode("utf-8", "surrogatepass"))
    made.name = xss.ALL[0] + "</title><script>hurt(0)</script>"
    return made


def test_nothing_of_a_hostile_notebook_runs_or_is_asked_for(chromium: Any, hostile: ImportedNotebook, tmp_path: Path):
    file = tmp_path / "page.html"
    file.write_text(html_page.write(hostile), encoding="utf-8", errors="replace")
    opened = Opened(chromium, file)
    opened.see_all()
    assert opened.page.locator("iframe").count() > 5
    assert (opened.ran, opened.asked) == ([], [])
    assert opened.page.url == file.as_uri()
    opened.context.close()


def test_it_is_the_policy_and_the_frames_that_hold(chromium: Any, hostile: ImportedNotebook, tmp_path: Path):
    text = html_page.write(hostile)
    for wall in (r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", r"&lt;meta http-equiv.*?&gt;", r" sandbox "):
        text, count = re.subn(wall, " ", text)
        assert count, wall
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8", errors="replace")
    opened = Opened(chromium, file)
    opened.see_all()
    assert opened.ran, "without its walls script does run: the corpus is no dud"
    opened.context.close()


def test_a_page_shows_what_the_notebook_does(chromium: Any, tmp_path: Path):
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "\x1b[31mred\x1b[0m words\n"},
        shown({"image/png": IMAGE, "text/plain": "a picture"}),
        shown({"text/html": "<table><tr><td>from HTML</td></tr></table>", "text/plain": "no"}),
        shown({"application/vnd.plotly.v1+json": {"data": []}, "image/png": IMAGE}),
        shown({"application/vnd.vegalite.v6+json": {"mark": "bar"}, "text/plain": "x" * 9000}),
        shown({"text/plain": "y" * 1_000_000}),
    ]
    code = {"cell_type": "code", "source": "total = 1", "outputs": outputs, "metadata": {}, "execution_count": 1}
    text = {"cell_type": "markdown", "source": "# Title", "metadata": {}}
    made = read_file("a.ipynb", notebook("a", [text, code]).encode())
    made.cells.append(ImportedCell(type="sql", source="SELECT 1", code_hidden=True))
    file = tmp_path / "page.html"
    file.write_text(html_page.write(made), encoding="utf-8")
    assert file.stat().st_size < 600_000
    page = Opened(chromium, file).page
    assert page.locator(".prose h1").inner_text() == "Title"
    assert page.locator(".tok-definition, .source .line").first.inner_text().startswith("total")
    assert "red words" in page.locator(".output-text").first.inner_text()
    assert page.locator("img").count() == 2
    assert page.frame_locator("iframe").locator("td").inner_text() == "from HTML"
    assert "a chart that script draws" in page.locator(".cell-note").inner_text()
    assert "800 KB left out" in page.locator(".output-text").last.inner_text()
    assert page.locator("details .source").is_hidden()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.context.close()
