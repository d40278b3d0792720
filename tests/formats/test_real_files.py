"""Files as Jupyter writes them. real/cars.ipynb was run by a plain ipykernel and saved by nbformat: a table, a progress
bar, a figure, Altair, Plotly, an error, an attachment, a raw cell and a %%sql magic, with JupyterLab's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from notebooks_app import exporting
from notebooks_app.formats import ImportedNotebook, ipynb
from notebooks_app.models import Cell
from notebooks_app.notebooks import import_notebook

CARS = Path(__file__).parent / "real" / "cars.ipynb"


@pytest.fixture
def cars() -> ImportedNotebook:
    return ipynb.read(CARS.name, CARS.read_bytes())


def outputs_showing(notebook: ImportedNotebook, words: str) -> list[dict[str, Any]]:
    return next(cell.outputs for cell in notebook.cells if words in cell.source)


def test_every_kind_of_output_is_read(cars: ImportedNotebook):
    assert cars.warnings == []
    [table] = outputs_showing(cars, "cars.head(3)")
    assert set(table["data"]) >= {"text/html", "text/plain"}
    [figure] = outputs_showing(cars, "plt.figure")
    assert figure["data"]["image/png"].startswith("iVBOR")
    [chart] = outputs_showing(cars, "alt.Chart")
    assert chart["data"]["application/vnd.vegalite.v6+json"]["mark"] == {"type": "point"}
    [plot] = outputs_showing(cars, "px.scatter")
    assert plot["data"]["application/vnd.plotly.v1+json"]["data"][0]["type"] == "scatter"
    [error] = outputs_showing(cars, "prices['Ford']")
    assert (error["kind"], error["ename"]) == ("error", "KeyError")


def test_a_progress_bar_of_a_real_file_is_one_line(cars: ImportedNotebook):
    bar, printed, rest = outputs_showing(cars, "tqdm(")
    assert len(bar["text"].splitlines()) == 1
    assert bar["text"].startswith("100%")
    assert (printed["name"], printed["text"]) == ("stdout", "to stdout\n")
    assert (rest["name"], rest["text"]) == ("stderr", "\nto stderr\n")


def test_a_real_file_is_the_same_after_a_round_trip(cars: ImportedNotebook):
    text = ipynb.write(cars)
    nbformat.validate(nbformat.reads(text, as_version=4))
    again = ipynb.read(CARS.name, text.encode())
    assert again == cars
    assert ipynb.write(again) == text


def test_cells_ids_and_metadata_are_written_as_they_came(cars: ImportedNotebook):
    before, after = json.loads(CARS.read_text()), json.loads(ipynb.write(cars))
    kept = ("id", "cell_type", "metadata", "attachments", "source", "execution_count")
    for old, new in zip(before["cells"], after["cells"], strict=True):
        old["source"] = "".join(old["source"])
        new["source"] = "".join(new["source"])
        assert {key: new.get(key) for key in kept} == {key: old.get(key) for key in kept}
    assert {**before["metadata"], "rillbook": {"name": "cars"}} == after["metadata"]


@pytest.mark.database
@pytest.mark.django_db
def test_a_real_file_comes_out_of_the_database_as_it_went_in(cars: ImportedNotebook, owner: Any):
    stored = import_notebook(owner, ipynb.read(CARS.name, CARS.read_bytes()))
    found = ipynb.read("cars.ipynb", exporting.text_of(stored, "ipynb").encode())
    assert found.cells == cars.cells
    assert found.metadata == cars.metadata
    heavy = Cell.objects.get(notebook=stored, type="sql")
    assert (heavy.result_name, heavy.source) == ("heavy", "SELECT Origin, count(*) FROM cars GROUP BY 1")


@pytest.mark.database
@pytest.mark.django_db
def test_text_that_no_database_can_hold_is_stored_replaced(owner: Any):
    bad = "a\x00\ud800"
    data = {"text/plain": bad, "a/b+json": {bad: 1e999}, "application/json": [bad]}
    output = {"output_type": "display_data", "data": data, "metadata": {bad: bad}}
    cell = {"cell_type": "code", "source": "x", "metadata": {bad: [bad]}, "id": bad, "outputs": [output]}
    document = {"nbformat": 4, "metadata": {"title": bad, bad: 1e999}, "cells": [cell]}
    stored = import_notebook(owner, ipynb.read("bad.ipynb", json.dumps(document).encode()))
    written = exporting.text_of(stored, "ipynb")
    assert "a\ufffd\ufffd" in written
    nbformat.validate(nbformat.reads(written, as_version=4))
