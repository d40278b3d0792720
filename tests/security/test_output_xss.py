# ruff: noqa: E501  (payloads and scripts of the page are long lines)
"""The corpus of xss.py through every place that shows what people or their code wrote, in a real browser on a real server.

A hook in every frame tells where script ran; every request, navigation, popup and dialog is seen. Many payloads share a
page, each item in an output of its own, so that none swallows the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.security import xss
from tests.servers import LiveServer

TABLE = "application/vnd.rillbook.table+json"
PLOTLY = "application/vnd.plotly.v1+json"
VEGA, LITE = "application/vnd.vega.v6+json", "application/vnd.vegalite.v6+json"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SECOND_MS = 1000

CODE = "[].constructor.constructor('hurt(0,self.origin)')()"
LINK = '<a href="javascript:hurt(0,self.origin)" target=_top>x</a><img src=x onerror=hurt(0,self.origin)>'


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": metadata or {}}


def chunks(size: int) -> list[str]:
    return ["\n\n".join(xss.ALL[at : at + size]) for at in range(0, len(xss.ALL), size)]


def table() -> dict[str, Any]:
    names = xss.ALL[:40]
    columns = [{"name": name, "type": name, "numeric": at % 2 == 0} for at, name in enumerate(names)]
    rows = [[xss.ALL[(row * 40 + at) % len(xss.ALL)] for at in range(41)] for row in range(8)]
    index = [{"name": xss.ALL[50], "type": "x", "numeric": False}]
    return {"handle": xss.ALL[0], "columns": columns, "index": index, "rows": rows, "row_count": 8, "column_count": 40,
            "offset": 0, "page_size": 50, "sort": [{"column": names[0], "descending": True}]}  # fmt: skip


def plotly() -> dict[str, Any]:
    trace = {
        "type": "bar",
        "x": [LINK],
        "y": [1],
        "text": [LINK],
        "name": LINK,
        "hovertemplate": LINK,
        "customdata": [LINK],
    }
    image = {"source": f"{xss.EVIL}/51", "x": 0, "y": 1, "sizex": 1, "sizey": 1}
    note = {"text": LINK, "x": 0, "y": 1, "captureevents": True}
    layout = {"title": {"text": LINK}, "images": [image], "annotations": [note], "xaxis": {"title": {"text": LINK}}}
    config = {"plotlyServerURL": xss.EVIL, "topojsonURL": f"{xss.EVIL}/52/", "showEditInChartStudio": True}
    maps = {"type": "scattergeo", "lat": [1], "lon": [1]}
    return {"data": [trace, maps], "layout": layout, "config": config, "frames": [{"name": LINK, "data": [trace]}]}


def vega() -> list[dict[str, Any]]:
    data = {"values": [{"a": LINK, "b": 1, "u": "javascript:hurt(0,self.origin)", "i": f"{xss.EVIL}/53"}]}
    encoding = {
        "x": {"field": "a", "type": "nominal"},
        "href": {"field": "u"},
        "tooltip": {"field": "a"},
        "url": {"field": "i"},
    }
    options = {
        "actions": True,
        "sourceHeader": LINK,
        "patch": f"{xss.EVIL}/54",
        "loader": {"baseURL": xss.EVIL},
        "ast": False,
    }
    mark = {"type": "image", "width": 9, "height": 9}
    signal = {"name": "s", "init": CODE, "on": [{"events": "timer{100}", "update": CODE}]}
    return [
        shown({LITE: {"data": data, "mark": mark, "encoding": encoding, "title": LINK, "usermeta": {"embedOptions": options}}}),
        shown({LITE: {"data": {"url": f"{xss.EVIL}/55.csv"}, "mark": "bar", "transform": [{"calculate": CODE, "as": "z"}]}}),
        shown({VEGA: {"signals": [signal], "data": [{"name": "d", "url": f"{xss.EVIL}/56", "format": {"type": "json"}}], "marks": []}}),
        shown({VEGA: {"$schema": f"{xss.EVIL}/57", "width": 1e9, "height": 1e9, "marks": [{"type": "text", "encode": {"enter": {"text": {"signal": CODE}}}}]}}),
    ]  # fmt: skip


def error(ename: str, evalue: str, lines: list[str]) -> dict[str, Any]:
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": lines}


def cells() -> list[dict[str, Any]]:
    """A code cell for each sink, and text cells."""
    every = "\n".join(xss.ALL)
    frames = [f"Cell In[1], line 1\n{one}" for one in xss.ALL[:90]] + [
        f"File {one}:1, in {one}" for one in xss.ALL[90:180]
    ]
    odd = {f"text/x{one}": one for one in xss.ALL[:20]} | {"application/pdf": "JVBERi0=", "text/vnd.x": every}
    sinks: dict[str, list[dict[str, Any]]] = {
        "markdown": [shown({"text/markdown": one}) for one in xss.ALL],
        "html": [shown({"text/html": one}) for one in chunks(30)],
        "script": [shown({"application/javascript": xss.JS}), shown({"text/html": f"<script>{xss.JS}</script>"})],
        "streams": [{"output_type": "stream", "name": name, "text": every} for name in ("stdout", "stderr")],
        "plain": [shown({"text/plain": every}), shown({"text/plain": xss.ALL})],
        "json": [shown({"application/json": {one: [one, {one: one}] for one in xss.ALL}}), shown({"application/json": xss.ALL})],
        "latex": [shown({"text/latex": one}) for one in xss.CLASSES["requests"][-16:] + xss.ALL[:12]],
        "svg": [shown({"image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg">{one}</svg>'}) for one in xss.ALL[::6]],
        "pictures": [
            shown({"image/png": PNG, "text/plain": one}, {"image/png": {"width": one, "height": one, "alt": one}, one: one})
            for one in xss.ALL[::20]
        ] + [shown({"image/png": '"><img src=x onerror=hurt(0,self.origin)>'}), shown({"image/jpeg": "javascript:hurt(0,self.origin)"})],
        "tables": [shown({TABLE: table()}), *(shown({TABLE: bad}) for bad in (None, 5, {"columns": 5}, {"columns": [{}], "rows": [[1]]}))],
        "charts": [shown({PLOTLY: plotly()}), *vega()],
        "errors": [error(xss.ALL[3], every, frames), *(error(one, one, [one, f"\x1b[31m{one}"]) for one in xss.ALL[::9])],
        "unknown types": [shown({mime: value}) for mime, value in odd.items()],
    }  # fmt: skip
    made = [
        {
            "cell_type": "code",
            "source": f"# {name}\n{every[:3000]}".replace("\0", ""),
            "outputs": outputs,
            "metadata": {},
            "execution_count": 1,
        }
        for name, outputs in sinks.items()
    ]
    return made + [{"cell_type": "markdown", "source": one.replace("\0", ""), "metadata": {}} for one in chunks(12)]


def wide() -> list[dict[str, Any]]:
    """Words, names and maths longer than any window, and maths that is moved out of its place."""
    long = "W" * 1500
    maths = ["x+" * 300, "abc" * 200, "\\rule{9999em}{9999em}", "\\kern{-9999em}X", "\\raisebox{-20em}{\\Huge X}", "\\raisebox{40em}{X}"]
    texts = [f"{{}}{long}".format(one) for one in ("", "# ", "- ", "> ", "1. " * 30, ">" * 40, "`", "[x](http://a.example) ")]
    texts += [f"$${one}$$" for one in maths] + [f"text ${one}$ text" for one in maths]
    texts += [f"|a|\n|-|\n|{long}|", f"```\n{long}\n```", "<table width=99999><td>x</table>", f"<pre>{long}</pre>",
              f"<img width=99999 height=9 src='data:image/png;base64,{PNG}'>", f"<details open><summary>{long}</summary>x</details>"]  # fmt: skip
    columns = [{"name": long, "type": long, "numeric": False}] * 3
    large = {"handle": "h", "columns": columns, "index": columns[:1], "rows": [[long] * 4] * 3, "row_count": 3,
             "column_count": 3, "offset": 0, "page_size": 50, "sort": None}  # fmt: skip
    outputs = [
        error(long, long, [long, f"Cell In[1], line 1\n{long}", f"File {long}:1, in {long}"]), shown({TABLE: large}),
        shown({"text/plain": long}), shown({"application/json": {long: long}}), shown({"text/latex": f"$${maths[0]}$$"}),
        shown({"text/html": "<div style='width:99999px'>x</div>"}), shown({"text/markdown": long}), shown({long[:900]: long}),
        shown({"image/png": PNG}, {"image/png": {"width": 99999, "height": 99999}}),
        {"output_type": "stream", "name": "stdout", "text": long},
    ]  # fmt: skip
    made = [{"cell_type": "markdown", "source": one, "metadata": {}} for one in texts]
    made[3:3] = [{"cell_type": "code", "source": f"{long} = 1", "outputs": [one], "metadata": {}, "execution_count": 1} for one in outputs]
    return made


def notebook(name: str, content: list[dict[str, Any]]) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"name": name}, "cells": content})


# Script of ours that fails over an output, in the page itself, is told like script of others.
OWN_ERRORS = """if (window === top) {
  addEventListener("unhandledrejection", (event) => hurt("rejection " + event.reason, self.origin));
  addEventListener("error", (event) => event.error && hurt("error " + event.error, self.origin));
}"""


class Watch:
    """What a page and its frames did."""

    def __init__(self, context: Any, server: LiveServer) -> None:
        self.ran: list[tuple[str, Any, Any]] = []
        self.bad: list[str] = []
        self._host = urlsplit(server.url).netloc
        context.expose_binding("hurt", self._hurt)
        context.add_init_script(OWN_ERRORS)
        # What a policy stops never gets here.
        context.route(lambda url: urlsplit(url).netloc != self._host, self._went_out)
        context.on("request", self._request)

    def watch(self, page: Any) -> None:
        page.on("dialog", lambda dialog: (self.bad.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: self.bad.append(f"popup {popup.url}"))
        page.on("download", lambda download: self.bad.append(f"download {download.url}"))
        page.on("framenavigated", lambda frame: self._navigated(page, frame))

    def _hurt(self, source: dict[str, Any], tag: Any = None, origin: Any = None) -> None:
        self.ran.append((source["frame"].url, tag, origin))
        if source["frame"] == source["page"].main_frame or origin != "null":
            self.bad.append(f"script {tag} ran in {source['frame'].url} with origin {origin}")

    def _went_out(self, route: Any) -> None:
        self.bad.append(f"request {route.request.method} {route.request.url}")
        route.abort()

    def _request(self, request: Any) -> None:
        if request.method != "GET" and urlsplit(request.url).netloc == self._host:
            self.bad.append(f"request {request.method} {request.url}")

    def _navigated(self, page: Any, frame: Any) -> None:
        host = urlsplit(frame.url).netloc
        if frame == page.main_frame and host != self._host:
            self.bad.append(f"navigation to {frame.url}")


# What lies over the page or acts in it, among what people wrote; and links that are not links.
FOUND = """() => {
  const bad = [];
  const written = document.querySelectorAll('[data-part="output"] *, [data-part="prose"] *');
  for (const one of written) {
    const style = getComputedStyle(one);
    if (["fixed", "sticky"].includes(style.position) && !one.closest("table")) bad.push("position " + style.position + " " + one.outerHTML.slice(0, 200));
    if (one.closest(".katex, .katex-error") || one.tagName === "IFRAME") continue;
    for (const name of ["id", "name", "style", "formaction", "ping", "srcdoc", "target"]) {
      if (one.hasAttribute(name) && !(name === "target" && one.closest(".output-notes"))) bad.push(name + " " + one.outerHTML.slice(0, 200));
    }
    if (["SCRIPT", "STYLE", "OBJECT", "EMBED", "FORM", "BASE", "META", "LINK", "TEMPLATE", "VIDEO", "AUDIO", "TEXTAREA", "SELECT"].includes(one.tagName)) bad.push(one.outerHTML.slice(0, 200));
    for (const { name } of one.attributes) if (name.startsWith("on") || name.startsWith("hx-")) bad.push(name + " " + one.outerHTML.slice(0, 200));
    if (one.closest('[data-part="prose"], .prose') && [...one.attributes].some(({ name }) => name.startsWith("data-") && !name.startsWith("data-ui"))) bad.push("data " + one.outerHTML.slice(0, 200));
  }
  for (const link of document.querySelectorAll("a[href], area[href]")) {
    if (!["http:", "https:", "mailto:"].includes(link.protocol)) bad.push("link " + link.outerHTML.slice(0, 200));
  }
  for (const frame of document.querySelectorAll("iframe")) {
    if (frame.getAttribute("sandbox") !== "allow-scripts") bad.push("sandbox " + frame.outerHTML);
    if (new URL(frame.src).pathname !== "/frame/") bad.push("frame " + frame.src);
    if (frame.getBoundingClientRect().height > innerHeight * 0.8 + 2) bad.push("height " + frame.getBoundingClientRect().height);
  }
  for (const name of ["body", "cookie", "head", "documentElement"]) if (!(document[name] === undefined || typeof document[name] === "string" || document[name] instanceof HTMLElement && document[name].parentNode)) bad.push("clobbered " + name);
  return bad;
}"""
SETTLED = """() => document.querySelectorAll("[data-part='output'] .output-frame iframe").length >= 8
  && document.querySelectorAll(".output-frame.is-drawn").length >= 6"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hostile(server: LiveServer, cookies: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A notebook with the corpus in every sink, and names of everything that has one. Its id."""
    api = server.api()
    file = tmp_path_factory.mktemp("files") / "hostile.ipynb"
    file.write_text(notebook("hostile", cells()), encoding="utf-8")
    file.with_name("wide.ipynb").write_text(notebook("wide", wide()), encoding="utf-8")
    server.manage("import_notebooks", str(file.parent), "--owner", "me")
    made = next(one for one in api("GET", "notebooks/")[1]["results"] if "hostile" in one["name"])["id"]
    path = f"notebooks/{made}/"
    assert api("PATCH", path, {"name": "".join(xss.ALL[:4])[:190]})[0] == 200
    for payload in xss.ALL[:24]:
        assert api("POST", "notebooks/", {"name": payload[:190]})[0] in (201, 400)
    for payload in xss.ALL[:12]:
        status, _ = api(
            "POST", "connections/", {"name": payload[:90], "dsn": "postgresql://<b>:x@h.example/<img onerror=1>"}
        )
        assert status in (201, 400, 409)
        assert api("POST", f"{path}versions/", {"name": payload[:90]})[0] in (201, 400)
    person = (
        json.dumps(xss.ALL[0] + xss.ALL[8])[:120].rstrip("\\") + '"'
        if len(xss.ALL[0] + xss.ALL[8]) > 110
        else json.dumps(xss.ALL[0] + xss.ALL[8])
    )
    script = f"from django.contrib.auth import get_user_model as g; g().objects.filter(username='me').update(first_name={person}, last_name={person}, is_staff=True, is_superuser=True)"
    server.manage("shell", "--no-imports", "-c", script)
    return made


@pytest.fixture(scope="module")
def cookies(server: LiveServer) -> dict[str, str]:
    return server.session_cookies()


@pytest.fixture
def watched(chromium: Any, server: LiveServer, cookies: dict[str, str]) -> Iterator[tuple[Any, Watch]]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": n, "value": v, "url": server.url} for n, v in cookies.items()])
    watch = Watch(context, server)
    page = context.new_page()
    watch.watch(page)
    yield page, watch
    context.close()


def until(page: Any, condition: str, seconds: float = 40) -> None:
    for _ in range(int(seconds * 10)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"not so after {seconds} s: {condition}")


def see_all(page: Any) -> None:
    """Scroll through the page, so that far cells and lazy frames load, and wait for what they do."""
    height = 0
    for _ in range(400):
        now = page.evaluate("() => { scrollBy(0, innerHeight * 0.9); return Math.round(scrollY); }")
        page.wait_for_timeout(30)
        if now == height:
            break
        height = now
    page.wait_for_timeout(SECOND_MS)


def test_no_payload_runs_asks_or_covers_anything_on_a_notebooks_page(server: LiveServer, hostile: str, watched: Any):
    page, watch = watched
    page.goto(f"{server.url}/notebooks/{hostile}/")
    until(page, "() => document.querySelectorAll('section.cell').length > 10")
    see_all(page)
    until(page, SETTLED)
    for _ in range(10):  # a frame loads as it comes near: one that a busy machine had no time for, the next time
        if len({tag for url, tag, _ in watch.ran if "/frame/" in url}) > 40:
            break
        page.evaluate("() => scrollTo(0, 0)")
        see_all(page)
    found = page.evaluate(FOUND)
    assert found == [], found
    for panel in ("outline", "variables", "graph", "history"):
        page.evaluate(f"() => document.querySelector('button[data-panel={panel}]')?.click()")
        page.wait_for_timeout(150)
    assert page.evaluate(FOUND) == []
    assert watch.bad == []
    ran = [tag for url, tag, _ in watch.ran if "/frame/" in url]
    assert len(set(ran)) > 40, "in the frames, where it may, script did run: the corpus is no dud"
    top = page.evaluate("() => { scrollTo(0, 0); const bar = document.querySelector('[data-part=run-all]').getBoundingClientRect();"
                        " return document.elementFromPoint(bar.x + bar.width / 2, bar.y + bar.height / 2)?.closest('[data-part=run-all]') !== null; }")  # fmt: skip
    assert top, "nothing lies over the top bar"


# What reaches out of the window sideways, and maths that lies over what is not its cell.
OUT = """() => {
  const bad = [], width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) bad.push("page " + document.documentElement.scrollWidth);
  for (const button of document.querySelectorAll(".topbar button, .topbar a")) {
    const box = button.getBoundingClientRect();
    if (box.width && (box.right > width || box.left < 0)) bad.push("topbar " + button.outerHTML.slice(0, 100));
  }
  for (const one of document.querySelectorAll(".katex .mord")) {
    if (one.textContent !== "X") continue;
    const box = one.getBoundingClientRect(), place = one.closest("section.cell").getBoundingClientRect();
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    if (x > place.left && x < place.right && y > place.top && y < place.bottom) continue;
    if (one.contains(document.elementFromPoint(x, y))) bad.push("maths " + one.outerHTML.slice(0, 100));
  }
  return bad;
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_makes_a_page_wider_or_leaves_its_cell(server: LiveServer, hostile: str, watched: Any, width: int):
    api = server.api()
    made = next(one for one in api("GET", "notebooks/")[1]["results"] if one["name"] in ("wide", "W" * 190))["id"]
    assert api("PATCH", f"notebooks/{made}/", {"name": "W" * 190})[0] == 200
    page, _ = watched
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server.url}/")
    assert page.evaluate(OUT) == []
    page.goto(f"{server.url}/notebooks/{made}/")
    until(page, "() => document.querySelectorAll('section.cell').length > 10")
    see_all(page)
    until(page, "() => document.querySelectorAll('.katex').length > 8")
    found = set(page.evaluate(OUT))
    for part in range(5):
        page.evaluate("(part) => scrollTo(0, document.body.scrollHeight * part / 5)", part)
        found |= set(page.evaluate(OUT))
    assert found == set()


def test_names_run_nothing_on_any_other_page(server: LiveServer, hostile: str, watched: Any):
    page, watch = watched
    paths = [
        "/",
        "/?q=%3Cimg%20src%3Dx%20onerror%3Dhurt(0)%3E",
        "/bin/",
        "/admin/",
        "/nowhere/<img src=x onerror=hurt(0)>",
    ]
    paths += [f"/admin/notebooks_app/{model}/" for model in ("notebook", "connection", "run", "apitoken", "membership")]
    paths += [
        f"/admin/notebooks_app/notebook/{hostile}/change/",
        "/admin/auth/user/",
        "/accounts/login/?next=javascript:hurt(0)",
    ]
    for path in paths:
        page.goto(server.url + path)
        page.wait_for_timeout(50)
        assert (
            page.evaluate(
                "() => [...document.querySelectorAll('a[href]')].filter((a) => a.protocol === 'javascript:').length"
            )
            == 0
        )
    assert watch.bad == [] and watch.ran == []


def test_messages_of_other_windows_change_no_frame(server: LiveServer, hostile: str, watched: Any):
    page, _ = watched
    page.goto(f"{server.url}/notebooks/{hostile}/")
    until(page, "() => document.querySelectorAll('.output-frame iframe').length > 0")
    page.wait_for_timeout(SECOND_MS)
    heights = "() => [...document.querySelectorAll('.output-frame iframe')].map((one) => one.style.height)"
    before = page.evaluate(heights)
    page.evaluate("""() => { for (const message of [{ type: "height", height: 1 }, { type: "link", href: "https://evil.example" }, { type: "ready" }])
      window.postMessage(message, "*"); }""")
    page.wait_for_timeout(200)
    assert page.evaluate(heights) == before
    assert page.locator(".output-notes a[href*='evil.example']").count() == 0


def test_a_file_opened_by_itself_is_no_page_of_ours(server: LiveServer, hostile: str, watched: Any, tmp_path: Path):
    """Large HTML, SVG, script and text as files: what a person sees who opens their addresses."""
    page, watch = watched
    script = "<script>hurt(1,self.origin)</script><script src=/static/js/notebook.js></script>" + " " * 70_000
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="hurt(2,self.origin)">{script}</svg>'
    bundles = {
        "text/html": f"<html>{script}",
        "image/svg+xml": svg,
        "application/javascript": f"hurt(3);{' ' * 70_000}",
        "text/plain": script,
    }
    file = tmp_path / "files.ipynb"
    outputs = [shown({mime: value}) for mime, value in bundles.items()]
    file.write_text(
        notebook(
            "files", [{"cell_type": "code", "source": "1", "outputs": outputs, "metadata": {}, "execution_count": 1}]
        )
    )
    server.manage("import_notebooks", str(file), "--owner", "me")
    api = server.api()
    made = next(one for one in api("GET", "notebooks/")[1]["results"] if one["name"] == "files")["id"]
    found = api("GET", f"notebooks/{made}/")[1]["cells"][0]["outputs"]
    addresses = {mime: file["url"] for output in found for mime, file in output["files"].items()}
    assert addresses.keys() == bundles.keys()
    for mime, address in addresses.items():
        answer = page.request.get(server.url + address)
        kind, policy = answer.headers["content-type"], answer.headers["content-security-policy"]
        assert "sandbox" in policy and "allow-scripts" not in policy and "default-src 'none'" in policy, mime
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in kind and "javascript" not in kind
        assert "attachment" in answer.headers["content-disposition"] or mime == "image/svg+xml"
    page.goto(server.url + addresses["image/svg+xml"])
    page.wait_for_timeout(300)
    assert watch.ran == [] and watch.bad == []
    export = page.request.get(f"{server.url}/notebooks/{made}/export/")
    assert (
        "sandbox" in export.headers["content-security-policy"] and "attachment" in export.headers["content-disposition"]
    )
    assert export.headers["x-content-type-options"] == "nosniff"
