"""Tests of notebooks_app/outputs.py and terminal.py: pure, without Django."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.output_ops import apply, merge_ops, utf16_length, utf16_prefix
from notebooks_app.outputs import MAX_INLINE, MAX_ITEMS, OutputLog, clean_json, clean_text
from notebooks_app.terminal import HEIGHT, WIDTH, Screen

ATTEMPT = "a"


def text(value: str, name: str = "stdout") -> dict[str, Any]:
    return {"t": "stream", "attempt": ATTEMPT, "name": name, "text": value}


def display(data: dict[str, Any], display_id: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "t": "display",
        "attempt": ATTEMPT,
        "data": data,
        "metadata": {},
        "display_id": display_id,
        "result": False,
        **more,
    }


def shown(*parts: str) -> str:
    """What is shown of text that arrives in these parts."""
    log = OutputLog(ATTEMPT)
    for part in parts:
        log.feed([text(part)])
    return log.outputs()[0]["text"]


pieces = st.one_of(
    st.text(alphabet="ab 😀é\n\r\b\t", max_size=12),
    st.sampled_from(
        [
            "\r",
            "\r\n",
            "\n",
            "\b",
            "\x1b[31m",
            "\x1b[0m",
            "\x1b[1;32m",
            "\x1b[A",
            "\x1b[2A",
            "\x1b[K",
            "\x1b[2K",
        ]
    ),
    st.sampled_from(
        ["\x1b[m", "\x1b[38;5;9m", "\x1b[J", "\x1b[3C", "\x1b]0;t\x07", "\x1b[", "\x1b", "\x00", "\ud800"]
    ),
    st.builds(
        lambda line, count: line * count,
        st.sampled_from(["x\n", "é\n", "long " * 9 + "\n"]),
        st.integers(1, 80),
    ),
)
entries = st.one_of(
    st.builds(text, pieces, st.sampled_from(["stdout", "stderr"])),
    st.builds(
        display,
        st.dictionaries(st.sampled_from(["text/plain", "text/html"]), st.text(max_size=9), max_size=2),
    ),
    st.builds(display, st.just({"text/plain": "shown"}), st.sampled_from(["one", "two"])),
    st.builds(
        lambda name, value: {
            "t": "update",
            "display_id": name,
            "data": {"text/plain": value},
            "metadata": {},
        },
        st.sampled_from(["one", "two", "three"]),
        st.text(max_size=5),
    ),
    st.builds(lambda wait: {"t": "clear", "wait": wait}, st.booleans()),
    st.just({"t": "error", "ename": "E", "evalue": "v", "traceback": ["t"]}),
    st.just({"t": "notice", "text": "said once"}),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.lists(entries, max_size=6), max_size=8),
    st.sampled_from([(10, 10), (100, 60), (65536, 65536)]),
)
def test_operations_applied_by_a_browser_give_exactly_the_outputs(
    feeds: list[list[Any]], limits: tuple[int, int]
):
    log = OutputLog(ATTEMPT, text_head=limits[0], text_tail=limits[1])
    browser: list[Any] = []
    for feed in feeds:
        ops = log.feed(feed)
        browser = apply(browser, ops)
        assert browser == log.outputs()
        assert apply(browser, ops) == browser  # a batch that arrives twice changes nothing
    json.dumps(browser, allow_nan=False).encode()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(entries, max_size=6), max_size=8), st.sampled_from([(10, 10), (65536, 65536)]))
def test_merged_operations_have_the_same_result(feeds: list[list[Any]], limits: tuple[int, int]):
    log = OutputLog(ATTEMPT, text_head=limits[0], text_tail=limits[1])
    batches = [log.feed(feed) for feed in feeds]
    for start in range(len(batches) + 1):
        before = apply([], [op for batch in batches[:start] for op in batch])
        rest = [op for batch in batches[start:] for op in batch]
        merged = merge_ops(rest)
        assert apply(before, merged) == log.outputs()
        assert len(merged) <= len(rest)


def test_a_progress_bar_seen_late_is_one_operation():
    log = OutputLog(ATTEMPT)
    ops = [op for step in range(100) for op in log.feed([text(f"\r{step}%")])]
    assert merge_ops(ops) == [{"op": "text", "item": 0, "name": "stdout", "from": 0, "text": "99%"}]


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=14), st.data())
def test_where_text_is_cut_into_chunks_does_not_matter(parts: list[str], data: st.DataObject):
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    one = OutputLog(ATTEMPT, text_head=50, text_tail=30)
    other = OutputLog(ATTEMPT, text_head=50, text_tail=30)
    one.feed([text(whole)])
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        other.feed([text(whole[start:end])])
    assert one.outputs() == other.outputs()


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_prefix_in_utf16_units_is_what_javascript_slices(value: str, units: int):
    clean = clean_text(value)
    sliced = clean.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore")
    assert utf16_prefix(clean, units) == sliced
    assert utf16_length(clean) == len(clean.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("10%\r20%\r100%\n", "100%\n"),
        ("100%\r5%", "5%0%"),
        ("abc\b\bX", "aXc"),
        ("long line\r\x1b[Kshort", "short"),
        ("\x1b[31mred\x1b[0m plain\n", "\x1b[31mred\x1b[0m plain\n"),
        ("\x1b[31mred\x1b[0m\rR", "R\x1b[31med"),
        ("one\ntwo\n\x1b[2A\rONE\n", "ONE\ntwo\n"),
        ("title\x1b]0;window\x07s", "titles"),
        ("zero\x00", "zero\ufffd"),
        ("bell\x07", "bell"),
    ],
)
def test_text_reads_as_a_terminal_would_show_it(written: str, seen: str):
    assert shown(written) == seen
    assert shown(*written) == seen


def test_a_progress_bar_of_a_million_steps_is_one_line():
    log = OutputLog(ATTEMPT)
    for start in range(0, 1_000_000, 10_000):
        log.feed([text("".join(f"\r{step}/1000000" for step in range(start, start + 10_000)), "stderr")])
    assert log.outputs()[0]["text"] == "999999/1000000"


def test_nested_progress_bars_stay_on_their_own_lines():
    written = ""
    for outer in range(3):
        written += f"\router {outer}"
        for inner in range(50):
            written += f"\n\rinner {inner}\x1b[A"
    assert shown(written) == "outer 2\ninner 49"


def test_text_written_on_after_a_progress_bar_is_appended_by_a_small_operation():
    log = OutputLog(ATTEMPT)
    log.feed([text("x" * 1000 + "\n" + "5%")])
    assert log.feed([text("\r6%")]) == [
        {"op": "text", "item": 0, "name": "stdout", "from": 1001, "text": "6%"},
    ]


def test_long_text_keeps_its_head_and_tail_and_counts_what_is_left_out():
    log = OutputLog(ATTEMPT, text_head=100, text_tail=50)
    lines = [f"line {number} é\n" for number in range(500)]
    browser: list[Any] = []
    for line in lines:
        browser = apply(browser, log.feed([text(line)]))
    output = log.outputs()[0]
    everything, cut = "".join(lines), output["cut"]
    omitted = everything[100 : len(everything) - len(cut["tail"])]
    assert browser == [output]
    assert output["text"] == everything[:100]
    assert everything.endswith(cut["tail"])
    assert cut["omitted_bytes"] == len(omitted.encode())
    assert cut["omitted_lines"] == omitted.count("\n")


@given(st.lists(st.tuples(pieces | st.just("line 😀\n" * 9), st.booleans(), st.booleans()), max_size=60))
def test_a_tail_told_late_in_pieces_or_twice_is_the_tail(steps: list[tuple[str, bool, bool]]):
    log = OutputLog(ATTEMPT, text_head=20, text_tail=30)
    told: list[Any] = []
    slow: list[Any] = []  # gets several batches at once, merged
    late: list[Any] | None = None  # came in the middle with all there was then
    held: list[Any] = []
    for piece, is_told, starts in steps:
        ops = log.feed([text(piece)], with_tails=is_told)
        told = apply(apply(told, ops), ops)
        held += ops
        if late is not None:
            late = apply(late, ops)
        elif starts:
            late = log.outputs()
        if is_told:
            slow, held = apply(slow, merge_ops(held)), []
            assert told == slow == log.outputs()
    last = log.tail_ops()
    assert apply(told, last) == apply(slow, merge_ops(held + last)) == log.outputs()
    assert late is None or apply(late, last) == log.outputs()


def test_what_is_added_to_a_tail_is_told_and_not_the_tail_again():
    log = OutputLog(ATTEMPT, text_head=100, text_tail=5000)
    log.feed([text("x" * 99 + "\n") for _ in range(200)])
    (op,) = log.feed([text("one more\n")])
    assert (op["op"], op["tail"]) == ("cut", "one more\n")


def test_the_whole_of_a_long_text_is_handed_on_in_order():
    parts: list[str] = []
    log = OutputLog(ATTEMPT, text_head=100, text_tail=50, on_text=lambda item, part: parts.append(part))
    lines = [f"line {number}\n" for number in range(2000)]
    for start in range(0, 2000, 7):
        log.feed([text("".join(lines[start : start + 7]))])
    log.finish()
    assert "".join(parts) == "".join(lines)


def test_short_text_is_not_handed_on():
    parts: list[str] = []
    log = OutputLog(ATTEMPT, on_text=lambda item, part: parts.append(part))
    log.feed([text("short\n" * 100)])
    log.finish()
    assert parts == []


def test_a_hundred_megabytes_of_text_stay_within_bounded_memory():
    log = OutputLog(ATTEMPT)
    chunk = ("y" * 99 + "\n") * 10_000
    for _ in range(100):
        log.feed([text(chunk)])
    output = log.outputs()[0]
    assert len(output["text"]) + len(output["cut"]["tail"]) < 65536 * 2 + HEIGHT * WIDTH
    assert output["cut"]["omitted_bytes"] > 99_000_000


def test_a_line_without_end_is_bounded_too():
    log = OutputLog(ATTEMPT)
    for _ in range(200):
        log.feed([text("z" * 65536)])
    output = log.outputs()[0]
    assert len(output["text"]) == 65536
    assert len(output["cut"]["tail"]) <= 65536 + HEIGHT * WIDTH


def test_endless_new_items_end_in_one_note_and_an_error_is_still_shown():
    log = OutputLog(ATTEMPT)
    log.feed([display({"text/plain": str(number)}) for number in range(3 * MAX_ITEMS)])
    log.feed([{"t": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": []}])
    outputs = log.outputs()
    assert len(outputs) == MAX_ITEMS + 2
    assert "left out" in outputs[-2]["text"]
    assert outputs[-1]["ename"] == "KeyboardInterrupt"


def test_clear_with_wait_clears_when_the_next_output_comes():
    log = OutputLog(ATTEMPT)
    log.feed([text("old"), {"t": "clear", "wait": True}])
    assert log.outputs()[0]["text"] == "old"
    assert log.feed([text("new")])[0] == {"op": "clear"}
    assert [output["text"] for output in log.outputs()] == ["new"]


def test_an_update_replaces_every_item_with_its_display_id():
    log = OutputLog(ATTEMPT)
    log.feed([display({"text/plain": "1"}, "bar"), text("between"), display({"text/plain": "1"}, "bar")])
    ops = log.feed([{"t": "update", "display_id": "bar", "data": {"text/plain": "2"}, "metadata": {}}])
    assert [op["item"] for op in ops] == [0, 2]
    assert [output.get("data") for output in log.outputs()] == [
        {"text/plain": "2"},
        None,
        {"text/plain": "2"},
    ]


def test_an_update_of_another_cells_display_is_left_to_the_runtime():
    first, second = OutputLog("first"), OutputLog("second")
    first.feed([display({"text/plain": "1"}, "bar")])
    update = {"t": "update", "display_id": "bar", "data": {"text/plain": "2"}, "metadata": {}}
    assert second.feed([update]) == []
    assert list(second.unclaimed) == [update]
    assert second.find_display("bar") == [] and first.find_display("bar") == [0]
    first.show_update(first.bundle(update), first.find_display("bar"))
    assert first.outputs()[0]["data"] == {"text/plain": "2"}


def test_an_update_changes_the_latest_of_its_displays_and_as_many_more_as_it_may():
    asked: list[int] = []

    def repeat(bundle: Any, count: int) -> int:
        asked.append(count)
        return 2

    log = OutputLog(ATTEMPT, on_repeat=repeat)
    log.feed([display({"text/plain": "1"}, "bar") for _ in range(60)] + [display({"text/plain": "1"}, "once")])
    ops = log.feed(
        [{"t": "update", "display_id": name, "data": {"text/plain": "2"}, "metadata": {}} for name in ("bar", "once")]
    )
    assert [op["item"] for op in ops] == [57, 58, 59, 60] and asked == [49]


def test_updates_do_not_grow_a_run_beyond_what_is_kept_of_it():
    log = OutputLog(ATTEMPT)
    log.feed([display({"text/plain": "1"}, str(number)) for number in range(200)])
    data = {"text/plain": "x" * 60_000}
    log.feed([{"t": "update", "display_id": str(number), "data": data, "metadata": {}} for number in range(200)])
    assert log.inline_size <= MAX_INLINE
    assert log.outputs()[0]["data"] == data and "all that is kept" in log.outputs()[-1]["data"]["text/plain"]


def test_an_item_over_the_limit_travels_as_a_file():
    image = bytes(range(256)) * 400
    stored: list[bytes] = []

    def store(mime: str, data: bytes) -> dict[str, Any]:
        stored.append(data)
        return {"url": "/outputs/1", "size_bytes": len(data)}

    log = OutputLog(ATTEMPT, on_large=store)
    log.feed([display({"image/png": base64.b64encode(image).decode(), "text/plain": "figure"})])
    output = log.outputs()[0]
    assert output["data"] == {"text/plain": "figure"}
    assert output["files"] == {"image/png": {"url": "/outputs/1", "size_bytes": len(image)}}
    assert stored == [image]


def test_without_a_store_a_large_item_is_named_in_its_place():
    log = OutputLog(ATTEMPT)
    log.feed([display({"text/html": "<b>" * 100_000})])
    assert "too large" in log.outputs()[0]["data"]["text/plain"]


def test_json_values_hold_nothing_that_json_cannot():
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    value, _ = clean_json({"nan": float("nan"), "inf": [float("-inf")], "text": "a\x00\ud800", "deep": deep})
    assert value["nan"] is None and value["inf"] == [None] and value["text"] == "a\ufffd\ufffd"
    json.dumps(value, allow_nan=False).encode()


def test_dirty_since_names_only_what_changed_after_a_mark():
    log = OutputLog(ATTEMPT)
    log.feed([text("one"), display({"text/plain": "1"}, "bar"), text("two", "stderr")])
    mark = log.mark
    log.feed([{"t": "update", "display_id": "bar", "data": {"text/plain": "2"}, "metadata": {}}])
    changed, cleared = log.dirty_since(mark)
    assert [output["index"] for output in changed] == [1] and not cleared
    log.feed([{"t": "clear", "wait": False}])
    assert log.dirty_since(mark) == ([], True)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"t": "display", "data": 3},
        {"t": "display", "data": {"not a mime type": "x", 7: "y"}},
        {"t": "error", "traceback": "no list"},
        {"t": "stream", "text": 9},
        {"t": "update"},
        {"t": "notice"},
        {"t": ["list"]},
    ],
)
def test_an_entry_of_the_wrong_shape_does_no_harm(entry: dict[str, Any]):
    log = OutputLog(ATTEMPT)
    assert apply([], log.feed([entry])) == log.outputs()


def test_many_plain_lines_pass_the_screen_as_single_ones_do():
    block = "".join(f"row {number}\n" for number in range(1000))
    at_once, line_by_line = Screen(), Screen()
    committed = at_once.write(block)
    one_by_one = "".join(line_by_line.write(line) for line in block.splitlines(keepends=True))
    assert committed == one_by_one and at_once.window() == line_by_line.window()
    assert committed + at_once.window() == block
