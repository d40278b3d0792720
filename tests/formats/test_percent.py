"""Python files with cell marks: jupytext's percent format, nbconvert's scripts, the origin's files."""

from __future__ import annotations

from typing import Any

import jupytext
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebooks_app.formats import FormatError, ImportedNotebook, percent, read_file, strings

ORIGIN = """\
# Notebook: My Analysis
# DB: postgresql://me:hunter2@localhost/mydb

# %% python [cell-id-1]
x = 10

# %% sql [cell-id-2]
SELECT * FROM users WHERE id = {user_id} AND note = '''quoted'''

# %% python [cell-id-3]
print(x)
"""

JUPYTEXT = '''\
# -*- coding: utf-8 -*-
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Sales
#
# By *month*.

# %% Load data tags=["slow", "x=1"] jupyter={"source_hidden": true}
# %matplotlib inline
import pandas as pd
text = """
# %% not a mark
"""

# %% [raw] raw_mimetype="text/html"
# <hr>

# %% [md]
"""
In *quotes*
"""

# %% language="sql" magic_args="top <<"
# SELECT 1
# -- a comment of SQL

# %%
# %% 100 is not reached
'''


def read(text: str, name: str = "folder/My file.py") -> ImportedNotebook:
    return read_file(name, text.encode())


def test_the_origins_files_keep_name_order_ids_and_sources():
    found = read(ORIGIN)
    assert found.name == "My Analysis"
    assert [(cell.type, cell.id) for cell in found.cells] == [
        ("python", "cell-id-1"),
        ("sql", "cell-id-2"),
        ("python", "cell-id-3"),
    ]
    assert [cell.source for cell in found.cells] == [
        "x = 10",
        "SELECT * FROM users WHERE id = {user_id} AND note = '''quoted'''",
        "print(x)",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "# DB: postgresql://me:hunter2@localhost/mydb",
        "#db : postgresql://me:hunter2@localhost/mydb",
        "# DB: host=x password=hunter2",
    ],
)
def test_the_origins_database_is_no_part_of_what_is_shown_or_of_a_source(line: str):
    found = read(f"# Notebook: A\n{line}\n# %% python [1]\nx = 1\n")
    assert "hunter2" not in repr(found)
    assert "hunter2" in found.dsn
    [warning] = found.warnings
    assert warning.startswith("It names a database. That was not kept")


def test_a_dsn_is_not_kept_wherever_its_line_is():
    found = read("# %%\nx = 1\n# DB: mysql://me:hunter2@h/d\ny = 2\n")
    assert found.cells[0].source == "x = 1\ny = 2"
    assert (found.dsn, len(found.warnings)) == ("", 1)


def test_jupytexts_cells_are_read_with_their_kinds_titles_and_metadata():
    markdown, code, raw, quoted, sql, *rest = read(JUPYTEXT).cells
    assert (markdown.type, markdown.source) == ("markdown", "# Sales\n\nBy *month*.")
    assert code.metadata == {"title": "Load data", "tags": ["slow", "x=1"], "jupyter": {"source_hidden": True}}
    assert code.code_hidden is True
    assert code.source.splitlines()[0] == "%matplotlib inline"
    assert code.source.splitlines()[-2] == "# %% not a mark"
    assert (raw.type, raw.source) == ("markdown", "<hr>")
    assert raw.metadata == {"raw_mimetype": "text/html", "rillbook": {"cell_type": "raw"}}
    assert (quoted.type, quoted.source) == ("markdown", "In *quotes*")
    assert (sql.type, sql.result_name, sql.source) == ("sql", "top", "SELECT 1\n-- a comment of SQL")
    assert [cell.metadata for cell in rest] == [{}, {"title": "100 is not reached"}]


def test_a_string_that_never_ends_does_not_swallow_the_cells_after_it():
    found = read("# %%\nx = '''\n# %%\ny = 1\n")
    assert [cell.source for cell in found.cells] == ["x = '''", "y = 1"]


def test_code_before_the_first_mark_is_a_cell():
    found = read("#!/usr/bin/env python\nimport os\n\n# %%\nx = 1\n")
    assert [cell.source for cell in found.cells] == ["import os", "x = 1"]


def test_scripts_of_nbconvert_have_cells():
    found = read("#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\nx = 1\n\n\n# In[ ]:\n\ny = 2\n")
    assert [cell.source for cell in found.cells] == ["x = 1", "y = 2"]


def test_a_file_without_marks_is_one_cell_with_a_word():
    found = read("import os\nprint(os.name)\n")
    assert [cell.source for cell in found.cells] == ["import os\nprint(os.name)"]
    assert found.warnings == ["It has no # %% marks: the whole file is one cell."]


def test_the_name_is_the_files_unless_it_says_another():
    assert read("# %%\n", "folder/My file.py").name == "My file"
    assert read("# %%\n", "C:\\work\\Sales.v2.PY").name == "Sales.v2"


def test_windows_line_ends_and_a_byte_order_mark_are_read():
    found = read_file("x.py", "\ufeff# %% python [a]\r\nx = 1\r\ny = 2\r\n".encode())
    assert found.cells[0].source == "x = 1\ny = 2"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"# %%\nx = '\xff'\n", "x.py: line 2 is not UTF-8."),
        (b"# %%\nx = '\x00'\n", "x.py, line 2: a source cannot hold the character NUL."),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_line(data: bytes, words: str):
    with pytest.raises(FormatError) as refused:
        read_file("x.py", data)
    assert str(refused.value) == words


def test_what_a_file_is_shows_in_its_content_where_its_name_does_not_say():
    assert read_file("notebook", b'{"cells": [], "nbformat": 4}').cells == []
    assert read_file("script.txt", b"# %%\nx = 1").cells[0].source == "x = 1"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b'{"a": 1}'])
def test_other_files_are_refused(data: bytes):
    with pytest.raises(FormatError, match="x.docx: only .ipynb and"):
        read_file("x.docx", data)


lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00#%'\"\\"), max_size=30)
sources = st.lists(lines, max_size=4).map("\n".join).map(lambda text: text.strip("\n"))


@given(st.lists(st.tuples(st.sampled_from(["python", "sql"]), sources), min_size=1, max_size=5))
def test_every_cell_of_the_origins_form_is_read_as_it_was_written(cells: list[tuple[str, str]]):
    text = "# Notebook: N\n\n" + "\n\n".join(f"# %% {kind} [{at}]\n{source}" for at, (kind, source) in enumerate(cells))
    found = read(text + "\n").cells
    assert [cell.id for cell in found] == [str(at) for at in range(len(cells))]
    assert [cell.type for cell in found] == [kind for kind, _ in cells]
    expected = ["\n".join(line if line.strip() else "" for line in source.split("\n")) for _, source in cells]
    assert [cell.source.strip("\n") for cell in found] == [source.strip("\n") for source in expected]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(text: str):
    try:
        read_file("x.py", text.encode("utf-8", "surrogatepass"))
    except FormatError as refused:
        assert str(refused).startswith("x.py")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("import pandas\n# read with encoding=latin-1\n# %%\n", "import pandas\n# read with encoding=latin-1"),
        ("# one\n# two\n# coding: utf-8\nx = 1\n", "# one\n# two\n# coding: utf-8\nx = 1"),
        ("x = 1\n# coding: latin-1\n", "x = 1\n# coding: latin-1"),
        ("# -*- coding: utf-8 -*-\nx = 1\n", "x = 1"),
        ("#!/usr/bin/python\n# vim: set fileencoding=utf-8 :\nx = 1\n", "x = 1"),
        ("\n#!shell\nx = 1\n", "#!shell\nx = 1"),
        ("# %%\n# coding: utf-8\nx = 1\n", "# coding: utf-8\nx = 1"),
    ],
)
def test_only_the_first_two_lines_declare_an_encoding(text: str, source: str):
    assert read(text).cells[0].source == source


MAGICS = (
    "!ls\nx = 1", "a = !ls", "a = %who", "?print", "print?", "%who", "%env A=1", "%%capture out\nx = 1",
    "%%time\nx = 1", "ls", "cat x", "mv a b", "# %matplotlib inline", "# !ls", "# # %who", "# a comment", "# ls",
    "if x:\n    %timeit x",
    "!ls \\\n  -l\nx = 1", 's = """\n%who\n# %who\n"""\n%who', "%%bash\nls", "%%html\n<b>", "x = 1  # %who",
)  # fmt: skip


@pytest.mark.parametrize("source", MAGICS)
def test_what_jupytext_commented_out_is_read_as_jupytext_reads_it(source: str):
    kernel: dict[str, Any] = {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=kernel)
    [cell] = read(jupytext.writes(made, fmt="py:percent")).cells
    assert (cell.source, cell.metadata) == (source, {})


def test_a_comment_of_a_script_that_jupytext_did_not_write_is_no_command():
    source = "# copy the data\n# ! important\n# ? why\n# a = !x\nx = 1"
    assert read(f"# %%\n{source}\n").cells[0].source == source


def test_a_string_that_goes_on_over_marks_is_looked_at_once_a_mark(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []

    class Counted:
        def finditer(self, text: str, at: int = 0) -> Any:
            seen.append(len(text) - at)
            return pattern.finditer(text, at)

    pattern = strings._STRING
    monkeypatch.setattr(strings, "_STRING", Counted())
    cell = "# %%\n#'''\n'''\n"  # opens a string, and ends one and opens another where one is open
    assert len(read(cell * 200).cells) == 200
    assert sum(seen) <= (percent._JOIN_AT_MOST + 1) * 200 * len(cell)
