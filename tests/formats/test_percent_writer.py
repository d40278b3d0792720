"""Notebooks as scripts: every source comes back exactly."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebooks_app.formats import ImportedCell, ImportedNotebook, percent, percent_writer

LINES = (
    "", " ", "x = 1", "# %% not a mark", "# %%", "%% text", "#|quoted", '"""', "'''open", 's = """a', "# comment",
    "# DB: postgresql://me:hunter2@h/d", "DB: a://b", "# Notebook: N", "# ---", "# In[1]:", "\tdef f():", "SELECT {x}",
    "%matplotlib inline", "# %matplotlib inline", "é😀",
)  # fmt: skip
sources = st.lists(st.sampled_from(LINES), max_size=6).map("\n".join)
RESERVED = {"quoted": True, "disabled": True, "result_name": "q", "id": "z", "metadata": {"a": 1}, "no word": 1}
cells = st.builds(
    ImportedCell,
    id=st.none() | st.sampled_from(["a", "0c5f1c1e-2f8b-4c0e-9b0a-7d1f0a1b2c3d", "with ] and\nmore", "x=1 y", "ä"]),
    type=st.sampled_from(["python", "sql", "markdown"]),
    source=sources,
    result_name=st.sampled_from(["", "top"]),
    disabled=st.booleans(),
    metadata=st.sampled_from([{}, {"tags": ["a b", "k=1"], "title": "T"}, {"x": "# %%"}, RESERVED]),
)


def write_and_read(*found: ImportedCell) -> list[ImportedCell]:
    text = percent_writer.write(ImportedNotebook(name="N", cells=list(found)))
    return percent.read("x.py", text.encode()).cells


@settings(max_examples=300, deadline=None)
@given(st.lists(cells, max_size=4))
def test_every_cell_comes_back_as_it_was(found: list[ImportedCell]):
    assert write_and_read(*found) == found


def test_an_ordinary_notebook_reads_like_a_script_of_the_origin():
    made = ImportedNotebook(
        name="My Analysis",
        cells=[
            ImportedCell("python", "x = 10", id="cell-1"),
            ImportedCell("sql", "SELECT {x}", id="cell-2", result_name="top"),
            ImportedCell("markdown", "# Title\n\ntext", id="cell-3"),
        ],
    )
    text = percent_writer.write(made)
    assert text == (
        "# Notebook: My Analysis\n\n# %% python [cell-1]\nx = 10\n"
        '\n# %% sql [cell-2] result_name="top"\nSELECT {x}\n\n# %% markdown [cell-3]\n# # Title\n#\n# text\n'
    )


def test_a_notebook_of_python_alone_is_valid_python():
    made = [ImportedCell("python", "x = '''\n# %%\n'''"), ImportedCell("markdown", "text")]
    ast.parse(percent_writer.write(ImportedNotebook(name="N", cells=made)))


def test_the_dsn_is_written_only_where_it_is_given():
    made = ImportedNotebook(name="N", dsn="postgresql://me:hunter2@h/d")
    assert percent.read("x.py", percent_writer.write(made).encode()).dsn == made.dsn
    assert "DB" not in percent_writer.write(replace(made, dsn=""))


@pytest.mark.parametrize("size", [3, 100_000])
def test_metadata_that_is_too_long_for_a_mark_is_left_out(size: int):
    cell = ImportedCell("python", "x", id="a", metadata={"note": "n" * size})
    [found] = write_and_read(cell)
    assert (found.id, found.source, found.metadata) == ("a", "x", cell.metadata if size == 3 else {})


@pytest.mark.parametrize("key", ["quoted", "disabled", "result_name", "id", "metadata", "title", "a b"])
@pytest.mark.parametrize("value", [True, "q", {"a": 1}])
def test_metadata_that_our_marks_have_words_for_comes_back_as_metadata(key: str, value: object):
    [found] = write_and_read(ImportedCell("python", "x = 1\ny", id="a b]", metadata={key: value}))
    assert found == ImportedCell("python", "x = 1\ny", id="a b]", metadata={key: value})


@pytest.mark.parametrize(
    "name",
    [
        "Team 👩‍💻 Sales", "A\u00a0B", "Two  spaces", "soft\u00adhyphen", "x\u3000y", "Encoding: latin-1 é",
        "coding=ascii é",
    ],
)  # fmt: skip
@pytest.mark.parametrize("dsn", ["", "postgresql://h/d?client_encoding=latin1"])
def test_names_and_dsns_of_all_kinds_come_back_and_declare_no_encoding(name: str, dsn: str):
    made = ImportedNotebook(name=name, dsn=dsn, cells=[ImportedCell("python", 'print("é")')])
    found = percent.read("file.py", percent_writer.write(made).encode())
    assert (found.name, found.dsn, found.cells) == (name, dsn, made.cells)


def test_a_dsn_of_many_lines_stays_in_its_comment():
    made = ImportedNotebook(name="N", dsn="a://b\nimport os\u2028")
    assert percent_writer.write(made).splitlines() == ["# Notebook: N", "# DB: a://b%0Aimport os%E2%80%A8"]
