"""The Demo as every new user gets it, run by a real kernel."""

from __future__ import annotations

import pytest

from notebooks_app import db, reading
from notebooks_app.demo import build, demo_notebook
from notebooks_app.notebooks import import_notebook
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

SHOWN = {
    "application/vnd.rillbook.table+json",
    "application/vnd.vegalite.v6+json",
    "application/vnd.plotly.v1+json",
    "image/png",
}


async def test_every_cell_of_the_demo_runs_and_shows_what_it_promises(lab: Lab):
    notebook = await db.write(lambda: import_notebook(lab.notebook.owner, demo_notebook()))
    runtime = await lab.host.ensure(notebook.id)
    run = await runtime.run_all(by=lab.author)
    assert await runtime.wait(run, 60)
    cells = await db.read(lambda: reading.cell_documents(notebook.id, states=reading.states_now(notebook.id)))
    assert len(cells) >= 25
    wrong = [(cell["source"], cell["state"]["freshness"]) for cell in cells if cell["state"]["freshness"] != "current"]
    assert wrong == []
    outputs = [output for cell in cells for output in cell["outputs"]]
    shown = {mime for output in outputs for mime in (*output.get("data", ()), *output["files"])}
    assert shown >= SHOWN
    bars = [o["text"] for cell in cells if "tqdm(" in cell["source"] for o in cell["outputs"] if o["kind"] == "stream"]
    assert len(bars[0].splitlines()) == 1
    assert "150/150" in bars[0]


async def test_the_file_in_the_repository_is_what_its_recipe_writes():
    from pathlib import Path

    assert Path(build.__file__).with_name("demo.ipynb").read_text(encoding="utf-8") == build.build()
