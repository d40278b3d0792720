"""Sliders of a cell: which lines are some, and what may stand in place of their literal."""

from __future__ import annotations

import uuid

import pytest

from notebooks_app import notebooks, services
from notebooks_app.errors import BadRequest, Conflict
from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.models import Cell
from notebooks_app.services import Author
from notebooks_app.sliders import sliders_html, sliders_of, with_value

RATE = 'rate = 0.15  #@param {type:"slider", min:0.01, max:0.99, step:0.01}'


def test_a_marked_assignment_is_a_slider_with_its_literal_in_place():
    source = f"a = 1\n{RATE}\nshift = -2 # @param {{type: 'slider', min: -5, max: 5}}"
    rate, shift = sliders_of(source)
    assert (rate.name, rate.value, rate.min, rate.max, rate.step) == ("rate", "0.15", "0.01", "0.99", "0.01")
    assert source[rate.start : rate.end] == "0.15"
    assert (shift.value, shift.step) == ("-2", "1")
    assert with_value(source, "rate", "0.5") == source.replace("0.15", "0.5")


@pytest.mark.parametrize(
    "source",
    [
        "rate = 0.15",
        "rate = 0.15  #@param {}",
        'rate = 0.15  #@param {type:"number", min:0, max:1}',
        'rate = 0.15  #@param {type:"slider", min:1, max:1}',
        'rate = 0.15  #@param {type:"slider", min:0, max:1, step:0}',
        'rate = f(2)  #@param {type:"slider"}',
        'if x:\n    rate = 2  #@param {type:"slider"}',
        f'text = """\n{RATE}\n"""',
        f"{RATE}\nnot python (",
    ],
)
def test_what_is_no_slider(source: str):
    assert sliders_of(source) == []


@pytest.mark.parametrize("value", ["1", "0", "nan", "inf", "0.5)", "__import__('os')", "", "0.5 " + "0" * 50])
def test_only_a_number_within_its_range_takes_the_place(value: str):
    assert with_value(RATE, "rate", value) is None
    assert with_value(RATE, "other", "0.5") is None


@pytest.mark.parametrize("value", ["007", "07", "٧", "0_7", "7e", "7.", "1e1", "+7"])
def test_a_turned_slider_is_a_slider_still(value: str):
    source = 'seats = 15  #@param {type:"slider", min:0, max:100}'
    turned = with_value(source, "seats", value)
    assert turned is None or [one.value for one in sliders_of(turned)] == [value]
    assert (turned is None) == (value not in ("7.", "1e1", "+7"))


def test_what_is_drawn_is_escaped_and_disabled_until_the_script_is_there():
    html = sliders_html(sliders_of(RATE))
    assert 'aria-label="rate"' in html and 'value="0.15" disabled' in html


@pytest.mark.database
def test_turning_a_slider_is_an_edit_of_its_literal_alone(owner):
    notebook = notebooks.import_notebook(
        owner, ImportedNotebook(name="Turn", cells=[ImportedCell(type="python", source=RATE)])
    )
    cell = Cell.objects.get(notebook=notebook)
    author = Author.of(owner)

    def turn(value: str, version: int, name: str = "rate") -> services.Accepted:
        return services.turn_slider(
            notebook.id, cell.id, name, value, version=version, author=author, operation_id=uuid.uuid4()
        )

    accepted = turn("0.3", cell.version)
    cell.refresh_from_db()
    assert cell.source == RATE.replace("0.15", "0.3")
    assert accepted.version == cell.version
    with pytest.raises(Conflict):
        turn("0.4", cell.version - 1)
    for value, name in (("2", "rate"), ("0.4", "other")):
        with pytest.raises(BadRequest):
            turn(value, cell.version, name)
