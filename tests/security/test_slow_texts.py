"""Texts made to be slow: each is so long that a rule which tries every place of it anew would take hours."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kernels_app.broker import statements
from notebooks_app import headings, logs, sliders
from notebooks_app.bounded_cache import ENTRY, cached_by_size
from notebooks_app.formats import FormatError, percent
from notebooks_app.highlighting import highlight
from notebooks_app.markdown_html import markdown_html

MILLION = 1_000_000
HOURS_S = 60  # what takes a second here would take hours if it were not linear


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it tries every place anew")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HOURS_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def file(text: str) -> Any:
    return percent.read("x.py", text.encode())


def file_refused(text: str) -> None:
    with pytest.raises(FormatError, match="punycode"):
        file(text)


def without_secrets(text: str) -> str:
    for pattern, shown in logs.SECRETS:
        text = pattern.sub(shown, text)
    return text


SLOW: dict[str, tuple[Callable[[str], object], str]] = {
    "a heading with blanks in it": (headings.of, "# a" + " " * MILLION + "b"),
    "a heading with marks in it": (headings.of, "# a" + " #" * MILLION + "b"),
    "a slider of digits": (lambda text: sliders.sliders_of(text), "a=" + "1" * 4_000 + "\n#@param"),
    "a slider's number": (sliders._LINE.match, "a=" + "1" * MILLION),
    "a slider's field": (lambda text: list(sliders._FIELD.finditer(text)), "a" * MILLION),
    "a file's name": (file, "# Notebook: a" + " " * MILLION + "b\n"),
    "a file's database": (file, "# DB: a://" + " " * MILLION + "b\n"),
    "a file's open string": (file, 'x="' + '\\"' * MILLION + "\n# %% x\n1"),
    "a file's open triple quotes": (file, 'x="""' + '\\"""' * MILLION + "\n# %% x\n1"),
    "a file in another encoding": (file_refused, "# coding: punycode\n" + "a" * MILLION + "-" + "b" * MILLION),
    "a log's word": (without_secrets, "a" * MILLION),
    "a log's scheme": (without_secrets, "a://" * MILLION),
    "SQL's quotes of dollars": (statements.split, " ".join(f"$a{number}$" for number in range(100_000))),
    "SQL's open string": (statements.split, "e'" + "\\'" * MILLION),
    "SQL's open comments": (statements.split, "/*" * MILLION),
    "brackets": (markdown_html, "[" * MILLION),
    "pictures": (markdown_html, "![" * MILLION),
    "comments": (markdown_html, "a <![CDATA[" * 200_000),
    "a title of lines": (markdown_html, '[a]: b "' + "x\n" * MILLION),
    "tags": (markdown_html, "<b></p>" * 200_000),
}


@pytest.mark.parametrize("what", SLOW)
def test_no_text_takes_longer_than_its_length(what: str):
    work, text = SLOW[what]
    work(text)


def test_what_is_too_costly_to_render_is_shown_as_it_is_written():
    shown = markdown_html("[<b>&" * 20_000)
    assert shown.startswith("<pre>[&lt;b&gt;&amp;[") and shown.endswith("</pre>")
    assert "<h1>" in markdown_html("# Long\n" + "words and *more* words.\n\n" * 5_000)
    assert "<img" in markdown_html(f"![x](data:image/png;base64,{'iVBORw0K' * 100_000})")


def test_what_is_read_is_what_was_read_before():
    assert headings.of("# a #\n## b # #\n### #\n#\tc  \n#x\n# `d`\n#   \n# e ##") == [
        (1, "a"), (2, "b #"), (3, "#"), (1, "c"), (1, "d"), (1, "e"),
    ]  # fmt: skip
    (statement,) = statements.split("SELECT $q$ ; $1 $q$ || $$;$$ || $1")
    assert statement.parameters == (1,)
    assert [one.text for one in statements.split("SELECT $a$ ; $b$ ; SELECT 1")] == ["SELECT $a$ ; $b$ ; SELECT 1"]
    (slider,) = sliders.sliders_of('rate = 1.5e3  #@param {type:"slider", min:0, max:2000., step:.5}')
    assert (slider.value, slider.min, slider.max, slider.step) == ("1.5e3", "0", "2000.", ".5")
    head = "# Notebook:  A name  \n# DB: postgresql://u:p@h/d  \n"
    read = file(head + "# %% python\nx = 'it' # '\ny = \"\"\"\n# %% no\n\"\"\"")
    assert (read.name, read.dsn, len(read.cells)) == ("A name", "postgresql://u:p@h/d", 1)


@pytest.mark.parametrize(
    "encoding", ["hex", "undefined", "idna", "punycode", "rot13", "zlib", "utf-7", "unicode_escape"]
)
def test_a_file_that_names_an_odd_encoding_is_refused_or_read(encoding: str):
    """Names of Python's codecs that are none of texts, fail in their own way, or take forever."""
    text = f"# coding: {encoding}\n# %% python\nx = 1\n" + "é" * 50_000
    try:
        read = percent.read("x.py", text.encode())
    except FormatError as error:
        assert "line" in str(error) or "encoding" in str(error)
    else:
        assert len(read.cells) == 1


def test_caches_of_peoples_texts_hold_so_many_characters_and_no_more():
    tracemalloc.start()
    try:
        for number in range(60):
            highlight(f"# {number}\n" + "x" * 900_000, "python")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 40 * MILLION


def test_a_bounded_cache_keeps_what_was_used_last():
    made: list[str] = []

    @cached_by_size(100 + 3 * ENTRY, of_one=50 + ENTRY)
    def double(text: str) -> str:
        made.append(text)
        return text * 2

    for text in ("a" * 10, "b" * 10, "a" * 10, "c" * 10, "a" * 10, "d" * 10):
        assert double(text) == text * 2
    assert double("a" * 10) and double("b" * 10)
    assert [text[0] for text in made] == ["a", "b", "c", "d", "b"]
    assert double("e" * 40) and double("e" * 40)
    assert made.count("e" * 40) == 2
