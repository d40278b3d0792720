"""The Demo's file: made by its recipe, analysed without errors, whole after a round trip."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import vega_datasets

from notebooks_app import facts, graph
from notebooks_app.demo import blank_notebook, build, demo_notebook
from notebooks_app.formats import ipynb
from notebooks_app.models import Cell, Notebook
from notebooks_app.notebooks import import_notebook

FILE = Path(build.__file__).with_name("demo.ipynb")


def test_the_file_in_the_repository_is_what_its_recipe_writes():
    assert FILE.read_text(encoding="utf-8") == build.build()


def test_the_file_is_valid_and_jupyter_finds_its_sql_as_a_magic():
    document = json.loads(FILE.read_text(encoding="utf-8"))
    nbformat.validate(document)
    first_lines = ["".join(cell["source"]).split("\n")[0] for cell in document["cells"] if cell["cell_type"] == "code"]
    assert [line for line in first_lines if line.startswith("%%")] == [
        "%%sql odd_days <<",
        "%%sql sales <<",
        "%%sql customers <<",
    ]


def test_the_demo_has_every_kind_of_cell_and_survives_a_round_trip():
    demo = demo_notebook()
    assert demo.warnings == []
    kinds = Counter(cell.type for cell in demo.cells)
    assert len(demo.cells) >= 27
    assert kinds["python"] >= 12
    assert kinds["sql"] == 3
    again = ipynb.read("demo.ipynb", ipynb.write(demo).encode())
    assert again == demo


def test_the_data_of_the_demo_needs_no_network():
    assert vega_datasets.data.seattle_weather.is_local
    sources = "\n".join(cell.source for cell in demo_notebook().cells if cell.type != "markdown")
    assert sources.count("data.") == 1
    assert "://" not in sources


def test_no_line_of_code_is_wider_than_a_cell():
    lines = [line for cell in demo_notebook().cells if cell.type != "markdown" for line in cell.source.split("\n")]
    assert [line for line in lines if len(line) > 84] == []


@pytest.mark.django_db
def test_the_demo_has_no_errors_of_analysis_and_no_name_twice(owner):
    notebook = import_notebook(owner, demo_notebook())
    cells = [cell.facts() for cell in Cell.objects.filter(notebook=notebook).in_order()]
    assert [(cell.id, cell.errors) for cell in cells if cell.errors] == []
    assert {cell: errors for cell, errors in graph.build(cells).errors.items() if errors} == {}
    definitions = Counter(name for cell in cells if cell.type != facts.CellType.MARKDOWN for name in cell.definitions)
    assert [name for name, count in definitions.items() if count > 1] == []
    assert {"rate", "smooth", "trend", "odd_days", "sales", "customers"} <= set(definitions)


@pytest.mark.django_db
def test_the_blank_notebook_is_one_empty_cell(owner):
    notebook = import_notebook(owner, blank_notebook(), kind=Notebook.Kind.BLANK)
    assert [(cell.type, cell.source) for cell in notebook.cells.all()] == [("python", "")]
