"""The .ipynb format: what is read, what is refused in which words, and that nothing is lost on the way round."""

from __future__ import annotations

import base64
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


def old(version: int, *cells: Any) -> ImportedNotebook:
    numbers = {"nbformat": version, "nbformat_minor": 0}
    made = numbers | {"metadata": {"name": "Old sales"}, "worksheets": [{"cells": cells}]}
    return ipynb.read("old.ipynb", json.dumps(made).encode())


def test_nbformat_3_is_upgraded_with_a_word_and_keeps_its_name():
    found = old(3, {"cell_type": "code", "input": "x = 1", "outputs": [], "language": "python"})
    assert (found.name, found.cells[0].source) == ("Old sales", "x = 1")
    assert found.warnings == ["Upgraded from nbformat 3."]


def test_texts_of_nbformat_3_are_lists_of_lines_as_those_of_4_are():
    shown = {"output_type": "display_data", "metadata": {}, "json": ['{"a":\n', "1}"], "svg": ["<svg>\n", "</svg>"]}
    printed = {"output_type": "stream", "stream": "stdout", "text": ["a\n", "b\n"]}
    title, cell = old(
        3,
        {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Title"]},
        {"cell_type": "code", "metadata": {}, "input": ["a = 1\n", "b = 2"], "outputs": [shown, printed]},
    ).cells
    assert (title.source, cell.source) == ("## Title", "a = 1\nb = 2")
    assert cell.outputs[0]["data"] == {"application/json": {"a": 1}, "image/svg+xml": "<svg>\n</svg>"}
    assert cell.outputs[1]["text"] == "a\nb\n"


def test_lines_of_nbformat_2_have_no_ends_of_their_own():
    shown = {"output_type": "pyout", "prompt_number": 1, "text": ["1", "2"], "png": "aGk="}
    cell, text = old(
        2,
        {"cell_type": "code", "input": ["a = 1", "b = 2"], "outputs": [shown]},
        {"cell_type": "markdown", "source": ["one", "two"]},
    ).cells
    assert (cell.source, text.source) == ("a = 1\nb = 2", "one\ntwo")
    assert cell.outputs[0]["data"] == {"text/plain": "1\n2", "image/png": "aGk="}


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


def test_a_query_on_the_magics_line_and_leading_empty_lines_are_kept():
    short, late = read(code("%%sql SELECT 1"), code("\n\n%%sql\nSELECT 2")).cells
    assert (short.type, short.source) == ("sql", "SELECT 1")
    assert (late.type, late.source) == ("sql", "SELECT 2")


def test_a_connection_on_the_magics_line_is_neither_kept_nor_named():
    found = read(code("%%sql postgresql://me:hunter2@db/shop --save top sales <<\nSELECT 1"))
    [cell] = found.cells
    assert (cell.type, cell.result_name, cell.source) == ("sql", "sales", "SELECT 1")
    assert found.warnings == ["folder/Sales.ipynb: cell 1: left out of its %%sql line: a connection, --save."]
    assert "hunter2" not in repr(found)


def test_a_python_cell_that_begins_with_the_magic_stays_python_on_the_way_round():
    made = ImportedNotebook(name="x", cells=[ImportedCell(type="python", source="%%sql\nSELECT 1")])
    [cell] = ipynb.read("x.ipynb", ipynb.write(made).encode()).cells
    assert (cell.type, cell.source, cell.metadata) == ("python", "%%sql\nSELECT 1", {})


def test_a_connections_name_is_written_and_said_but_nothing_else_of_it():
    made = ImportedNotebook(name="x", cells=[ImportedCell(type="sql", source="SELECT 1", connection="Shop")])
    found = ipynb.read("x.ipynb", ipynb.write(made).encode())
    assert found.cells[0].connection == "Shop"
    assert found.warnings == ["x.ipynb: cell 1 used the connection 'Shop': choose one in its head."]


def test_what_was_changed_after_the_import_is_what_is_written():
    """Metadata that came with the file does not speak for a cell that has another type or is shown again."""
    hidden = {"jupyter": {"source_hidden": True, "outputs_hidden": True}, "rillbook": {"result_name": "old"}}
    raw_cell = {"cell_type": "raw", "source": "a", "metadata": {}}
    raw, shown = read(raw_cell, code("%%sql\nSELECT 1", metadata=hidden)).cells
    raw.type, shown.code_hidden, shown.result_name = "python", False, ""
    first, second = json.loads(ipynb.write(ImportedNotebook(name="x", cells=[raw, shown])))["cells"]
    assert first["cell_type"] == "code"
    assert second["metadata"] == {"jupyter": {"outputs_hidden": True}}
    assert second["source"] == ["%%sql\n", "SELECT 1"]


def test_a_raw_cell_keeps_its_attachments():
    raw = {"cell_type": "raw", "source": "", "metadata": {}, "attachments": {"a.png": {"image/png": "AA"}}, "id": "r"}
    assert json.loads(ipynb.write(read(raw)))["cells"][0] == {**raw, "source": []}


def test_cells_keep_the_ids_of_their_file_and_twins_get_others():
    made = [ImportedCell(type="python", source="", id="of-row", metadata={"rillbook_id": "of-file"}) for _ in range(3)]
    written = json.loads(ipynb.write(ImportedNotebook(name="x", cells=made)))
    assert [cell["id"] for cell in written["cells"]] == ["of-file", "of-row", "cell-3"]
    assert all(cell["metadata"] == {} for cell in written["cells"])


def test_where_a_notebook_was_imported_from_is_not_handed_on():
    known = {"rillbook": {"name": "Mine", "import": {"path": "a.ipynb", "sha256": "0"}, "other": 1}}
    found = read(metadata=known)
    assert (found.name, found.metadata) == ("Mine", {"rillbook": {"other": 1}})
    written = ipynb.write(ImportedNotebook(name="Mine", metadata=known))
    assert json.loads(written)["metadata"]["rillbook"] == {"name": "Mine", "other": 1}


def test_a_progress_bar_becomes_the_line_a_terminal_shows():
    bar = {"output_type": "stream", "name": "stderr", "text": [f"\r{at}/9" for at in range(10)]}
    [output] = read(code("", outputs=[bar])).cells[0].outputs
    assert output["text"] == "9/9"


def test_charts_stay_objects_and_images_lose_their_line_breaks():
    chart = {"$schema": "v6", "layer": [{"mark": "bar"}]}
    data = {"application/vnd.vegalite.v6.json": chart, "text/plain": ["a\n", "b"], "image/png": "AA\nBB\n"}
    output = {"output_type": "display_data", "data": data, "metadata": {"image/png": {"width": 3}}}
    [found] = read(code("", outputs=[output])).cells[0].outputs
    assert found["data"] == {"application/vnd.vegalite.v6+json": chart, "text/plain": "a\nb", "image/png": "AABB"}
    assert found["metadata"] == {"image/png": {"width": 3}}


def test_text_that_no_database_can_hold_is_replaced_wherever_it_is():
    bad = "a\x00\ud800"
    output = {"output_type": "error", "ename": bad, "evalue": bad, "traceback": [bad]}
    found = read(
        code("x = '\ud800'", outputs=[output], metadata={bad: bad}, id=bad),
        {"cell_type": "markdown", "source": "", "metadata": {}, "attachments": {bad: {"image/png": bad}}},
        metadata={bad: [bad, 1e999], "title": bad},
    )
    assert found.cells[0].source == "x = '\ufffd'"
    assert found.cells[0].id is None
    assert not any(mark in repr(found) for mark in ("\\x00", "\\ud800", "inf"))
    ipynb.write(found).encode()


def test_a_nul_in_a_source_is_refused_with_its_line():
    with pytest.raises(FormatError, match=r"^folder/Sales.ipynb: cell 2, line 3: .*NUL"):
        read(code("a"), code("b\n\nc\x00"))


@pytest.mark.parametrize("depth", [100, 2_000, 5_000, 100_000])
@pytest.mark.parametrize("version", [3, 4])
def test_deep_nesting_anywhere_is_refused_or_cut_never_a_crash(depth: int, version: int):
    cells = b'"worksheets": [{"cells": []}]' if version == 3 else b'"cells": []'
    deep = b"[" * depth + b"]" * depth
    try:
        found = read_file("x.ipynb", b'{"nbformat": %d, "metadata": {"a": %s}, %s}' % (version, deep, cells))
    except FormatError as refused:
        assert str(refused).startswith("x.ipynb: ")
        return
    ipynb.write(found)


def test_a_notebook_of_another_language_is_read_with_a_warning():
    found = read(metadata={"kernelspec": {"name": "ir", "language": "R"}})
    assert found.warnings == ["Its kernel is for R: its code cells are read as Python."]


@pytest.mark.parametrize("count", [True, -1, 2**31, "7", 1.5])
def test_a_senseless_execution_count_is_none(count: object):
    assert read(code("x", execution_count=count)).cells[0].execution_count is None


@pytest.mark.parametrize("name", ["_private", "class", "a" * 101])
def test_a_name_that_no_result_can_have_is_not_taken(name: str):
    assert read(code(f"%%sql {name} <<\nSELECT 1")).cells[0].result_name == ""


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("notebooks_app.formats.base.MAX_BYTES", 1_000)
    with pytest.raises(FormatError, match="x.ipynb: 1,001 bytes are more than the 1,000"):
        read_file("x.ipynb", b" " * 1_001)


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=80)
printed = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), min_size=1, max_size=80)
outputs = st.one_of(
    st.builds(lambda text: {"kind": "stream", "name": "stdout", "text": text, "cut": None}, printed),
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
    if kind == "python" and draw(st.integers(0, 9)) == 0:
        cell.source = f"%%sql {cell.source}"
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


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(["", "x", "%%sql a <<\nSELECT 1", "%%duckdb -o\n", "%%sql --save", "\x1b[2Kx\r\x08y"])
MIMES = ["text/plain", "image/png", "a/b+json", "application/json", "application/json; a=b", "no mime", ""]
bad_outputs = st.fixed_dictionaries(
    {"output_type": st.sampled_from(["stream", "display_data", "execute_result", "error"])},
    optional={
        "name": junk,
        "text": words | junk,
        "data": st.dictionaries(st.sampled_from(MIMES), junk) | junk,
        "metadata": junk,
        "ename": junk,
        "evalue": junk,
        "traceback": junk,
    },
)
bad_cells = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", "raw"])},
    optional={
        "source": words | junk,
        "id": junk,
        "metadata": st.fixed_dictionaries({}, optional={"rillbook": junk, "jupyter": junk, "x": junk}) | junk,
        "outputs": st.lists(bad_outputs, max_size=3) | junk,
        "execution_count": junk,
        "attachments": junk,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(bad_cells, max_size=3), junk)
def test_whatever_a_file_holds_it_is_refused_in_words_or_can_be_written_as_a_valid_one(cells: list[Any], metadata: Any):
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    try:
        found = ipynb.read("x.ipynb", json.dumps(document).encode())
    except FormatError as refused:
        assert str(refused).startswith("x.ipynb: cell ")
        return
    text = ipynb.write(found)
    text.encode()
    nbformat.validate(json.loads(text))
    again = ipynb.read("x.ipynb", text.encode())
    assert [(cell.type, cell.source) for cell in again.cells] == [(cell.type, cell.source) for cell in found.cells]


def test_nothing_is_too_large_or_too_many_to_be_kept():
    png = base64.b64encode(bytes(5_000_000)).decode()
    figure = {"application/vnd.plotly.v1+json": {"data": [{"y": list(range(300_000))}]}, "image/png": png}
    shown = [{"output_type": "display_data", "data": figure, "metadata": {"note": "n" * 50_000}}]
    many = [{"output_type": "execute_result", "data": {"text/plain": str(at)}, "metadata": {}} for at in range(2_000)]
    failed = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["line" * 100] * 1_000}
    [cell] = read(code("", outputs=[*shown, *many, failed])).cells
    assert cell.outputs[0]["data"] == figure
    assert len(cell.outputs[0]["metadata"]["note"]) == 50_000
    assert [output["data"]["text/plain"] for output in cell.outputs[1:-1]] == [str(at) for at in range(2_000)]
    assert cell.outputs[-1]["traceback"] == failed["traceback"]


def test_a_long_text_is_whole():
    text = "".join(f"line {at}\n" for at in range(100_000))
    [output] = read(code("", outputs=[{"output_type": "stream", "name": "stdout", "text": text}])).cells[0].outputs
    assert (output["text"], output["cut"]) == (text, None)


@pytest.mark.parametrize("name", ["Team 👩‍💻 Sales", "A\u00a0B", "Two  spaces", "soft\u00adhyphen", "x\u3000y"])
def test_a_name_with_letters_that_are_not_printable_comes_back(name: str):
    assert ipynb.read("file.ipynb", ipynb.write(ImportedNotebook(name=name)).encode()).name == name
