"""Two people who type at the same time, ten keys a second each, in real browsers (goal G18): no character is lost or
doubled, all windows and the server agree soon after, and nobody's caret or page jumps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live.test_structure import open_page, put_caret
from tests.servers import LiveServer

SHORT_S, LONG_S = 6.0, 60.0
KEY_S = 0.1
AGREE_S = 60.0  # on a busy machine; the goal is 2 s
LETTERS = "abcdefghijklmnopqrstuvwxyz"

SOURCE = """(number) => [...document.querySelectorAll(`section.cell[data-number="${number}"] .cm-line`)]
    .map((line) => line.textContent).join('\\n')"""
# Where the page and the line with this window's caret stand.
PLACE = """() => {
  const focused = document.querySelector(".cm-content:focus");
  const line = focused && getSelection().focusNode?.parentElement?.closest(".cm-line");
  const lines = focused ? [...focused.querySelectorAll(".cm-line")] : [];
  const range = getSelection().rangeCount ? getSelection().getRangeAt(0).cloneRange() : null;
  if (line && range) range.setStart(line, 0);
  const number = focused?.closest("section.cell")?.dataset.number ?? null;
  return [number, lines.indexOf(line), range ? range.toString().length : -1, scrollY];
}"""


@pytest.fixture
def two(browser_page: Any, chromium: Any, live_server: LiveServer) -> Iterator[tuple[Any, Any]]:
    """Windows of two people."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    cookies = live_server.session_cookies("bea").items()
    context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies])
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield browser_page, page
    context.close()
    assert errors == []


def shared(server: LiveServer, *sources: str) -> str:
    """The path of a notebook that Bea edits too."""
    api = server.api()
    path = f"notebooks/{api('POST', 'notebooks/', {'name': 'Together'})[1]['id']}/"
    for source in sources:
        assert api("POST", f"{path}cells/", {"type": "python", "source": source})[0] == 201
    assert api("POST", f"{path}members/", {"user": "bea", "role": "editor"})[0] == 201
    return path


def type_both(windows: tuple[Any, Any], seconds: float, after_key: Callable[[int], None]) -> list[str]:
    """Both type, a key each in turn; what each has typed."""
    typed = ["", ""]
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end or number < 30:
        began = time.monotonic()
        for who, page in enumerate(windows):
            key = LETTERS[number % 26] if who == 0 else LETTERS[number % 26].upper()
            page.keyboard.press(key)
            typed[who] += key
        after_key(number)
        number += 1
        time.sleep(max(0.0, KEY_S - (time.monotonic() - began)))
    return typed


def agree(windows: tuple[Any, Any], server: LiveServer, path: str, number: int, is_right: Callable[[str], bool]) -> str:
    """Wait until both windows and the server hold one text that is right."""
    end = time.monotonic() + AGREE_S
    while True:
        shown = [page.evaluate(SOURCE, number) for page in windows]
        stored = server.api()("GET", path)[1]["cells"][number - 1]["source"]
        if shown == [stored, stored] and is_right(stored):
            return str(stored)
        assert time.monotonic() < end, (shown, stored)
        time.sleep(0.1)


@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.soak)])
def test_two_in_one_cell_lose_no_character_and_keep_their_carets(
    two: tuple[Any, Any], live_server: LiveServer, seconds: float
):
    path = shared(live_server, "#first:\n#second:")
    for page in two:
        open_page(page, live_server, path)
    put_caret(two[0], 1, ["Control+Home", "End"])
    put_caret(two[1], 1, ["Control+End"])
    moves: list[Any] = []

    def look(number: int) -> None:
        # What I typed is before my caret, in my line, at once, whatever the other's keys do.
        for who, page in enumerate(two):
            expected = ["1", who, len(("#first:", "#second:")[who]) + number + 1]
            found = page.evaluate(PLACE)
            if found[:3] != expected or found[3] != 0:
                moves.append((who, expected, found))

    typed = type_both(two, seconds, look)
    agree(two, live_server, path, 1, lambda text: text == f"#first:{typed[0]}\n#second:{typed[1]}")
    assert moves == []


@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.soak)])
def test_two_at_one_place_lose_no_character(two: tuple[Any, Any], live_server: LiveServer, seconds: float):
    path = shared(live_server, "#[]")
    for page in two:
        open_page(page, live_server, path)
        put_caret(page, 1, ["Control+Home", "ArrowRight", "ArrowRight"])
    typed = type_both(two, seconds, lambda number: None)

    def is_right(text: str) -> bool:
        inner = text.removeprefix("#[").removesuffix("]")
        own = ["".join(key for key in inner if key.islower()), "".join(key for key in inner if key.isupper())]
        return own == typed and len(inner) == len(typed[0]) + len(typed[1])

    agree(two, live_server, path, 1, is_right)


@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.soak)])
def test_two_in_two_cells_do_not_disturb_each_other(two: tuple[Any, Any], live_server: LiveServer, seconds: float):
    path = shared(live_server, "#one:", "#two:")
    for number, page in enumerate(two, start=1):
        open_page(page, live_server, path)
        put_caret(page, number, ["Control+End"])
    moves: list[Any] = []

    def look(number: int) -> None:
        for who, page in enumerate(two):
            expected = [str(who + 1), 0, len("#one:") + number + 1, 0]
            if (found := page.evaluate(PLACE)) != expected:
                moves.append((who, expected, found))

    typed = type_both(two, seconds, look)
    agree(two, live_server, path, 1, lambda text: text == "#one:" + typed[0])
    agree(two, live_server, path, 2, lambda text: text == "#two:" + typed[1])
    assert moves == []
