"""The output renderer in a real browser: the same DOM as the server's, live operations, frames, tables."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from notebooks_app.rendering import item_html, markdown_html
from tests.pages.conftest import Server, wait_until
from tests.pages.samples import KEY_ERROR, MARKDOWN, STATIC_OUTPUTS, TABLE, TABLE_MIME, png, result, stream

pytestmark = pytest.mark.browser

# One line a node: tag, sorted attributes, text. The same for elements made by script and for parsed HTML.
TREE = """
const tree = (node, depth = 0) => {
  node.normalize();
  const pad = " ".repeat(depth);
  const text = () => (node.data.trim() === "" ? "" : `${pad}${JSON.stringify(node.data)}\\n`);
  if (node.nodeType === Node.TEXT_NODE) return text();
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  const words = [...node.attributes].map((one) => `${one.name}=${JSON.stringify(one.value)}`);
  const attributes = words.sort().join(" ");
  const children = [...node.childNodes].map((child) => tree(child, depth + 1)).join("");
  return `${pad}${node.localName} ${attributes}\\n${children}`;
};
"""
CONTEXT = "{frameUrl: '/frame/', attempt: 'a1', table: window.askTable}"


@pytest.mark.parametrize("name", STATIC_OUTPUTS)
def test_the_browser_draws_an_output_as_the_server_does(still_bench: Page, name: str) -> None:
    output = STATIC_OUTPUTS[name]
    script = (
        TREE
        + """
      const { element, ready } = items.drawStatic(output);
      await ready;
      const parsed = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
      return { live: tree(element), server: tree(parsed) };
    """
    )
    trees = still_bench.evaluate(
        f"async ([output, html]) => {{ {script} }}", [output, str(item_html(output))]
    )
    assert trees["live"] == trees["server"]


def test_text_cells_are_drawn_as_the_server_does_before_their_maths_is_set(still_bench: Page) -> None:
    script = (
        TREE
        + """
      const live = document.createElement("div");
      live.append(await markdown.parseMarkdown(text));
      const parsed = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstChild;
      return { live: tree(live), server: tree(parsed) };
    """
    )
    trees = still_bench.evaluate(
        f"async ([text, html]) => {{ {script} }}", [MARKDOWN, str(markdown_html(MARKDOWN))]
    )
    assert trees["live"] == trees["server"]


def test_maths_is_set_once(bench: Page) -> None:
    bench.evaluate("""async () => {
      const part = await markdown.renderMarkdown("$x^2$");
      document.querySelector("#output").append(part);
      await markdown.typeset(document);
    }""")
    assert bench.locator("#output .katex").count() == 1


def draw(page: Page, outputs: list[dict]) -> None:
    page.evaluate(
        f"""async (list) => {{
          const container = document.querySelector("#output");
          outputs.renderOutputs(container, {{id: "c1", number: 1}}, list, {CONTEXT});
        }}""",
        [output | {"index": index} for index, output in enumerate(outputs)],
    )


def apply(page: Page, ops: list[dict], attempt: str = "a1") -> None:
    context = f"{{frameUrl: '/frame/', attempt: {json.dumps(attempt)}}}"
    place = "document.querySelector('#output'), {id: 'c1', number: 1}"
    page.evaluate(f"(ops) => outputs.applyOps({place}, ops, {context})", ops)


def html_of(page: Page) -> str:
    return page.locator("#output").inner_html()


def text_op(start: int, text: str, item: int = 0, name: str = "stdout") -> dict:
    return {"op": "text", "item": item, "name": name, "from": start, "text": text}


def test_growing_text_ends_as_if_drawn_at_once(bench: Page) -> None:
    whole = "\x1b[31mone\ntwo\x1b[0m\nloss 0.9"
    for start in range(0, len(whole), 3):
        apply(bench, [text_op(start, whole[start : start + 3])])
    live = bench.evaluate("document.querySelector('#output').textContent")
    draw(bench, [stream(whole)])
    assert live == bench.evaluate("document.querySelector('#output').textContent") == "one\ntwo\nloss 0.9"
    assert bench.locator("#output .ansi-red").all_inner_texts() == ["one\ntwo"]


def cut_op(start: int, at: int, tail: str) -> dict[str, object]:
    counts = {"omitted_bytes": 5000, "omitted_lines": 12}
    return {"op": "cut", "item": 0, **counts, "start": start, "from": at, "tail": tail}


def test_a_progress_line_is_replaced_from_its_offset(bench: Page) -> None:
    apply(bench, [text_op(0, "start\n10 %"), text_op(6, "20 %")])
    apply(bench, [text_op(2, "op\n"), text_op(5, "end")])
    assert bench.locator("#output").text_content() == "stop\nend"


def test_applying_operations_twice_changes_nothing(bench: Page) -> None:
    item = result({"text/plain": "42"}) | {"index": 1}
    cut = cut_op(40, 40, "😀 end\n")
    ops = [text_op(0, "a\nb"), cut, {"op": "item", "item": 1, "output": item}]
    apply(bench, ops)
    once = html_of(bench)
    apply(bench, ops)
    assert html_of(bench) == once
    assert "12 lines, 5.0 KB left out" in once


def test_the_tail_of_a_long_text_moves_on_by_what_was_added(bench: Page) -> None:
    more = cut_op(43, 47, "more\n")
    apply(bench, [text_op(0, "head\n"), cut_op(40, 40, "😀 end\n"), more, more])
    assert bench.locator("#output").text_content() == "head\n12 lines, 5.0 KB left outend\nmore\n"
    apply(bench, [cut_op(1000, 1000, "all new\n")])
    assert bench.locator("#output").text_content() == "head\n12 lines, 5.0 KB left outall new\n"


def test_old_output_stays_until_the_first_operation_of_the_next_attempt(bench: Page) -> None:
    draw(bench, [stream("old\n" * 20)])
    height = bench.evaluate("document.querySelector('#output').offsetHeight")
    apply(bench, [], attempt="a1")
    assert "old" in html_of(bench)
    apply(bench, [text_op(0, "new")], attempt="a2")
    assert bench.locator("#output").text_content() == "new"
    assert bench.evaluate("document.querySelector('#output').offsetHeight") == height
    bench.evaluate("outputs.settle(document.querySelector('#output'))")
    assert bench.evaluate("document.querySelector('#output').offsetHeight") < height


def test_a_frame_of_a_cell_in_a_traceback_leads_there(bench: Page) -> None:
    draw(bench, [KEY_ERROR])
    bench.evaluate("document.addEventListener('rill:goto', (event) => (window.gone = event.detail))")
    bench.locator(".traceback a").click()
    assert bench.evaluate("window.gone") == {"number": 9, "line": 3}


def test_library_frames_are_folded_and_counted(bench: Page) -> None:
    draw(bench, [KEY_ERROR])
    expect(bench.locator("details.frames > summary")).to_have_text("2 library frames")
    expect(bench.locator("details.frames .frame").first).to_be_hidden()


def test_hydration_keeps_the_servers_elements(bench: Page) -> None:
    output = result({TABLE_MIME: TABLE})
    kept = bench.evaluate(
        f"""([html, output]) => {{
          const container = document.querySelector("#output");
          container.innerHTML = html;
          const table = container.querySelector("table");
          outputs.hydrateOutputs(container, {{id: "c1"}}, [output], {CONTEXT});
          return table === container.querySelector("table");
        }}""",
        [str(item_html(output)), output],
    )
    assert kept


def with_rows(page: Page) -> None:
    """A kernel that answers with as many rows as asked for, and remembers what it was asked."""
    page.evaluate(
        """(table) => {
          window.asked = [];
          window.askTable = async (request) => {
            window.asked.push(request);
            const rows = table.rows.map((row, at) => [request.offset + at, ...row.slice(1)]);
            return { ...table, rows, offset: request.offset, sort: request.sort };
          };
        }""",
        TABLE,
    )


def test_a_table_pages_sorts_and_searches_through_the_kernel(bench: Page) -> None:
    with_rows(bench)
    draw(bench, [result({TABLE_MIME: TABLE})])
    expect(bench.locator(".pages")).to_contain_text("Page 1 of 12,053")
    bench.get_by_role("button", name="Next page").click()
    expect(bench.locator("tbody tr").first).to_contain_text("4")
    bench.get_by_role("button", name="name", exact=True).click()
    expect(bench.locator("th[aria-sort=ascending]")).to_contain_text("name")
    bench.get_by_role("button", name="Search in the table").click()
    bench.get_by_role("searchbox").fill("ada")
    wait_until(bench, "window.asked.length === 3")
    offsets = bench.evaluate("window.asked.map((one) => [one.offset, one.limit, one.search])")
    assert offsets == [[4, 4, ""], [0, 4, ""], [0, 4, "ada"]]
    assert bench.evaluate("window.asked[1].sort") == [{"column": "name", "descending": False}]


def test_a_table_whose_dataframe_is_gone_says_so(bench: Page) -> None:
    bench.evaluate("() => void (window.askTable = async () => { throw new Error('') })")
    draw(bench, [result({TABLE_MIME: TABLE})])
    bench.get_by_role("button", name="Next page").click()
    expect(bench.locator(".table-message")).to_contain_text("no longer in the kernel")
    expect(bench.locator("tbody tr")).to_have_count(4)


def test_script_in_output_runs_without_our_origin(bench: Page) -> None:
    probe = """<p id="told"></p><script>
      const told = [self.origin];
      try { parent.document.title = "taken"; told.push("reached the page") } catch { told.push("no page") }
      try { document.cookie; told.push("cookies") } catch { told.push("no cookies") }
      document.getElementById("told").textContent = told.join(", ");
    </script>"""
    draw(bench, [result({"text/html": probe})])
    expect(bench.frame_locator("#output iframe").locator("#told")).to_have_text("null, no page, no cookies")
    assert bench.title() == "Bench"


def test_output_cannot_reach_the_network(bench: Page, page_server: Server) -> None:
    probe = f"""<img src="{page_server.url}/stolen"><p id="told">waiting</p><script>
      const told = document.getElementById("told");
      fetch("{page_server.url}/stolen").catch(() => (told.textContent = "blocked"));
    </script>"""
    problems = bench.locator(".output-notes")
    draw(bench, [result({"text/html": probe})])
    expect(bench.frame_locator("#output iframe").locator("#told")).to_have_text("blocked")
    expect(problems).to_contain_text("may not reach the network")
    assert "/stolen" not in page_server.asked


def test_a_frame_is_as_tall_as_its_content_up_to_most_of_the_window(bench: Page) -> None:
    draw(bench, [result({"text/html": "<div style='height:120px'></div>"})])
    wait_until(bench, "document.querySelector('iframe').offsetHeight > 115")
    assert bench.evaluate("document.querySelector('iframe').offsetHeight") <= 125
    draw(bench, [result({"text/html": "<div style='height:5000px'></div>"})])
    wait_until(bench, "document.querySelector('iframe').offsetHeight === 640")
    bench.get_by_role("button", name="Show in full").click()
    assert bench.evaluate("document.querySelector('iframe').offsetHeight") > 5000


def test_messages_of_other_windows_are_not_heard(bench: Page) -> None:
    draw(bench, [result({"text/html": "<div style='height:120px'></div>"})])
    wait_until(bench, "document.querySelector('iframe').offsetHeight > 115")
    bench.evaluate("window.postMessage({type: 'height', height: 600}, '*')")
    bench.evaluate("window.postMessage({type: 'link', href: 'https://example.org/'}, '*')")
    bench.wait_for_timeout(100)
    assert bench.evaluate("document.querySelector('iframe').offsetHeight") < 200
    assert bench.locator(".output-notes a").count() == 0


# What the page would do a second later is held, so that a test counts and need not wait; values that go in are counted.
HELD = """async () => {
  const { OutputFrame } = await import("/static/js/outputs/frame.js");
  const [later, post] = [window.setTimeout, OutputFrame.prototype.post];
  Object.assign(window, { OutputFrame, held: [], values: 0 });
  window.setTimeout = (act, ms, ...rest) => (ms === 1000 ? held.push(act) : later(act, ms, ...rest));
  OutputFrame.prototype.post = function (message) {
    if (message.type === "render") values += 1;
    return post.call(this, message);
  };
}"""
PASS_A_SECOND = "() => held.splice(0).forEach((act) => act())"


def html_output(html: str) -> dict[str, object]:
    return {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}


def test_a_frame_that_asks_for_its_value_without_end_gets_it_once_a_second(bench: Page) -> None:
    bench.evaluate(HELD)
    ask = "for (let n = 0; n < 200; n += 1) parent.postMessage({type: 'ready'}, '*');"
    tell = "window.count = (window.count ?? 0) + 1; parent.postMessage({type: 'note', text: `told ${count}`}, '*');"
    draw(bench, [html_output(f"<p>x</p><script>{ask}{tell}</script>")])
    for number in (1, 2, 3):
        expect(bench.locator(".output-notes")).to_have_text(f"told {number}")
        assert bench.evaluate("values") == number
        bench.evaluate(PASS_A_SECOND)


def test_the_last_of_many_heights_is_the_frames(bench: Page) -> None:
    bench.evaluate(HELD)
    tell = "for (let n = 1; n < 100; n += 1) parent.postMessage({type: 'height', height: 300 + n}, '*');"
    done = "parent.postMessage({type: 'note', text: 'told'}, '*');"
    draw(bench, [html_output(f"<div style='height: 77px'></div><script>{tell}{done}</script>")])
    expect(bench.locator(".output-notes")).to_have_text("told")
    bench.evaluate(PASS_A_SECOND)
    expect(bench.locator(".output-frame iframe")).to_have_css("height", re.compile(r"7\dpx"))


def test_a_frame_that_floods_the_page_is_ended_and_says_so(bench: Page) -> None:
    bench.evaluate("() => { performance.now = () => 0 }")  # all of it within a second, however slow this machine is
    draw(bench, [html_output("<script>for (let n = 0; n < 3000; n += 1) parent.postMessage({}, '*')</script>")])
    expect(bench.locator(".output-notes")).to_contain_text("sent more messages than the page can read")
    assert bench.locator(".output-frame iframe").count() == 0


WRITE = """() => {
  const box = document.createElement("textarea");
  document.getElementById("output").before(box);
  box.focus();
}"""
# A real pointer tells the page that it comes over a frame; Playwright's goes past the page.
OVER_FRAME = """() => {
  const over = new PointerEvent("pointerover", { bubbles: true, screenX: 300, screenY: 400 });
  document.querySelector("iframe").dispatchEvent(over);
}"""
FIELD = "<input id='field'><script>const field = document.getElementById('field');</script>"


def writer(bench: Page, script: str) -> None:
    """An output with a field and a script, under a text in which somebody writes."""
    draw(bench, [html_output(f"{FIELD}<script>{script}</script>")])
    expect(bench.frame_locator("#output iframe").locator("#field")).to_be_visible()
    bench.evaluate(WRITE)


def test_a_frame_that_takes_the_keyboard_is_ended_and_the_text_stays_where_it_was_written(bench: Page) -> None:
    writer(bench, "addEventListener('message', () => setInterval(() => field.focus(), 10));")
    bench.locator("textarea").press_sequentially("before ")
    bench.evaluate("document.querySelector('iframe').contentWindow.postMessage('now', '*')")
    expect(bench.locator(".output-notes")).to_contain_text("it took the keyboard again and again")
    bench.keyboard.type("after")
    expect(bench.locator("textarea")).to_have_value("before after")


def test_a_frame_that_asks_for_the_keyboard_gets_it_from_the_reader(bench: Page) -> None:
    writer(bench, "addEventListener('message', () => field.focus());")
    bench.evaluate("document.querySelector('iframe').contentWindow.postMessage('now', '*')")
    give = bench.get_by_role("button", name="Give it")
    expect(give).to_be_visible()
    bench.keyboard.type("mine")
    expect(bench.locator("textarea")).to_have_value("mine")
    give.click()
    bench.evaluate("document.querySelector('iframe').contentWindow.postMessage('now', '*')")
    wait_until(bench, "document.activeElement.matches('iframe')")
    bench.locator("textarea").focus()
    bench.evaluate("document.querySelector('iframe').contentWindow.postMessage('now', '*')")
    wait_until(bench, "document.activeElement.matches('iframe')")


@pytest.mark.parametrize("how", ["press", "tab"])
def test_a_reader_goes_into_a_frame_by_a_press_or_by_tab(bench: Page, how: str) -> None:
    writer(bench, "")
    field = bench.frame_locator("#output iframe").locator("#field")
    if how == "press":
        bench.evaluate(OVER_FRAME)
        field.click()
    else:
        bench.keyboard.press("Tab")
    expect(field).to_be_focused()
    bench.keyboard.type("mine")
    expect(field).to_have_value("mine")
    expect(bench.locator(".output-notes")).to_have_text("")


def test_a_frame_that_grows_to_below_the_pointer_was_not_pointed_at(bench: Page) -> None:
    grow = "document.getElementById('output').style.height = '500px'; setTimeout(() => field.focus(), 500)"
    writer(bench, f"addEventListener('message', () => {{ {grow} }});")
    at = bench.locator("#output iframe").bounding_box()
    bench.mouse.move(at["x"] + 50, at["y"] + at["height"] + 150)
    bench.evaluate("document.querySelector('iframe').contentWindow.postMessage('now', '*')")
    expect(bench.get_by_role("button", name="Give it")).to_be_visible()
    assert bench.evaluate("document.querySelector('iframe').matches(':hover')")
    bench.keyboard.type("mine")
    expect(bench.locator("textarea")).to_have_value("mine")


def test_what_a_frame_sends_is_of_the_type_it_says(bench: Page) -> None:
    script = """async () => {
      const { OutputFrame } = await import("/static/js/outputs/frame.js");
      const frame = new OutputFrame(document.getElementById("output"), "text/html", { frameUrl: "/frame/" });
      frame.receive({ type: "note", text: ["a list"] });
      frame.receive({ type: "link", href: ["https://list.example"] });
      frame.receive({ type: "link", href: "https://long.example/" + "x".repeat(100_000) });
      frame.receive({ type: "height", height: ["77"] });
      return [frame.notes.textContent, frame.iframe.style.height];
    }"""
    assert bench.evaluate(script) == ["", ""]


def test_a_link_in_a_frame_is_offered_with_its_true_address(bench: Page) -> None:
    draw(bench, [result({"text/html": "<a href='https://example.org/x'>go</a>"})])
    bench.frame_locator("#output iframe").get_by_text("go").click()
    link = bench.locator(".output-notes a")
    expect(link).to_have_attribute("href", "https://example.org/x")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


FIGURE = {
    "data": [{"type": "scatter", "x": [1, 2, 3], "y": [2, 1, 3], "line": {"color": "#636efa"}}],
    "layout": {},
}
SPEC = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"values": [{"a": 1, "b": 2}, {"a": 2, "b": 5}]},
    "mark": "point",
    "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "b", "type": "quantitative"}},
}


@pytest.mark.parametrize(
    ("mime", "value"),
    [
        ("application/vnd.plotly.v1+json", FIGURE),
        ("application/vnd.vegalite.v5+json", SPEC),
        ("application/vnd.vegalite.v6+json", SPEC | {"$schema": SPEC["$schema"].replace("v5", "v6")}),
    ],
)
def test_charts_are_drawn_follow_the_theme_and_can_be_saved(bench: Page, mime: str, value: dict) -> None:
    draw(bench, [result({mime: value, "text/plain": "chart"})])
    chart = bench.frame_locator("#output iframe").locator("#output svg").first
    expect(chart).to_be_visible(timeout=15_000)
    light = bench.frame_locator("#output iframe").locator("#output").inner_html()
    bench.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_until(bench, "getComputedStyle(document.body).color !== 'rgb(26, 33, 32)'")
    frame = bench.frame_locator("#output iframe")
    expect(frame.locator("html")).to_have_attribute("style", re.compile("color-scheme: dark"), timeout=5_000)
    expect(chart).to_be_visible()
    bench.locator(".output-frame").hover()
    with bench.expect_download() as download:
        bench.get_by_role("button", name="SVG").click()
    assert download.value.suggested_filename == "chart.svg"
    assert "<svg" in Path(download.value.path()).read_text(encoding="utf-8")
    assert frame.locator("#output").inner_html() != light


def test_a_picture_has_its_size_before_it_is_decoded(bench: Page) -> None:
    draw(bench, [result({"image/png": png(300, 200)})])
    image = bench.locator("img.output-image")
    expect(image).to_have_attribute("width", "300")
    expect(image).to_have_attribute("height", "200")


def test_hostile_values_stay_text(bench: Page) -> None:
    draw(bench, list(STATIC_OUTPUTS.values()))
    expect(bench.locator("#output .output-item")).to_have_count(len(STATIC_OUTPUTS))
    assert (
        bench.locator("#output script, #output img[onerror], #output .output-item > * [onclick]").count() == 0
    )
