"""The .ipynb format: what is read, what is refused in which words, and that nothing is lost on the way round."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.formats import FormatError, ImportedCell, ImportedNotebook, ipynb, read_file


def code(source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **more}


def read(*cells: Any, **more: Any) -> ImportedNotebook:
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more}
    return ipynb.read("folder/Sales.ipynb", json.dumps(document).encode())


def test_sources_are_text_or_lists_of_lines_with_plain_line_ends():
    assert read(code(["a = 1\r\n", "b = 2"])).cells[0].source == "a = 1\nb = 2"


def test_the_title_is_the_files_name_unless_the_file_says_another():
    assert read().name == "Sales"
    assert read(metadata={"title": "Quarter"}).name == "Quarter"


def test_sql_magics_become_sql_cells_with_their_result_name():
    named, plain = read(code("%%sql top <<\nSELECT 1"), code("%%duckdb\nSELECT 2")).cells
    assert (named.type, named.result_name, named.source) == ("sql", "top", "SELECT 1")
    assert (plain.type, plain.result_name, plain.source) == ("sql", "", "SELECT 2")


def test_streams_of_one_name_are_one_output():
    parts = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("a\n", ["b\n", "c"])]
    [output] = read(code("", outputs=parts)).cells[0].outputs
    assert output["text"] == "a\nb\nc"


def test_unknown_metadata_raw_cells_and_attachments_survive_a_round_trip():
    raw = {"cell_type": "raw", "source": "raw", "metadata": {"format": "text/x"}, "id": "r1"}
    text = {"cell_type": "markdown", "source": "![i](attachment:i.png)", "metadata": {"x": {"y": [1]}}, "id": "m1"}
    text["attachments"] = {"i.png": {"image/png": "AAAA"}}
    written = json.loads(ipynb.write(read(raw, text, metadata={"tool": {"v": 3}})))
    assert written["metadata"]["tool"] == {"v": 3}
    assert written["cells"][0]["cell_type"] == "raw"
    assert written["cells"][0]["metadata"] == {"format": "text/x"}
    assert written["cells"][1]["attachments"] == text["attachments"]
    assert written["cells"][1]["metadata"] == {"x": {"y": [1]}}


def test_hidden_code_is_kept():
    cell = code("x", metadata={"jupyter": {"source_hidden": True}})
    assert read(cell).cells[0].code_hidden is True


def test_nbformat_3_is_upgraded_with_a_word():
    old = {
        "nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "old"},
        "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1", "outputs": [], "language": "python"}]}],
    }  # fmt: skip
    found = ipynb.read("old.ipynb", json.dumps(old).encode())
    assert found.cells[0].source == "x = 1"
    assert found.warnings == ["Upgraded from nbformat 3."]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1 is not JSON"),
        (b'{"cells": [', "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"[]", "does not say its nbformat"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 9, "cells": []}', "newer"),
        (b'{"nbformat": 4, "cells": [7]}', "cell 1 is not an object"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "magic"}]}', "cell 1 has the unknown cell_type 'magic'"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 7}]}', "cell 1 holds int where text belongs"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [{"output_type": "x"}]}]}', "unknown type 'x'"),
        (b'{"nbformat": 4, "cells": ' + b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_notebook_is_refused_with_its_file_and_place(data: bytes, words: str):
    with pytest.raises(FormatError) as refused:
        read_file("bad.ipynb", data)
    assert str(refused.value).startswith("bad.ipynb: ")
    assert words in str(refused.value)


def test_other_files_are_refused():
    with pytest.raises(FormatError, match="only .ipynb"):
        read_file("x.docx", b"")


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=80)
outputs = st.one_of(
    st.builds(lambda text: {"kind": "stream", "name": "stdout", "text": text, "cut": None}, plain),
    st.builds(
        lambda text, kind: {"kind": kind, "data": {"text/plain": text}, "metadata": {}, "display_id": None},
        plain,
        st.sampled_from(["display_data", "execute_result"]),
    ),
    st.builds(lambda a, b: {"kind": "error", "ename": a, "evalue": b, "traceback": [a, b]}, plain, plain),
)


@st.composite
def cells(draw: st.DrawFn) -> ImportedCell:
    kind = draw(st.sampled_from(["python", "sql", "markdown"]))
    cell = ImportedCell(type=kind, source=draw(plain))
    if kind == "python" and cell.source.startswith("%%"):
        cell.source = "x = 1"
    if kind == "sql":
        cell.result_name = draw(st.sampled_from(["", "top", "größe"]))
    if kind != "markdown":
        cell.execution_count = draw(st.none() | st.integers(0, 9))
        made = draw(st.lists(outputs, max_size=3))
        joined: list[dict[str, Any]] = []
        for output in made:
            if output["kind"] == "stream" and joined and joined[-1]["kind"] == "stream":
                continue
            joined.append({"index": len(joined), "files": {}, **output})
        cell.outputs = joined
    cell.code_hidden = draw(st.booleans())
    cell.disabled = draw(st.booleans())
    return cell


@settings(max_examples=150, deadline=None)
@given(st.lists(cells(), max_size=5))
def test_everything_survives_a_round_trip_and_the_file_is_valid(made: list[ImportedCell]):
    text = ipynb.write(ImportedNotebook(name="Round", cells=made))
    nbformat.validate(nbformat.reads(text, as_version=4))
    found = ipynb.read("x.ipynb", text.encode())
    assert found.name == "Round"
    kept = ("type", "source", "result_name", "outputs", "execution_count", "code_hidden", "disabled")
    assert [[getattr(c, k) for k in kept] for c in found.cells] == [[getattr(c, k) for k in kept] for c in made]
