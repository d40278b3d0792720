"""What a person does on the notebook page, against a far side that the test plays."""

import uuid
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opened
from tests.browser.far_side import cell
from tests.pages.conftest import wait_until

pytestmark = pytest.mark.browser

type Open = Callable[..., Opened]
ATTEMPT = str(uuid.UUID(int=7))
RAN = {"freshness": "current", "outcome": "ok", "attempt": str(uuid.UUID(int=1)), "duration_ms": 420}


def source_of(page: Page, number: int) -> str:
    """The text a person sees in the source of a cell."""
    script = """number => {
      const lines = document.querySelectorAll(`.cell[data-number="${number}"] .source :is(.cm-line, .line)`);
      return [...lines].map((line) => line.textContent.replace("\\n", "")).join("\\n");
    }"""
    return page.evaluate(script, number)


def edit(page: Page, number: int) -> None:
    page.locator(f'.cell[data-number="{number}"] .source').click()
    page.keyboard.press("Control+End")


def soon(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("not so after 20 s")


def saved(page: Page) -> None:
    wait_until(page, "document.querySelector('[data-part=saved-words]').textContent === 'Saved, online'")


def test_waking_an_editor_moves_no_pixel(open_notebook: Open) -> None:
    page, _ = open_notebook([cell("import pandas as pd\nrate = 0.15\n\nprint('x' * 80)"), cell("after = 1")])
    script = """() => [...document.querySelectorAll(".source")].map((box) => {
      const line = document.createRange();
      line.selectNodeContents(box.querySelector(".line, .cm-line"));
      const boxes = [box, line].map((one) => one.getBoundingClientRect());
      return boxes.flatMap(({ x, y, width, height }) => [x, y, width, height]);
    })"""
    before = page.evaluate(script)
    edit(page, 1)
    expect(page.locator(".cm-editor")).to_have_count(1)
    for now, then in zip(page.evaluate(script), before, strict=True):
        assert now == pytest.approx(then, abs=0.25)  # each further span may round its width by a 64th


def test_what_is_typed_is_stored_and_a_run_names_its_version(open_notebook: Open) -> None:
    page, far = open_notebook([cell("rate = 0.1")])
    edit(page, 1)
    page.keyboard.type("5")
    page.keyboard.press("Control+Enter")
    soon(page, lambda: bool(far.asked_for("run")))
    assert far.cells[0]["source"] == "rate = 0.15"
    assert far.asked_for("run")[0]["cells"] == [{"cell": far.cells[0]["id"], "version": 2}]


def test_another_persons_change_and_mine_are_both_kept(open_notebook: Open) -> None:
    page, far = open_notebook([cell("rate = 0.1")])
    edit(page, 1)
    page.keyboard.type("5")
    far.another_types(far.cells[0], changes=[[0, "# ours", ""], len(far.cells[0]["source"])])
    page.keyboard.type("6")
    soon(page, lambda: far.cells[0]["source"] == "# ours\nrate = 0.156")
    assert source_of(page, 1) == "# ours\nrate = 0.156"


def test_undo_in_the_editor_takes_back_only_ones_own_typing(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1")])
    edit(page, 1)
    page.keyboard.type("23")
    soon(page, lambda: far.cells[0]["source"] == "a = 123")
    far.another_types(far.cells[0], changes=[[0, "# "], 7])
    page.keyboard.press("Control+z")
    soon(page, lambda: far.cells[0]["source"] == "# a = 1")


def test_a_replaced_text_asks_and_loses_neither(open_notebook: Open) -> None:
    page, far = open_notebook([cell("bands = cut(price)")])
    edit(page, 1)
    far.go_down()
    page.keyboard.press("ArrowLeft")
    page.keyboard.type(", 4")
    far.another_types(far.cells[0], source="bands = cut(orders.price, edges)")
    far.is_down = False
    expect(page.get_by_role("alert")).to_contain_text("changed at the same time")
    page.get_by_role("button", name="Insert mine below").click()
    soon(page, lambda: len(far.cells) == 2)
    assert [one["source"] for one in far.cells] == [
        "bands = cut(orders.price, edges)",
        "bands = cut(price, 4)",
    ]


def test_typing_goes_on_without_a_connection_and_is_sent_later(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1")])
    edit(page, 1)
    far.go_down()
    page.keyboard.type("00")
    expect(page.locator("[data-part=saved-words]")).to_have_text("Offline, 1 edit kept here")
    assert far.cells[0]["source"] == "a = 1"
    far.is_down = False
    soon(page, lambda: far.cells[0]["source"] == "a = 100")
    saved(page)


def test_what_was_typed_offline_survives_closing_the_page(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1")])
    edit(page, 1)
    far.go_down()
    page.keyboard.type("00")
    expect(page.locator("[data-part=saved-words]")).to_have_text("Offline, 1 edit kept here")
    url, again = page.url, page.context.new_page()
    page.close()
    far.is_down = False
    again.route_web_socket("**/ws/**", far.connect)
    again.goto(url)
    soon(again, lambda: far.cells[0]["source"] == "a = 100")
    assert source_of(again, 1) == "a = 100"


def test_live_output_replaces_the_old_with_its_first_piece(open_notebook: Open) -> None:
    old = {"index": 0, "kind": "stream", "name": "stdout", "text": "old\n", "cut": None, "files": {}}
    page, far = open_notebook([cell("print(1)", outputs=[old], **RAN)])
    output = page.locator(".cell .output")
    far.set_state(far.cells[0], status="running", attempt=ATTEMPT, started_at="2026-03-09T14:02:11+00:00")
    expect(page.locator(".cell")).to_have_attribute("data-state", "running")
    expect(output).to_contain_text("old")
    far.print_text(far.cells[0], ATTEMPT, "new\n")
    expect(output).to_have_text("new")
    far.print_text(far.cells[0], ATTEMPT, "new\n")
    far.set_state(far.cells[0], status="idle", freshness="current", outcome="ok", duration_ms=1240)
    expect(page.locator("[data-part=times]")).to_contain_text("1.24 s")
    expect(output).to_have_text("new")


def test_a_run_without_output_leaves_nothing_of_the_last_one(open_notebook: Open) -> None:
    old = {"index": 0, "kind": "stream", "name": "stdout", "text": "old\n", "cut": None, "files": {}}
    page, far = open_notebook([cell("x = 1", outputs=[old], **RAN)])
    far.set_state(far.cells[0], status="running", attempt=ATTEMPT)
    far.set_state(far.cells[0], status="idle", attempt=ATTEMPT, outcome="ok")
    expect(page.locator(".cell .output")).to_have_text("")


def test_of_many_names_the_page_shows_five_before_and_after_a_run_and_all_when_asked(open_notebook: Open) -> None:
    names = [f"name{number}" for number in range(9)]
    page, far = open_notebook([cell("x = 1", **RAN) | {"definitions": names}])
    shown = page.locator("[data-part=definitions] a")
    expect(shown).to_have_text(names[:5])
    far.set_state(far.cells[0], status="running", attempt=ATTEMPT)
    expect(page.locator(".cell")).to_have_attribute("data-state", "running")
    expect(shown).to_have_text(names[:5])
    page.get_by_role("button", name="4 more names").click()
    expect(shown).to_have_text(names)
    far.set_state(far.cells[0], status="idle", attempt=ATTEMPT, outcome="ok")
    expect(page.locator(".cell")).not_to_have_attribute("data-state", "running")
    expect(shown).to_have_text(names)


def test_the_palette_leads_to_every_part_of_the_side_and_to_exports(open_notebook: Open) -> None:
    page, _ = open_notebook([cell("x = 1")])
    for part in ("graph", "variables", "outline"):
        page.keyboard.press("Control+k")
        page.keyboard.type(f"show {part}")
        page.keyboard.press("Enter")
        expect(page.locator(f'[data-panel-part="{part}"]')).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("export")
    expect(page.get_by_role("option")).to_have_text(["Export as .ipynb", "Export as .html"])


def test_shift_enter_runs_and_goes_on_and_makes_a_cell_at_the_end(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1"), cell("b = 2")])
    edit(page, 1)
    page.keyboard.press("Shift+Enter")
    expect(page.locator('.cell[data-number="2"]')).to_be_focused()
    page.keyboard.press("Shift+Enter")
    soon(page, lambda: len(far.cells) == 3)
    page.keyboard.type("c = 3")
    soon(page, lambda: far.cells[2]["source"] == "c = 3")
    assert [message["cells"][0]["cell"] for message in far.asked_for("run")] == [
        one["id"] for one in far.cells[:2]
    ]


def test_cells_are_inserted_deleted_and_brought_back_by_keys(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1"), cell("b = 2")])
    page.locator('.cell[data-number="1"] .cell-gutter').click()
    page.keyboard.press("b")
    expect(page.locator(".cell")).to_have_count(3)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(page.locator(".cell")).to_have_count(2)
    expect(page.locator(".toast")).to_contain_text("Cell 1 deleted")
    page.keyboard.press("z")
    expect(page.locator(".cell")).to_have_count(3)
    assert [one["source"] for one in far.cells] == ["a = 1", "", "b = 2"]
    assert [source_of(page, number) for number in (1, 3)] == ["a = 1", "b = 2"]


def test_letters_typed_into_text_move_no_cell(open_notebook: Open) -> None:
    page, far = open_notebook([cell("")])
    edit(page, 1)
    page.keyboard.type("ddabxzvm")
    soon(page, lambda: far.cells[0]["source"] == "ddabxzvm")
    assert {message["type"] for message in far.asked} <= {"hello", "edit", "complete", "presence"}


def test_leaving_a_cell_that_was_changed_runs_it_and_one_that_was_not_does_not(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1", **RAN), cell("b = 2", **RAN), cell("c = 3", **RAN)])
    edit(page, 2)
    edit(page, 1)
    page.keyboard.type("0")
    soon(page, lambda: far.cells[0]["source"] == "a = 10")
    far.set_state(
        far.cells[0], freshness="stale", stale_because={"kind": "edited", "cell": None, "name": None}
    )
    edit(page, 3)
    soon(page, lambda: bool(far.asked_for("run")))
    page.wait_for_timeout(600)
    assert [message["cells"][0]["cell"] for message in far.asked_for("run")] == [far.cells[0]["id"]]


def test_tab_completes_and_after_escape_it_leaves(open_notebook: Open) -> None:
    page, far = open_notebook([cell("ord")])
    edit(page, 1)
    page.keyboard.press("Tab")
    expect(page.locator(".cm-tooltip-autocomplete")).to_be_visible()
    page.wait_for_timeout(150)  # CodeMirror takes no choice for 75 ms after the list appears
    page.keyboard.press("Tab")
    soon(page, lambda: far.cells[0]["source"] == "orders")
    page.keyboard.press("Escape")
    expect(page.locator(".cell")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "run"


def test_text_cells_show_prose_and_their_source_while_edited(open_notebook: Open) -> None:
    page, far = open_notebook([cell("# One", "markdown")])
    page.locator(".prose").dblclick()
    page.keyboard.press("Control+End")
    page.keyboard.type("\n\nTwo *three*")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".prose em")).to_have_text("three")
    expect(page.locator(".source")).to_be_hidden()
    soon(page, lambda: far.cells[0]["source"] == "# One\n\nTwo *three*")


def test_input_is_answered_under_its_cell(open_notebook: Open) -> None:
    page, far = open_notebook([cell("input('Name? ')")])
    far.set_state(far.cells[0], status="running", attempt=ATTEMPT)
    event = {"cell": far.cells[0]["id"], "attempt": ATTEMPT, "prompt": "Name? ", "password": False}
    far.live({"type": "input.requested", **event})
    page.get_by_label("Name?").fill("Maya")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name?")).to_have_count(0)
    assert far.asked_for("input_reply")[0]["value"] == "Maya"


def test_a_dead_kernel_is_explained_with_a_way_on(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1"), cell("b = 2"), cell("c = 3")])
    detail = "Out of memory at 2.0 GiB in cell 2"
    far.live({"type": "kernel.changed", "state": "dead", "detail": detail, "cell": far.cells[1]["id"]})
    expect(page.get_by_role("alert")).to_contain_text(detail)
    page.get_by_role("button", name="Restart and run up to cell 2").click()
    soon(page, lambda: bool(far.asked_for("run")))
    assert far.asked_for("restart")
    assert [item["cell"] for item in far.asked_for("run")[0]["cells"]] == [one["id"] for one in far.cells[:2]]


def test_a_viewer_reads_and_changes_nothing(open_notebook: Open) -> None:
    page, far = open_notebook([cell("a = 1")], role="viewer")
    source = page.locator('.cell[data-number="1"] .source')
    expect(source).to_be_hidden()
    page.get_by_role("button", name="Show code").first.click()
    source.click()
    page.keyboard.type("dd")
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(300)
    assert {message["type"] for message in far.asked} == {"hello", "presence"}
    expect(page.locator(".cell")).to_have_count(1)


def test_the_page_is_accessible_and_does_not_scroll_sideways(open_notebook: Open) -> None:
    def clean(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []

    page, far = open_notebook([cell("# Text", "markdown"), cell("a = 1", **RAN), cell("b = a")])
    far.set_state(
        far.cells[2], freshness="stale", stale_because={"kind": "edited", "cell": None, "name": None}
    )
    edit(page, 2)
    clean(page)
    page.keyboard.press("Control+k")
    clean(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+h")
    clean(page)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    clean(page)


def test_the_editor_keeps_the_pages_policy(open_notebook: Open) -> None:
    page, _ = open_notebook([cell("a = 1")])
    breaches: list[str] = []
    page.on(
        "console", lambda line: breaches.append(line.text) if "Content Security Policy" in line.text else None
    )
    edit(page, 1)
    page.keyboard.type("+ ord")
    page.locator('.cell [data-action="more"]').click()
    page.keyboard.press("Escape")
    page.locator('[data-panel="graph"]').click()
    assert breaches == []
